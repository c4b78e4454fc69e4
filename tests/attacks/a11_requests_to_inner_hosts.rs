//! The server's metadata, or the agent, names a host inside: the cloud's metadata service, a file, a neighbour.

use crate::{identity::BOTH, kit::*};
use serde_json::json;

#[tokio::test]
async fn nothing_from_outside_chooses_where_a_request_goes() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    let inner = [
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[::ffff:169.254.169.254]/token".to_owned(),
        "http://127.0.0.1:80/token".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("https://localhost:{}/token", trap.port()),
        "https://evil.example/token".to_owned(),
        "https://0xa9fea9fe/token".to_owned(),
    ];
    for url in inner {
        let aliases = json!({ "token_endpoint": url, "revocation_endpoint": url });
        let lie = [("token_endpoint".to_owned(), json!(url)), ("mtls_endpoint_aliases".to_owned(), aliases)];
        house.server.metadata_override(lie.into_iter().collect());
        let began = house.begin(&mut agent, &[READ]).await;
        assert!(began.is_err(), "{url}");
        let mut request = begin_request(&[READ]);
        request.resource = url.clone();
        assert!(agent.begin_authorization(request).await.is_err(), "{url}");
    }
    assert_eq!((house.server.token_connections(), house.server.front_token_posts()), (0, 0));
    trap.assert_untouched();
    house.server.metadata_override(serde_json::Map::new());
    house.login(&mut agent, &[READ]).await.unwrap();
}

#[tokio::test]
async fn discovery_follows_no_redirect() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    let location = format!("https://127.0.0.1:{}/.well-known/oauth-authorization-server", trap.port());
    house.server.always(Script::Metadata(Behaviour::Redirect { status: 302, location }));
    assert!(house.begin(&mut agent, &[READ]).await.is_err());
    trap.assert_untouched();
}

#[tokio::test]
async fn keys_are_fetched_from_no_inner_host_and_after_no_redirect() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    let places = [
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        house.server.issuer().replace("https", "http") + "/jwks",
        format!("https://localhost:{}/jwks", trap.port()),
        format!("https://[::ffff:127.0.0.1]:{}/jwks", trap.port()),
        format!("https://127.0.0.1:{}/jwks", trap.port()),
    ];
    for url in &places {
        // A house that has read no other: the address is judged before anybody asks for a key.
        let lie = json!({ "jwks_uri": url }).as_object().unwrap().clone();
        let plan = Plan::new().server(move |setup| setup.metadata_override = lie.clone());
        let house = plan.open().await;
        let status = house.begin(&mut house.agent().await, &BOTH).await.err().unwrap();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::FailedPrecondition, "OPENID_UNSUPPORTED"),
            "{url}"
        );
    }
    let (transaction, callback) = house.approved(&mut agent, &BOTH).await;
    for location in places {
        house.server.behave(Script::Jwks(Behaviour::Redirect { status: 307, location }));
        let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "JWKS_UNAVAILABLE"));
    }
    trap.assert_untouched();
    // The code was kept for better days.
    assert_eq!(house.server.token_posts(), 0);
    // That no keys could be had is remembered for a second.
    for _ in 0..600 {
        match redeem(&mut agent, &transaction, &callback).await {
            Ok(_) => return,
            Err(status) => assert_eq!(reason(&status), "JWKS_UNAVAILABLE", "{status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the code was not redeemed with the keys of better days");
}
