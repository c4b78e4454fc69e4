//! One code, presented again and again: at once from sixty-four sides, later, in another transaction, after a restart.
//! It is sent once.

use crate::kit::*;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_sent_once_however_it_comes_back() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let mut tries = JoinSet::new();
    for _ in 0..64 {
        let (mut agent, request) = (agent.clone(), redeem_request(&transaction, &callback.url));
        tries.spawn(async move { agent.redeem_code(request).await.map(drop) });
    }
    let results = tries.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert_eq!((house.server.token_posts(), house.events("token.issued").len()), (1, 1));

    refused(redeem(&mut agent, &transaction, &callback).await, Code::AlreadyExists, "CODE_ALREADY_USED");
    let (second, other) = house.approved(&mut agent, &[READ]).await;
    let replay = by_fields(&second, &callback.code, &other.state, &other.iss);
    assert_eq!(reason(&ask(&mut agent, replay).await.err().unwrap()), "CODE_REPLAYED");
    assert_eq!(house.event("detect.code_replay").await["severity"], "High");
    assert_eq!(house.server.token_posts(), 1);

    house.stop().await;
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    for (transaction, callback) in [(&transaction, &callback), (&second, &other)] {
        refused(redeem(&mut agent, transaction, callback).await, Code::NotFound, "TXN_UNKNOWN");
    }
    assert_eq!(house.server.token_posts(), 1);
}
