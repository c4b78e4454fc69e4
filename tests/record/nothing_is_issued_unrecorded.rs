//! The audit log cannot be written: nothing is issued, nothing is spent, and it recovers by itself.

use crate::{
    house::{House, Plan, eventually, get, redeem, scripted_as::Callback},
    small_disk::SmallDisk,
    strace::Injected,
    witness::Witness,
};
use narrowgate::api::proto::RevokeGrantRequest;
use serde_json::Value;
use std::{fs, process::Command, time::Duration};
use tonic::{Code, Status};

/// Waits until the last bytes of room are used up and the log stays unwritable.
async fn until_down(house: &House) {
    let mut agent = house.agent().await;
    let mut refused = 0;
    for _ in 0..200 {
        let begun = house.begin(&mut agent, &["customers.read"]).await;
        refused = if begun.is_err() && house.health() == "NOT_SERVING" { refused + 1 } else { 0 };
        if refused == 6 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    panic!("it goes on without a log");
}

fn unavailable<T>(result: Result<T, Status>) -> Status {
    Witness::default().expect(result, Code::Unavailable, "AUDIT_UNAVAILABLE")
}

/// Before the log failed: a grant that is held, and an approval that waits.
struct Before {
    grant: String,
    doomed: String,
    transaction: String,
    callback: Callback,
}

async fn before(house: &House) -> Before {
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    let doomed = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    Before { grant, doomed, transaction, callback }
}

async fn assert_closed(house: &House, before: &Before) {
    let mut agent = house.agent().await;
    let posts = house.server.token_posts();
    unavailable(house.begin(&mut agent, &["customers.read"]).await);
    unavailable(redeem(&mut agent, &before.transaction, &before.callback).await);
    unavailable(get(&mut agent, &before.grant).await);
    // A refusal is not told unrecorded either.
    unavailable(house.begin(&mut agent, &["customers.delete"]).await);
    let mut stranger = house.svid_agent("spiffe://acme.test/agent/nobody").await;
    unavailable(house.begin(&mut stranger, &["customers.read"]).await);
    assert_eq!(house.server.token_posts(), posts, "no code was spent");
    assert_eq!(house.health(), "NOT_SERVING");
    // Giving back makes things safer: it does not wait for the log.
    let request = RevokeGrantRequest { grant: before.doomed.clone(), ..RevokeGrantRequest::default() };
    agent.revoke_grant(request).await.unwrap();
}

async fn assert_recovers(house: &House, before: &Before) {
    eventually("SERVING again", || (house.health() == "SERVING").then_some(())).await;
    let resumed = house.event("audit.resumed").await;
    assert_eq!((&resumed["severity"], &resumed["status_id"]), (&"High".into(), &1.into()));
    let mut agent = house.agent().await;
    // The same code is still good: nothing of it had left.
    let posts = house.server.token_posts();
    redeem(&mut agent, &before.transaction, &before.callback).await.unwrap();
    assert_eq!(house.server.token_posts(), posts + 1);
    get(&mut agent, &before.grant).await.unwrap();
    house.event("revocation.decided").await;
    house.event("token.revoked").await;
    let numbers: Vec<u64> = house.audit().iter().map(|e| e["metadata"]["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "no line was lost or written twice");
}

// rows: AUD-03 GRPC-11 CODE-07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk() {
    let mut house = Plan::new().build();
    let Some(disk) = SmallDisk::mount(&house.path("audit"), "256k") else { return };
    house.start();
    house.wait_until_serving().await;
    let before = before(&house).await;
    disk.fill();
    until_down(&house).await;
    assert_closed(&house, &before).await;
    disk.free();
    assert_recovers(&house, &before).await;
    // The file system must not go before the daemon that writes to it.
    house.stop().await;
    drop(disk);
}

// rows: AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk_that_became_read_only() {
    let mut house = Plan::new().build();
    let Some(disk) = SmallDisk::mount(&house.path("audit"), "256k") else { return };
    house.start();
    house.wait_until_serving().await;
    let before = before(&house).await;
    let away = house.path("away");
    // A folder that cannot be written, bind mounted over the log's.
    fs::create_dir(&away).unwrap();
    let over = |options: &[&str]| {
        let place = house.path("audit");
        assert!(Command::new("mount").args(options).arg(&away).arg(&place).status().unwrap().success());
    };
    over(&["--bind"]);
    assert!(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(house.path("audit")).status().unwrap().success());
    until_down(&house).await;
    let mut agent = house.agent().await;
    unavailable(redeem(&mut agent, &before.transaction, &before.callback).await);
    unavailable(get(&mut agent, &before.grant).await);
    assert!(Command::new("umount").arg(house.path("audit")).status().unwrap().success());
    eventually("SERVING again", || (house.health() == "SERVING").then_some(())).await;
    redeem(&mut agent, &before.transaction, &before.callback).await.unwrap();
    house.event("audit.resumed").await;
    house.stop().await;
    drop(disk);
}

// rows: AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_folder_is_gone() {
    let house = Plan::new().open().await;
    let before = before(&house).await;
    fs::rename(house.path("audit"), house.path("audit-away")).unwrap();
    let mut agent = house.agent().await;
    unavailable(house.begin(&mut agent, &["customers.read"]).await);
    eventually("NOT_SERVING", || (house.health() == "NOT_SERVING").then_some(())).await;
    assert_closed(&house, &before).await;
    fs::rename(house.path("audit-away"), house.path("audit")).unwrap();
    assert_recovers(&house, &before).await;
}

