use crate::{
    house::{House, Plan, reason, redeem_request},
    oidc_house::{OidcHouse, Provider, claims, parameter},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::api::proto::Binding;
use rustls::pki_types::{CertificateDer, pem::PemObject};

fn bound_plan() -> Plan {
    Plan::new().config("owner = \"sales\"", "owner = \"sales\"\nbound_tokens = true\nshared_certificate = true")
}

/// Computed here from the certificate file, not by narrowgate (RFC 8705 §3.1).
fn thumbprint(house: &House) -> String {
    let der = CertificateDer::from_pem_file(house.path("client.pem")).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    URL_SAFE_NO_PAD.encode(digest)
}

#[tokio::test]
async fn the_token_of_a_bound_client_names_the_certificate() {
    let oidc = OidcHouse::open(bound_plan(), Provider { bound: true, ..Provider::default() }).await;
    let mut agent = oidc.house.agent().await;
    let begun = oidc.house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let redeemed = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
    let token = redeemed.token.unwrap();
    assert_eq!(token.binding().as_str_name(), Binding::Mtls.as_str_name());
    assert_eq!(claims(&token.access_token)["cnf"]["x5t#S256"], thumbprint(&oidc.house));
    oidc.assert_discreet(&[&token.access_token, &parameter(&callback, "code")]);
}

// rows: MTLS-06
#[tokio::test]
async fn a_token_without_the_binding_is_revoked_and_not_handed_out() {
    let oidc = OidcHouse::open(bound_plan(), Provider::default()).await;
    let mut agent = oidc.house.agent().await;
    let begun = oidc.house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let refused = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.err().unwrap();
    assert_eq!(reason(&refused), "TOKEN_BINDING_MISMATCH");
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    let revoked = oidc.house.event("token.revoked").await;
    assert_eq!(revoked["unmapped"]["narrowgate"]["token_kind"], "refresh_token");
    assert!(oidc.house.events("token.issued").is_empty());
}
