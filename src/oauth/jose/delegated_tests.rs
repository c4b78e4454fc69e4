use super::{
    super::{jws::verify, testing::*},
    *,
};
use crate::model::Algorithm;
use serde_json::json;

const NOW: Wall = Wall(1_800_000_000_000);

fn judged(changes: Value) -> Result<Claims, &'static str> {
    let signer = Signer::new(Algorithm::Es256);
    let keys = key_set(&[signer.jwk("k")]);
    let claims = json!({
        "iss": "https://as.test", "aud": "https://agent.test", "sub": "ana", "exp": 1_800_000_060u64,
        "iat": 1_799_999_000u64, "scope": "a b", "client_id": "caller",
    });
    let token = signer.sign("k", json!({"typ": "at+jwt"}), &with(claims, changes));
    let verified = verify(&token, &keys, &algorithms(&[Algorithm::Es256]), Kind::AccessToken).ok().unwrap();
    let audiences = ["https://agent.test"];
    let expected = Expected { issuer: "https://as.test", audiences: &audiences, skew: Duration::from_secs(10) };
    judge(&verified, &expected, NOW)
}

// rows: TEX-07
#[test]
fn every_rule_has_a_claim_that_breaks_it() {
    let claims = judged(json!({})).unwrap();
    assert_eq!((claims.sub.as_str(), claims.parties.as_slice()), ("ana", &["caller".to_owned()][..]));
    for (changes, rule) in [
        (json!({"iss": "https://other.test"}), "iss"),
        (json!({"aud": "https://other.test"}), "aud"),
        (json!({"aud": ["https://agent.test", 7]}), "aud"),
        (json!({"aud": null}), "aud"),
        (json!({"exp": 1_800_000_000u64}), "exp"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": "1800000060"}), "exp"),
        (json!({"iat": 1_800_000_011u64}), "iat"),
        (json!({"nbf": 1_800_000_011u64}), "nbf"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": "\u{7}"}), "sub"),
        (json!({"scope": "a  b"}), "scope"),
        (json!({"scope": ["a"]}), "scope"),
        (json!({"act": {}}), "act"),
        (json!({"act": {"sub": "x", "act": "y"}}), "act"),
    ] {
        assert_eq!(judged(changes.clone()).unwrap_err(), rule, "{changes}");
    }
}

// rows: TEX-08 TEX-09
#[test]
fn actors_are_read_whole_or_not_at_all() {
    let claims = judged(json!({"act": {"sub": "x", "act": {"sub": "y"}}, "may_act": {"sub": "z"}})).unwrap();
    assert_eq!(claims.actors, ["x", "y"]);
    assert_eq!(claims.may_act.unwrap().sub.as_deref(), Some("z"));
    // Who may act is nobody, where it cannot be read.
    for odd in [json!({}), json!("z"), json!({"sub": ["z"]}), json!([])] {
        assert_eq!(judged(json!({"may_act": odd})).unwrap().may_act, Some(MayAct { sub: None }));
    }
    let deep = (0..=ACTORS_MAX).fold(json!({"sub": "x"}), |inner, _| json!({"sub": "x", "act": inner}));
    assert_eq!(actors(Some(&deep)), None);
}

// rows: TEX-07
#[test]
fn a_confirmation_is_certificate_bearer_or_unseen() {
    for (cnf, found) in [
        (json!(null), Confirmation::Bearer),
        (json!({"x5t#S256": "t"}), Confirmation::Certificate("t".to_owned())),
        (json!({"jkt": "t"}), Confirmation::Other),
        (json!({"x5t#S256": "t", "jkt": "t"}), Confirmation::Other),
        (json!([]), Confirmation::Other),
    ] {
        assert_eq!(judged(json!({"cnf": cnf})).unwrap().confirmation, found);
    }
}
