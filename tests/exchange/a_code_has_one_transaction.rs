use crate::{
    asking::{READ, ask, by_fields, refused},
    house::{Agent, COURIER, House, Plan, redeem, scripted_as::Callback},
};
use tonic::Code;

/// Presents a code under a fresh transaction whose state and issuer are right.
async fn elsewhere(house: &House, agent: &mut Agent, stolen: &Callback) -> (String, Callback) {
    let (transaction, own) = house.approved(agent, &[READ]).await;
    let connections = house.server.token_connections();
    let request = by_fields(&transaction, &stolen.code, &own.state, &own.iss);
    refused(ask(agent, request).await, Code::AlreadyExists, "CODE_REPLAYED");
    assert_eq!(house.server.token_connections(), connections, "the server was asked");
    (transaction, own)
}

// rows: CODE-04
#[tokio::test]
async fn a_redeemed_code_is_refused_under_every_other_transaction() {
    let house = Plan::new().open().await;
    let mut quoter = house.agent().await;
    let mut courier = house.svid_agent(COURIER).await;
    let (transaction, callback) = house.approved(&mut quoter, &[READ]).await;
    redeem(&mut quoter, &transaction, &callback).await.unwrap();
    let (theirs, own) = elsewhere(&house, &mut courier, &callback).await;
    let alert = house.event("detect.code_replay").await;
    assert_eq!((&alert["severity_id"], &alert["is_alert"]), (&4.into(), &true.into()));
    assert_eq!(alert["actor"]["user"]["uid"], "courier");
    elsewhere(&house, &mut quoter, &callback).await;
    // The other transaction's own code is good.
    redeem(&mut courier, &theirs, &own).await.unwrap();
}

// rows: CODE-04
#[tokio::test]
async fn a_code_that_never_left_is_refused_elsewhere_and_good_at_home() {
    let house = Plan::new().open().await;
    let mut quoter = house.agent().await;
    let mut courier = house.svid_agent(COURIER).await;
    let (transaction, callback) = house.approved(&mut quoter, &[READ]).await;
    house.server.stop_listening_token();
    refused(redeem(&mut quoter, &transaction, &callback).await, Code::Unavailable, "AS_UNREACHABLE");
    house.server.resume_listening_token();
    elsewhere(&house, &mut courier, &callback).await;
    redeem(&mut quoter, &transaction, &callback).await.unwrap();
}

// rows: CODE-04
#[tokio::test]
async fn a_refused_code_is_remembered_too() {
    let forbid = "@id(\"test.no-redeem\")\n@code(\"no_redeem\")\n\
        forbid (principal == Narrowgate::Agent::\"quoter\", action == Narrowgate::Action::\"redeem_code\", resource);";
    let house = Plan::new().policy(forbid).open().await;
    let mut quoter = house.agent().await;
    let mut courier = house.svid_agent(COURIER).await;
    let (transaction, callback) = house.approved(&mut quoter, &[READ]).await;
    refused(redeem(&mut quoter, &transaction, &callback).await, Code::PermissionDenied, "POLICY_DENIED");
    elsewhere(&house, &mut courier, &callback).await;
    assert_eq!(house.server.token_connections(), 0);
}
