use crate::{
    house::{
        House, Plan, fact, reason, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{MALFORMED, NONE, READ, about, assert_tells_no_secret, facts, plan, raw, raw_with, refuses, settled},
};
use serde_json::json;
use std::time::Duration;
use tonic::Code;
use tonic_types::StatusExt;

fn error(status: u16, error: &str) -> Behaviour {
    Behaviour::OAuthError { status, error: error.to_owned(), description: None }
}

fn closing(house: &House, status: &tonic::Status) -> serde_json::Value {
    about(house, "exchange.failed", &fact(status, "decision_id").unwrap()).remove(0)
}

// rows: TOK-09 CODE-11
#[tokio::test]
async fn each_error_code_has_one_status() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let table = [
        (400, "invalid_grant", Code::FailedPrecondition, "GRANT_REJECTED"),
        (400, "invalid_code", Code::FailedPrecondition, "GRANT_REJECTED"),
        (401, "invalid_client", Code::Internal, "AS_CLIENT_AUTH_FAILED"),
        (400, "invalid_client", Code::Internal, "AS_CLIENT_AUTH_FAILED"),
        (400, "unauthorized_client", Code::Internal, "AS_CLIENT_AUTH_FAILED"),
        (400, "invalid_scope", Code::FailedPrecondition, "SCOPE_REJECTED"),
        (400, "invalid_target", Code::FailedPrecondition, "SCOPE_REJECTED"),
        (400, "invalid_request", Code::Internal, "AS_REJECTED"),
        (400, "unsupported_grant_type", Code::Internal, "AS_REJECTED"),
        (400, "temporarily_unavailable", Code::Unavailable, "AS_UNAVAILABLE"),
    ];
    for (status, code, grpc, why) in table {
        let told = refuses(&house, &mut agent, error(status, code), (grpc, why), NONE).await;
        assert_eq!(fact(&told, "oauth_error").as_deref(), Some(code));
        let event = closing(&house, &told);
        assert_eq!(facts(&event)["oauth_error"], code);
        assert_eq!(facts(&event)["http_status"], status);
        // Our own certificate refused is an alert: every exchange of this client will fail.
        let severity = if why == "AS_CLIENT_AUTH_FAILED" { "High" } else { "Medium" };
        assert_eq!(event["severity"], severity, "{code}");
    }
    settled(&house, &mut agent).await;
}

// rows: TOK-09
#[tokio::test]
async fn an_error_code_that_nobody_registered_is_not_repeated() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let rejected = (Code::Internal, "AS_REJECTED");
    for code in ["canary-odd", "Invalid_Grant", "invalid_grant ", "\u{1b}[2Jcanary-cleared", "access_denied", ""] {
        let told = refuses(&house, &mut agent, error(400, code), rejected, NONE).await;
        assert_eq!(fact(&told, "oauth_error").as_deref(), Some("unregistered"));
        assert!(!format!("{told:?}").contains("canary-odd"));
    }
    let html = [("Content-Type", "text/html")];
    let other = [
        raw(400, "{}"),
        raw(400, r#"{"error":7}"#),
        raw_with(400, &html, r#"{"error":"invalid_grant"}"#),
        Behaviour::Status(400),
        Behaviour::Status(404),
        Behaviour::Status(500),
        Behaviour::Status(502),
    ];
    for behaviour in other {
        let failed = match behaviour {
            Behaviour::Status(status) => Some((status >= 500, status.to_string())),
            _ => None,
        };
        let told = refuses(&house, &mut agent, behaviour, rejected, NONE).await;
        let Some((failed, status)) = failed else { continue };
        // A server that has failed has refused nothing.
        assert_eq!(told.message().contains("It failed: it answered with a server error"), failed, "{told:?}");
        assert_eq!(told.message().contains("refused"), !failed, "{told:?}");
        assert_eq!(fact(&told, "http_status"), Some(status));
    }
    settled(&house, &mut agent).await;
}

// rows: TOK-09
#[tokio::test]
async fn a_server_that_asks_to_wait_is_passed_on_with_how_long() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    for (status, value, seconds) in
        [(503, "7", 7), (429, "99999", 300), (503, "0", 1), (503, "Wed, 21 Oct 2026 07:28:00 GMT", 5)]
    {
        let unavailable = (Code::Unavailable, "AS_UNAVAILABLE");
        let told =
            refuses(&house, &mut agent, raw_with(status, &[("Retry-After", value)], ""), unavailable, NONE).await;
        let wait = told.get_details_retry_info().unwrap().retry_delay;
        assert_eq!(wait, Some(Duration::from_secs(seconds)), "{value}");
    }
    settled(&house, &mut agent).await;
}

// rows: TOK-10
#[tokio::test]
async fn the_servers_words_reach_nobody() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let descriptions =
        ["canary-\u{1b}[2J\u{1b}]0;owned\u{7}", "canary-line\r\nX-Evil: 1\r\n\r\n", "canary-\u{202e}bidi \u{0}", ""];
    for description in descriptions {
        let behaviour = Behaviour::OAuthError {
            status: 400,
            error: "invalid_grant".to_owned(),
            description: Some(description.to_owned()),
        };
        let told = refuses(&house, &mut agent, behaviour, (Code::FailedPrecondition, "GRANT_REJECTED"), NONE).await;
        let event = closing(&house, &told);
        assert_eq!(event["status_code"], "GRANT_REJECTED");
        assert_eq!(facts(&event)["oauth_error_description_bytes"], description.len().to_string());
        assert_silent(&house, &told);
    }
    let uri = raw(400, r#"{"error":"invalid_grant","error_uri":"javascript:alert('canary-uri')"}"#);
    let told = refuses(&house, &mut agent, uri, (Code::FailedPrecondition, "GRANT_REJECTED"), NONE).await;
    assert_silent(&house, &told);
    let megabyte = Behaviour::OAuthError {
        status: 400,
        error: "invalid_grant".to_owned(),
        description: Some("canary-megabyte ".repeat(1 << 16)),
    };
    assert_silent(&house, &refuses(&house, &mut agent, megabyte, MALFORMED, NONE).await);
    settled(&house, &mut agent).await;
}

fn assert_silent(house: &House, told: &tonic::Status) {
    let told = format!("{told:?}");
    for everything in [told, house.log(), house.audit_text()] {
        for word in ["canary-line", "canary-uri", "canary-megabyte", "javascript:", "X-Evil", "owned", "bidi"] {
            assert!(!everything.contains(word), "{word} went on");
        }
    }
}

// rows: TOK-10
#[tokio::test]
async fn an_echoed_secret_goes_no_further() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for member in ["error", "error_description", "error_uri", "hint"] {
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        let mut body = json!({ "error": "invalid_grant" });
        body[member] = json!(format!("the code {} is unknown", callback.code));
        house.server.behave(Script::Token(raw(400, &body.to_string())));
        let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
        assert!(["GRANT_REJECTED", "AS_REJECTED"].contains(&reason(&status).as_str()));
        assert_tells_no_secret(&house, &status);
        house.assert_no_secret_leaked();
    }
}
