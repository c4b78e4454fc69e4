use crate::{
    house::{
        Plan, fact, reason, redeem, redeem_request,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{ACCESS, NONE, READ, about, assert_tells_no_secret, plan, raw, refuses, settled},
};
use narrowgate::api::proto::{
    AuthorizationResponse, BeginAuthorizationResponse, RedeemCodeRequest, redeem_code_request::Callback as WireCallback,
};
use tonic::Code;

const UNKNOWN: (Code, &str) = (Code::Aborted, "REDEEM_OUTCOME_UNKNOWN");

// rows: CODE-06 (decisions 4)
#[tokio::test]
async fn a_connection_that_breaks_after_the_code_leaves_the_outcome_unknown() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let broken = [
        Behaviour::ResetAfterRequest,
        Behaviour::CloseAfterRequest,
        Behaviour::Bytes(b"SSH-2.0-canary\r\n".to_vec()),
        Behaviour::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 10\r\n\r\n{}".to_vec()),
    ];
    for behaviour in broken {
        let connections = house.server.token_connections();
        refuses(&house, &mut agent, behaviour, UNKNOWN, NONE).await;
        assert_eq!(house.server.token_connections(), connections + 1);
    }
    // Its access token had come whole when it broke off.
    refuses(&house, &mut agent, Behaviour::CutBody, UNKNOWN, ACCESS).await;
    settled(&house, &mut agent).await;
}

// rows: CODE-06
#[tokio::test]
async fn an_unknown_outcome_stays_unknown_for_a_repeated_request_id() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::ResetAfterRequest));
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let mut request = redeem_request(&transaction, &callback.url);
    request.request_id = "8d7bb66a-5f0a-4a57-8f3f-1a3b8a0fd001".to_owned();
    let reasons = [UNKNOWN.1, "CODE_ALREADY_USED", "CODE_ALREADY_USED"];
    for expected in reasons {
        assert_eq!(reason(&agent.redeem_code(request.clone()).await.err().unwrap()), expected);
    }
    assert_eq!(house.server.token_posts(), 1);
    settled(&house, &mut agent).await;
}

// rows: CODE-06
#[tokio::test]
async fn a_reset_between_handshake_and_request_is_seen_before_or_counts_as_sent() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::ResetAfterHandshake));
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    let decision = fact(&status, "decision_id").unwrap();
    assert_eq!(about(&house, "exchange.failed", &decision)[0]["status_code"], reason(&status).as_str());
    if reason(&status) == "AS_UNREACHABLE" {
        // On a busy machine the reset is there before the request is: then nothing left, and the same call works.
        redeem(&mut agent, &transaction, &callback).await.unwrap();
        assert_eq!((house.server.token_posts(), house.server.token_connections()), (1, 2));
        return;
    }
    assert_eq!((status.code(), reason(&status).as_str()), UNKNOWN);
    let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!(reason(&status), "CODE_ALREADY_USED");
    assert_eq!((house.server.token_posts(), house.server.token_connections()), (0, 1));
    settled(&house, &mut agent).await;
}

// rows: CODE-06
#[tokio::test]
async fn a_failed_connect_may_be_repeated() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    house.server.stop_listening_token();
    for _ in 0..2 {
        let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "AS_UNREACHABLE"));
        assert_tells_no_secret(&house, &status);
    }
    house.server.resume_listening_token();
    house.server.behave(Script::Token(Behaviour::ResetBeforeRequest));
    let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!(reason(&status), "AS_UNREACHABLE");
    assert_eq!(house.server.token_posts(), 0);
    assert_eq!(house.events("exchange.failed").len(), 3);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!(house.server.token_posts(), 1);
    house.assert_no_secret_leaked();
}

/// A request with another code on the same transaction.
fn with_another_code(transaction: &str, state: &str, iss: &str) -> RedeemCodeRequest {
    let code = "another-code".to_owned();
    let callback = WireCallback::Response(AuthorizationResponse { code, state: state.to_owned(), iss: iss.to_owned() });
    RedeemCodeRequest { transaction: transaction.to_owned(), callback: Some(callback), ..RedeemCodeRequest::default() }
}

fn query(begun: &BeginAuthorizationResponse, name: &str) -> String {
    let url = url::Url::parse(&begun.authorization_url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

// rows: CODE-11
#[tokio::test]
async fn after_any_error_answer_the_transaction_is_over() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let error = |status, error: &str| Behaviour::OAuthError { status, error: error.to_owned(), description: None };
    let errors = [
        error(400, "invalid_grant"),
        error(401, "invalid_client"),
        error(400, "invalid_request"),
        error(400, "temporarily_unavailable"),
        Behaviour::Status(500),
        Behaviour::Status(503),
        Behaviour::Status(307),
        raw(200, "{}"),
        Behaviour::Broader("admin".to_owned()),
        Behaviour::ResetAfterRequest,
    ];
    for (at, behaviour) in errors.into_iter().enumerate() {
        let what = format!("{behaviour:?}");
        house.server.behave(Script::Token(behaviour));
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        redeem(&mut agent, &transaction, &callback).await.err().expect(&what);
        let status = redeem(&mut agent, &transaction, &callback).await.err().expect(&what);
        assert_eq!(reason(&status), "CODE_ALREADY_USED", "{what}");
        let request = with_another_code(&transaction, &callback.state, &callback.iss);
        let status = agent.redeem_code(request).await.err().expect(&what);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "TXN_TERMINAL"), "{what}");
        assert_eq!(house.server.token_posts(), at + 1, "{what}");
    }
    house.assert_no_secret_leaked();
}

// rows: CODE-11
#[tokio::test]
async fn a_new_try_has_fresh_state_and_verifier() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        house.server.behave(Script::Token(Behaviour::OAuthError {
            status: 400,
            error: "invalid_grant".to_owned(),
            description: None,
        }));
        let begun = house.begin(&mut agent, &[READ]).await.unwrap();
        let callback = house.server.approve(&begun.authorization_url);
        redeem(&mut agent, &begun.transaction, &callback).await.err().unwrap();
        let verifier = house.server.last_token_request().unwrap().param("code_verifier").unwrap().to_owned();
        seen.extend([query(&begun, "state"), query(&begun, "code_challenge"), verifier, begun.transaction]);
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}
