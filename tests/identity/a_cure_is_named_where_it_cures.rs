use crate::{
    house::{
        fact,
        scripted_as::identity::{Forgery, rsa_jwk},
    },
    kit::{claims, object, plan, refuses, seconds},
};
use serde_json::json;

const INVALID: &str = "ID_TOKEN_INVALID";

// rows: IDT-02 IDT-04 IDT-05
#[tokio::test]
async fn a_setting_is_named_only_if_it_would_let_the_token_pass() {
    let house = plan("").open().await;
    let mut agent = house.agent().await;
    let mut keys = house.server.keys();
    keys.push(rsa_jwk("RS256"));
    house.server.publish(keys);
    let us = "narrowgate-sales";
    for (forgery, rule, cure) in [
        (claims(json!({"aud": [us, "reports"], "azp": us})), "aud", Some("trusted_audiences")),
        // Trusted, it would still name no `azp`, or not us, or no text.
        (claims(json!({"aud": [us, "reports"]})), "aud", None),
        (claims(json!({"aud": ["reports", "others"], "azp": us})), "aud", None),
        (claims(json!({"aud": "reports"})), "aud", None),
        (claims(json!({"aud": [us, 7], "azp": us})), "aud", None),
        (claims(json!({"aud": 7})), "aud", None),
        (claims(json!({"iat": seconds(30)})), "iat", Some("clock_skew")),
        (claims(json!({"nbf": seconds(30)})), "nbf", Some("clock_skew")),
        (claims(json!({"auth_time": seconds(30)})), "auth_time", Some("clock_skew")),
        (claims(json!({"exp": seconds(-20), "iat": seconds(-30)})), "exp", Some("clock_skew")),
        (claims(json!({"exp": seconds(-7200), "iat": seconds(-7300)})), "exp", None),
        (claims(json!({"exp": seconds(300).to_string()})), "exp", None),
        (claims(json!({"exp": null})), "exp", None),
        (claims(json!({"iat": "now"})), "iat", None),
        (claims(json!({"iat": seconds(90)})), "iat", None),
        (claims(json!({"auth_time": true})), "auth_time", None),
        // One thing is cured, and another is not.
        (claims(json!({"iat": seconds(30), "nonce": "another"})), "iat", None),
        (Forgery::Rs256, "alg", Some("algs")),
        (Forgery::HmacWithPublicKey, "alg", None),
        (Forgery::Header(object(json!({"alg": "none"}))), "alg", None),
        (Forgery::Header(object(json!({"alg": "RS256"}))), "alg", None),
    ] {
        let what = format!("{forgery:?}");
        let before = house.log().len();
        let status = refuses(&house, &mut agent, forgery, INVALID, rule).await;
        let named = cure.map(|key| format!("[issuer.id_token] {key}"));
        assert_eq!(fact(&status, "cure"), named, "{what}");
        let log = house.log().split_off(before);
        let line = log.lines().find(|line| line.contains("the ID token is refused")).expect(&what).to_owned();
        for key in ["trusted_audiences", "clock_skew in", "algs"] {
            let named = cure.is_some_and(|cure| key.starts_with(cure));
            assert_eq!(line.contains(key), named, "{what}: {line}");
        }
    }
}
