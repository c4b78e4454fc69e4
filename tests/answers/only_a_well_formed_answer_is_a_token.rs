use crate::{
    house::{
        fact, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{ACCESS, BOTH, MALFORMED, NONE, READ, member, plan, raw, raw_with, refuses, settled},
};
use serde_json::json;
use tonic::Code;

const TYPE: (Code, &str) = (Code::FailedPrecondition, "TOKEN_TYPE_UNSUPPORTED");

fn content(kind: &str) -> Behaviour {
    Behaviour::ContentType(Some(kind.to_owned()))
}

// rows: TOK-04
#[tokio::test]
async fn json_that_cannot_be_read_in_one_way_only_is_refused() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    // What could be read before the mistake is known to live at the server.
    let partly = [
        raw(200, r#"{"access_token":"canary-at-twice","scope":"a","scope":"b"}"#),
        raw(200, r#"{"access_token":"canary-at-trailing","token_type":"Bearer"}{}"#),
        raw(200, r#"{"access_token":"canary-at-cut-short","token_type":"Bear"#),
        raw(200, r#"{"access_token":"canary-at-deep-double","token_type":"Bearer","x":{"a":{"b":1,"b":1}}}"#),
        raw(200, r#"{"access_token":"canary-at-null","token_type":"Bearer","refresh_token":null}"#),
    ];
    for behaviour in partly {
        refuses(&house, &mut agent, behaviour, MALFORMED, &["access_token"]).await;
    }
    refuses(&house, &mut agent, Behaviour::Bom, MALFORMED, BOTH).await;
    let unreadable = [
        raw(200, ""),
        raw(200, "null"),
        raw(200, "{}{}"),
        raw(200, r#"[{"access_token":"canary-at-in-a-list","token_type":"Bearer"}]"#),
        raw(200, r#"{"access_token":["canary-at-listed"],"token_type":"Bearer"}"#),
        Behaviour::Gzip,
        Behaviour::Status(200),
        Behaviour::Status(204),
    ];
    for behaviour in unreadable {
        refuses(&house, &mut agent, behaviour, MALFORMED, NONE).await;
    }
    settled(&house, &mut agent).await;
}

// rows: TOK-04 INTR-01
#[tokio::test]
async fn a_success_is_200_and_application_json() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    for behaviour in [
        content("text/html"),
        content("text/json"),
        content("application/jsonp"),
        content(""),
        Behaviour::ContentType(None),
    ] {
        refuses(&house, &mut agent, behaviour, MALFORMED, BOTH).await;
    }
    for status in [201, 202, 206, 226] {
        let body = format!(r#"{{"access_token":"canary-at-under-{status}","token_type":"Bearer"}}"#);
        refuses(&house, &mut agent, raw(status, &body), MALFORMED, ACCESS).await;
    }
    settled(&house, &mut agent).await;
}

// rows: TOK-04
#[tokio::test]
async fn a_charset_and_capitals_do_no_harm() {
    let house = plan().config("grants_per_agent = 1", "grants_per_agent = 9").open().await;
    let mut agent = house.agent().await;
    for kind in ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"] {
        house.server.behave(Script::Token(content(kind)));
        house.login(&mut agent, &[READ]).await.unwrap();
    }
    house.assert_no_secret_leaked();
}

// rows: TOK-05 INTR-01
#[tokio::test]
async fn an_unknown_token_type_is_never_passed_on() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    for kind in [Some("mac"), Some("N_A"), Some("DPoP"), Some("Bearer "), Some(""), None] {
        refuses(&house, &mut agent, Behaviour::TokenType(kind.map(str::to_owned)), TYPE, BOTH).await;
    }
    refuses(&house, &mut agent, member("token_type", json!(["Bearer"])), MALFORMED, BOTH).await;
    refuses(&house, &mut agent, member("access_token", json!(null)), MALFORMED, &["refresh_token"]).await;
    refuses(&house, &mut agent, raw(200, r#"{"token_type":"Bearer","expires_in":60}"#), MALFORMED, NONE).await;
    house.server.behave(Script::Token(Behaviour::TokenType(Some("bEaReR".to_owned()))));
    let token = house.login(&mut agent, &[READ]).await.unwrap().token.unwrap();
    assert_eq!(token.token_type, "Bearer");
    house.assert_no_secret_leaked();
}

// rows: TOK-11 INTR-01
#[tokio::test]
async fn an_answer_is_a_token_or_an_error_never_both() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    refuses(&house, &mut agent, Behaviour::ErrorWith200, MALFORMED, NONE).await;
    refuses(&house, &mut agent, member("error", json!("invalid_grant")), MALFORMED, BOTH).await;
    refuses(&house, &mut agent, member("error", json!({})), MALFORMED, BOTH).await;
    refuses(&house, &mut agent, Behaviour::TokenWith400, MALFORMED, BOTH).await;
    for status in [400, 401, 403, 429, 500, 503] {
        let body = format!(r#"{{"error":"invalid_grant","access_token":"canary-at-with-{status}"}}"#);
        refuses(&house, &mut agent, raw(status, &body), MALFORMED, ACCESS).await;
        let html = [("Content-Type", "text/html")];
        let body = format!(r#"{{"access_token":"canary-at-html-{status}","token_type":"Bearer"}}"#);
        refuses(&house, &mut agent, raw_with(status, &html, &body), MALFORMED, ACCESS).await;
    }
    settled(&house, &mut agent).await;
}

// rows: TOK-14 INTR-01
#[tokio::test]
async fn a_token_that_no_header_can_carry_is_refused_and_revoked() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let long = "x".repeat(40 * 1024);
    let odd = ["\r\nX-Evil: 1", " and space", "\0", "\u{7f}", "\u{440}", "|pipe", "=mid=", ",", "\"", &long];
    for (at, tail) in odd.into_iter().enumerate() {
        let token = format!("canary-at-odd-{at}{tail}");
        let token = if tail == "=mid=" { format!("canary-at-odd-{at}=mid") } else { token };
        let revoked = house.server.revocation_posts();
        refuses(&house, &mut agent, Behaviour::AccessTokenValue(token.clone()), MALFORMED, BOTH).await;
        assert_eq!(house.server.revocations()[revoked + 1].1, token);
    }
    let refresh = member("refresh_token", json!("canary-rt-with-\u{7}"));
    refuses(&house, &mut agent, refresh, MALFORMED, BOTH).await;
    refuses(&house, &mut agent, member("access_token", json!("")), MALFORMED, &["refresh_token"]).await;
    let huge = Behaviour::AccessTokenValue(format!("canary-at-huge-{}", "x".repeat(128 * 1024)));
    refuses(&house, &mut agent, huge, MALFORMED, NONE).await;
    settled(&house, &mut agent).await;
}

// rows: TOK-04 CODE-11
#[tokio::test]
async fn a_refused_answer_has_no_grant_for_a_repeat_either() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(content("text/html")));
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let mut request = crate::house::redeem_request(&transaction, &callback.url);
    request.request_id = "0b8f4c1e-3f0a-4d6e-9c5e-2f8a6b1d7e10".to_owned();
    let first = agent.redeem_code(request.clone()).await.err().unwrap();
    assert!(fact(&first, "decision_id").is_some());
    let again = agent.redeem_code(request).await.err().unwrap();
    assert_eq!(crate::house::reason(&again), "CODE_ALREADY_USED");
    assert!(redeem(&mut agent, &transaction, &callback).await.is_err());
    assert_eq!(house.server.token_posts(), 1);
    settled(&house, &mut agent).await;
}
