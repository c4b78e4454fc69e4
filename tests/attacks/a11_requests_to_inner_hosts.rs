//! The server's metadata, or the agent, names a host inside: the cloud's metadata service, a file, a neighbour.

use crate::kit::*;
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
