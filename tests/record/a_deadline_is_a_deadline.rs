//! The caller's deadline bounds the caller's wait; what was begun at the server is seen through and recorded.

use crate::{
    house::{House, Plan, eventually, redeem_request},
    raw,
    witness::Witness,
};
use prost::Message;
use std::time::{Duration, Instant};
use tonic::Code;

const REDEEM: &str = "/narrowgate.v1.TokenService/RedeemCode";
const BEGIN: &str = "/narrowgate.v1.TokenService/BeginAuthorization";

#[expect(clippy::disallowed_methods, reason = "how long a caller waits is what this is about")]
fn now() -> Instant {
    Instant::now()
}

/// Redeems at a server that is silent, with this timeout; how long the answer took.
async fn redeem_at_silent_server(house: &House, timeout: Option<&str>) -> Duration {
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    house.server.set_pause(true);
    let message = redeem_request(&transaction, &callback.url).encode_to_vec();
    let headers: Vec<(&str, &str)> = timeout.iter().map(|t| ("grpc-timeout", *t)).collect();
    let start = now();
    let answer = raw::call(&house.path("run/agent.sock"), REDEEM, &headers, &message).await;
    let took = start.elapsed();
    Witness::default().expect::<()>(Err(answer.status()), Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    took
}

// rows: GRPC-04 GRPC-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_caller() {
    let house = Plan::new().open().await;
    let took = redeem_at_silent_server(&house, Some("200m")).await;
    assert!(took >= Duration::from_millis(150) && took < Duration::from_millis(1000), "{took:?}");
    assert_eq!(house.server.token_posts(), 1);
    assert!(house.events("token.issued").is_empty() && house.events("exchange.failed").is_empty());
    // Decisions 4: the exchange goes on without the caller, and its outcome is recorded and kept.
    house.server.set_pause(false);
    let issued = house.event("token.issued").await;
    let decided = house.event("exchange.decided").await;
    assert_eq!(issued["metadata"]["correlation_uid"], decided["metadata"]["correlation_uid"]);
    assert_eq!(house.server.token_posts(), 1);
}

// rows: GRPC-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_daemon_where_the_caller_has_none_or_a_longer_one() {
    let house = Plan::new().config("call_deadline = \"20s\"", "call_deadline = \"300ms\"").open().await;
    for timeout in [None, Some("1H"), Some("nonsense")] {
        let took = redeem_at_silent_server(&house, timeout).await;
        assert!(took >= Duration::from_millis(290) && took < Duration::from_millis(1500), "{timeout:?}: {took:?}");
        house.server.set_pause(false);
    }
    eventually("three outcomes", || (house.events("token.issued").len() == 3).then_some(())).await;
}

// rows: GRPC-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_request_to_the_server() {
    let house = Plan::new().config("deadline = \"5s\"", "deadline = \"300ms\"").open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    house.server.set_pause(true);
    let start = now();
    let result = crate::house::redeem(&mut agent, &transaction, &callback).await;
    let status = Witness::default().expect(result, Code::DeadlineExceeded, "AS_TIMEOUT");
    assert!(start.elapsed() < Duration::from_millis(2000));
    let failed = house.event("exchange.failed").await;
    assert_eq!(failed["status_code"], "AS_TIMEOUT");
    assert_eq!(failed["metadata"]["correlation_uid"], crate::house::fact(&status, "decision_id").unwrap());
    assert_eq!(house.server.token_posts(), 1);
}

// rows: GRPC-04
#[tokio::test]
async fn one_that_is_over_before_it_began_costs_nothing() {
    let house = Plan::new().open().await;
    let message = crate::house::begin_request(&["customers.read"]).encode_to_vec();
    for timeout in ["0m", "1n", "4m"] {
        let answer = raw::call(&house.path("run/agent.sock"), BEGIN, &[("grpc-timeout", timeout)], &message).await;
        Witness::default().expect::<()>(Err(answer.status()), Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    }
}
