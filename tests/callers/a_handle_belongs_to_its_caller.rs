use crate::{
    asking::{READ, refused},
    house::{COURIER, Plan, get, redeem},
};
use narrowgate::api::proto::RevokeGrantRequest;
use tonic::{Code, Status};

/// What a caller can tell two refusals apart by.
fn looks(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

// rows: CALL-08
#[tokio::test]
async fn another_agents_transaction_looks_unknown_and_stays_usable() {
    let house = Plan::new().open().await;
    let mut quoter = house.agent().await;
    let mut courier = house.svid_agent(COURIER).await;
    let (transaction, callback) = house.approved(&mut quoter, &[READ]).await;
    let foreign = refused(redeem(&mut courier, &transaction, &callback).await, Code::NotFound, "TXN_UNKNOWN");
    let alert = house.event("detect.cross_agent_handle").await;
    assert_eq!((&alert["actor"]["user"]["uid"], &alert["severity_id"]), (&"courier".into(), &4.into()));
    let unknown = redeem(&mut courier, "txn_0123456789abcdef0123456789abcdef", &callback).await;
    let unknown = refused(unknown, Code::NotFound, "TXN_UNKNOWN");
    assert_eq!(looks(&foreign), looks(&unknown));
    // Guessing does not lock anyone out: more tries than its owner would have.
    for _ in 0..8 {
        refused(redeem(&mut courier, &transaction, &callback).await, Code::NotFound, "TXN_UNKNOWN");
    }
    assert_eq!(house.server.token_connections(), 0);
    redeem(&mut quoter, &transaction, &callback).await.unwrap();
}

// rows: CALL-08
#[tokio::test]
async fn another_agents_grant_looks_unknown_and_stays_usable() {
    let house = Plan::new().open().await;
    let mut quoter = house.agent().await;
    let mut courier = house.svid_agent(COURIER).await;
    let granted = house.login(&mut quoter, &[READ]).await.unwrap();
    let foreign = refused(get(&mut courier, &granted.grant).await, Code::NotFound, "GRANT_UNKNOWN");
    let unknown = get(&mut courier, "grant_0123456789abcdef0123456789abcdef").await;
    assert_eq!(looks(&foreign), looks(&refused(unknown, Code::NotFound, "GRANT_UNKNOWN")));
    let revoke = |grant: &str| RevokeGrantRequest { grant: grant.to_owned(), ..RevokeGrantRequest::default() };
    let foreign = refused(courier.revoke_grant(revoke(&granted.grant)).await, Code::NotFound, "GRANT_UNKNOWN");
    let unknown = courier.revoke_grant(revoke("grant_0123456789abcdef0123456789abcdef")).await;
    assert_eq!(looks(&foreign), looks(&refused(unknown, Code::NotFound, "GRANT_UNKNOWN")));
    assert_eq!(house.events("detect.cross_agent_handle").len(), 2);
    assert_eq!(house.server.revocation_posts(), 0);
    let held = get(&mut quoter, &granted.grant).await.unwrap().token.unwrap();
    assert_eq!(held.access_token, granted.token.unwrap().access_token);
}

// rows: CALL-08
#[tokio::test]
async fn the_same_spiffe_id_on_a_new_connection_is_the_same_caller() {
    let house = Plan::new().open().await;
    let mut courier = house.svid_agent(COURIER).await;
    let granted = house.login(&mut courier, &[READ]).await.unwrap();
    let mut again = house.svid_agent(COURIER).await;
    get(&mut again, &granted.grant).await.unwrap();
    let mut quoter = house.agent().await;
    refused(get(&mut quoter, &granted.grant).await, Code::NotFound, "GRANT_UNKNOWN");
}
