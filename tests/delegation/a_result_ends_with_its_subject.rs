use crate::{
    house::{
        Plan, eventually, get,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{READ, exchange, now, open, request, subject},
};
use serde_json::json;
use std::time::Duration;

// rows: TEX-10
#[tokio::test]
async fn it_is_served_no_longer_than_the_subject_lives() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let ends = now() + 60;
    house.server.behave(Script::Token(Behaviour::Lifetime(json!(3600))));
    let token = subject(&house, &json!({ "exp": ends }));
    let exchanged = exchange(&mut agent, request(&token, &[READ])).await.unwrap().token.unwrap();
    let lease = exchanged.lease_time.unwrap();
    assert!(u64::try_from(lease.seconds).unwrap() <= ends, "{lease:?} is after {ends}");
    // The policy's own cap holds as well, where it is shorter: ten minutes for this scope.
    house.server.behave(Script::Token(Behaviour::Lifetime(json!(3600))));
    let token = subject(&house, &json!({ "exp": now() + 3000 }));
    let exchanged = exchange(&mut agent, request(&token, &[READ])).await.unwrap().token.unwrap();
    assert!(u64::try_from(exchanged.lease_time.unwrap().seconds).unwrap() <= now() + 600);
}

// rows: TEX-10
#[tokio::test]
async fn it_is_revoked_when_the_subject_has_ended() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Lifetime(json!(3600))));
    let token = subject(&house, &json!({ "exp": now() + 3 }));
    let exchanged = exchange(&mut agent, request(&token, &[READ])).await.unwrap();
    let mut last = get(&mut agent, &exchanged.grant).await;
    for _ in 0..200 {
        if last.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        last = get(&mut agent, &exchanged.grant).await;
    }
    assert!(matches!(crate::house::reason(&last.err().unwrap()).as_str(), "TOKEN_EXPIRED" | "GRANT_UNKNOWN"));
    let revoked = eventually("the revocation", || house.server.revocations().pop()).await;
    assert_eq!(revoked.1, exchanged.token.unwrap().access_token);
}
