use crate::{
    asking::{READ, WRITE, refused},
    house::{Plan, fact, redeem},
};
use tonic::Code;

const NO_REDEEM: &str = r#"
@id("test.no-redeem")
@code("no_redeem")
forbid (principal, action == Narrowgate::Action::"redeem_code", resource);
"#;

/// One scope is allowed to begin with, and no longer when its code comes.
const NO_WRITE_LATER: &str = r#"
@id("test.no-write-later")
@code("write_frozen")
forbid (principal, action == Narrowgate::Action::"grant_scope", resource == Narrowgate::Scope::"customers.write")
when { context.flow == "code" };
"#;

/// A forbid that cannot be evaluated: its sum overflows.
const BROKEN: &str = r#"
@id("test.broken")
@code("broken")
forbid (principal, action == Narrowgate::Action::"redeem_code", resource)
when { 9223372036854775807 + principal.trust > 0 };
"#;

// rows: CODE-07
#[tokio::test]
async fn a_denied_code_stays_here_and_no_connection_is_made() {
    let mut house = Plan::new().policy(NO_REDEEM).open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    assert_eq!(house.server.token_connections(), 0);
    let result = redeem(&mut agent, &begun.transaction, &callback).await;
    let status = refused(result, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(house.server.token_connections(), 0);
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("no_redeem"));
    let decided = house.event("exchange.decided").await;
    assert_eq!(decided["metadata"]["correlation_uid"], *fact(&status, "decision_id").unwrap());
    assert_eq!(decided["action"], "Denied");
    // The no is final: for this code and for the next one of the same transaction.
    refused(redeem(&mut agent, &begun.transaction, &callback).await, Code::FailedPrecondition, "TXN_TERMINAL");
    let fresh = house.server.approve(&begun.authorization_url);
    let result = redeem(&mut agent, &begun.transaction, &fresh).await;
    refused(result, Code::FailedPrecondition, "TXN_TERMINAL");
    // Nor afterwards, up to the daemon's end.
    assert_eq!(house.stop().await, Some(0));
    assert_eq!((house.server.token_connections(), house.server.front_token_posts()), (0, 0));
    house.assert_no_secret_leaked();
}

// rows: CODE-07
#[tokio::test]
async fn a_scope_that_is_no_longer_allowed_is_refused_before_the_post() {
    let house = Plan::new().policy(NO_WRITE_LATER).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ, WRITE]).await;
    let result = redeem(&mut agent, &transaction, &callback).await;
    let status = refused(result, Code::PermissionDenied, "SCOPE_NO_LONGER_ALLOWED");
    assert_eq!(fact(&status, "scopes").as_deref(), Some(WRITE));
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("write_frozen"));
    assert_eq!(house.server.token_connections(), 0);
    house.login(&mut agent, &[READ]).await.unwrap();
}

// rows: CODE-07
#[tokio::test]
async fn a_policy_that_cannot_be_evaluated_is_a_no() {
    let house = Plan::new().policy(BROKEN).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let result = redeem(&mut agent, &transaction, &callback).await;
    refused(result, Code::PermissionDenied, "POLICY_EVAL_ERROR");
    assert_eq!(house.server.token_connections(), 0);
}
