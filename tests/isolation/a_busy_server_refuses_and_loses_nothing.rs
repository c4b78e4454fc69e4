use crate::{
    house::{Plan, eventually, reason, redeem},
    two::Two,
};
use std::time::Duration;
use tonic::Code;
use tonic_types::StatusExt;

// rows: CODE-02 (a refusal before the POST puts the claim back)
#[tokio::test]
async fn a_refused_code_is_redeemed_later() {
    let two = Two::open(Plan::new(), "requests_in_flight = 1", |_| {}).await;
    let mut agent = two.house.agent().await;
    let (first, first_callback) = two.approved(&mut agent).await;
    let (second, second_callback) = two.approved(&mut agent).await;
    two.partner.set_pause(true);
    let mut other = agent.clone();
    let hanging = tokio::spawn(async move { redeem(&mut other, &first, &first_callback).await.map(drop) });
    eventually("the first POST", || (two.partner.token_posts() == 1).then_some(())).await;

    let status = redeem(&mut agent, &second, &second_callback).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "ISSUER_BUSY"));
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((Duration::from_secs(1)..=Duration::from_secs(30)).contains(&wait), "{wait:?}");
    assert_eq!((two.partner.token_posts(), two.partner.token_connections()), (1, 1), "nothing was sent");
    let refused = two.house.events("exchange.refused").pop().unwrap();
    assert_eq!(refused["status_code"], "ISSUER_BUSY");

    two.partner.set_pause(false);
    hanging.await.unwrap().unwrap();
    redeem(&mut agent, &second, &second_callback).await.unwrap();
    assert_eq!(two.partner.token_posts(), 2);
}

// rows: TOK-08 (waiting for a turn is inside the deadline)
#[tokio::test]
async fn whoever_waits_gets_a_turn_or_is_told_in_time() {
    let two = Two::open(Plan::new(), "deadline = \"2s\"\nrequests_in_flight = 1", |_| {}).await;
    let (mut quoter, mut courier) = (two.house.agent().await, two.house.svid_agent(crate::house::COURIER).await);
    let (first, first_callback) = two.approved(&mut quoter).await;
    let (second, second_callback) = two.approved(&mut courier).await;
    two.partner.set_pause(true);
    let slow = tokio::spawn(async move { redeem(&mut quoter, &first, &first_callback).await.map(drop) });
    eventually("the first POST", || (two.partner.token_posts() == 1).then_some(())).await;
    // Another agent's call waits, and gives up before its time for the exchange itself is gone.
    let status = redeem(&mut courier, &second, &second_callback).await.err().unwrap();
    assert_eq!(reason(&status), "ISSUER_BUSY");
    assert!(!slow.is_finished(), "it did not wait for the whole deadline of the one before it");
    assert_eq!(reason(&slow.await.unwrap().err().unwrap()), "AS_TIMEOUT");
    assert_eq!(two.partner.token_posts(), 1);
    two.partner.set_pause(false);
    redeem(&mut courier, &second, &second_callback).await.unwrap();
}
