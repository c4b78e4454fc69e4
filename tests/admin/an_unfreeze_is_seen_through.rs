use crate::{
    house::{House, eventually},
    kit::{Admin, MAIL, admin, facts, freeze, plan, refused, target, unfreeze},
};
use narrowgate::api::proto::{FreezeRequest, Target, UnfreezeRequest, target::Kind};
use rustix::process::Signal;
use std::{fs::File, path::PathBuf, process::Command, time::Duration};
use tonic::Code;

/// A pipe where the draft of the list would be: whoever opens it to write waits for a reader.
fn hang_the_list(house: &House) -> PathBuf {
    let pipe = house.path("audit/freezes.json.new");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

/// Asks for an unfreeze of the agent, and hangs up once it is decided.
async fn hang_up_on_an_unfreeze(house: &House, operator: &mut Admin) {
    let request = UnfreezeRequest { target: Some(target("agent")) };
    let decided = house.events("admin.decided").len();
    let hang_up = async {
        eventually("its decision", || house.events("admin.decided").get(decided).cloned()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    tokio::select! {
        _ = operator.unfreeze(request) => panic!("the list does not hang"),
        () = hang_up => {}
    }
}

// rows: INTR-03
#[tokio::test]
async fn also_when_the_operator_hangs_up() {
    let house = plan().open().await;
    let mut operator = admin(&house).await;
    freeze(&mut operator, "agent").await.unwrap();
    let pipe = hang_the_list(&house);
    hang_up_on_an_unfreeze(&house, &mut operator).await;
    assert!(house.events("admin.unfrozen").is_empty());
    // It fails now: a pipe is no file that could be waited for. What became of it is on record, whoever asks.
    let reader = tokio::task::spawn_blocking({
        let pipe = pipe.clone();
        move || File::open(pipe).unwrap()
    });
    let event = house.event("admin.unfrozen").await;
    drop(reader.await.unwrap());
    assert_eq!((&event["status_code"], &facts(&event)["target"]), (&"FREEZE_NOT_KEPT".into(), &"agent courier".into()));
    // And so is what was decided on.
    let decided = house.events("admin.decided").pop().unwrap();
    assert_eq!(facts(&decided)["target"], "agent courier");
    std::fs::remove_file(pipe).unwrap();
    assert!(unfreeze(&mut operator, "agent").await);
    house.begin(&mut house.svid_agent(crate::house::COURIER).await, &MAIL).await.unwrap();
}

// rows: INTR-03
#[tokio::test]
async fn a_stop_does_not_wait_for_a_list_that_hangs() {
    let mut house = plan().open().await;
    let mut operator = admin(&house).await;
    freeze(&mut operator, "agent").await.unwrap();
    let pipe = hang_the_list(&house);
    hang_up_on_an_unfreeze(&house, &mut operator).await;
    house.tell(Signal::TERM);
    eventually("it stops", || house.log().contains("stopping: SIGTERM").then_some(())).await;
    // The second one cuts it short.
    house.tell(Signal::TERM);
    let ended = tokio::time::timeout(Duration::from_secs(20), house.ended()).await;
    // The house is searched for secrets at its end, and nobody writes to a pipe.
    std::fs::remove_file(pipe).unwrap();
    assert!(ended.is_ok_and(|code| code.is_some_and(|code| code != 0)), "it hangs");
}

// rows: INTR-03
#[tokio::test]
async fn a_name_that_nobody_has_is_refused_on_record() {
    let house = plan().open().await;
    let nobody = Target { kind: Some(Kind::Agent("curier".to_owned())) };
    let request = FreezeRequest { target: Some(nobody), ticket: String::new() };
    refused(admin(&house).await.freeze(request).await, Code::InvalidArgument, "FIELD_INVALID");
    let event = house.event("admin.decided").await;
    assert_eq!((&event["status_code"], &facts(&event)["target"]), (&"FIELD_INVALID".into(), &"agent curier".into()));
    assert!(house.events("admin.frozen").is_empty());
}
