use crate::{
    house::{
        House, fact, reason, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{BOTH, READ, facts, object, plan, refuses, roomy},
};
use serde_json::{Value, json};
use tonic::Code;

fn raw(kind: &str, body: String) -> Behaviour {
    Behaviour::Raw { status: 200, headers: vec![("Content-Type".to_owned(), kind.to_owned())], body: body.into_bytes() }
}

fn key_set(house: &House, more: Value) -> Behaviour {
    let mut keys = house.server.keys();
    keys.push(more);
    raw("application/json", json!({ "keys": keys }).to_string())
}

/// A login that finds these keys: the code stays unspent and is redeemed when the keys are good again.
async fn holds_back(house: &House, keys: Behaviour, rejected: Option<&str>) {
    let mut what = format!("{keys:?}");
    what.truncate(120);
    let server = &house.server;
    let (posts, alarms) = (server.token_posts(), house.events("detect.jwks_rejected").len());
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &BOTH).await;
    server.behave(Script::Jwks(keys));
    let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap_or_else(|| panic!("{what} was taken"));
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "JWKS_UNAVAILABLE"), "{what}");
    assert_eq!(server.token_posts(), posts, "{what}");
    match rejected {
        Some(why) => {
            let alarm = crate::house::eventually(&what, || {
                let seen = house.events("detect.jwks_rejected");
                (seen.len() > alarms).then(|| seen.last().cloned()).flatten()
            });
            let alarm = alarm.await;
            assert_eq!((&facts(&alarm)["why"], &alarm["severity_id"]), (&json!(why), &json!(4)), "{what}");
        }
        None => assert_eq!(house.events("detect.jwks_rejected").len(), alarms, "{what}"),
    }
    redeem(&mut agent, &transaction, &callback).await.unwrap_or_else(|e| panic!("{what}: the code was spent: {e:?}"));
    assert_eq!(server.token_posts(), posts + 1, "{what}");
}

// rows: JOSE-04 IDT-03
#[tokio::test]
async fn a_private_or_symmetric_key_refuses_the_document() {
    let private = |more: Value| {
        let mut key = json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": "AA", "y": "AA"});
        key.as_object_mut().unwrap().extend(object(more));
        key
    };
    for key in [
        private(json!({"d": "canary-private-key"})),
        private(json!({"use": "enc", "d": "canary-private-key"})),
        json!({"kty": "oct", "kid": "s", "k": "canary-symmetric-key"}),
        json!({"kty": "RSA", "n": "AQ", "e": "AQAB", "p": "canary-prime-number"}),
    ] {
        let house = plan("").open().await;
        holds_back(&house, key_set(&house, key), Some("private_key")).await;
        assert!(!house.log().contains("canary-p") && !house.audit_text().contains("canary-s"));
    }
}

// rows: JOSE-04
#[tokio::test]
async fn a_key_for_something_else_verifies_nothing() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    let keys = house.server.keys();
    for (member, value) in [("use", json!("enc")), ("key_ops", json!(["encrypt"])), ("alg", json!("ES384"))] {
        let bent: Vec<Value> = keys
            .iter()
            .cloned()
            .map(|mut key| {
                key[member] = value.clone();
                key
            })
            .collect();
        house.server.publish(bent);
        let forgery = crate::kit::claims(json!({}));
        refuses(&house, &mut agent, forgery, "ID_TOKEN_INVALID", "unknown_key").await;
    }
}

// rows: JOSE-04 TOK-07
#[tokio::test]
async fn documents_that_explode_lie_or_are_none() {
    let million = || {
        let keys = "{\"kty\":\"EC\"},".repeat(1_000_000);
        format!("{{\"keys\":[{}]}}", keys.trim_end_matches(','))
    };
    let many = || format!("{{\"keys\":[{}]}}", vec!["{\"kty\":\"EC\"}"; 101].join(","));
    for (keys, rejected) in [
        (raw("application/json", million()), Some("size")),
        (Behaviour::EndlessBody, Some("size")),
        (Behaviour::EndlessChunks, Some("size")),
        (raw("application/json", many()), Some("too_many_keys")),
        (raw("application/json", "{\"keys\":[],\"keys\":[]}".to_owned()), Some("malformed")),
        (raw("application/json", "{\"keys\":{}}".to_owned()), Some("malformed")),
        (raw("application/json", "[".repeat(100_000)), Some("malformed")),
        (raw("text/html", "<html>{\"keys\":[]}</html>".to_owned()), None),
        (Behaviour::Gzip, None),
        (Behaviour::Status(404), None),
        (Behaviour::Status(500), None),
        (Behaviour::Redirect { status: 302, location: "https://127.0.0.1:1/jwks".to_owned() }, None),
        (Behaviour::ResetAfterRequest, None),
        (Behaviour::CutBody, None),
    ] {
        let house = plan("").open().await;
        holds_back(&house, keys, rejected).await;
        assert_eq!(house.server.endless_bytes() / (8 << 20), 0, "it stopped reading");
    }
}

// rows: JOSE-04
#[tokio::test]
async fn slow_keys_have_the_issuers_deadline() {
    let house = plan("").config("deadline = \"5s\"", "deadline = \"500ms\"").open().await;
    holds_back(&house, Behaviour::Delay { ms: 3000, then: Box::new(Behaviour::Honest) }, None).await;
    // And nobody who asks for no ID token waits for them, or needs them.
    house.server.always(Script::Jwks(Behaviour::Status(404)));
    let mut agent = house.svid_agent(crate::house::COURIER).await;
    house.login(&mut agent, &[READ]).await.unwrap();
}

// rows: JOSE-04
#[tokio::test]
async fn keys_are_fetched_without_our_certificate_and_after_the_decision() {
    let house = plan("").server(|setup| setup.front_asks_certificate = true).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &BOTH).await;
    assert_eq!(house.server.jwks_requests(), 0, "nobody needs them yet");
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!(house.server.jwks_requests(), 1);
    assert!(house.server.front_client_certificates().is_empty());
    let headers = house.server.front_headers();
    assert!(headers.iter().flatten().all(|(name, _)| name != "authorization" && name != "cookie"));
}

// rows: IDT-03
#[tokio::test]
async fn keys_that_are_lost_after_the_code_was_spent_revoke_its_tokens() {
    let house = plan("").open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &BOTH).await;
    // The first fetch is good; the token then names a key that only a second fetch could bring.
    house.server.behave(Script::Jwks(Behaviour::Honest));
    house.server.behave(Script::Jwks(Behaviour::Status(503)));
    house.server.sign_anew("id-2");
    let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!(reason(&status), "ID_TOKEN_INVALID");
    assert_eq!(fact(&status, "rule").as_deref(), Some("keys_unavailable"));
    let revoked = || (house.server.revocations().len() == 2).then_some(());
    crate::house::eventually("both tokens to be revoked", revoked).await;
    assert_eq!(house.server.jwks_requests(), 2);
}
