//! An ID token with the right signature and the wrong words: claims that are absent, doubled, or of a type that libraries
//! wave through, and headers that ask for other rules. Each login but the last is refused, whole.

use crate::{
    identity::{claims, login, object, refuses, roomy, seconds},
    kit::*,
};
use serde_json::json;

#[tokio::test]
async fn a_good_signature_excuses_no_claim() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    let (us, issuer) = ("narrowgate-sales", house.server.issuer());
    for (odd, rule) in [
        (json!({"iss": null, "aud": null}), "iss"),
        (json!({"iss": [issuer, "https://evil.example"]}), "iss"),
        (json!({"iss": 1}), "iss"),
        (json!({"aud": 1}), "aud"),
        (json!({"aud": [us, "evil"]}), "aud"),
        (json!({"aud": {"0": us}}), "aud"),
        (json!({"sub": null}), "sub"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": seconds(-59)}), "exp"),
        (json!({"exp": seconds(300).to_string()}), "exp"),
        (json!({"nbf": seconds(3600)}), "nbf"),
        (json!({"iat": seconds(3600)}), "iat"),
    ] {
        refuses(&house, &mut agent, claims(odd), "ID_TOKEN_INVALID", rule).await;
    }
    for claim in ["sub", "aud", "nonce"] {
        refuses(&house, &mut agent, Forgery::Twice(claim), "ID_TOKEN_INVALID", "claims").await;
    }
    for (odd, rule) in [
        (json!({"crit": ["x"], "x": true}), "crit"),
        (json!({"crit": []}), "crit"),
        (json!({"b64": false, "crit": ["b64"]}), "crit"),
        (json!({"typ": "dpop+jwt"}), "typ"),
        (json!({"typ": "at+jwt"}), "typ"),
    ] {
        refuses(&house, &mut agent, Forgery::Header(object(odd)), "ID_TOKEN_INVALID", rule).await;
    }
    assert_nothing_issued(&house);
    login(&house, &mut agent).await.unwrap();
}
