use crate::{
    administering::{admin, facts, freeze, granted, plan, target, unfreeze},
    asking::refused,
    house::{COURIER, House, eventually, get},
    kit::{again, beside, open, restored, store, stored},
};
use narrowgate::api::proto::{RevokeGrantRequest, RevokeGrantsRequest, UnfreezeRequest, revoke_grants_request::Which};
use rustix::process::Signal;
use std::fs;
use tonic::Code;

/// The file cannot be written from here on: it is gone, and a folder is where its successor would be made. Root cannot
/// write there either.
fn break_store(house: &House) {
    fs::remove_file(store(house)).unwrap();
    fs::create_dir(house.path("store/grants.redb.new")).unwrap();
}

fn mend_store(house: &House) {
    fs::remove_dir(house.path("store/grants.redb.new")).unwrap();
}

// rows: RT-02 INTR-03
#[tokio::test]
async fn a_revocation_that_was_not_written_is_not_answered_as_done() {
    let mut house = open(stored(plan(), "").config("commit_timeout = \"5s\"", "commit_timeout = \"500ms\"")).await;
    let (mut agent, first) = granted(&house).await;
    let (_, second) = granted(&house).await;
    let mut operator = admin(&house).await;
    break_store(&house);
    let unavailable = |no| drop(refused::<()>(no, Code::Unavailable, "GRANT_STORE_UNAVAILABLE"));
    let request = RevokeGrantRequest { grant: first.clone(), ..Default::default() };
    unavailable(agent.revoke_grant(request).await.map(drop));
    let request = || RevokeGrantsRequest { which: Some(Which::Of(target("agent"))) };
    unavailable(operator.revoke_grants(request()).await.map(drop));
    // Nothing is left to take away, and it is not on disk still.
    unavailable(operator.revoke_grants(request()).await.map(drop));
    unavailable(freeze(&mut operator, "agent").await.map(drop));
    // Unfrozen, a crash would bring back what the freeze ended.
    unavailable(operator.unfreeze(UnfreezeRequest { target: Some(target("agent")) }).await.map(drop));
    // All of it is in force, and the log says what it hangs on.
    refused(get(&mut agent, &first).await, Code::PermissionDenied, "FROZEN");
    refused(get(&mut agent, &second).await, Code::PermissionDenied, "FROZEN");
    let kept = |code: &str| house.events(code).iter().map(|event| facts(event)["kept"].clone()).collect::<Vec<_>>();
    assert_eq!(kept("admin.completed"), ["GRANT_STORE_UNAVAILABLE", "GRANT_STORE_UNAVAILABLE"]);
    assert_eq!(kept("admin.frozen"), ["GRANT_STORE_UNAVAILABLE"]);
    assert!(house.events("admin.unfrozen").is_empty());
    let of_agent = house.events("revocation.decided");
    assert!(of_agent.iter().any(|event| event["status_code"] == "GRANT_STORE_UNAVAILABLE"), "{of_agent:?}");
    mend_store(&house);
    eventually("the file is written again", || house.events("grants.store_resumed").pop()).await;
    assert!(unfreeze(&mut operator, "agent").await);
    assert!(beside(&house, ".new").is_empty());
    house.signal(Signal::KILL).await;
    again(&mut house).await;
    assert_eq!(restored(&house, 1).await, (0, 0));
    let up = || (house.log().matches("narrowgate is up").count() == 2).then_some(());
    eventually("its new port", up).await;
    refused(get(&mut house.svid_agent(COURIER).await, &second).await, Code::NotFound, "GRANT_UNKNOWN");
}
