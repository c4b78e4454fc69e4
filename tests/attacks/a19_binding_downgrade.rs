//! A bound token was asked for, and the server gives one that anybody could use; or an agent asks for a bound token that
//! it cannot use itself.

use crate::kit::*;

fn bound() -> Plan {
    Plan::new().config("owner = \"sales\"", "owner = \"sales\"\nbound_tokens = true\nshared_certificate = true")
}

#[tokio::test]
async fn an_unbound_token_is_refused_and_revoked() {
    let house = bound().open().await;
    let mut agent = house.agent().await;
    let other = "A".repeat(43);
    let downgrades = [
        Behaviour::Honest,
        Behaviour::JwtBound { thumbprint: Some(other) },
        Behaviour::JwtClaims([("cnf".to_owned(), serde_json::Value::Null)].into_iter().collect()),
        Behaviour::TokenType(Some("DPoP".to_owned())),
    ];
    for (count, downgrade) in downgrades.into_iter().enumerate() {
        let what = format!("{downgrade:?}");
        let status = answered(&house, &mut agent, downgrade).await;
        let told = reason(&status);
        assert!(["TOKEN_BINDING_MISMATCH", "TOKEN_TYPE_UNSUPPORTED"].contains(&told.as_str()), "{what}: {told}");
        revoked(&house, 2 * count + 2).await;
    }
    assert_nothing_issued(&house);
    house.server.behave(Script::Token(Behaviour::JwtBound { thumbprint: None }));
    house.login(&mut agent, &[READ]).await.unwrap();
}

#[tokio::test]
async fn an_agent_with_another_certificate_begins_nothing() {
    let house = bound().open().await;
    let mut courier = house.svid_agent(COURIER).await;
    refused(house.begin(&mut courier, &[READ]).await, Code::FailedPrecondition, "BINDING_UNUSABLE");
    assert_eq!(house.server.front_connections(), 0);
}
