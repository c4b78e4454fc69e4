use crate::{
    asking::{READ, ask, param, refused, with_iss, with_state},
    house::{Plan, begin_request, redeem, redeem_request},
};
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tonic::Code;

/// The state with its last bits changed.
fn flipped(state: &str) -> String {
    let last = if state.ends_with('A') { "Q" } else { "A" };
    format!("{}{last}", &state[..state.len() - 1])
}

// rows: CODE-02 PKCE-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_state_and_challenge_is_fresh_and_long() {
    const BEGINS: usize = 2_000;
    let house = Plan::new().config("[limits]", "[limits]\ntransactions_per_agent = 5000").open().await;
    let agent = house.agent().await;
    let (mut states, mut challenges) = (BTreeSet::new(), BTreeSet::new());
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let mut agent = agent.clone();
        calls.spawn(async move {
            let mut urls = Vec::new();
            for _ in 0..BEGINS / 32 {
                let begun = agent.begin_authorization(begin_request(&[READ])).await.unwrap().into_inner();
                urls.push(begun.authorization_url);
            }
            urls
        });
    }
    let mut begun = 0;
    while let Some(urls) = calls.join_next().await {
        for url in urls.unwrap() {
            begun += 1;
            states.insert(param(&url, "state").unwrap());
            challenges.insert(param(&url, "code_challenge").unwrap());
        }
    }
    assert!(begun > BEGINS - 32);
    assert_eq!((states.len(), challenges.len()), (begun, begun));
    // 43 characters of base64url are 256 bits.
    let long =
        |text: &String| text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    assert!(states.iter().all(long) && challenges.iter().all(long));
    assert!(states.is_disjoint(&challenges));
}

// rows: CODE-02
#[tokio::test]
async fn a_missing_or_wrong_state_is_refused_and_the_transaction_stays() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (earlier, used) = house.approved(&mut agent, &[READ]).await;
    redeem(&mut agent, &earlier, &used).await.unwrap();
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let connections = house.server.token_connections();
    let tries = [String::new(), flipped(&callback.state), used.state.clone(), callback.state.to_lowercase()];
    for state in &tries {
        let result = with_state(&mut agent, &transaction, &callback, state).await;
        refused(result, Code::FailedPrecondition, "STATE_MISMATCH");
    }
    assert_eq!(house.events("detect.state_mismatch").len(), tries.len());
    assert_eq!(house.server.token_connections(), connections);
    // Four wrong tries later the right one still counts.
    redeem(&mut agent, &transaction, &callback).await.unwrap();
}

// rows: CODE-02
#[tokio::test]
async fn a_callback_url_without_state_is_refused() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let bare = callback.url.replace(&format!("&state={}", callback.state), "");
    assert_ne!(bare, callback.url);
    for url in [bare.clone(), format!("{bare}&state="), format!("{bare}&state={}x", callback.state)] {
        let result = ask(&mut agent, redeem_request(&transaction, &url)).await;
        refused(result, Code::FailedPrecondition, "STATE_MISMATCH");
    }
    assert_eq!(house.server.token_connections(), 0);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
}

// rows: CODE-02
#[tokio::test]
async fn a_state_is_of_no_use_a_second_time() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let first = house.server.approve(&begun.authorization_url);
    redeem(&mut agent, &begun.transaction, &first).await.unwrap();
    // The browser goes back and the person approves again: another code, the same state.
    let second = house.server.approve(&begun.authorization_url);
    assert_eq!(second.state, first.state);
    let result = redeem(&mut agent, &begun.transaction, &second).await;
    refused(result, Code::FailedPrecondition, "TXN_TERMINAL");
    assert_eq!(house.server.token_posts(), 1);
}

// rows: CODE-02
#[tokio::test]
async fn five_wrong_tries_end_a_transaction() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    for wrong in 0..5 {
        // States and issuers count together.
        if wrong % 2 == 0 {
            let result = with_state(&mut agent, &transaction, &callback, "guess").await;
            refused(result, Code::FailedPrecondition, "STATE_MISMATCH");
        } else {
            let result = with_iss(&mut agent, &transaction, &callback, "https://evil.test").await;
            refused(result, Code::FailedPrecondition, "ISS_MISMATCH");
        }
    }
    let result = redeem(&mut agent, &transaction, &callback).await;
    refused(result, Code::FailedPrecondition, "TXN_TERMINAL");
    assert_eq!(house.server.token_connections(), 0);
    house.login(&mut agent, &[READ]).await.unwrap();
}
