//! Agent B holds everything of agent A's that can be stolen: handle, code, state, grant. It gets nothing and learns
//! nothing, and A does not notice.

use crate::kit::*;

#[tokio::test]
async fn what_belongs_to_one_agent_is_unknown_to_another() {
    let (house, mut quoter, mut courier) = house_of_two().await;
    let held = house.login(&mut quoter, &[READ]).await.unwrap();
    let (transaction, callback) = house.approved(&mut quoter, &[READ]).await;
    let posts = house.server.token_posts();

    let stolen = refused(redeem(&mut courier, &transaction, &callback).await, Code::NotFound, "TXN_UNKNOWN");
    let guessed = redeem(&mut courier, &format!("txn_{GUESS}"), &callback).await;
    assert_eq!(looks(&stolen), looks(&refused(guessed, Code::NotFound, "TXN_UNKNOWN")));
    // A code stolen on its way, in a transaction of the thief's own.
    let (own, mine) = house.approved(&mut courier, &[READ]).await;
    let swapped = by_fields(&own, &callback.code, &mine.state, &mine.iss);
    refused(ask(&mut courier, swapped).await, Code::FailedPrecondition, "GRANT_REJECTED");

    let stolen = refused(get(&mut courier, &held.grant).await, Code::NotFound, "GRANT_UNKNOWN");
    let guessed = get(&mut courier, &format!("grant_{GUESS}")).await;
    assert_eq!(looks(&stolen), looks(&refused(guessed, Code::NotFound, "GRANT_UNKNOWN")));
    let revoke = RevokeGrantRequest { grant: held.grant.clone(), ..RevokeGrantRequest::default() };
    refused(courier.revoke_grant(revoke).await, Code::NotFound, "GRANT_UNKNOWN");
    // To say that it is someone else helps nobody.
    let impostor = BeginAuthorizationRequest { agent: "quoter".to_owned(), ..begin_request(&[READ]) };
    assert!(courier.begin_authorization(impostor).await.is_err());

    assert_eq!(house.server.token_posts(), posts + 1, "the swapped code alone was tried");
    assert_eq!(house.events("detect.cross_agent_handle").len(), 3);
    get(&mut quoter, &held.grant).await.unwrap();
    let (transaction, callback) = house.approved(&mut quoter, &[READ]).await;
    redeem(&mut quoter, &transaction, &callback).await.unwrap();
}
