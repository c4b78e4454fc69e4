use crate::house::{
    House, Plan, eventually, get,
    scripted_as::behaviour::{Behaviour, Script},
};
use std::{collections::BTreeMap, fs};

const TOKEN: &str = "canary-at-the-same-everywhere-0123456789abcdef";

/// Logs in, with a server that gives everybody the same token; the log's references by name.
async fn references(house: &House) -> BTreeMap<&'static str, String> {
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::AccessTokenValue(TOKEN.to_owned())));
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    let again = get(&mut agent, &redeemed.grant).await.unwrap();
    let served = eventually("the hand-out", || {
        house.events("token.served").into_iter().find(|e| e["metadata"]["correlation_uid"] == again.decision_id)
    });
    let (issued, served) = (house.event("token.issued").await, served.await);
    assert_eq!(issued["session"]["uid"], served["session"]["uid"], "one token, one reference");
    assert_eq!(issued["unmapped"]["narrowgate"]["grant_ref"], served["unmapped"]["narrowgate"]["grant_ref"]);
    let decided = house.event("exchange.decided").await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    BTreeMap::from([
        ("token", text(&issued["session"]["uid"])),
        ("grant", text(&issued["unmapped"]["narrowgate"]["grant_ref"])),
        ("transaction", text(&issued["unmapped"]["narrowgate"]["transaction_ref"])),
        ("code", text(&decided["unmapped"]["narrowgate"]["code_ref"])),
        ("installation", text(&issued["metadata"]["product"]["uid"])),
    ])
}

// rows: AUD-08
#[tokio::test]
async fn one_token_has_another_reference_in_another_installation() {
    let (one, two) = (Plan::new().open().await, Plan::new().open().await);
    let (first, second) = (references(&one).await, references(&two).await);
    for (name, reference) in &first {
        assert_ne!(reference, &second[name], "{name}");
        let digits = reference.strip_prefix("hk1:").unwrap();
        assert!(digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{reference}");
    }
    // Not a plain hash either: the key is what an outsider lacks.
    let plain = narrowgate::platform::digest::hex(&narrowgate::platform::digest::sha256(TOKEN.as_bytes()));
    for house in [&one, &two] {
        let text = house.audit_text();
        assert!(!text.contains(TOKEN) && !text.contains(&plain[..16]));
        house.assert_no_secret_leaked();
    }
}

// rows: AUD-08
#[tokio::test]
async fn the_key_outlives_a_restart_and_is_in_no_event() {
    let mut house = Plan::new().open().await;
    let first = references(&house).await;
    let key = fs::read_to_string(house.path("audit/correlation.key")).unwrap();
    house.stop().await;
    house.start();
    house.wait_until_serving().await;
    let second = references(&house).await;
    assert_eq!(first["token"], second["token"]);
    assert_eq!(first["installation"], second["installation"]);
    assert!(!house.audit_text().contains(key.trim()) && !house.log().contains(key.trim()));
}
