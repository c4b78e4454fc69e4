//! Every crash window for sure: kill -9 with a redemption standing still in it.

use crate::{
    house::{House, eventually, reason, redeem_request},
    ledger::Ledger,
    phase::{Phase, hold},
    plan,
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;

fn sequence(event: &Value) -> u64 {
    event["metadata"]["sequence"].as_u64().unwrap()
}

/// Starts it again, and waits until this start is on record.
async fn again(house: &mut House) {
    let before = house.events("daemon.started").len();
    house.start();
    house.wait_until_serving().await;
    eventually("the start's record", || (house.events("daemon.started").len() > before).then_some(())).await;
}

// rows: AUD-02 TIME-05 CODE-06 (attack 29)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exchange_is_closed_once_and_its_code_is_never_sent_again() {
    let mut house = plan().open().await;
    for phase in Phase::ALL {
        let mut agent = house.agent().await;
        let (posts, issued) = (house.server.token_posts(), house.server.issues().len());
        let Some(mut held) = hold(&house, &mut agent, phase).await else { continue };
        house.signal(Signal::KILL).await;
        let status = held.answer().await.err().expect("a caller is told nothing by a dead daemon");
        assert!(matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Unknown), "{status:?}");
        held.go_on(&house);
        again(&mut house).await;
        let sent = usize::from(phase.is_sent());
        assert_eq!(house.server.token_posts() - posts, sent, "{phase:?}");
        assert_eq!(house.server.issues().len() - issued, sent, "{phase:?}");
        let closing = house.audit().into_iter().filter(|event| {
            let code = event["metadata"]["event_code"].as_str().unwrap();
            event["metadata"]["correlation_uid"] == held.exchange.as_str() && !code.ends_with(".decided")
        });
        let closing: Vec<Value> = closing.collect();
        // What was written is there after a crash of the process, confirmed or not.
        let expected = if phase == Phase::Recording { "token.issued" } else { "exchange.unknown" };
        assert_eq!(closing.len(), 1, "{phase:?}: {closing:#?}");
        assert_eq!(closing[0]["metadata"]["event_code"], expected, "{phase:?}");
        let mut agent = house.agent().await;
        for request in [redeem_request(&held.request.transaction, &held.callback.url), held.request.clone()] {
            let status = agent.redeem_code(request).await.err().unwrap();
            assert_eq!(reason(&status), "TXN_UNKNOWN", "{phase:?}");
        }
        assert_eq!(house.server.token_posts() - posts, sent, "{phase:?}");
    }
    assert_eq!(house.stop().await, Some(0));
    Ledger::closed(&house.path("audit"));
}

// rows: AUD-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_of_small_files_hides_an_open_exchange() {
    let mut house = plan().open().await;
    let mut agent = house.agent().await;
    let held = hold(&house, &mut agent, Phase::Sent).await.unwrap();
    house.signal(Signal::KILL).await;
    house.server.set_pause(false);
    // As after a disk that failed again and again: each failed commit begins another file.
    let mut event = house.events("authorization.decided").pop().unwrap();
    let last = house.audit().last().map(sequence).unwrap();
    for next in last + 1..last + 6 {
        event["metadata"]["sequence"] = next.into();
        let name = format!("audit/audit-{next:012}-000.jsonl");
        fs::write(house.path(&name), format!("{event}\n")).unwrap();
    }
    again(&mut house).await;
    assert_eq!(house.event("exchange.unknown").await["metadata"]["correlation_uid"], held.exchange.as_str());
    assert_eq!(house.stop().await, Some(0));
    Ledger::closed(&house.path("audit"));
}
