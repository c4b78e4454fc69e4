use crate::{house::Plan, kit::Key};

// rows: AGNT-07 (whose word counts)
#[test]
fn what_cannot_be_right_is_refused() {
    let (key, other) = (Key::new(), Key::new());
    let table = |id: &str, jwk: &str| format!("\n[[approver]]\nid = \"{id}\"\nteams = [\"sales\"]\njwk = '{jwk}'\n");
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    for (text, says) in [
        (table("ann", "no JSON"), "`approver.jwk`"),
        (table("ann", "[]"), "must be a public key as a JWK"),
        (table("ann", r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#), "must be a public key as a JWK"),
        (table("ann", &format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}="}}"#)), "must be a public key as a JWK"),
        (table("ann", &format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}"}}"#)), "must be a public key as a JWK"),
        (table("ann", r#"{"kty":"oct","k":"c2VjcmV0"}"#), "must be a public key as a JWK"),
        (table("ann", &format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","d":"{x}"}}"#)), "holds the private key"),
        (table("corp|ann", &key.jwk()), "`approver.id`"),
        (table("", &key.jwk()), "`approver.id`"),
        ("\n[[approver]]\nid = \"ann\"\nteams = [\"sales\"]\n".to_owned(), "`jwk` is missing in [approver]"),
        (table("ann", &key.jwk()) + &table("ann", &other.jwk()), "approver `ann` is registered twice"),
        (table("ann", &key.jwk()) + &table("bob", &key.jwk()), "is the key of approver `ann` too"),
        (table("ann", &key.jwk()).replace("teams", "team"), "did you mean `teams`?"),
    ] {
        let mut plan = Plan::new();
        plan.agents.push_str(&text);
        let house = plan.build();
        let output = house.command("check").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(says), "{says:?} is not in: {told}");
    }
    let mut plan = Plan::new();
    plan.agents.push_str(&(key.table("ann", "sales") + &other.table("bob", "finance")));
    let output = plan.build().command("check").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
