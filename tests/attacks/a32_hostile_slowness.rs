//! The server answers one byte at a time. Its client's call ends at the deadline, and nobody else waits.

use crate::kit::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trickle_holds_up_its_own_call_alone() {
    let house = Plan::new().config("deadline = \"5s\"", "deadline = \"1s\"").open().await;
    let (mut quoter, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
    let held = house.login(&mut courier, &[READ]).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (transaction, callback) = house.approved(&mut quoter, &[READ]).await;
        house.server.behave(Script::Token(Behaviour::Dribble { interval_ms: 200 }));
        let mut quoter = quoter.clone();
        calls.spawn(async move { redeem(&mut quoter, &transaction, &callback).await.map(drop) });
    }
    eventually("the POSTs", || (house.server.token_posts() == 9).then_some(())).await;
    // While all of them hang, the other agent is served, begins and gets.
    get(&mut courier, &held.grant).await.unwrap();
    house.begin(&mut courier, &[READ]).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(15), calls.join_all()).await.expect("every call ends");
    for result in ended {
        refused(result, Code::DeadlineExceeded, "AS_TIMEOUT");
    }
    assert_eq!(house.server.token_posts(), 9, "no code was sent twice");
}
