use crate::house::{
    Plan, eventually, reason, redeem,
    scripted_as::behaviour::{Behaviour, RevocationBehaviour, Script},
};

// rows: GRPC-13 INTR-01
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_waits_is_tried_once_more_and_accounted_for() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.server.always(Script::Revocation(RevocationBehaviour::Status(503)));
    house.server.behave(Script::Token(Behaviour::Broader("admin".to_owned())));
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!(reason(&status), "SCOPE_UPGRADED");
    eventually("a first try", || (house.server.revocation_posts() > 0).then_some(())).await;
    assert_eq!(house.stop().await, Some(0));
    let failed = house.events("token.revoke_failed");
    assert!(!failed.is_empty(), "what was not revoked is said");
    assert!(failed.iter().all(|event| event["severity"] == "High"));
    assert_eq!(house.audit().last().unwrap()["metadata"]["event_code"], "daemon.stopped");
}

// rows: AUD-02
#[tokio::test]
async fn the_sequence_goes_on_after_starts_that_wrote_nothing() {
    let mut house = Plan::new().open().await;
    house.begin(&mut house.agent().await, &["customers.read"]).await.unwrap();
    assert_eq!(house.stop().await, Some(0));
    let last = house.audit().last().unwrap()["metadata"]["sequence"].as_u64().unwrap();
    // What starts on a full disk leave behind.
    for attempt in 0..3 {
        std::fs::write(house.path(&format!("audit/audit-{:012}-{attempt:03}.jsonl", last + 1)), "").unwrap();
    }
    house.start();
    house.wait_until_serving().await;
    let number = |event: &serde_json::Value| event["metadata"]["sequence"].as_u64().unwrap();
    let later = || house.audit().iter().find(|event| number(event) > last).cloned();
    let first = eventually("the first event of the second run", later).await;
    assert_eq!(number(&first), last + 1);
    let numbers: Vec<u64> = house.audit().iter().map(|e| e["metadata"]["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..u64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
}
