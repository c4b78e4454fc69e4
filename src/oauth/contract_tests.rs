//! Tests of what a contract demands.

use super::*;
use crate::model::AuthorizationDetails;
use serde_json::json;

const NOW: Wall = Wall(1_000_000_000);

fn judged(changes: Value, resource: Option<&str>, accept: &Accept) -> Result<Learnt, Breach> {
    let mut claims = json!({
        "iss": "https://as.test", "client_id": "us", "aud": "https://api.test", "exp": 1_000_060, "iat": 999_999,
        "sub": "s", "jti": "j", "scope": "read",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    let asked = ScopeSet::parse("openid read write").unwrap();
    let (issuer, client_id, skew) = ("https://as.test", "us", Duration::from_secs(10));
    let (confirmation, says_all) = (None, true);
    let targets = resource.into_iter().collect();
    let expect = Expect { issuer, client_id, targets, asked: &asked, accept, skew, confirmation, says_all };
    judge(claims.as_object().unwrap(), &expect, NOW)
}

// rows: INTR-08 RES-04
#[test]
fn each_claim_is_held_against_what_was_asked() {
    let api = Some("https://api.test");
    let of = |changes| judged(changes, api, &Accept::default());
    let learnt = of(json!({})).unwrap();
    let read = (ScopeSet::parse("read").unwrap(), Vec::new());
    assert_eq!(learnt, Learnt { scopes: Some(read), left: Duration::from_secs(60), details: None });
    assert_eq!(of(json!({"scope": null})).unwrap().scopes, None);
    for (name, values) in [
        ("iss", json!([null, "https://as.test/", "https://AS.test", ["https://as.test"], 1])),
        ("client_id", json!([null, "US", "other", ["us"], 1])),
        ("exp", json!([null, 1_000_000, 999_995, "1000060", 1_000_060.5, -1, 253_402_300_800_u64])),
        ("iat", json!([1_000_011, "x", 1.5])),
        ("nbf", json!([1_000_011, "x"])),
        ("scope", json!(["", " read", "read  write", ["read"], 1])),
    ] {
        for value in values.as_array().unwrap() {
            assert_eq!(of(json!({ name: value })), Err(Breach::Rule(name)), "{name} {value}");
        }
    }
    for aud in [
        json!(null),
        json!(""),
        json!("https://api.test/"),
        json!("https://API.test"),
        json!("https://other.test"),
        json!([]),
        json!(["https://api.test", "https://other.test"]),
        json!(["https://api.test", 1]),
        json!({"https://api.test": 1}),
    ] {
        assert_eq!(of(json!({ "aud": aud })), Err(Breach::Audience), "{aud}");
    }
    assert!(of(json!({"aud": ["https://api.test"]})).is_ok());
    for (scope, beyond) in [("read admin", "admin"), ("READ", "READ"), ("read profile", "profile")] {
        assert_eq!(of(json!({ "scope": scope })), Err(Breach::Scopes(beyond.to_owned())));
    }
    // Without a resource there is nothing to compare with; something it is for all the same.
    assert!(judged(json!({"aud": "https://other.test"}), None, &Accept::default()).is_ok());
    assert_eq!(judged(json!({"aud": ""}), None, &Accept::default()), Err(Breach::Audience));
}

// rows: INTR-07 INTR-08
#[test]
fn a_token_says_less_than_its_answer_and_never_more() {
    let scope = |text: &str| Scope::parse(text).unwrap();
    let set = |text: &str| ScopeSet::parse(text).unwrap();
    let of = |said: &str, answered: &str, left: u64| {
        let success = Success {
            access: AccessToken::new("at".to_owned()),
            refresh: None,
            id_token: None,
            issued_type: None,
            not_applicable: false,
            details_answered: None,
            details_carried: None,
            details: AuthorizationDetails::default(),
            lifetime: Duration::from_secs(100),
            scopes: set(answered),
            scope_named: false,
            tolerated: vec![scope("x")],
        };
        let learnt = Learnt {
            scopes: Some((set(said), vec![scope("x"), scope("y")])),
            left: Duration::from_secs(left),
            details: None,
        };
        tighten(success, learnt).map_err(|(_, breach)| breach)
    };
    let success = of("read write", "read openid offline_access", 500).ok().unwrap();
    assert_eq!((success.scopes, success.lifetime.as_secs()), (set("read openid offline_access"), 100));
    assert_eq!((success.tolerated, success.scope_named), (vec![scope("x"), scope("y")], true));
    let success = of("read", "read write", 50).ok().unwrap();
    assert_eq!((success.scopes, success.lifetime.as_secs()), (set("read"), 50));
    assert_eq!(of("write", "read", 50).err(), Some(Breach::Rule("scope")));
}
