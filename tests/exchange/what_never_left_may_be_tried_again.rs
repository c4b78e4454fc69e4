use crate::{
    asking::{READ, refused, until, with_state},
    house::{
        Plan, redeem,
        scripted_as::{
            behaviour::{Behaviour, Script},
            tls::ServerCertificate,
        },
    },
};
use narrowgate::api::proto::RevokeGrantRequest;
use tonic::Code;

// decisions 3
// rows: CODE-06
#[tokio::test]
async fn a_refused_connection_puts_the_transaction_back() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    house.server.stop_listening_token();
    for _ in 0..3 {
        refused(redeem(&mut agent, &transaction, &callback).await, Code::Unavailable, "AS_UNREACHABLE");
    }
    assert_eq!(house.events("exchange.failed").len(), 3);
    house.server.resume_listening_token();
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!(house.server.token_posts(), 1);
    // Every attempt was decided and recorded by itself.
    assert_eq!(house.events("exchange.decided").len(), 4);
}

// decisions 3
// rows: CODE-06
#[tokio::test]
async fn a_connection_that_breaks_before_tls_puts_the_transaction_back() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    house.server.behave(Script::Token(Behaviour::ResetBeforeRequest));
    refused(redeem(&mut agent, &transaction, &callback).await, Code::Unavailable, "AS_UNREACHABLE");
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!((house.server.token_posts(), house.server.token_connections()), (1, 2));
}

// decisions 3
// rows: CODE-06
#[tokio::test]
async fn a_silent_server_is_given_up_and_may_be_tried_again() {
    let plan = Plan::new().config("deadline = \"5s\"", "deadline = \"500ms\"");
    let house = plan.server(|setup| setup.silent = true).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    for connections in 1..=2 {
        refused(redeem(&mut agent, &transaction, &callback).await, Code::Unavailable, "AS_UNREACHABLE");
        assert_eq!(house.server.token_connections(), connections);
    }
    assert_eq!(house.server.token_posts(), 0);
}

// decisions 3
// rows: CODE-06
#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_code_and_the_transaction_is_put_back() {
    let house = Plan::new().server(|setup| setup.token_certificate = ServerCertificate::OtherAuthority).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    for _ in 0..2 {
        refused(redeem(&mut agent, &transaction, &callback).await, Code::Unavailable, "AS_TLS_UNTRUSTED");
    }
    assert_eq!((house.server.token_handshakes(), house.server.token_posts()), (0, 0));
}

// decisions 3
// rows: CODE-05
#[tokio::test]
async fn what_is_put_back_does_not_outlive_the_transaction() {
    let house = Plan::new().config("[limits]", "[limits]\ntransaction_ttl = \"2s\"").open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    house.server.stop_listening_token();
    refused(redeem(&mut agent, &begun.transaction, &callback).await, Code::Unavailable, "AS_UNREACHABLE");
    house.server.resume_listening_token();
    until(begun.expire_time).await;
    refused(redeem(&mut agent, &begun.transaction, &callback).await, Code::NotFound, "TXN_UNKNOWN");
    assert_eq!(house.server.token_connections(), 0);
}

// decisions 3
// rows: CODE-02
#[tokio::test]
async fn wrong_tries_are_not_forgotten_when_a_transaction_is_put_back() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    for _ in 0..4 {
        let result = with_state(&mut agent, &transaction, &callback, "guess").await;
        refused(result, Code::FailedPrecondition, "STATE_MISMATCH");
    }
    house.server.stop_listening_token();
    refused(redeem(&mut agent, &transaction, &callback).await, Code::Unavailable, "AS_UNREACHABLE");
    house.server.resume_listening_token();
    let result = with_state(&mut agent, &transaction, &callback, "guess").await;
    refused(result, Code::FailedPrecondition, "STATE_MISMATCH");
    let result = redeem(&mut agent, &transaction, &callback).await;
    refused(result, Code::FailedPrecondition, "TXN_TERMINAL");
    assert_eq!(house.server.token_posts(), 0);
}

// decisions 3
// rows: CODE-06
#[tokio::test]
async fn a_full_store_of_grants_puts_the_transaction_back() {
    let house = Plan::new().config("[limits]", "[limits]\ngrants_per_agent = 1").open().await;
    let mut agent = house.agent().await;
    let held = house.login(&mut agent, &[READ]).await.unwrap();
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let full = redeem(&mut agent, &transaction, &callback).await;
    let full = refused(full, Code::ResourceExhausted, "QUOTA_EXCEEDED");
    assert!(full.message().contains("too many grants: revoke some"), "{full:?}");
    assert_eq!(house.server.token_connections(), 1);
    agent.revoke_grant(RevokeGrantRequest { grant: held.grant, ..RevokeGrantRequest::default() }).await.unwrap();
    redeem(&mut agent, &transaction, &callback).await.unwrap();
}

// rows: GRPC-03
#[tokio::test]
async fn a_quota_that_is_met_says_which_and_the_way_out() {
    let house = Plan::new().config("[limits]", "[limits]\ntransactions_per_agent = 1").open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let full = refused(house.begin(&mut agent, &[READ]).await, Code::ResourceExhausted, "QUOTA_EXCEEDED");
    assert!(full.message().contains("Too many transactions are open: redeem the callback of one"), "{full:?}");
    // The way out: this one ends by its callback, and there is room again.
    let callback = house.server.approve(&begun.authorization_url);
    redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    let mut last = None;
    for _ in 0..40 {
        match house.begin(&mut agent, &[READ]).await {
            Ok(begun) => {
                let callback = house.server.approve(&begun.authorization_url);
                redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
            }
            Err(status) => {
                last = Some(status);
                break;
            }
        }
    }
    // None is open: those that have ended are too many, and redeeming would not help.
    let full = refused(Err::<(), _>(last.unwrap()), Code::ResourceExhausted, "QUOTA_EXCEEDED");
    assert!(full.message().contains("were begun in a short time"), "{full:?}");
    assert!(!full.message().contains("redeem"), "{full:?}");
}
