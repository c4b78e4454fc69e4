//! The log is taken away: the attacker hopes that work goes on without a record.

use crate::kit::*;

#[tokio::test]
async fn without_a_log_nothing_is_issued_and_nothing_is_spent() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let held = house.login(&mut agent, &[READ]).await.unwrap();
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    fs::rename(house.path("audit"), house.path("audit-away")).unwrap();
    let down = async |agent: &mut Agent| {
        refused(house.begin(agent, &[READ]).await, Code::Unavailable, "AUDIT_UNAVAILABLE");
        refused(redeem(agent, &transaction, &callback).await, Code::Unavailable, "AUDIT_UNAVAILABLE");
        refused(get(agent, &held.grant).await, Code::Unavailable, "AUDIT_UNAVAILABLE");
    };
    down(&mut agent).await;
    assert_eq!(house.server.token_posts(), 1, "the second code was not sent");
    fs::rename(house.path("audit-away"), house.path("audit")).unwrap();
    house.event("audit.resumed").await;
    // It recovers by itself, and the approval still counts.
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!((house.server.token_posts(), house.events("token.issued").len()), (2, 2));
}
