use crate::{
    asking::{READ, refused},
    house::{Plan, get, redeem, redeem_request},
};
use narrowgate::api::proto::RedeemCodeRequest;
use tokio::task::JoinSet;
use tonic::Code;

// rows: CODE-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_redemptions_of_one_code_are_one_post_while_the_server_thinks() {
    let house = Plan::new().open().await;
    let mut agents = [house.agent().await, house.agent().await];
    let (transaction, callback) = house.approved(&mut agents[0], &[READ]).await;
    house.server.set_pause(true);
    let mut calls = JoinSet::new();
    for call in 0..64 {
        let (mut agent, transaction, callback) = (agents[call % 2].clone(), transaction.clone(), callback.clone());
        calls.spawn(async move { redeem(&mut agent, &transaction, &callback).await });
    }
    // The server holds its one answer back until all the others are refused.
    for _ in 0..63 {
        refused(calls.join_next().await.unwrap().unwrap(), Code::AlreadyExists, "CODE_ALREADY_USED");
    }
    house.server.set_pause(false);
    let won = calls.join_next().await.unwrap().unwrap().unwrap();
    assert!(calls.is_empty() && !won.recovered);
    assert_eq!(house.server.token_posts(), 1);
    assert_eq!(house.events("exchange.decided").len(), 1);
    get(&mut agents[1], &won.grant).await.unwrap();
}

// rows: CODE-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_redemptions_of_one_code_are_one_post_whenever_the_answer_comes() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for round in 1..=3 {
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        let mut calls = JoinSet::new();
        for _ in 0..64 {
            let (mut agent, transaction, callback) = (agent.clone(), transaction.clone(), callback.clone());
            calls.spawn(async move { redeem(&mut agent, &transaction, &callback).await });
        }
        let (won, lost): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 63));
        for result in lost {
            refused(result, Code::AlreadyExists, "CODE_ALREADY_USED");
        }
        assert_eq!(house.server.token_posts(), round);
    }
}

// rows: CODE-03
#[tokio::test]
async fn a_code_stays_spent_after_its_token_was_given() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    refused(redeem(&mut agent, &transaction, &callback).await, Code::AlreadyExists, "CODE_ALREADY_USED");
    let late_id = RedeemCodeRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..redeem_request(&transaction, &callback.url)
    };
    refused(crate::asking::ask(&mut agent, late_id).await, Code::AlreadyExists, "CODE_ALREADY_USED");
    assert_eq!(house.server.token_posts(), 1);
    house.event("detect.code_replay").await;
}

// rows: CODE-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_code_waits_while_one_is_being_redeemed() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let [first, second] = [(), ()].map(|()| house.server.approve(&begun.authorization_url));
    house.server.set_pause(true);
    let (mut other, transaction) = (agent.clone(), begun.transaction.clone());
    let call = tokio::spawn(async move { redeem(&mut other, &transaction, &first).await });
    crate::house::eventually("the first POST", || (house.server.token_posts() == 1).then_some(())).await;
    refused(redeem(&mut agent, &begun.transaction, &second).await, Code::Aborted, "TXN_BUSY");
    house.server.set_pause(false);
    call.await.unwrap().unwrap();
    refused(redeem(&mut agent, &begun.transaction, &second).await, Code::FailedPrecondition, "TXN_TERMINAL");
    assert_eq!(house.server.token_posts(), 1);
}
