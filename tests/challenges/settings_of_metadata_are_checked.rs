use crate::{
    house::Plan,
    kit::{Resource, build},
};

/// What `check` says to these lines of the API.
fn check(plan: Plan, lines: &str) -> (Option<i32>, String) {
    let output = build(plan, &Resource::start(), lines).command("check").output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn trust_roots_are_there_and_the_identifier_is_a_place() {
    assert_eq!(check(Plan::new(), "metadata_ca = \"resource-ca.pem\"").0, Some(0));
    for (lines, said) in [
        ("metadata_ca = \"missing.pem\"", "metadata_ca"),
        ("metadata_ca = \"narrowgate.toml\"", "holds no certificate"),
        ("metadata_ca = \"daemon.pem\"", "no authority's"),
        ("metadata = true", "metadata"),
    ] {
        let (code, text) = check(Plan::new(), lines);
        assert_eq!(code, Some(64), "{lines}: {text}");
        assert!(text.contains(said), "{lines}: {text}");
    }
    for identifier in ["urn:mail", "http://mail.example.test/api", "https://mail.example.test/api?x=1"] {
        let mut plan = Plan::new();
        let mail = "identifier = \"https://mail.example.test/api\"";
        let with = format!("identifier = \"{identifier}\"\nmetadata_ca = \"resource-ca.pem\"");
        plan.apis = plan.apis.replace(mail, &with);
        let (code, text) = check(plan, "");
        assert_eq!(code, Some(64), "{identifier}: {text}");
        assert!(text.contains("there is nobody to ask"), "{identifier}: {text}");
    }
}
