//! The server says that the token is worth more than was allowed, or says it in a way that two readers read differently.

use crate::kit::*;

#[tokio::test]
async fn a_token_worth_more_than_allowed_is_revoked() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let upgrades = [
        (Behaviour::Broader("admin".to_owned()), "SCOPE_UPGRADED"),
        (Behaviour::Broader("customers.delete".to_owned()), "SCOPE_UPGRADED"),
        (Behaviour::Narrower("Customers.Read".to_owned()), "SCOPE_UPGRADED"),
        (Behaviour::DuplicateKeys("scope"), "AS_RESPONSE_MALFORMED"),
        (member("scope", serde_json::json!([READ, "admin"])), "AS_RESPONSE_MALFORMED"),
    ];
    for (count, (upgrade, why)) in upgrades.into_iter().enumerate() {
        let what = format!("{upgrade:?}");
        assert_eq!(reason(&answered(&house, &mut agent, upgrade).await), why, "{what}");
        revoked(&house, 2 * count + 2).await;
    }
    assert_nothing_issued(&house);
    assert_eq!(house.event("detect.scope_escalation").await["severity"], "High");
    // No word about scope means: as asked (RFC 6749 §5.1). The token counts as that and no more.
    house.server.behave(Script::Token(Behaviour::OmitScope));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    assert_eq!(redeemed.token.unwrap().scopes, [READ]);
}
