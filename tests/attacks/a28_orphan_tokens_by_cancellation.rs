//! The agent hangs up while the server issues its token. The token is not forgotten: it is kept until it is asked for, and
//! revoked if nobody asks.

use crate::kit::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_nobody_took_is_revoked() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    house.server.set_pause(true);
    let call = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await.map(drop) });
    eventually("the POST", || (house.server.token_posts() == 1).then_some(())).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    house.server.set_pause(false);
    // The outcome is on record though nobody listens, and the token ends with the daemon at the latest.
    house.event("token.issued").await;
    assert!(house.events("token.served").is_empty());
    assert_eq!(house.stop().await, Some(0));
    revoked(&house, 2).await;
    let hints: Vec<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
    assert_eq!(hints, ["refresh_token", "access_token"]);
    assert_eq!(house.events("token.revoked").len(), 2);
}
