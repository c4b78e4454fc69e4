use crate::{
    house::{Plan, reason, redeem, redeem_request},
    kit::READ,
};
use tonic::Code;

const NO_REDEEMING: &str = r#"@id("test.no-redeeming")
    @code("not_today")
    forbid (principal, action == Narrowgate::Action::"redeem_code", resource);"#;

// rows: SCOP-03 (decisions 6)
#[tokio::test]
async fn a_denied_redemption_opens_no_connection_to_the_token_endpoint() {
    let house = Plan::new().policy(NO_REDEEMING).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    assert_eq!(house.server.token_connections(), 0, "begin has no business there");
    let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
    let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!(reason(&status), "TXN_TERMINAL");
    assert_eq!(house.server.token_connections(), 0);
    house.assert_no_secret_leaked();
}

// rows: SCOP-03 (decisions 6)
#[tokio::test]
async fn neither_does_a_call_that_is_refused_before_policy() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let url = callback.url.replace(&callback.state, "some-other-state-of-the-right-form-0123456789");
    let status = agent.redeem_code(redeem_request(&transaction, &url)).await.err().unwrap();
    assert_eq!(reason(&status), "STATE_MISMATCH");
    let mut request = redeem_request(&transaction, &callback.url);
    request.required_scopes = vec!["customers.write".to_owned()];
    assert_eq!(reason(&agent.redeem_code(request).await.err().unwrap()), "SCOPE_NOT_IN_TRANSACTION");
    assert_eq!(house.server.token_connections(), 0);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!(house.server.token_connections(), 1);
    house.assert_no_secret_leaked();
}
