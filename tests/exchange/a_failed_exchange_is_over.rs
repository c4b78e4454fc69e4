use crate::{
    asking::{READ, param, refused},
    house::{
        Plan, fact, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
};
use tonic::Code;

fn oauth_error(status: u16, error: &str) -> Behaviour {
    Behaviour::OAuthError { status, error: error.to_owned(), description: Some("canary-words".to_owned()) }
}

// rows: CODE-11
#[tokio::test]
async fn after_any_answer_but_a_token_the_transaction_is_over() {
    use Code::{FailedPrecondition, Internal, Unavailable};
    let raw = Behaviour::Raw { status: 200, headers: Vec::new(), body: b"<html>".to_vec() };
    for (answer, code, reason) in [
        (oauth_error(400, "invalid_grant"), FailedPrecondition, "GRANT_REJECTED"),
        (oauth_error(400, "invalid_scope"), FailedPrecondition, "SCOPE_REJECTED"),
        (oauth_error(401, "invalid_client"), Internal, "AS_CLIENT_AUTH_FAILED"),
        (oauth_error(400, "invalid_request"), Internal, "AS_REJECTED"),
        (Behaviour::ErrorWith200, FailedPrecondition, "AS_RESPONSE_MALFORMED"),
        (Behaviour::Status(503), Unavailable, "AS_UNAVAILABLE"),
        (raw, FailedPrecondition, "AS_RESPONSE_MALFORMED"),
        (Behaviour::Broader("admin".to_owned()), FailedPrecondition, "SCOPE_UPGRADED"),
    ] {
        let house = Plan::new().open().await;
        let mut agent = house.agent().await;
        let begun = house.begin(&mut agent, &[READ]).await.unwrap();
        let first = house.server.approve(&begun.authorization_url);
        house.server.behave(Script::Token(answer));
        refused(redeem(&mut agent, &begun.transaction, &first).await, code, reason);
        // The server would be honest now; it is not asked.
        let second = house.server.approve(&begun.authorization_url);
        let result = redeem(&mut agent, &begun.transaction, &second).await;
        refused(result, FailedPrecondition, "TXN_TERMINAL");
        let result = redeem(&mut agent, &begun.transaction, &first).await;
        refused(result, Code::AlreadyExists, "CODE_ALREADY_USED");
        assert_eq!(house.server.token_posts(), 1, "{reason}");
    }
}

// rows: CODE-11
#[tokio::test]
async fn a_new_try_has_fresh_state_challenge_and_verifier() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let begun = house.begin(&mut agent, &[READ]).await.unwrap();
        for name in ["state", "code_challenge"] {
            assert!(seen.insert(param(&begun.authorization_url, name).unwrap()), "{name} is not fresh");
        }
        assert!(seen.insert(begun.transaction.clone()));
        let callback = house.server.approve(&begun.authorization_url);
        house.server.behave(Script::Token(oauth_error(400, "invalid_grant")));
        let result = redeem(&mut agent, &begun.transaction, &callback).await;
        let status = refused(result, Code::FailedPrecondition, "GRANT_REJECTED");
        assert_eq!(fact(&status, "oauth_error").as_deref(), Some("invalid_grant"));
        assert!(!format!("{status:?}").contains("canary-words"));
        let verifier = house.server.last_token_request().unwrap().param("code_verifier").unwrap().to_owned();
        assert!(seen.insert(verifier), "the verifier is not fresh");
    }
    house.login(&mut agent, &[READ]).await.unwrap();
    assert!(!house.audit_text().contains("canary-words"));
}
