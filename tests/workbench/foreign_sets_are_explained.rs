use crate::estate::{Said, cedar_samples, policy};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const SCHEMA: &str = "entity Team; entity User in [Team] = { level: Long }; entity Doc in [Team];\n\
    action view, edit appliesTo { principal: [User], resource: [Doc], context: { mfa?: Bool } };";
const ENTITIES: &str = r#"[
    { "uid": { "type": "Team", "id": "red" }, "attrs": {}, "parents": [] },
    { "uid": { "type": "User", "id": "ann" }, "attrs": { "level": 3 }, "parents": [{ "type": "Team", "id": "red" }] },
    { "uid": { "type": "User", "id": "bob" }, "attrs": { "level": 1 }, "parents": [] },
    { "uid": { "type": "Doc", "id": "plan" }, "attrs": {}, "parents": [{ "type": "Team", "id": "red" }] }
]"#;
const POLICIES: &str = "permit (principal in Team::\"red\", action == Action::\"view\", resource) when { principal.level > 2 };\n\
    @id(\"edit\") permit (principal, action == Action::\"edit\", resource) when { principal.level > 2 && context has mfa && context.mfa };\n";

struct Foreign(tempfile::TempDir);

impl Foreign {
    fn new() -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        for (name, text) in [("set.cedar", POLICIES), ("set.cedarschema", SCHEMA), ("entities.json", ENTITIES)] {
            std::fs::write(it.0.path().join(name), text).unwrap();
        }
        it
    }

    fn run(&self, command: &str, more: &[&str]) -> Said {
        run(
            command,
            [
                self.0.path().join("set.cedar"),
                self.0.path().join("set.cedarschema"),
                self.0.path().join("entities.json"),
            ],
            more,
        )
    }
}

fn run(command: &str, [policies, schema, entities]: [PathBuf; 3], more: &[&str]) -> Said {
    let [policies, schema, entities] = [policies, schema, entities].map(|path| path.display().to_string());
    let set = [command, "--policies", &policies, "--schema", &schema, "--entities", &entities];
    policy(&[&set[..], more].concat())
}

#[test]
fn a_request_of_cedars_own() {
    let foreign = Foreign::new();
    let ask = |who: &'static str| {
        ["--output", "json", "--principal", who, "--action", "Action::\"view\"", "--resource", "Doc::\"plan\""]
    };
    let (code, told) = foreign.run("explain", &ask("User::\"ann\"")).json();
    let question = &told["decisions"][0]["questions"][0];
    assert_eq!((code, &question["determining"][0]["id"]), (0, &json!("set.cedar#1")));
    let (code, told) = foreign.run("explain", &ask("User::\"bob\"")).json();
    let question = &told["decisions"][0]["questions"][0];
    // Its level is too low as well: that is not near.
    assert_eq!((code, &question["near_misses"], &question["farther"]), (1, &json!([]), &json!(1)));

    let request = foreign.0.path().join("request.json");
    let file = request.display().to_string();
    let text = r#"{ "principal": { "type": "User", "id": "ann" }, "action": "Action::\"edit\"", "resource": "Doc::\"plan\"", "context": CONTEXT }"#;
    let with = |context: &str| {
        std::fs::write(&request, text.replace("CONTEXT", context)).unwrap();
        foreign.run("explain", &["--output", "json", "--request", &file]).json()
    };
    assert_eq!(with(r#"{ "mfa": true }"#).0, 0);
    let (code, told) = with("{}");
    let miss = &told["decisions"][0]["questions"][0]["near_misses"][0];
    assert_eq!((code, &miss["clause"], &miss["also"]), (1, &json!("context has mfa"), &json!(["context.mfa"])));
    assert_eq!(with(r#"{ "mfa": 1 }"#).0, 65, "a context that does not fit");
}

#[test]
fn who_may_and_what() {
    let foreign = Foreign::new();
    let (code, told) = foreign
        .run("who-can", &["--output", "json", "--action", "Action::\"view\"", "--resource", "Doc::\"plan\"", "--all"])
        .json();
    let said: Vec<(&Value, &Value)> =
        told["rows"].as_array().unwrap().iter().map(|row| (&row["access"], &row["principal"])).collect();
    assert_eq!(code, 0);
    assert_eq!(said, [(&json!("yes"), &json!("User::\"ann\"")), (&json!("no"), &json!("User::\"bob\""))]);
    let (_, told) = foreign.run("can", &["--output", "json", "--principal", "User::\"ann\""]).json();
    let said: Vec<(&Value, &Value)> =
        told["rows"].as_array().unwrap().iter().map(|row| (&row["access"], &row["by"][0])).collect();
    assert_eq!(said, [(&json!("yes"), &json!("Action::\"view\"")), (&json!("if"), &json!("Action::\"edit\""))]);
    let clauses = told["rows"][1]["conditions"].to_string();
    assert!(clauses.contains("context has mfa") && !clauses.contains("level"), "{clauses}");
    let said = foreign.run("can", &["--principal", "User::\"bob\""]);
    assert_eq!(said.code, 1, "{}", said.text());
    assert_eq!(foreign.run("can", &["--principal", "User::\"ann\"", "--action", "Action::\"burn\""]).code, 65);
    // What has agents is narrowgate's own.
    assert_eq!(foreign.run("can", &["quoter"]).code, 65);
}

#[test]
fn cedars_own_samples() {
    let Some(samples) = cedar_samples() else { return };
    let of = |sandbox: &str, policies: &str| {
        [policies, "schema.cedarschema", "entities.json"].map(|name| Path::new(&samples).join(sandbox).join(name))
    };
    let ask = [
        "--principal",
        "User::\"alice\"",
        "--action",
        "Action::\"view\"",
        "--resource",
        "Photo::\"VacationPhoto94.jpg\"",
    ];
    let said = run("explain", of("sandbox_a", "policies_1.cedar"), &ask);
    assert_eq!(said.code, 0, "{}", said.text());
    let bob = ask.map(|word| if word == "User::\"alice\"" { "User::\"bob\"" } else { word });
    let said = run("explain", of("sandbox_a", "policies_1.cedar"), &bob);
    assert!(said.code == 1 && said.text().contains("it is for others"), "{}", said.text());
    let said = run(
        "who-can",
        of("sandbox_a", "policies_2.cedar"),
        &["--action", "Action::\"view\"", "--resource", "Photo::\"VacationPhoto94.jpg\""],
    );
    assert_eq!(said.code, 0, "{}", said.text());
    let context = samples.join("sandbox_b/context.json").display().to_string();
    let said = run("explain", of("sandbox_b", "policies_4.cedar"), &[&ask[..], &["--context", &context]].concat());
    assert!([0, 1].contains(&said.code), "{}", said.text());
}
