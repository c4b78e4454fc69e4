use crate::{
    house::{Plan, redeem_request},
    oidc_house::{CRM, OidcHouse, Provider, claims},
};
use narrowgate::api::proto::{
    ClientCredentialsGrant, ExchangeTokenRequest, ObtainTokenRequest, exchange_token_request::Subject,
    obtain_token_request::Grant,
};
use serde_json::json;

const SWITCHES: &str = r#"
client_credentials = true
[client.token_exchange]
actor_key = "client.key"
agents = { "https://quoter.acme.test" = "quoter" }
"#;

// rows: TEX-04 TEX-06 TEX-09
#[tokio::test]
async fn a_certified_provider_takes_both_requests() {
    let mut plan = Plan::new();
    plan.config.push_str(SWITCHES);
    let oidc = OidcHouse::open(plan, Provider { exchanges: true, ..Provider::default() }).await;
    let mut agent = oidc.house.agent().await;
    let own = ObtainTokenRequest {
        client: "sales-crm".to_owned(),
        grant: Some(Grant::ClientCredentials(ClientCredentialsGrant {})),
        scopes: vec!["customers.read".to_owned()],
        ..ObtainTokenRequest::default()
    };
    let own = agent.obtain_token(own).await.unwrap().into_inner().token.unwrap();
    let inside = claims(&own.access_token);
    assert_eq!((&inside["scope"], &inside["aud"]), (&json!("customers.read"), &json!(CRM)));
    // Nobody logged in: the client is its own subject.
    assert_eq!(inside["sub"], "narrowgate-sales");

    let begun = oidc.house.begin(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let login = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
    let exchange = ExchangeTokenRequest {
        client: "sales-crm".to_owned(),
        subject: Some(Subject::SubjectGrant(login.grant)),
        scopes: vec!["customers.read".to_owned()],
        ..ExchangeTokenRequest::default()
    };
    let exchanged = agent.exchange_token(exchange).await.unwrap().into_inner().token.unwrap();
    let inside = claims(&exchanged.access_token);
    assert_eq!((&inside["sub"], &inside["scope"]), (&json!("ana"), &json!("customers.read")));
    assert_eq!(inside["act"], json!({ "sub": "https://quoter.acme.test" }));
    assert!(exchanged.lease_time.unwrap().seconds <= login.token.as_ref().unwrap().expire_time.unwrap().seconds);
    let secrets = [own.access_token, exchanged.access_token, login.token.unwrap().access_token];
    oidc.assert_discreet(&secrets.each_ref().map(String::as_str));
}
