use crate::{
    house::{COURIER, Plan, get, reason, redeem_request, write},
    tools::{python, repository},
};
use narrowgate::api::proto::RevokeGrantRequest;
use std::process::Command;

#[tokio::test]
async fn the_validator_finds_events_it_knows_and_no_secret() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    let end = RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() };
    agent.revoke_grant(end).await.unwrap();
    assert_eq!(reason(&house.begin(&mut agent, &["customers.delete"]).await.err().unwrap()), "HUMAN_APPROVAL_REQUIRED");
    let (transaction, mut callback) = house.approved(&mut agent, &["customers.read"]).await;
    callback.url = callback.url.replace(&callback.state, "wrong-state-0123456789");
    let wrong = agent.redeem_code(redeem_request(&transaction, &callback.url)).await.err().unwrap();
    assert_eq!(reason(&wrong), "STATE_MISMATCH");
    let mut courier = house.svid_agent(COURIER).await;
    let foreign = courier.redeem_code(redeem_request(&transaction, &callback.url)).await.err().unwrap();
    assert_eq!(reason(&foreign), "TXN_UNKNOWN");
    house.stop().await;

    write(&house.path("audit.jsonl"), &house.audit_text());
    let secrets: Vec<String> = house.server.secrets().into_iter().filter(|s| s.len() >= 16).collect();
    assert!(secrets.len() >= 6, "the server knows too few secrets to look for");
    write(&house.path("canaries"), &format!("{}\n", secrets.join("\n")));
    let codes = "daemon.started,policy.activated,authorization.decided,exchange.decided,token.issued,token.served,\
                 token.revoked,exchange.refused,daemon.stopped";
    let output = Command::new(python())
        .arg(repository().join("tests/audit/validate.py"))
        .arg(house.path("audit.jsonl"))
        .arg("--canaries")
        .arg(house.path("canaries"))
        .args(["--require-codes", codes])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
