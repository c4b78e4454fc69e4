use crate::{
    house::{
        Plan,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{NONE, READ, Trap, plan, refuses, settled},
};
use narrowgate::api::proto::RevokeGrantRequest;
use tonic::Code;

// rows: TOK-13
#[tokio::test]
async fn a_cookie_is_not_sent_back() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for _ in 0..3 {
        house.server.behave(Script::Token(Behaviour::SetCookie));
        let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
        agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..Default::default() }).await.unwrap();
    }
    let requests = [house.server.token_requests(), house.server.revocation_requests()].concat();
    assert_eq!(requests.len(), 9);
    assert!(requests.iter().all(|sent| sent.header("cookie").is_none()));
    house.assert_no_secret_leaked();
}

// rows: TOK-13
#[tokio::test]
async fn a_proxy_in_the_environment_is_not_used() {
    let trap = Trap::new();
    let mut plan = Plan::new();
    let proxy = format!("http://127.0.0.1:{}", trap.port());
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        plan.environment.push((name.to_owned(), proxy.clone()));
    }
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..Default::default() }).await.unwrap();
    trap.assert_untouched();
    assert_eq!((house.server.token_posts(), house.server.revocation_posts()), (1, 2));
    house.assert_no_secret_leaked();
}

// rows: TOK-13 TOK-09
#[tokio::test]
async fn a_basic_challenge_does_not_make_it_try_another_method() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let failed = (Code::Internal, "AS_CLIENT_AUTH_FAILED");
    let connections = house.server.token_connections();
    refuses(&house, &mut agent, Behaviour::Unauthorized401Basic, failed, NONE).await;
    assert_eq!(house.server.token_connections(), connections + 1);
    settled(&house, &mut agent).await;
    for sent in house.server.token_requests() {
        assert!(sent.header("authorization").is_none());
        assert!(sent.param("client_secret").is_none() && sent.param("client_assertion").is_none());
    }
}