/// Issues a token whose outcome cannot be recorded: the log goes after the code has left.
async fn issue_into_the_void(house: &House) -> tokio::task::JoinHandle<Result<String, Status>> {
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    house.server.set_pause(true);
    let call = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await.map(|r| r.grant) });
    let sent = tokio::task::block_in_place(|| house.server.wait_for(Duration::from_secs(10), |s| s.token_posts() == 1));
    assert!(sent);
    fs::rename(house.path("audit"), house.path("audit-away")).unwrap();
    house.server.set_pause(false);
    call
}

// rows: AUD-03 AUD-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_without_a_record_is_revoked_and_dropped() {
    let house = Plan::new().config("[audit]", "[audit]\noutcome_hold = \"400ms\"").open().await;
    let call = issue_into_the_void(&house).await;
    unavailable(call.await.unwrap());
    eventually("both tokens are revoked", || (house.server.revocation_posts() >= 2).then_some(())).await;
    fs::rename(house.path("audit-away"), house.path("audit")).unwrap();
    let failed = house.event("exchange.failed").await;
    assert_eq!(failed["status_code"], "AUDIT_UNAVAILABLE");
    assert_eq!(
        failed["metadata"]["correlation_uid"],
        house.event("exchange.decided").await["metadata"]["correlation_uid"]
    );
    assert_eq!(house.event("token.revoked").await["unmapped"]["narrowgate"]["why"], "not_recorded");
    assert!(house.events("token.issued").is_empty());
}

// rows: AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_comes_late_but_in_time_saves_the_token() {
    let house = Plan::new().open().await;
    let call = issue_into_the_void(&house).await;
    eventually("the log is down", || (house.health() == "NOT_SERVING").then_some(())).await;
    assert!(!call.is_finished(), "the token is held back until it is recorded");
    fs::rename(house.path("audit-away"), house.path("audit")).unwrap();
    let grant = call.await.unwrap().unwrap();
    assert_eq!(house.events("token.issued").len(), 1);
    let mut agent = house.agent().await;
    get(&mut agent, &grant).await.unwrap();
    assert_eq!(house.server.revocation_posts(), 0);
}

// rows: AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_disk_hangs_or_loses_what_was_written() {
    for fault in ["delay_enter=1500000", "error=EIO", "error=ENOSPC", "error=EACCES", "error=EPIPE"] {
        let house = Plan::new().config("commit_timeout = \"5s\"", "commit_timeout = \"300ms\"").open().await;
        let before = before(&house).await;
        let Some(injected) = Injected::into(&house, fault).await else { return };
        let mut agent = house.agent().await;
        // strace reaches the audit thread a moment after the first one.
        let mut last = house.begin(&mut agent, &["customers.read"]).await;
        for _ in 0..100 {
            if last.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            last = house.begin(&mut agent, &["customers.read"]).await;
        }
        unavailable(last);
        let posts = house.server.token_posts();
        unavailable(redeem(&mut agent, &before.transaction, &before.callback).await);
        assert_eq!(house.server.token_posts(), posts, "{fault}");
        drop(injected);
        eventually("SERVING again", || (house.health() == "SERVING").then_some(())).await;
        let mut result = redeem(&mut agent, &before.transaction, &before.callback).await;
        for _ in 0..20 {
            if result.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            result = redeem(&mut agent, &before.transaction, &before.callback).await;
        }
        let grant = result.unwrap_or_else(|s| panic!("{fault}: {s:?}")).grant;
        get(&mut agent, &grant).await.unwrap();
        assert_pairs(&house.audit(), fault);
    }
}

/// Every exchange that was decided to go ahead was closed, one way or another.
fn assert_pairs(events: &[Value], fault: &str) {
    let of = |codes: &[&str]| -> Vec<String> {
        let is = |e: &&Value| codes.contains(&e["metadata"]["event_code"].as_str().unwrap()) && e["status_id"] != 0;
        events.iter().filter(is).map(|e| e["metadata"]["correlation_uid"].as_str().unwrap().to_owned()).collect()
    };
    let closed = of(&["token.issued", "exchange.failed"]);
    for id in of(&["exchange.decided"]) {
        assert!(closed.contains(&id), "{fault}: {id} was never closed");
    }
}
