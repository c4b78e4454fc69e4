use crate::house::{House, Plan, begin_request, binary, eventually, get, reason, redeem_request};
use narrowgate::api::proto::RevokeGrantRequest;
use std::fs;
use tonic::{Code, Status};

const UNKNOWN_GRANT: &str = "grant_00000000000000000000000000000000";
const UNKNOWN_TRANSACTION: &str = "txn_00000000000000000000000000000000";

/// What `narrowgate health` says, once the daemon answers at all.
async fn health(house: &House) -> String {
    let ask = || {
        let output = binary().args(["health", "--endpoint", &house.endpoint()]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        (!said.is_empty()).then_some((said, output.status.code()))
    };
    let (said, exit) = eventually("an answer", ask).await;
    assert_eq!(exit, Some(i32::from(said != "SERVING")));
    said
}

fn assert_not_loaded(status: &Status) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::Unavailable, "POLICY_NOT_LOADED"));
}

async fn assert_denies_all(house: &House) {
    assert_eq!(health(house).await, "NOT_SERVING");
    let mut agent = house.agent().await;
    assert_not_loaded(&agent.begin_authorization(begin_request(&["customers.read"])).await.err().unwrap());
    let request = redeem_request(UNKNOWN_TRANSACTION, "/callback?code=c&state=s");
    assert_not_loaded(&agent.redeem_code(request).await.err().unwrap());
    assert_not_loaded(&get(&mut agent, UNKNOWN_GRANT).await.err().unwrap());
    let request = RevokeGrantRequest { grant: UNKNOWN_GRANT.to_owned(), ..RevokeGrantRequest::default() };
    assert_not_loaded(&agent.revoke_grant(request).await.err().unwrap());
    let rejected = house.event("policy.rejected").await;
    assert_eq!((&rejected["severity"], &rejected["status_id"]), (&"Critical".into(), &2.into()));
    assert!(house.events("authorization.decided").is_empty());
    assert_eq!((house.server.front_connections(), house.server.token_connections()), (0, 0));
}

// rows: POL-03 GRPC-11
#[tokio::test]
async fn a_missing_folder() {
    let mut house = Plan::new().config("directory = \"policies\"", "directory = \"nowhere\"").build();
    house.start();
    assert_denies_all(&house).await;
}

// rows: POL-03
#[tokio::test]
async fn an_empty_folder() {
    let mut plan = Plan::new();
    plan.policies.clear();
    let mut house = plan.build();
    house.start();
    assert_denies_all(&house).await;
}

// rows: POL-02 POL-03
#[tokio::test]
async fn one_bad_file_among_good_ones() {
    let mut house =
        Plan::new().policy("@id(\"x\") permit (principal, action, resource) when { principal.nope };").build();
    house.start();
    assert_denies_all(&house).await;
    // Repaired, it serves: nothing but the set was wrong.
    house.stop().await;
    fs::remove_file(house.path("policies/extra-3.cedar")).unwrap();
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &["customers.read"]).await.unwrap();
    house.event("policy.activated").await;
}
