//! `policy test` reads the tests of Cedar's own command line as they are, and passes and fails what that does.

use crate::starter::{Starter, cedar, cedar_samples, policy};
use std::{fs, path::Path, process::Command};

/// The files of tests in Cedar's samples, each with its policies.
fn samples(folder: &Path) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for sample in fs::read_dir(folder.join("tiny_sandboxes")).unwrap().map(|entry| entry.unwrap().path()) {
        let schema = sample.join("schema.cedarschema").display().to_string();
        let files = || fs::read_dir(&sample).into_iter().flatten().map(|entry| entry.unwrap().path());
        let policies = files().filter(|path| path.extension().is_some_and(|extension| extension == "cedar"));
        for policies in policies {
            let tests = files().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("test"));
            all.extend(
                tests.map(|tests| (policies.display().to_string(), schema.clone(), tests.display().to_string())),
            );
        }
    }
    all.sort();
    all
}

#[test]
fn of_cedars_samples_the_same_pass_and_fail() {
    let Some(folder) = cedar_samples() else { return };
    let (mut passed, mut failed, mut compared) = (0, 0, 0);
    for (policies, schema, tests) in samples(&folder) {
        let said = policy(&["test", &tests, "--policies", &policies, "--schema", &schema, "--output", "json"]);
        let is_good = tests.contains("combined") || tests.contains("named");
        if !policies.contains("bad") && !policies.contains("invalid") {
            assert_eq!(said.code == 0, is_good, "{policies} {tests}: {}{}", said.out, said.err);
        }
        *(if said.code == 0 { &mut passed } else { &mut failed }) += 1;
        let Some(cedar) = cedar() else { continue };
        let arguments = ["run-tests", "--policies", &policies, "--schema", &schema, "--tests", &tests];
        let theirs = Command::new(cedar).args(arguments).output().unwrap();
        let their_words = String::from_utf8(theirs.stdout).unwrap();
        assert_eq!(theirs.status.success(), said.code == 0, "{policies} {tests}: {their_words}\n{}", said.out);
        // Case by case, where the file can be read at all.
        if said.code != 65 {
            let value = said.json();
            let results = format!("results: {} passed, {} failed", value["passed"], value["failed"]);
            assert!(their_words.contains(&results), "{policies} {tests}: {their_words}\n{value:#}");
        }
        compared += 1;
    }
    eprintln!("{passed} files of tests pass and {failed} do not; of {compared} the command line says the same");
    assert!(passed >= 8 && failed >= 6, "{passed} {failed}");
}

#[test]
fn they_run_beside_an_own_sets_cases_too() {
    let set = Starter::new();
    let entities = set.run("entities", &[]).out;
    set.write("policies/entities.json", &entities);
    let test = |decision: &str, reason: &str, entities: &str| {
        format!(
            r#"{{ "name": "an operator looks ({decision}, {reason})", "request": {{
                "principal": "Narrowgate::Operator::\"root\"", "action": "Narrowgate::Action::\"admin_status\"",
                "resource": "Narrowgate::Daemon::\"narrowgate\"",
                "context": {{ "now": {{ "__extn": {{ "fn": "datetime", "arg": "2026-11-22T10:00:00Z" }} }},
                  "caller": {{ "transport": "uds", "attestation": {{ "method": "unix-peer", "verified": true }} }} }} }},
              "entities": "{entities}", "decision": "{decision}", "reason": ["{reason}"], "num_errors": 0 }}"#
        )
    };
    let good = test("allow", "operator.look", "entities.json");
    set.write("policies/look.tests.json", &format!("[\n{good}\n]\n"));
    let said = set.run("test", &["--filter", "operator looks", "--output", "json"]);
    assert_eq!((said.code, said.json()["passed"].clone()), (0, 1.into()), "{}{}", said.out, said.err);
    let held = |value: &serde_json::Value| {
        let policies = value["coverage"]["policies"].as_array().unwrap().clone();
        policies.iter().find(|it| it["policy"] == "operator.look").unwrap()["held"].clone()
    };
    assert_eq!(held(&said.json()), 1);
    // Each kind of failure, with its line.
    let wrong = [
        (test("deny", "operator.look", "entities.json"), "expected deny, got allow by {\"operator.look\"}"),
        (test("allow", "operator.stop", "entities.json"), "expected the reasons [\"operator.stop\"] among others"),
        (test("allow", "operator.look", "../agents.toml"), "is outside of the folder of the tests"),
        (test("allow", "operator.look", "none.json"), "none.json cannot be read"),
        (good.replace("Operator::", "Oprator::"), "Oprator"),
        (good.replace("\"decision\": \"allow\", ", ""), "`decision` is missing"),
        (good.replace("\"num_errors\": 0", "\"num_errors\": 2"), "expected 2 evaluation errors, got 0"),
    ];
    for (text, words) in wrong {
        set.write("policies/look.tests.json", &format!("[\n{good},\n{text}\n]\n"));
        let said = set.run("test", &["--filter", "operator looks", "--output", "json"]);
        let value = said.json();
        let failed = &value["cases"][1];
        assert_eq!((said.code, &value["passed"], &value["failed"]), (1, &1.into(), &1.into()), "{value:#}");
        assert!(failed["message"].as_str().unwrap().contains(words), "{words}: {value:#}");
        assert_eq!(failed["line"], 8, "{value:#}");
    }
    set.write("policies/look.tests.json", "{}");
    assert_eq!(set.run("test", &[]).code, 65);
}
