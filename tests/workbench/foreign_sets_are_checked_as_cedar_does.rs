//! `policy check` on sets that are not narrowgate's: what Cedar says of them, and what is odd in any set. narrowgate's own
//! vocabulary is not asked of them.

use crate::starter::{Answer, cedar, cedar_samples, folder, policy, write};
use std::{fs, path::Path, process::Command};

const SCHEMA: &str = "entity User in [Group]; entity Group; entity Photo;\n\
    action \"view\" appliesTo { principal: [User], resource: [Photo], context: { \"mfa\": Bool } };\n";
const ENTITIES: &str = r#"[{ "uid": { "type": "Group", "id": "friends" }, "attrs": {}, "parents": [] },
    { "uid": { "type": "Photo", "id": "beach" }, "attrs": {}, "parents": [] }]"#;

fn checked(text: &str, more: &[&str]) -> Answer {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    write(Path::new(&path("photos.cedar")), text);
    write(Path::new(&path("photos.cedarschema")), SCHEMA);
    write(Path::new(&path("entities.json")), ENTITIES);
    let (policies, schema, entities) = (path("photos.cedar"), path("photos.cedarschema"), path("entities.json"));
    let mut arguments = vec!["check", "--policies", &policies, "--schema", &schema, "--entities", &entities];
    arguments.extend(more);
    policy(&arguments)
}

/// Which rules found something, in their order.
fn rules(text: &str) -> (i32, Vec<String>) {
    let said = checked(text, &["--output", "json"]);
    let value = said.json();
    let all = value["findings"].as_array().unwrap();
    (
        said.code,
        all.iter().map(|it| format!("{} {}", it["severity"].as_str().unwrap(), it["rule"].as_str().unwrap())).collect(),
    )
}

#[test]
fn its_own_vocabulary_is_not_asked_of_them() {
    let view = |principal: &str| format!("(principal in Group::\"{principal}\", action == Action::\"view\", resource)");
    let sound =
        format!("@shade(\"dark\") permit {};\nforbid {} unless {{ context.mfa }};\n", view("friends"), view("friends"));
    assert_eq!(rules(&sound), (0, Vec::new()));
    assert_eq!(rules(&format!("permit {};", view("freinds"))), (0, vec!["warning unknown-entity".to_owned()]));
    assert_eq!(rules("permit (principal, action, resource);"), (65, vec!["error unscoped-permit".to_owned()]));
    assert_eq!(
        rules("permit (principal, action, resource) when { context.mfa };"),
        (0, vec!["warning unscoped-permit".to_owned()])
    );
    let wrong = format!("permit {} when {{ context.mfaa }};", view("friends"));
    assert_eq!(rules(&wrong), (65, vec!["error validation".to_owned()]));
    let never = format!("permit {} when {{ false }};", view("friends"));
    assert_eq!(rules(&never), (65, vec!["error never-matches".to_owned()]));
    assert_eq!(rules("permit (principal"), (65, vec!["error syntax".to_owned()]));
    let twice = format!("@id(\"a\") permit {};\n@id(\"a\") forbid {};", view("friends"), view("friends"));
    assert_eq!(rules(&twice), (65, vec!["error id".to_owned()]));
}

#[test]
fn their_cases_can_be_written_by_hand() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = "@id(\"friends\") permit (principal in Group::\"friends\", action == Action::\"view\", resource) when { context.mfa };";
    let entities = ENTITIES.replacen('[', r#"[{ "uid": { "type": "User", "id": "ana" }, "attrs": {}, "parents": [{ "type": "Group", "id": "friends" }] },"#, 1);
    write(Path::new(&path("photos.cedar")), text);
    write(Path::new(&path("photos.cedarschema")), SCHEMA);
    write(Path::new(&path("entities.json")), &entities);
    let case = |name: &str, mfa: bool, rest: &str| {
        format!(
            "[[case]]\nname = \"{name}\"\nprincipal = 'User::\"ana\"'\naction = 'Action::\"view\"'\n\
             resource = 'Photo::\"beach\"'\ncontext = '{{\"mfa\": {mfa}}}'\n{rest}\n"
        )
    };
    let cases = case("with", true, "expect = \"allow\"\nreasons = [\"friends\"]")
        + &case("without", false, "expect = \"deny\"");
    let (policies, schema, entities) = (path("photos.cedar"), path("photos.cedarschema"), path("entities.json"));
    let run = |cases: &str| {
        write(Path::new(&path("photos.cases.toml")), cases);
        let set = ["--policies", &policies, "--schema", &schema, "--entities", &entities];
        policy(&[&["test", "--min-coverage", "100", "--output", "json"], &set[..]].concat())
    };
    let said = run(&cases);
    assert_eq!((said.code, said.json()["passed"].clone()), (0, 2.into()), "{}{}", said.out, said.err);
    let said = run(&case("with", true, "expect = \"allow\""));
    assert_eq!(said.code, 1);
    assert_eq!(said.json()["cases"][0]["message"], "expected the reasons {}, got {\"friends\"}");
    let said = run(&case("with", true, "expect = \"allow\"\nreason = []"));
    assert_eq!(said.code, 65);
    assert!(said.out.contains("did you mean `reasons`?"), "{}", said.out);
}

/// Every set of Cedar's samples that has policies and a schema in the same folder.
fn sets(folder: &Path, into: &mut Vec<[String; 2]>) {
    let schema = folder.join("schema.cedarschema");
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sets(&entry, into);
        } else if entry.extension().is_some_and(|extension| extension == "cedar") && schema.is_file() {
            into.push([entry.display().to_string(), schema.display().to_string()]);
        }
    }
}

#[test]
fn of_cedars_samples_it_says_what_cedar_says() {
    let Some(samples) = cedar_samples() else { return };
    let mut all = Vec::new();
    sets(&samples, &mut all);
    assert!(all.len() >= 20, "{all:?}");
    let (mut valid, mut compared) = (0, 0);
    for [policies, schema] in all {
        let said = policy(&["check", "--policies", &policies, "--schema", &schema, "--output", "json"]);
        let value = said.json();
        let of_cedar = |it: &serde_json::Value| {
            ["syntax", "validation", "never-matches", "confusable"].contains(&it["rule"].as_str().unwrap())
        };
        let is_valid = !value["findings"].as_array().unwrap().iter().any(of_cedar);
        // The names of the samples say which are not.
        let named_bad = ["bad", "invalid", "edited", "unformatted"].iter().any(|word| policies.contains(word));
        if !named_bad {
            assert!(is_valid, "{policies}: {value:#}");
        }
        valid += usize::from(is_valid);
        let Some(cedar) = cedar() else { continue };
        let arguments = ["validate", "--policies", &policies, "--schema", &schema, "--deny-warnings"];
        let theirs = Command::new(cedar).args(arguments).output().unwrap();
        assert_eq!(theirs.status.success(), is_valid, "{policies}: {theirs:?}\n{value:#}");
        compared += 1;
    }
    assert!(valid >= 15, "{valid}");
    eprintln!("{valid} samples are valid; of {compared} the command line says the same");
}
