use crate::{
    house::{COURIER, eventually, get, write},
    kit::{MAIL, admin, freeze, granted, plan, refused, unfreeze},
};
use narrowgate::api::proto::{FreezeEntry, ListFreezesRequest};
use rustix::process::Signal;
use std::{fs, os::unix::fs::PermissionsExt};
use tonic::Code;

// rows: INTR-03
#[tokio::test]
async fn what_was_frozen_is_frozen_after_kill_9() {
    let mut house = plan().open().await;
    let mut operator = admin(&house).await;
    for kind in ["agent", "client"] {
        freeze(&mut operator, kind).await.unwrap();
    }
    assert!(unfreeze(&mut operator, "client").await);
    let mode = fs::metadata(house.path("audit/freezes.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    house.signal(Signal::KILL).await;
    house.start();
    house.wait_until_serving().await;
    eventually("the second start", || Some(()).filter(|()| house.log().matches("narrowgate is up").count() == 2)).await;
    let mut agent = house.svid_agent(COURIER).await;
    refused(house.begin(&mut agent, &MAIL).await, Code::PermissionDenied, "FROZEN");
    let mut operator = admin(&house).await;
    let freezes = operator.list_freezes(ListFreezesRequest {}).await.unwrap().into_inner().freezes;
    let [FreezeEntry { operator: by, ticket, decision_id, .. }] = freezes.as_slice() else {
        panic!("{}", freezes.len())
    };
    assert_eq!((by.as_str(), ticket.as_str()), ("root", "incident-4711"));
    assert!(house.events("admin.decided").iter().any(|e| e["metadata"]["correlation_uid"] == decision_id.as_str()));
    assert!(unfreeze(&mut operator, "agent").await);
    house.login(&mut agent, &MAIL).await.unwrap();
}

// rows: INTR-03
#[tokio::test]
async fn a_list_that_cannot_be_read_stops_the_start() {
    let mut house = plan().open().await;
    freeze(&mut admin(&house).await, "agent").await.unwrap();
    house.stop().await;
    let text = fs::read_to_string(house.path("audit/freezes.json")).unwrap();
    for wrong in ["", "{}", &text[..text.len() / 2], &text.replace("\"agent\"", "\"agents\"")] {
        write(&house.path("audit/freezes.json"), wrong);
        house.start();
        assert_eq!(house.ended().await, Some(64), "{wrong}");
        assert!(house.log().contains("is not a list of freezes"));
    }
    write(&house.path("audit/freezes.json"), &text);
    house.start();
    house.wait_until_serving().await;
}

// rows: INTR-03
#[tokio::test]
async fn a_freeze_that_cannot_be_kept_holds_and_says_so() {
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    // A folder where the draft would be: nothing can be written there, by root neither.
    let draft = house.path("audit/freezes.json.new");
    fs::create_dir(&draft).unwrap();
    refused(freeze(&mut admin, "agent").await, Code::Unavailable, "FREEZE_NOT_KEPT");
    refused(get(&mut agent, &grant).await, Code::PermissionDenied, "FROZEN");
    house.event("token.revoked").await;
    // Not lifted in memory what could come back from disk, or stay there.
    let lift = narrowgate::api::proto::UnfreezeRequest { target: Some(crate::kit::target("agent")) };
    refused(admin.unfreeze(lift).await, Code::Unavailable, "FREEZE_NOT_KEPT");
    refused(house.begin(&mut agent, &MAIL).await, Code::PermissionDenied, "FROZEN");
    let health = || {
        let health = crate::house::binary().args(["health", "--endpoint", &house.endpoint()]).output().unwrap();
        String::from_utf8(health.stdout).unwrap()
    };
    eventually("health says so", || health().contains("NOT_SERVING").then_some(())).await;
    fs::remove_dir(&draft).unwrap();
    // It is written as soon as the disk lets it, without being asked again.
    let kept = || fs::read_to_string(house.path("audit/freezes.json")).ok().filter(|text| text.contains("courier"));
    eventually("the freeze is on disk", kept).await;
    eventually("it serves again", || (!health().contains("NOT_SERVING")).then_some(())).await;
    assert!(freeze(&mut admin, "agent").await.unwrap().already_frozen);
    assert!(house.path("audit/freezes.json").exists());
}
