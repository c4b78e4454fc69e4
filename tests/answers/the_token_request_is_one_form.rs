use crate::{
    house::{Plan, reason, redeem_request},
    kit::{READ, assert_tells_no_secret},
};
use narrowgate::api::proto::{
    AuthorizationResponse, RedeemCodeRequest, RevokeGrantRequest, redeem_code_request::Callback as WireCallback,
};

/// The names of a form's parameters.
fn names(form: &[(String, String)]) -> Vec<&str> {
    form.iter().map(|(name, _)| name.as_str()).collect()
}

const FORM: [&str; 6] = ["grant_type", "code", "redirect_uri", "code_verifier", "resource", "client_id"];

// rows: TOK-01
#[tokio::test]
async fn a_code_of_special_characters_arrives_intact() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for (posts, code) in ["a+b&c=d%", "x&scope=admin", "x%26scope%3Dadmin", "a b#c?d;e\"\\~"].into_iter().enumerate() {
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        let (code, state, iss) = (code.to_owned(), callback.state, callback.iss);
        let response = AuthorizationResponse { code: code.clone(), state, iss };
        let callback = Some(WireCallback::Response(response));
        let request = RedeemCodeRequest { transaction, callback, ..RedeemCodeRequest::default() };
        let status = agent.redeem_code(request).await.err().unwrap();
        assert_eq!(reason(&status), "GRANT_REJECTED");
        assert_tells_no_secret(&house, &status);
        assert_eq!(house.server.token_posts(), posts + 1);
        let sent = house.server.last_token_request().unwrap();
        assert_eq!(sent.param("code"), Some(code.as_str()));
        assert_eq!(names(&sent.form), FORM);
        assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", "/token"));
    }
    house.assert_no_secret_leaked();
}

// rows: TOK-01
#[tokio::test]
async fn a_code_in_a_callback_url_is_decoded_once() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let url = callback.url.replace(&callback.code, "a%2Bb%26c%3Dd%25");
    let status = agent.redeem_code(redeem_request(&transaction, &url)).await.err().unwrap();
    assert_eq!(reason(&status), "GRANT_REJECTED");
    assert_eq!(house.server.last_token_request().unwrap().param("code"), Some("a+b&c=d%"));
}

// rows: TOK-01 MTLS-01
#[tokio::test]
async fn the_form_is_the_transactions_and_nothing_is_in_the_url() {
    let client_id = "narrow&scope=admin";
    let house = Plan::new().config("narrowgate-sales", client_id).open().await;
    house.server.register_client(client_id, "spiffe://acme.test/narrowgate");
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let sent = house.server.last_token_request().unwrap();
    assert_eq!(names(&sent.form), FORM);
    assert_eq!(sent.param("client_id"), Some(client_id));
    assert_eq!(sent.param("grant_type"), Some("authorization_code"));
    assert_eq!(sent.param("redirect_uri"), Some("http://127.0.0.1:50123/callback"));
    assert_eq!(sent.param("resource"), Some("https://crm.example.test/api"));
    assert_eq!(sent.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(sent.header("accept"), Some("application/json"));
    agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..Default::default() }).await.unwrap();
    let revocations = house.server.revocation_requests();
    assert_eq!(revocations.len(), 2);
    for sent in &revocations {
        assert_eq!(names(&sent.form), ["token", "token_type_hint", "client_id"]);
        assert_eq!(sent.param("client_id"), Some(client_id));
        assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", "/revoke"));
    }
    for secret in house.server.secrets() {
        let requests = house.server.requests();
        assert!(requests.iter().all(|line| !line.contains(&secret)), "a secret is in a URL");
    }
    house.assert_no_secret_leaked();
}

// rows: MTLS-01
#[tokio::test]
async fn the_certificate_and_the_client_id_belong_together() {
    let house = Plan::new().open().await;
    house.server.register_client("narrowgate-sales", "spiffe://acme.test/narrowgate");
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    house.server.register_client("narrowgate-sales", "spiffe://acme.test/somebody-else");
    let status = house.login(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "AS_CLIENT_AUTH_FAILED");
    assert!(house.server.token_requests().iter().all(|sent| sent.client_certificate_der.is_some()));
    house.assert_no_secret_leaked();
}
