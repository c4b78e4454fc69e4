use crate::{
    house::{
        House, redeem,
        scripted_as::{
            behaviour::{Behaviour, Script},
            identity::{Forgery, rsa_jwk},
        },
    },
    kit::{BOTH, READ, claims, login, object, param, plan, refuses, roomy, seconds},
};
use serde_json::json;

const INVALID: &str = "ID_TOKEN_INVALID";

/// A good login still works after everything that was refused.
async fn settled(house: &House) {
    let mut agent = house.agent().await;
    login(house, &mut agent).await.unwrap();
}

// rows: IDT-01 IDT-02 JOSE-10
#[tokio::test]
async fn one_for_or_of_someone_else() {
    let house = plan("trusted_audiences = [\"reports\"]").open().await;
    let mut agent = house.agent().await;
    let us = "narrowgate-sales";
    let issuer = house.server.issuer();
    for (changes, rule) in [
        (json!({"iss": "https://evil.test"}), "iss"),
        (json!({"iss": format!("{issuer}/")}), "iss"),
        (json!({"iss": [issuer]}), "iss"),
        (json!({"iss": null}), "iss"),
        (json!({"aud": "another-client"}), "aud"),
        (json!({"aud": [us, "evil"], "azp": us}), "aud"),
        (json!({"aud": ["reports"]}), "aud"),
        (json!({"aud": []}), "aud"),
        (json!({"aud": 1}), "aud"),
        (json!({"aud": null}), "aud"),
        (json!({"azp": "other"}), "azp"),
        (json!({"aud": [us, "reports"]}), "azp"),
        (json!({"aud": [us, "reports"], "azp": "reports"}), "azp"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": ""}), "sub"),
        (json!({"sub": 1}), "sub"),
    ] {
        refuses(&house, &mut agent, claims(changes), INVALID, rule).await;
    }
    let trusted = claims(json!({"aud": ["reports", us], "azp": us}));
    house.server.behave(Script::Token(Behaviour::IdToken(trusted)));
    settled(&house).await;
}

// rows: IDT-03 JOSE-01 JOSE-05 JOSE-07
#[tokio::test]
async fn one_that_is_not_well_signed() {
    let house = plan("").open().await;
    let mut agent = house.agent().await;
    let header = |members| Forgery::Header(object(members));
    for (forgery, rule) in [
        (Forgery::Missing, "missing"),
        (Forgery::Instead(json!(null)), "missing"),
        (Forgery::Instead(json!({"payload": "e30", "signatures": []})), "missing"),
        (Forgery::Instead(json!("")), "form"),
        (Forgery::Instead(json!("canary.of.five.segments.here")), "form"),
        (Forgery::Unsigned, "form"),
        (Forgery::AlgNone("none"), "form"),
        (header(json!({"alg": "none"})), "alg"),
        (header(json!({"alg": "nOnE"})), "alg"),
        (Forgery::WrongKey, "signature"),
        (Forgery::EmbeddedKey, "signature"),
        (Forgery::HmacWithPublicKey, "alg"),
        (header(json!({"kid": "scripted-1"})), "signature"),
        (header(json!({"kid": "../../etc/passwd"})), "unknown_key"),
        (header(json!({"kid": "k".repeat(300)})), "kid"),
        (header(json!({"kid": ["id-1"]})), "kid"),
        (header(json!({"kid": null})), "ambiguous_key"),
        (header(json!({"crit": ["x"], "x": 1})), "crit"),
        (header(json!({"b64": false})), "crit"),
        (header(json!({"typ": "at+jwt"})), "typ"),
    ] {
        refuses(&house, &mut agent, forgery, INVALID, rule).await;
    }
    // The header's own key and the place it names were never asked for.
    assert!(!house.server.requests().iter().any(|line| line.contains("theirs")));
    assert!(!house.events("detect.id_token_forged").is_empty());
    settled(&house).await;
}

// rows: IDT-04 JOSE-01
#[tokio::test]
async fn one_of_an_algorithm_that_is_not_registered() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    let with = |house: &House, key| {
        let mut keys = house.server.keys();
        keys.push(key);
        house.server.publish(keys);
    };
    // It does not say what it is for (RFC 7517 §4.4).
    let mut bare = rsa_jwk("PS256");
    bare.as_object_mut().unwrap().remove("alg");
    with(&house, bare.clone());
    house.server.behave(Script::Token(Behaviour::IdToken(Forgery::Ps256)));
    login(&house, &mut agent).await.unwrap();
    refuses(&house, &mut agent, Forgery::Rs256, INVALID, "alg").await;
    // The log says which line would allow it.
    assert!(house.log().contains(r#"id_token = { algs = [\"RS256\"] }"#), "{}", house.log());

    let house = roomy("algs = [\"RS256\"]").open().await;
    let mut agent = house.agent().await;
    with(&house, rsa_jwk("RS256"));
    house.server.behave(Script::Token(Behaviour::IdToken(Forgery::Rs256)));
    login(&house, &mut agent).await.unwrap();
    refuses(&house, &mut agent, Forgery::Ps256, INVALID, "alg").await;
    // Not even a key for RS256 may sign with it where ES256 is all that was registered for others.
    refuses(&house, &mut agent, claims(json!({})), INVALID, "alg").await;

    // Both are registered, and one key without `alg` is for both; the token cannot choose a third.
    let house = roomy("algs = [\"RS256\", \"PS256\"]").open().await;
    let mut agent = house.agent().await;
    with(&house, bare);
    for forgery in [Forgery::Rs256, Forgery::Ps256] {
        house.server.behave(Script::Token(Behaviour::IdToken(forgery)));
        login(&house, &mut agent).await.unwrap();
    }
    refuses(&house, &mut agent, claims(json!({})), INVALID, "alg").await;
    assert!(house.events("detect.id_token_forged").is_empty());
}

// rows: IDT-05 TIME-01 JOSE-10
#[tokio::test]
async fn one_of_another_time() {
    let house = plan("").open().await;
    let mut agent = house.agent().await;
    for (changes, rule) in [
        (json!({"exp": seconds(-11)}), "exp"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": seconds(300).to_string()}), "exp"),
        (json!({"iat": null}), "iat"),
        // Too far ahead by more than the 10 s that are tolerated, with room for a slow test.
        (json!({"iat": seconds(30)}), "iat"),
        (json!({"iat": seconds(-3600)}), "iat"),
        (json!({"nbf": seconds(60)}), "nbf"),
        (json!({"auth_time": seconds(60)}), "auth_time"),
    ] {
        refuses(&house, &mut agent, claims(changes), INVALID, rule).await;
    }
    let slightly_ahead = claims(json!({"iat": seconds(9), "nbf": seconds(9)}));
    house.server.behave(Script::Token(Behaviour::IdToken(slightly_ahead)));
    settled(&house).await;

    let house = plan("clock_skew = \"60s\"").open().await;
    let mut agent = house.agent().await;
    refuses(&house, &mut agent, claims(json!({"iat": seconds(90)})), INVALID, "iat").await;
    house.server.behave(Script::Token(Behaviour::IdToken(claims(json!({"iat": seconds(30)})))));
    settled(&house).await;
}

// rows: IDT-06
#[tokio::test]
async fn one_of_another_login() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    let first = house.begin(&mut agent, &BOTH).await.unwrap();
    let used = param(&first.authorization_url, "nonce").unwrap();
    let callback = house.server.approve(&first.authorization_url);
    redeem(&mut agent, &first.transaction, &callback).await.unwrap();
    let open = house.begin(&mut agent, &BOTH).await.unwrap();
    let others = param(&open.authorization_url, "nonce").unwrap();
    for nonce in [json!(null), json!(""), json!(used), json!(others), json!(1), json!([used])] {
        refuses(&house, &mut agent, claims(json!({"nonce": nonce})), "NONCE_MISMATCH", "nonce").await;
    }
    house.event("detect.id_token_forged").await;
    // The other login is not disturbed, and each has a nonce of its own: 32 random bytes.
    let callback = house.server.approve(&open.authorization_url);
    redeem(&mut agent, &open.transaction, &callback).await.unwrap();
    assert_ne!(used, others);
    assert!(used.len() == 43 && others.len() == 43);
    // Nobody asks for what they cannot check.
    let plain = house.begin(&mut agent, &[READ]).await.unwrap();
    assert_eq!(param(&plain.authorization_url, "nonce"), None);
}

// rows: IDT-07
#[tokio::test]
async fn one_that_is_not_as_fresh_or_strong_as_asked() {
    let house = plan("max_age = \"60s\"\nacr_values = [\"gold\", \"silver\"]").open().await;
    house.server.person(&object(json!({"acr": "gold"})));
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &BOTH).await.unwrap();
    assert_eq!(param(&begun.authorization_url, "max_age").as_deref(), Some("60"));
    assert_eq!(param(&begun.authorization_url, "acr_values").as_deref(), Some("gold silver"));
    for changes in [
        json!({"auth_time": null}),
        json!({"auth_time": seconds(-120)}),
        json!({"acr": null}),
        json!({"acr": "bronze"}),
        json!({"acr": ["gold"]}),
    ] {
        refuses(&house, &mut agent, claims(changes), "STEP_UP_REQUIRED", "").await;
    }
    house.server.behave(Script::Token(Behaviour::IdToken(claims(json!({"acr": "silver"})))));
    settled(&house).await;
}

// rows: IDT-08
#[tokio::test]
async fn one_that_came_with_another_access_token() {
    let house = plan("").open().await;
    let mut agent = house.agent().await;
    for at_hash in [json!("AAAAAAAAAAAAAAAAAAAAAA"), json!(""), json!(1), json!([])] {
        refuses(&house, &mut agent, claims(json!({"at_hash": at_hash})), "AT_HASH_MISMATCH", "at_hash").await;
    }
    // Swapped on the way: the ID token is good, and for another access token.
    house.server.behave(Script::Token(Behaviour::IdToken(claims(json!({"at_hash": null})))));
    settled(&house).await;
}
