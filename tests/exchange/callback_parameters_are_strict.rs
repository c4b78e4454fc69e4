use crate::{
    asking::{READ, ask, by_fields, refused},
    house::{Plan, redeem, redeem_request},
};
use tonic::Code;

// rows: CODE-09
#[tokio::test]
async fn a_code_is_visible_ascii_of_bounded_length() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let long = "c".repeat(4097);
    for bad in ["", "a\rb", "a\nb", "a\r\nb", "a\0", "\u{e9}", "a\u{7f}", "\u{202e}a", "a\tb", &long] {
        let request = by_fields(&transaction, bad, &callback.state, &callback.iss);
        refused(ask(&mut agent, request).await, Code::InvalidArgument, "CODE_SYNTAX");
        let encoded: String = url::form_urlencoded::byte_serialize(bad.as_bytes()).collect();
        let url = format!("/callback?code={encoded}&state={}&iss={}", callback.state, callback.iss);
        refused(ask(&mut agent, redeem_request(&transaction, &url)).await, Code::InvalidArgument, "CODE_SYNTAX");
    }
    assert_eq!(house.server.token_connections(), 0);
    // None of it cost the transaction anything.
    redeem(&mut agent, &transaction, &callback).await.unwrap();
}

// rows: CODE-09
#[tokio::test]
async fn odd_but_lawful_codes_reach_the_server_as_they_are() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for code in ["a&scope=admin&client_id=x", "a+b%20c=/~ !", &"c".repeat(4096)] {
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        let request = by_fields(&transaction, code, &callback.state, &callback.iss);
        refused(ask(&mut agent, request).await, Code::FailedPrecondition, "GRANT_REJECTED");
        let sent = house.server.last_token_request().unwrap();
        assert_eq!(sent.param("code"), Some(code));
        assert_eq!((sent.param("scope"), sent.param("client_id")), (None, Some("narrowgate-sales")));
    }
}

// rows: CODE-09
#[tokio::test]
async fn a_parameter_appears_once_or_the_callback_is_refused() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    for more in [
        "code=b".to_owned(),
        format!("code={}", callback.code),
        format!("state={}", callback.state),
        "iss=https://evil.test".to_owned(),
        "%63ode=b".to_owned(),
        "error=a&error=b".to_owned(),
    ] {
        for url in [format!("{}&{more}", callback.url), callback.url.replace('?', &format!("?{more}&"))] {
            let result = ask(&mut agent, redeem_request(&transaction, &url)).await;
            refused(result, Code::InvalidArgument, "PARAM_DUPLICATE");
        }
    }
    let both = format!("{}&error=access_denied", callback.url);
    refused(ask(&mut agent, redeem_request(&transaction, &both)).await, Code::InvalidArgument, "FIELD_INVALID");
    assert_eq!(house.server.token_connections(), 0);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
}

// rows: CODE-09
#[tokio::test]
async fn parameters_that_mean_nothing_to_us_are_ignored() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let url =
        format!("{}&session_state=s1&scope=admin&authuser=0&authuser=1&hd=example.test&prompt=none", callback.url);
    let token = ask(&mut agent, redeem_request(&transaction, &url)).await.unwrap().token.unwrap();
    assert_eq!(token.scopes, [READ]);
    let sent = house.server.last_token_request().unwrap();
    for name in ["session_state", "scope", "authuser", "hd", "prompt"] {
        assert_eq!(sent.param(name), None, "{name}");
    }
}

// rows: CODE-10
#[tokio::test]
async fn tokens_through_the_front_channel_are_refused_and_not_logged() {
    const SECRET: &str = "canary-front-channel-0123456789abcdef";
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    assert_eq!(crate::asking::param(&begun.authorization_url, "response_type").as_deref(), Some("code"));
    let callback = house.server.approve(&begun.authorization_url);
    let (state, iss) = (&callback.state, &callback.iss);
    for url in [
        format!("/callback?access_token={SECRET}&token_type=Bearer&state={state}&iss={iss}"),
        format!("/callback?id_token={SECRET}&state={state}&iss={iss}"),
        format!("/callback?access%5Ftoken={SECRET}&state={state}&iss={iss}"),
        format!("{}&access_token={SECRET}", callback.url),
        format!("{}&id_token={SECRET}", callback.url),
        format!("{}&id_token=", callback.url),
        format!("{}#access_token={SECRET}", callback.url),
        format!("/callback#id_token={SECRET}&state={state}"),
    ] {
        let result = ask(&mut agent, redeem_request(&begun.transaction, &url)).await;
        let status = refused(result, Code::InvalidArgument, "IMPLICIT_RESPONSE");
        assert!(!format!("{status:?}").contains(SECRET));
    }
    assert_eq!(house.server.token_connections(), 0);
    for text in [house.log(), house.audit_text()] {
        assert!(!text.contains(SECRET));
    }
    redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
}
