use crate::{
    house::{House, binary, eventually, get, reason},
    kit::{admin, facts, freeze, granted, grants, plan, refused, revoke, target, unfreeze},
};
use narrowgate::api::proto::{GetStatusRequest, UnfreezeRequest, revoke_grants_request::Which};
use std::fs;
use tonic::Code;

/// One of each.
async fn a_day(house: &House) {
    let mut admin = admin(house).await;
    granted(house).await;
    admin.get_status(GetStatusRequest {}).await.unwrap();
    grants(&mut admin).await;
    revoke(&mut admin, Which::Of(target("agent"))).await;
    freeze(&mut admin, "client").await.unwrap();
    unfreeze(&mut admin, "client").await;
}

// rows: CALL-09
#[tokio::test]
async fn each_decision_and_each_outcome_is_in_the_log_before_the_reply() {
    let house = plan().open().await;
    a_day(&house).await;
    let operations: Vec<_> = house.events("admin.decided").iter().map(|e| facts(e)["operation"].clone()).collect();
    assert_eq!(operations, ["GetStatus", "ListGrants", "RevokeGrants", "Freeze", "Unfreeze"]);
    for event in house.events("admin.decided") {
        assert_eq!((&event["actor"]["user"]["uid"], &event["actor"]["user"]["type"]), (&"root".into(), &"User".into()));
        assert!(event["api"]["operation"].as_str().unwrap().starts_with("narrowgate.v1.AdminService/"));
        let uid = rustix::process::geteuid().as_raw().to_string();
        assert_eq!(event["actor"]["process"]["user"]["uid"], uid.as_str());
    }
    for code in ["admin.completed", "admin.frozen", "admin.unfrozen"] {
        assert_eq!(house.events(code).len(), 1, "{code}");
    }
}

// rows: AUD-01
#[tokio::test]
async fn the_events_are_valid_ocsf() {
    let house = plan().open().await;
    a_day(&house).await;
    house.assert_valid_ocsf(&["admin.decided", "admin.completed", "admin.frozen", "admin.unfrozen"], &[]);
}

// rows: POL-09
#[tokio::test]
async fn operators_decisions_can_be_asked_again() {
    let house = plan().open().await;
    a_day(&house).await;
    let mut replay = binary();
    replay.args(["policy", "replay", "--config"]).arg(house.path("narrowgate.toml"));
    let output = replay.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

// rows: CALL-09 INTR-03
#[tokio::test]
async fn without_a_log_nothing_is_told_and_a_freeze_holds_all_the_same() {
    let house = plan().config("commit_timeout = \"5s\"", "commit_timeout = \"300ms\"").open().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    let (away, here) = (house.path("away"), house.path("audit"));
    fs::rename(&here, &away).unwrap();
    refused(admin.get_status(GetStatusRequest {}).await, Code::Unavailable, "AUDIT_UNAVAILABLE");
    refused(freeze(&mut admin, "agent").await, Code::Unavailable, "AUDIT_UNAVAILABLE");
    let lift = UnfreezeRequest { target: Some(target("agent")) };
    refused(admin.unfreeze(lift).await, Code::Unavailable, "AUDIT_UNAVAILABLE");
    eventually("both revocations", || Some(()).filter(|()| house.server.revocation_posts() == 2)).await;
    fs::rename(&away, &here).unwrap();
    // Once it can be written again, the freeze is in it, and in force.
    house.event("admin.frozen").await;
    let asked = || async { get(&mut agent.clone(), &grant).await.err().map(|status| reason(&status)) };
    let mut why = asked().await;
    while why.as_deref() == Some("AUDIT_UNAVAILABLE") {
        why = asked().await;
    }
    assert_eq!(why.as_deref(), Some("FROZEN"));
    refused(get(&mut agent, &grant).await, Code::PermissionDenied, "FROZEN");
}
