use crate::{
    house::{
        House, eventually, fact, redeem,
        scripted_as::{
            behaviour::{Behaviour, Script},
            identity::{Forgery, rsa_jwk},
        },
    },
    kit::{BOTH, claims, facts, login, object, refuses, roomy},
};
use serde_json::json;
use std::time::Duration;

const INVALID: &str = "ID_TOKEN_INVALID";

fn named(kid: &str) -> Forgery {
    Forgery::Header(object(json!({ "kid": kid })))
}

/// Waits until so many key sets were asked for.
async fn fetched(house: &House, count: usize) {
    eventually("a fetch of the keys", || (house.server.jwks_requests() >= count).then_some(())).await;
}

// rows: JOSE-02
#[tokio::test]
async fn unknown_keys_cause_one_fetch() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    assert_eq!(house.server.jwks_requests(), 1);
    for n in 0..25 {
        let unknown = Behaviour::IdToken(named(&format!("unheard-of-{n}")));
        house.server.behave(Script::Token(unknown));
        let status = login(&house, &mut agent).await.err().unwrap();
        assert_eq!(fact(&status, "rule").as_deref(), Some("unknown_key"));
    }
    assert_eq!(house.server.jwks_requests(), 2, "one refresh a minute, whatever tokens name");
    // Nor do odd names fetch, or open, anything.
    for kid in ["../../etc/passwd", "' OR 1", "https://evil.test/jwks"] {
        let rule = if kid.contains(' ') { "kid" } else { "unknown_key" };
        refuses(&house, &mut agent, named(kid), INVALID, rule).await;
    }
    refuses(&house, &mut agent, named(&"k".repeat(20_000)), INVALID, "kid").await;
    assert_eq!(house.server.jwks_requests(), 2);
    login(&house, &mut agent).await.unwrap();
}

// rows: JOSE-02
#[tokio::test]
async fn logins_at_the_same_time_share_one_fetch() {
    let house = roomy("").open().await;
    house.server.behave(Script::Jwks(Behaviour::Delay { ms: 300, then: Box::new(Behaviour::Honest) }));
    let mut agent = house.agent().await;
    let mut approved = Vec::new();
    for _ in 0..8 {
        approved.push(house.approved(&mut agent, &BOTH).await);
    }
    let calls = approved.into_iter().map(|(transaction, callback)| {
        let mut agent = agent.clone();
        tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await.map(|_| ()) })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(house.server.jwks_requests(), 1);
}

// rows: JOSE-02 JOSE-13
#[tokio::test]
async fn a_new_key_beside_the_old_works_at_once() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    let mut keys = house.server.keys();
    keys.push(house.server.sign_anew("id-2"));
    house.server.publish(keys);
    login(&house, &mut agent).await.unwrap();
    login(&house, &mut agent).await.unwrap();
    assert_eq!(house.server.jwks_requests(), 2);
    // A usual rotation is no alarm.
    assert!(house.events("detect.jwks_changed").is_empty());
}

// rows: JOSE-13
#[tokio::test]
async fn a_removed_key_stops_verifying_within_the_ttl() {
    let house = roomy("keys_ttl = \"1s\"").open().await;
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    let keys: Vec<_> = house.server.keys().into_iter().filter(|key| key["kid"] != "id-1").collect();
    house.server.publish(keys);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    refuses(&house, &mut agent, claims(json!({})), INVALID, "unknown_key").await;
}

// rows: JOSE-13
#[tokio::test]
async fn a_removed_key_is_not_believed_longer_because_the_keys_cannot_be_fetched() {
    let house = roomy("keys_ttl = \"2s\"").open().await;
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    house.server.always(Script::Jwks(Behaviour::Status(503)));
    // An outage is not noticed while the keys at hand may still be believed.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let within = login(&house, &mut agent).await;
    fetched(&house, 2).await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let status = login(&house, &mut agent).await.err().unwrap();
    assert_eq!(crate::house::reason(&status), "JWKS_UNAVAILABLE");
    // On a loaded machine the second login may have come too late to be within the time.
    assert!(within.is_ok() || house.server.jwks_requests() > 2);
}

// rows: JOSE-13
#[tokio::test]
async fn a_whole_new_set_and_a_reused_name_are_alarms() {
    let house = roomy("keys_ttl = \"1s\"\nkeys_refresh = \"1s\"").open().await;
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    let whole = house.server.sign_anew("id-2");
    house.server.publish(vec![whole]);
    login(&house, &mut agent).await.unwrap();
    let alarm = house.event("detect.jwks_changed").await;
    assert_eq!(alarm["severity_id"], 4);
    assert_eq!(facts(&alarm)["how"], "replaced");
    assert_eq!(facts(&alarm)["issuer"], house.server.issuer());
    assert_eq!(facts(&alarm)["keys_before"].as_array().unwrap().len(), 2);
    // The same name for another key.
    let rebound = house.server.sign_anew("id-2");
    house.server.publish(vec![rebound]);
    // Until the keys at hand are too old, the new key's signature is just a wrong one.
    let rebound = |event: &serde_json::Value| facts(event)["how"] == "rebound";
    for _ in 0..100 {
        let _ = login(&house, &mut agent).await;
        if house.events("detect.jwks_changed").iter().any(rebound) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(house.events("detect.jwks_changed").iter().any(rebound));
    login(&house, &mut agent).await.unwrap();
}

// rows: JOSE-13 JOSE-02
#[tokio::test]
async fn a_flip_flop_does_not_break_the_limit() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    let one = house.server.keys();
    for n in 0..20 {
        let key = house.server.sign_anew(&format!("flip-{n}"));
        house.server.publish(if n % 2 == 0 { vec![key] } else { one.clone() });
        let _ = login(&house, &mut agent).await;
    }
    assert_eq!(house.server.jwks_requests(), 2);
    assert_eq!(house.events("detect.jwks_changed").len(), 1);
}

// rows: JOSE-08
#[tokio::test]
async fn a_weak_key_is_left_out_and_told() {
    let house = roomy("").open().await;
    let mut keys = house.server.keys();
    let mut weak = rsa_jwk("PS256");
    weak["n"] = json!(&weak["n"].as_str().unwrap()[..172]);
    weak["kid"] = json!("weak");
    keys.push(weak);
    house.server.publish(keys);
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    let told = house.event("detect.jwks_weak_key").await;
    assert_eq!(facts(&told)["weak_keys"], 1);
    refuses(&house, &mut agent, named("weak"), INVALID, "unknown_key").await;
    assert_eq!(house.events("detect.jwks_weak_key").len(), 1, "told once, not with every fetch");
}
