//! A redirect URI that is almost the pinned one sends the code to someone else.

use crate::kit::*;

#[tokio::test]
async fn almost_is_not_the_same() {
    let pinned = "redirect_uris = [\"http://127.0.0.1/callback\"]";
    let house = Plan::new()
        .config(pinned, "redirect_uris = [\"http://127.0.0.1/callback\", \"https://app.example/cb\"]")
        .open()
        .await;
    let mut agent = house.agent().await;
    let begin = async |agent: &mut Agent, uri: &str| {
        let request = BeginAuthorizationRequest { redirect_uri: uri.to_owned(), ..begin_request(&[READ]) };
        Ok(agent.begin_authorization(request).await?.into_inner())
    };
    for uri in [
        "http://localhost:50123/callback",
        "http://127.0.0.1.evil.test/callback",
        "http://127.0.0.1@evil.test/callback",
        "http://user@127.0.0.1:50123/callback",
        "http://127.1:50123/callback",
        "http://[::1]:50123/callback",
        "http://127.0.0.1:50123/callback/",
        "http://127.0.0.1:50123/callback?next=evil",
        "http://127.0.0.1:50123/%63allback",
        "http://127.0.0.1:50123/x/../callback",
        "https://127.0.0.1:50123/callback",
        "https://app.example:8443/cb",
        "https://app.example/cb#",
        "https://app.example\\@evil.test/cb",
        "https://APP.example/cb",
    ] {
        refused(begin(&mut agent, uri).await, Code::FailedPrecondition, "REDIRECT_URI_MISMATCH");
    }
    // The loopback port alone may vary (RFC 8252 §7.3), and the answer must have come to the one that was begun with.
    let begun = begin(&mut agent, "http://127.0.0.1:51000/callback").await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let elsewhere = callback.url.replace(":51000/", ":51001/");
    let result = ask(&mut agent, redeem_request(&begun.transaction, &elsewhere)).await;
    refused(result, Code::FailedPrecondition, "REDIRECT_URI_MISMATCH");
    house.event("detect.redirect_mismatch").await;
    redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    assert_eq!(house.server.token_posts(), 1);
}
