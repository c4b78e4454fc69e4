use crate::estate::{Said, cedar_samples, policy};
use serde_json::{Value, json};
use std::path::PathBuf;

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
    let of = |folder: &str, names: [&str; 3]| names.map(|name| samples.join(folder).join(name));
    let photos = || of("tiny_sandboxes/sample2", ["policy.cedar", "schema.cedarschema", "entity.json"]);
    let request = samples.join("tiny_sandboxes/sample2/request.json").display().to_string();
    let said = run("explain", photos(), &["--request", &request]);
    assert!(said.code == 0 && said.text().contains("by permit policy.cedar#1"), "{}", said.text());
    let photo = "Photo::\"VacationPhoto94.jpg\"";
    let ask = ["--principal", "User::\"ann\"", "--action", "Action::\"view\"", "--resource", photo];
    let said = run("explain", photos(), &ask);
    assert!(said.code == 1 && said.text().contains("no permit is near"), "{}", said.text());
    let said = run("who-can", photos(), &["--action", "Action::\"view\"", "--resource", photo]);
    assert!(said.code == 0 && said.text().contains("yes  User::\"bob\""), "{}", said.text());

    let documents = || of("tpe_rfc", ["policies.cedar", "schema.cedarschema", "entities.json"]);
    let document = r#"[{ "uid": { "type": "User", "id": "Alice" }, "attrs": {}, "parents": [] },
        { "uid": { "type": "Document", "id": "d" }, "parents": [],
          "attrs": { "isPublic": false, "owner": { "type": "User", "id": "Alice" } } }]"#;
    let folder = tempfile::tempdir().unwrap();
    let [entities, context] = ["entities.json", "context.json"].map(|name| folder.path().join(name));
    std::fs::write(&entities, document).unwrap();
    std::fs::write(&context, r#"{ "hasMFA": false }"#).unwrap();
    let [policies, schema, _] = documents();
    let set = || [policies.clone(), schema.clone(), entities.clone()];
    let ask = ["--principal", "User::\"Alice\"", "--action", "Action::\"View\"", "--resource", "Document::\"d\""];
    let context = context.display().to_string();
    let said = run("explain", set(), &[&ask[..], &["--context", &context]].concat());
    let text = said.text();
    for piece in [
        "its condition fails at: resource.isPublic",
        "its condition fails at: context.hasMFA",
        "context.hasMFA = false",
    ] {
        assert!(said.code == 1 && text.contains(piece), "{piece}: {text}");
    }
    let said = run("can", set(), &["--principal", "User::\"Alice\""]);
    let text = said.text();
    for piece in ["if context.hasMFA", "if context.srcIP.isInRange(ip(\"1.1.1.0/24\"))"] {
        assert!(said.code == 0 && text.contains(piece), "{piece}: {text}");
    }
}
