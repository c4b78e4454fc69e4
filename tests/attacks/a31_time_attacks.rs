//! The server plays with time: a token for ever, for no time, for less than no time. The lease is narrowgate's own, and it
//! runs on a clock that nobody sets. (Clocks that step are for tests with a clock of their own.)

use crate::kit::*;
use serde_json::json;

const TEN: &str = "@id(\"short\") @max_lifetime(\"1s\")\n\
    permit (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"customers.read\");";

#[tokio::test]
async fn a_lifetime_is_bounded_whatever_the_server_says() {
    let house = Plan::new().policy(TEN).open().await;
    let mut agent = house.agent().await;
    for lifetime in [json!(i64::MAX), json!(4_000_000_000_u64), json!(0), json!(-60), json!(1e300), json!(7200)] {
        let what = lifetime.to_string();
        let status = answered(&house, &mut agent, Behaviour::Lifetime(lifetime)).await;
        assert!(["AS_RESPONSE_MALFORMED", "POLICY_DENIED"].contains(&reason(&status).as_str()), "{what}: {status:?}");
    }
    assert_nothing_issued(&house);
    // Nothing to fetch another one with: its end is the end.
    house.server.behave(Script::Token(Behaviour::NoRefreshToken));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let over = async {
        loop {
            match get(&mut agent, &redeemed.grant).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(status) => break status,
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(10), over).await.expect("the lease ends");
    assert_eq!(reason(&status), "TOKEN_EXPIRED");
}

#[tokio::test]
async fn an_old_approval_is_none() {
    let house = Plan::new().config("[limits]", "[limits]\ntransaction_ttl = \"1s\"").open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    crate::asking::until(begun.expire_time).await;
    refused(redeem(&mut agent, &begun.transaction, &callback).await, Code::NotFound, "TXN_UNKNOWN");
    assert_eq!(house.server.token_connections(), 0);
}
