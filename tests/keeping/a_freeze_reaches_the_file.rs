use crate::{
    administering::{self, admin, freeze, unfreeze},
    asking::refused,
    house::{COURIER, House, eventually, get, write},
    kit::{again, granted, open, plan, restored, stored},
};
use narrowgate::api::proto::{RevokeGrantsRequest, revoke_grants_request::Which};
use rustix::process::Signal;
use std::fs;
use tonic::Code;

// rows: INTR-03 RT-02
#[tokio::test]
async fn what_was_frozen_while_nothing_ran_is_ended_at_the_start() {
    let (mut house, _, grant) = granted(plan("")).await;
    house.signal(Signal::KILL).await;
    // As a freeze leaves it whose removal from the file a crash has overtaken.
    let freezes = r#"{"version": 1, "freezes": [{"kind": "agent", "name": "quoter", "since_ms": 1800000000000,
        "by": "root", "ticket": null, "decision_id": "01890a5d-ac96-774b-bcce-b302099a8057"}]}"#;
    write(&house.path("audit/freezes.json"), freezes);
    again(&mut house).await;
    assert_eq!(restored(&house, 1).await, (1, 0));
    eventually("its revocation", || house.server.revocations().pop()).await;
    refused(get(&mut house.agent().await, &grant).await, Code::PermissionDenied, "FROZEN");
    house.stop().await;
    // Unfrozen, it does not come back.
    fs::remove_file(house.path("audit/freezes.json")).unwrap();
    again(&mut house).await;
    assert_eq!(restored(&house, 2).await, (0, 0));
    refused(get(&mut house.agent().await, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    assert!(house.server.refreshes().is_empty());
}

// rows: INTR-03 RT-02
#[tokio::test]
async fn what_an_operator_ends_no_crash_brings_back() {
    let mut house = open(stored(administering::plan(), "")).await;
    let (_, first) = administering::granted(&house).await;
    let target = administering::target("agent");
    let revoke = RevokeGrantsRequest { which: Some(Which::Of(target)) };
    assert_eq!(admin(&house).await.revoke_grants(revoke).await.unwrap().into_inner().toll.unwrap().grants, 1);
    crash_to_the(&mut house, 1).await;
    let (mut agent, second) = administering::granted(&house).await;
    refused(get(&mut agent, &first).await, Code::NotFound, "GRANT_UNKNOWN");
    let mut operator = admin(&house).await;
    freeze(&mut operator, "agent").await.unwrap();
    assert!(unfreeze(&mut operator, "agent").await);
    crash_to_the(&mut house, 2).await;
    refused(get(&mut house.svid_agent(COURIER).await, &second).await, Code::NotFound, "GRANT_UNKNOWN");
}

/// Ends the daemon without a word; in the run after that nothing is held.
async fn crash_to_the(house: &mut House, start: usize) {
    house.signal(Signal::KILL).await;
    again(house).await;
    let up = || (house.log().matches("narrowgate is up").count() == start + 1).then_some(());
    eventually("its new port", up).await;
    assert_eq!(restored(house, start).await, (0, 0));
}
