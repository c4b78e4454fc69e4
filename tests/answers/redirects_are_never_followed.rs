use crate::{
    house::{
        eventually, reason,
        scripted_as::behaviour::{Behaviour, RevocationBehaviour, Script},
    },
    kit::{ACCESS, BOTH, NONE, READ, Trap, about, facts, plan, raw_with, refuses, settled},
};
use tonic::Code;

const REFUSED: (Code, &str) = (Code::Internal, "AS_REDIRECT_REFUSED");

// rows: TOK-02
#[tokio::test]
async fn the_code_does_not_follow_a_redirect() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    let location = format!("https://127.0.0.1:{}/token", trap.port());
    for status in [301, 302, 303, 307, 308] {
        let connections = house.server.token_connections();
        let redirect = Behaviour::Redirect { status, location: location.clone() };
        refuses(&house, &mut agent, redirect, REFUSED, NONE).await;
        // Neither there nor back to the server itself.
        assert_eq!(house.server.token_connections(), connections + 1);
    }
    let own = Behaviour::Redirect { status: 307, location: house.server.token_url() };
    refuses(&house, &mut agent, own, REFUSED, NONE).await;
    trap.assert_untouched();
    settled(&house, &mut agent).await;
}

// rows: TOK-02 INTR-01
#[tokio::test]
async fn a_token_in_a_redirect_is_revoked() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let body = r#"{"access_token":"canary-at-in-a-redirect","token_type":"Bearer"}"#;
    let headers = [("Content-Type", "application/json"), ("Location", "https://127.0.0.1:1/")];
    refuses(&house, &mut agent, raw_with(307, &headers, body), REFUSED, ACCESS).await;
    settled(&house, &mut agent).await;
}

// rows: TOK-02 INTR-01
#[tokio::test]
async fn a_token_to_be_revoked_does_not_follow_a_redirect() {
    let house = plan().config("[limits]\n", "[limits]\nrevocation_retry = \"10ms\"\n").open().await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    for status in [301, 302, 303, 307, 308, 307] {
        house.server.behave(Script::Revocation(RevocationBehaviour::Redirect(status, trap.port())));
    }
    house
        .server
        .behave(Script::Token(Behaviour::All(vec![Behaviour::NoRefreshToken, Behaviour::Broader("admin".to_owned())])));
    let status = house.login(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "SCOPE_UPGRADED");
    let failed = house.event("token.revoke_failed").await;
    assert_eq!(facts(&failed)["revocation"], "gave_up");
    assert_eq!(house.server.revocation_posts(), 6);
    trap.assert_untouched();
    settled(&house, &mut agent).await;
}

// rows: TOK-02 DISC-02
#[tokio::test]
async fn metadata_is_not_fetched_where_a_redirect_points() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    let location = format!("https://127.0.0.1:{}/.well-known/oauth-authorization-server", trap.port());
    house.server.always(Script::Metadata(Behaviour::Redirect { status: 307, location }));
    let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "METADATA_UNAVAILABLE"));
    trap.assert_untouched();
    house.server.always(Script::Metadata(Behaviour::Honest));
    settled(&house, &mut agent).await;
}

// rows: INTR-01
#[tokio::test]
async fn a_redirected_revocation_is_tried_again_where_it_belongs() {
    let house = plan().config("[limits]\n", "[limits]\nrevocation_retry = \"10ms\"\n").open().await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    house.server.behave(Script::Revocation(RevocationBehaviour::Redirect(307, trap.port())));
    house.server.behave(Script::Token(Behaviour::TokenType(Some("mac".to_owned()))));
    let status = house.login(&mut agent, &[READ]).await.err().unwrap();
    let decision = crate::house::fact(&status, "decision_id").unwrap();
    let revoked = || (about(&house, "token.revoked", &decision).len() == BOTH.len()).then_some(());
    eventually("both tokens are revoked", revoked).await;
    assert_eq!(house.server.revocation_posts(), 3);
    trap.assert_untouched();
    settled(&house, &mut agent).await;
}
