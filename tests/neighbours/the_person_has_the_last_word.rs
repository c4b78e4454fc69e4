use crate::{
    house::{Plan, fact, get, reason, redeem_request},
    oidc_house::{OidcHouse, Provider, claims},
};
use narrowgate::api::proto::{RedeemCodeRequest, RedeemCodeResponse};
use tonic::Status;

const READ_WRITE: [&str; 2] = ["customers.read", "customers.write"];

/// Asks to read and write. The person lets it read.
async fn redeem(oidc: &OidcHouse, required: &[&str]) -> Result<RedeemCodeResponse, Status> {
    let mut agent = oidc.house.agent().await;
    let begun = oidc.house.begin(&mut agent, &READ_WRITE).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let required_scopes = required.iter().map(ToString::to_string).collect();
    let request = RedeemCodeRequest { required_scopes, ..redeem_request(&begun.transaction, &callback) };
    Ok(agent.redeem_code(request).await?.into_inner())
}

#[tokio::test]
async fn a_narrower_grant_is_reported_as_it_is() {
    let oidc =
        OidcHouse::open(Plan::new(), Provider { refuse_scopes: &["customers.write"], ..Provider::default() }).await;
    let redeemed = redeem(&oidc, &[]).await.unwrap();
    let token = redeemed.token.unwrap();
    assert_eq!(token.scopes, ["customers.read"]);
    assert_eq!(claims(&token.access_token)["scope"], "customers.read");
    let again = get(&mut oidc.house.agent().await, &redeemed.grant).await.unwrap().token.unwrap();
    assert_eq!(again.scopes, ["customers.read"]);
    let issued = oidc.house.event("token.issued").await;
    assert_eq!(issued["privileges"], serde_json::json!(["customers.read"]));
}

#[tokio::test]
async fn a_grant_without_a_required_scope_is_revoked() {
    let oidc =
        OidcHouse::open(Plan::new(), Provider { refuse_scopes: &["customers.write"], ..Provider::default() }).await;
    let refused = redeem(&oidc, &["customers.write"]).await.err().unwrap();
    assert_eq!(reason(&refused), "SCOPE_NARROWED");
    assert_eq!(fact(&refused, "scopes").as_deref(), Some("customers.write"));
    oidc.house.event("token.revoked").await;
    assert!(oidc.house.events("token.issued").is_empty());
}

#[tokio::test]
async fn a_person_who_refuses_everything_ends_the_transaction() {
    let oidc = OidcHouse::open(Plan::new(), Provider { refuse_scopes: &READ_WRITE, ..Provider::default() }).await;
    let refused = redeem(&oidc, &[]).await.err().unwrap();
    assert_eq!(reason(&refused), "AUTHORIZATION_REFUSED");
    assert_eq!(fact(&refused, "oauth_error").as_deref(), Some("access_denied"));
    assert_eq!(oidc.counts().token, 0);
    assert!(oidc.house.events("token.issued").is_empty());
}
