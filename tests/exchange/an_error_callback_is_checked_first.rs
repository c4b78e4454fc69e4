use crate::{
    asking::{READ, ask, refused},
    house::{Plan, fact, redeem_request},
};
use tonic::Code;

const WORDS: &str = "canary-description-of-the-error";

// rows: CODE-08
#[tokio::test]
async fn an_error_counts_only_with_the_right_state_and_issuer() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let state = house.server.deny(&begun.authorization_url, "access_denied").state;
    let url = |state: &str, iss: &str| {
        let text = format!("error_description={WORDS}%0d%0a%1b%5b2J&error_uri=https://evil.test/{WORDS}");
        format!("http://127.0.0.1:50123/callback?error=access_denied&{text}&state={state}&iss={iss}")
    };
    let issuer = house.server.issuer();
    let try_url = async |url: String, why: &str| {
        let result = ask(&mut agent.clone(), redeem_request(&begun.transaction, &url)).await;
        let status = refused(result, Code::FailedPrecondition, why);
        assert!(!format!("{status:?}").contains(WORDS), "its text came through");
        status
    };
    try_url(url(&state, "https://evil"), "ISS_MISMATCH").await;
    try_url(url("guess", &issuer), "STATE_MISMATCH").await;
    try_url(url(&state, ""), "ISS_MISMATCH").await;
    // An attacker's error ended nothing. The server's own does.
    let status = try_url(url(&state, &issuer), "AUTHORIZATION_REFUSED").await;
    assert_eq!(fact(&status, "oauth_error").as_deref(), Some("access_denied"));
    try_url(url(&state, &issuer), "TXN_TERMINAL").await;
    let approved = house.server.approve(&begun.authorization_url);
    try_url(approved.url, "TXN_TERMINAL").await;
    assert_eq!(house.server.token_connections(), 0);
    for text in [house.log(), house.audit_text()] {
        assert!(!text.contains(WORDS) && !text.contains("evil.test"), "its text was recorded");
    }
    house.assert_no_secret_leaked();
}

// rows: CODE-08
#[tokio::test]
async fn an_unregistered_error_is_named_so_and_not_repeated() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let denied = house.server.deny(&begun.authorization_url, WORDS);
    let result = ask(&mut agent, redeem_request(&begun.transaction, &denied.url)).await;
    let status = refused(result, Code::FailedPrecondition, "AUTHORIZATION_REFUSED");
    assert_eq!(fact(&status, "oauth_error").as_deref(), Some("unregistered"));
    assert!(!format!("{status:?}").contains(WORDS) && !house.audit_text().contains(WORDS));
}
