use crate::{
    asking::{READ, ask, refused, run, until, words},
    house::{Plan, redeem, redeem_request},
};
use std::time::Duration;
use tonic::Code;

// rows: CODE-05
#[tokio::test]
async fn a_code_held_too_long_ends_before_it_is_sent() {
    let slow = |setup: &mut crate::house::scripted_as::Setup<'_>| setup.handshake_delay = Duration::from_millis(400);
    let house = Plan::new().config("[limits]", "[limits]\ncode_hold = \"100ms\"").server(slow).open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let result = redeem(&mut agent, &begun.transaction, &callback).await;
    refused(result, Code::FailedPrecondition, "CODE_EXPIRED_LOCALLY");
    assert_eq!(house.event("exchange.failed").await["status_code"], "CODE_EXPIRED_LOCALLY");
    // It is over: for this code, and for the next.
    refused(redeem(&mut agent, &begun.transaction, &callback).await, Code::FailedPrecondition, "TXN_TERMINAL");
    let next = house.server.approve(&begun.authorization_url);
    let result = ask(&mut agent, redeem_request(&begun.transaction, &next.url)).await;
    refused(result, Code::FailedPrecondition, "TXN_TERMINAL");
    assert_eq!(house.server.token_posts(), 0);
    house.assert_no_secret_leaked();
}

// rows: CODE-05
#[tokio::test]
async fn a_code_within_the_hold_time_is_sent() {
    let slow = |setup: &mut crate::house::scripted_as::Setup<'_>| setup.handshake_delay = Duration::from_millis(200);
    let house = Plan::new().server(slow).open().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
}

// rows: CODE-05
#[tokio::test]
async fn a_transaction_lives_no_longer_than_its_time() {
    let house = Plan::new().config("[limits]", "[limits]\ntransaction_ttl = \"2s\"").open().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    let connections = house.server.token_connections();
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    until(begun.expire_time).await;
    refused(redeem(&mut agent, &begun.transaction, &callback).await, Code::NotFound, "TXN_UNKNOWN");
    assert_eq!(house.server.token_connections(), connections);
}

// rows: CODE-05
#[tokio::test]
async fn longer_times_cannot_be_configured() {
    for limit in ["code_hold = \"61s\"", "transaction_ttl = \"61m\""] {
        let house = Plan::new().config("[limits]", &format!("[limits]\n{limit}")).build();
        let output = run(house.command("serve")).await;
        assert_eq!(output.status.code(), Some(64));
        let name = limit.split(' ').next().unwrap();
        assert!(words(&output).contains(name), "{}", words(&output));
    }
    for limit in ["code_hold = \"60s\"", "transaction_ttl = \"60m\""] {
        let house = Plan::new().config("[limits]", &format!("[limits]\n{limit}")).build();
        assert_eq!(run(house.command("check")).await.status.code(), Some(0));
    }
}
