//! The daemon is killed with a code on its way. What it decided is on disk; what came of it is called unknown; the code is
//! not tried again.

use crate::kit::*;
use rustix::process::Signal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_no_record_and_repeats_no_code() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let (idle, unused) = house.approved(&mut agent, &[READ]).await;
    house.server.set_pause(true);
    let request = redeem_request(&transaction, &callback.url);
    let call = tokio::spawn(async move { ask(&mut agent, request).await.map(drop) });
    eventually("the POST", || (house.server.token_posts() == 1).then_some(())).await;
    let decided = house.events("exchange.decided").pop().expect("durable before the code left");
    house.signal(Signal::KILL).await;
    assert!(call.await.unwrap().is_err());
    house.server.set_pause(false);
    house.start();
    house.wait_until_serving().await;
    let unknown = house.event("exchange.unknown").await;
    assert_eq!(unknown["metadata"]["correlation_uid"], decided["metadata"]["correlation_uid"]);
    let mut agent = house.agent().await;
    for (transaction, callback) in [(&transaction, &callback), (&idle, &unused)] {
        refused(redeem(&mut agent, transaction, callback).await, Code::NotFound, "TXN_UNKNOWN");
    }
    assert_eq!(house.server.token_posts(), 1);
    assert_nothing_issued(&house);
}
