use crate::{
    house::{
        Plan,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{READ, WRITE, granted, narrow, plan},
};
use narrowgate::api::proto::Binding;
use serde_json::{Value, json};

// rows: DPOP-01 DPOP-02 DPOP-08
#[tokio::test]
async fn a_code_is_redeemed_with_a_proof_of_the_key_it_is_bound_to() {
    let (house, mut agent, redeemed) = granted(plan()).await;
    // The server has verified signature, htm, htu, iat and jti, and that the key is the one of dpop_jkt.
    let token = redeemed.token.unwrap();
    assert_eq!((token.token_type.as_str(), token.binding().as_str_name()), ("DPoP", Binding::Dpop.as_str_name()));
    let proofs = house.server.proofs();
    assert_eq!(proofs.len(), 1);
    assert_eq!(token.jkt, proofs[0].jkt());
    let members: Vec<&str> = proofs[0].header["jwk"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["crv", "kty", "x", "y"]);
    assert_eq!(proofs[0].claim("htu"), Some(house.server.token_url().as_str()));
    assert_eq!(proofs[0].claims.get("ath"), None);
    // As the server sends it, whatever the case (RFC 6749 §5.1).
    house.server.behave(Script::Token(Behaviour::TokenType(Some("dpop".to_owned()))));
    let again = narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    assert_eq!((again.token_type.as_str(), again.binding().as_str_name()), ("DPoP", Binding::Dpop.as_str_name()));
    let issued = house.event("token.issued").await;
    let facts = &issued["unmapped"]["narrowgate"];
    assert_eq!((&facts["token_type"], &facts["sender_constraint"]), (&json!("DPoP"), &json!("jkt")));
}

// rows: DPOP-02
#[tokio::test]
async fn the_query_of_a_token_endpoint_is_not_in_its_proof() {
    let house = plan().build();
    let with_query = format!("{}?tenant=1", house.server.token_url());
    let aliases = json!({ "token_endpoint": with_query, "revocation_endpoint": house.server.revocation_url() });
    house.server.metadata_override([("mtls_endpoint_aliases".to_owned(), aliases)].into_iter().collect());
    let mut house = house;
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    assert!(house.server.last_token_request().unwrap().target.ends_with("/token?tenant=1"));
    assert_eq!(house.server.proofs()[0].claim("htu"), Some(house.server.token_url().as_str()));
}

// rows: DPOP-03
#[tokio::test]
async fn a_refresh_and_each_try_of_it_has_a_proof_of_the_same_key() {
    let (house, mut agent, redeemed) =
        granted(plan().config("deadline = \"5s\"", "deadline = \"5s\"\ncircuit_breaker = false")).await;
    let busy =
        Behaviour::Raw { status: 503, headers: vec![("Retry-After".to_owned(), "1".to_owned())], body: Vec::new() };
    house.server.behave(Script::Token(busy));
    narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    narrow(&mut agent, &redeemed.grant, &[WRITE]).await.unwrap();
    let proofs = house.server.proofs();
    assert_eq!(proofs.len(), 4);
    let different: std::collections::BTreeSet<&str> = proofs.iter().map(|p| p.claim("jti").unwrap()).collect();
    assert_eq!(different.len(), 4);
    assert!(proofs.iter().all(|proof| proof.jkt() == proofs[0].jkt()));
    // The try after the 503 came a second later, and says so.
    let iat = |at: usize| proofs[at].claims["iat"].as_u64().unwrap();
    assert!(iat(2) > iat(1), "{} {}", iat(1), iat(2));
}

// rows: DPOP-01
#[tokio::test]
async fn a_bearer_client_sends_no_proof() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    assert!(!begun.authorization_url.contains("dpop_jkt"));
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = crate::house::redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    assert_eq!(redeemed.token.unwrap().jkt, "");
    assert!(house.server.last_token_request().unwrap().header("dpop").is_none());
    let facts = house.event("token.issued").await["unmapped"]["narrowgate"].clone();
    assert_eq!(facts["sender_constraint"], Value::from("none"));
}
