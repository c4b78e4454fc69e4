use crate::house::{House, Plan, get, reason, redeem, redeem_request};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, io::Write, time::Duration};

/// Stops the daemon dead after the server has read the code and before it answers. The correlation of the exchange.
async fn crash(house: &mut House) -> (String, String) {
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    house.server.set_pause(true);
    let request = redeem_request(&transaction, &callback.url);
    let calling = tokio::spawn(async move { agent.redeem_code(request).await.map(|_| ()) });
    let posts = house.server.token_posts();
    let (server, _) = (&house.server, ());
    let arrived = tokio::task::block_in_place(|| server.wait_for(Duration::from_secs(10), |s| s.token_posts() > posts));
    assert!(arrived, "the code was sent");
    // The intent was on disk before the code left.
    let decided = house.events("exchange.decided").pop().expect("the decision is durable before the POST");
    assert_eq!((&decided["action_id"], &decided["unmapped"]["narrowgate"]["phase"]), (&1.into(), &"intent".into()));
    house.signal(Signal::KILL).await;
    calling.await.unwrap().expect_err("the caller lost its connection");
    house.server.set_pause(false);
    let id = decided["metadata"]["correlation_uid"].as_str().unwrap().to_owned();
    (id, decided["unmapped"]["narrowgate"]["code_ref"].as_str().unwrap().to_owned())
}

fn unknown(house: &House) -> Vec<Value> {
    house.events("exchange.unknown")
}

// rows: AUD-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_post_and_reply() {
    let mut house = Plan::new().open().await;
    let (id, code_ref) = crash(&mut house).await;
    assert!(unknown(&house).is_empty());
    house.start();
    house.wait_until_serving().await;
    let event = house.event("exchange.unknown").await;
    assert_eq!(event["metadata"]["correlation_uid"], id);
    assert_eq!(event["unmapped"]["narrowgate"]["code_ref"], code_ref);
    assert_eq!(event["unmapped"]["narrowgate"]["agent"], "quoter");
    assert_eq!((&event["severity"], &event["status"]), (&"High".into(), &"Unknown".into()));
    // The outcome is reported once, however often the daemon starts again.
    house.stop().await;
    house.start();
    house.wait_until_serving().await;
    house.stop().await;
    assert_eq!(unknown(&house).len(), 1);
    assert!(house.events("token.issued").is_empty());
    let numbers: Vec<u64> = house.audit().iter().map(|e| e["metadata"]["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "the sequence goes on over restarts");
}

// rows: AUD-02 TIME-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_open_is_void_after_a_restart() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    let held = house.login(&mut agent, &["customers.read"]).await.unwrap();
    let posts = house.server.token_posts();
    house.signal(Signal::KILL).await;
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    assert_eq!(reason(&redeem(&mut agent, &transaction, &callback).await.err().unwrap()), "TXN_UNKNOWN");
    assert_eq!(reason(&get(&mut agent, &held.grant).await.err().unwrap()), "GRANT_UNKNOWN");
    assert_eq!(house.server.token_posts(), posts);
    assert!(unknown(&house).is_empty(), "an exchange that was closed is not reported");
}

// rows: AUD-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_cut_short_by_the_crash_is_set_aside() {
    let mut house = Plan::new().open().await;
    let (id, _) = crash(&mut house).await;
    let segment = fs::read_dir(house.path("audit")).unwrap().map(|e| e.unwrap().path());
    let segment = segment.filter(|p| p.extension().is_some_and(|e| e == "jsonl")).max().unwrap();
    let torn = br#"{"metadata":{"event_code":"token.issued","sequence":99,"correlation_uid":""#;
    fs::OpenOptions::new().append(true).open(&segment).unwrap().write_all(torn).unwrap();
    house.start();
    house.wait_until_serving().await;
    let event = house.event("exchange.unknown").await;
    assert_eq!(event["metadata"]["correlation_uid"], id, "a torn outcome is no outcome");
    let aside = fs::read_dir(house.path("audit")).unwrap().map(|e| e.unwrap().path());
    let aside: Vec<_> = aside.filter(|p| p.extension().is_some_and(|e| e == "bin")).collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(&aside[0]).unwrap(), torn);
}
