use crate::{
    asking::{READ, WRITE, granted, lasting, refused, token, unbroken, until},
    house::{
        House, Plan, get,
        scripted_as::behaviour::{Behaviour, Script},
    },
};
use narrowgate::{
    dev::ca::{San, Validity},
    platform::{Clock, SystemClock},
};
use serde_json::json;
use tonic::Code;

/// A wall time in milliseconds.
fn millis(at: &prost_types::Timestamp) -> i64 {
    at.seconds * 1000 + i64::from(at.nanos / 1_000_000)
}

/// Asks until another token comes, and checks that the first one was never served after its time.
async fn changes_in_time(
    house: &House,
    agent: &crate::house::Agent,
    grant: &str,
    first: &narrowgate::api::proto::Token,
) {
    let lease = millis(first.lease_time.as_ref().unwrap());
    assert!(lease <= millis(first.expire_time.as_ref().unwrap()));
    let next = until("another token", || {
        let (mut agent, grant, asked) = (agent.clone(), grant.to_owned(), SystemClock.wall().0);
        async move {
            let got = get(&mut agent, &grant).await.unwrap().token.unwrap();
            if got.access_token != first.access_token {
                return Some(got);
            }
            assert!(asked <= lease, "served at {asked}, {} ms after its lease", asked - lease);
            assert_eq!(millis(got.lease_time.as_ref().unwrap()), lease, "a lease never grows");
            None
        }
    })
    .await;
    assert!(millis(next.lease_time.as_ref().unwrap()) > lease);
    assert!(!house.server.refreshes().is_empty());
}

// rows: CACH-03
#[tokio::test]
async fn by_the_tokens_own_end() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.server.always(Script::Token(Behaviour::Lifetime(json!(2))));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let first = redeemed.token.unwrap();
    // One twentieth of its life is left for its way.
    let (lease, end) = (first.lease_time.as_ref().unwrap(), first.expire_time.as_ref().unwrap());
    assert_eq!(millis(end) - millis(lease), 100);
    changes_in_time(&house, &agent, &redeemed.grant, &first).await;
}

// rows: CACH-03
#[tokio::test]
async fn by_the_term_of_policy() {
    let short = r#"@id("test.short") @max_lifetime("1s")
        permit (principal, action == Narrowgate::Action::"grant_scope", resource);"#;
    let (house, agent, redeemed) = granted(Plan::new().policy(short)).await;
    changes_in_time(&house, &agent, &redeemed.grant, redeemed.token.as_ref().unwrap()).await;
}

// rows: CACH-03
#[tokio::test]
async fn by_the_callers_credential() {
    let spiffe_id = crate::house::COURIER;
    let house = Plan::new().open().await;
    let now = SystemClock.wall().0 / 1000;
    let validity = Validity { not_before_secs: now - 60, not_after_secs: now + 4 };
    let short = house.agents_ca.issue("agent", &[San::Uri(spiffe_id)], validity).unwrap();
    let mut agent = house.tls_agent(short).await.unwrap();
    let redeemed = house.login(&mut agent, &["mail.read"]).await.unwrap();
    let first = redeemed.token.unwrap();
    // The lease ends with the certificate, long before the token.
    assert_eq!(first.lease_time.as_ref().unwrap().seconds, now + 4);
    // By a certificate that lasts, the same agent gets the token while the proof that it was given for lasts.
    let renewed = house.svid_agent(spiffe_id).await;
    changes_in_time(&house, &renewed, &redeemed.grant, &first).await;
}

// rows: CACH-03
#[tokio::test]
async fn a_stale_token_is_not_better_than_none() {
    let house = unbroken().open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Lifetime(json!(1))));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    house.server.stop_listening_token();
    let status = until("the token's end", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { get(&mut agent, &grant).await.err() }
    })
    .await;
    assert_eq!((status.code(), crate::house::reason(&status).as_str()), (Code::Unavailable, "AS_UNREACHABLE"));
    house.server.resume_listening_token();
    until("a fresh token", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { get(&mut agent, &grant).await.ok() }
    })
    .await;
}

// rows: CACH-03
#[tokio::test]
async fn what_is_to_last_longer_than_any_token_is_not_fetched() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    // Policy lets a token with customers.write be served for five minutes.
    refused(lasting(&mut agent, &redeemed.grant, 301).await, Code::FailedPrecondition, "TOKEN_EXPIRED");
    assert!(house.server.refreshes().is_empty());
    lasting(&mut agent, &redeemed.grant, 200).await.unwrap();
    let scopes = token(&crate::asking::narrow(&mut agent, &redeemed.grant, &[WRITE]).await.unwrap()).scopes.clone();
    assert_eq!(scopes, [WRITE]);
}

// rows: CACH-03
#[tokio::test]
async fn by_a_term_of_the_hand_out_alone() {
    let later = r#"@id("test.later") @max_lifetime("1s")
        permit (principal, action == Narrowgate::Action::"grant_scope", resource) when { context.flow == "hold" };"#;
    let (house, agent, redeemed) = granted(Plan::new().policy(later)).await;
    let first = redeemed.token.unwrap().access_token;
    // The first release knew nothing of it; the hand-outs do, and fetch another when it is over.
    until("another token", || {
        let (mut agent, grant, first) = (agent.clone(), redeemed.grant.clone(), first.clone());
        async move {
            let got = get(&mut agent, &grant).await.unwrap().token.unwrap().access_token;
            (got != first).then_some(())
        }
    })
    .await;
    assert!(!house.server.refreshes().is_empty());
}
