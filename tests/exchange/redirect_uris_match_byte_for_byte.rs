use crate::{
    asking::{READ, ask, begin_on, param, refused, run, words},
    house::{Plan, redeem, redeem_request},
};
use narrowgate::api::proto::RedeemCodeRequest;
use tonic::Code;

const PINNED: &str = "redirect_uris = [\"http://127.0.0.1/callback\"]";

fn pinned(uris: &[&str]) -> Plan {
    Plan::new().config(PINNED, &format!("redirect_uris = {uris:?}"))
}

// rows: RURI-01
#[tokio::test]
async fn only_the_pinned_bytes_begin() {
    let house = pinned(&["https://app.example/cb", "https://app.example/second"]).open().await;
    let mut agent = house.agent().await;
    for other in [
        "https://app.example/cb/",
        "https://app.example/cb%2e",
        "https://app.example/%63b",
        "https://app.example/CB",
        "https://app.example/cb?next=1",
        "https://app.example/cb?",
        "https://app.example/cb#",
        "https://app.example/x/../cb",
        "https://app.example/./cb",
        "https://app.example//cb",
        "https://user@app.example/cb",
        "https://app.example@evil.test/cb",
        "https://app.example:443/cb",
        "https://app.example:8443/cb",
        "https://app.example.evil.test/cb",
        "HTTPS://app.example/cb",
        "https://APP.example/cb",
        "http://app.example/cb",
        "https://app.example",
        "https://app.example/c",
        " https://app.example/cb",
        "https://app.example/cb ",
        "https://app.example/cb\0",
        "/cb",
    ] {
        refused(begin_on(&mut agent, other).await, Code::FailedPrecondition, "REDIRECT_URI_MISMATCH");
    }
    // With two pins, neither is guessed.
    refused(begin_on(&mut agent, "").await, Code::InvalidArgument, "FIELD_REQUIRED");
    assert!(house.events("authorization.decided").is_empty());
    for exact in ["https://app.example/cb", "https://app.example/second"] {
        let begun = begin_on(&mut agent, exact).await.unwrap();
        assert_eq!(param(&begun.authorization_url, "redirect_uri").as_deref(), Some(exact));
    }
}

// rows: RURI-02
#[tokio::test]
async fn only_a_pinned_loopback_literal_may_vary_and_only_in_its_port() {
    let house = pinned(&["http://127.0.0.1/cb", "http://[::1]/cb", "http://127.0.0.1:8765/fixed"]).open().await;
    let mut agent = house.agent().await;
    for other in [
        "http://localhost:1/cb",
        "http://localhost/cb",
        "http://127.0.0.1.evil.test/cb",
        "http://127.0.0.1.evil.test:9/cb",
        "http://127.1:9/cb",
        "http://2130706433:9/cb",
        "http://0x7f000001/cb",
        "http://0x7f000001:9/cb",
        "http://0177.0.0.1:9/cb",
        "http://127.0.0.2:9/cb",
        "http://127.0.0.1:9@evil/cb",
        "http://127.0.0.1:9@evil.test:80/cb",
        "http://evil@127.0.0.1:9/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:09/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:+9/cb",
        "http://127.0.0.1:9/cb/",
        "http://127.0.0.1:9/cb?x=1",
        "http://127.0.0.1:9/other",
        "http://[0:0:0:0:0:0:0:1]:9/cb",
        "http://[::ffff:127.0.0.1]:9/cb",
        "https://127.0.0.1:9/cb",
        "http://127.0.0.1:8766/fixed",
        "http://127.0.0.1/fixed",
    ] {
        refused(begin_on(&mut agent, other).await, Code::FailedPrecondition, "REDIRECT_URI_MISMATCH");
    }
    for good in
        ["http://127.0.0.1:51004/cb", "http://127.0.0.1/cb", "http://[::1]:65535/cb", "http://127.0.0.1:8765/fixed"]
    {
        let begun = begin_on(&mut agent, good).await.unwrap();
        assert_eq!(param(&begun.authorization_url, "redirect_uri").as_deref(), Some(good));
    }
}

// rows: RURI-03
#[tokio::test]
async fn unsafe_redirect_uris_cannot_be_configured() {
    for (bad, why) in [
        ("http://app.example/cb", "must be https"),
        ("https://a/cb#x", "fragment"),
        ("http://localhost/cb", "must be https"),
        ("http://localhost:8080/cb", "must be https"),
        ("http://127.0.0.1.evil.test/cb", "must be https"),
        ("/cb", "must be https"),
        ("app.example/cb", "must be https"),
        ("com.example.app:/cb", "must be https"),
        ("https:///cb", "has no host"),
        ("https://user@app.example/cb", "userinfo"),
    ] {
        let house = pinned(&["https://app.example/good", bad]).build();
        for command in ["check", "serve"] {
            let output = run(house.command(command)).await;
            assert_eq!(output.status.code(), Some(64), "{bad}: {}", words(&output));
            let words = words(&output);
            assert!(words.contains("client.redirect_uris") && words.contains(why), "{bad}: {words}");
        }
    }
}

// rows: RURI-04
#[tokio::test]
async fn redeem_cannot_name_another_redirect_uri_than_begin() {
    let house = pinned(&["http://127.0.0.1/cb", "http://127.0.0.1/other"]).open().await;
    let mut agent = house.agent().await;
    let began_with = "http://127.0.0.1:50123/cb";
    let begun = begin_on(&mut agent, began_with).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let naming = |uri: &str| RedeemCodeRequest {
        redirect_uri: uri.to_owned(),
        ..redeem_request(&begun.transaction, &callback.url)
    };
    // Pinned, admissible at Begin, and still not this transaction's.
    for other in ["http://127.0.0.1:50123/other", "http://127.0.0.1/cb", "http://127.0.0.1:50124/cb", "http://x/"] {
        let result = ask(&mut agent, naming(other)).await;
        refused(result, Code::FailedPrecondition, "REDIRECT_URI_MISMATCH");
    }
    assert_eq!(house.server.token_connections(), 0);
    house.event("detect.redirect_mismatch").await;
    ask(&mut agent, naming(began_with)).await.unwrap();
    assert_eq!(house.server.last_token_request().unwrap().param("redirect_uri"), Some(began_with));
}

// rows: RURI-04 RURI-01
#[tokio::test]
async fn a_callback_that_arrived_elsewhere_is_refused() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let query = callback.url.split_once('?').unwrap().1;
    for arrived in [
        "https://evil.test/callback",
        "http://127.0.0.1:50124/callback",
        "http://127.0.0.1/callback",
        "http://localhost:50123/callback",
        "http://127.0.0.1:50123/callback/",
        "http://127.0.0.1:50123/Callback",
        "http://127.0.0.1:50123@evil.test/callback",
        "//evil.test/callback",
        "/callback/",
        "callback",
    ] {
        let result = ask(&mut agent, redeem_request(&transaction, &format!("{arrived}?{query}"))).await;
        refused(result, Code::FailedPrecondition, "REDIRECT_URI_MISMATCH");
    }
    assert_eq!(house.server.token_connections(), 0);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!(
        house.server.last_token_request().unwrap().param("redirect_uri"),
        Some("http://127.0.0.1:50123/callback")
    );
}
