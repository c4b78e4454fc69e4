use crate::{
    house::{Plan, fact, reason, redeem_request, write},
    oidc_house::{CLIENT_NAME, OidcHouse, Provider},
};
use narrowgate::dev::ca::{Ca, San};

/// The right name in a certificate of an authority that the provider does not know.
#[tokio::test]
async fn a_rogue_client_certificate_fails_client_authentication() {
    // The first that needs the certificate is to be the token request.
    let oidc = OidcHouse::build(
        Plan::new().config("deadline = \"5s\"\n", "deadline = \"5s\"\npar = \"off\"\n"),
        &Provider::default(),
    );
    let rogue = Ca::new("rogue").unwrap().client("narrowgate", &[San::Uri(CLIENT_NAME)]).unwrap();
    write(&oidc.path("client.pem"), &rogue.certificate_pem);
    write(&oidc.path("client.key"), &rogue.key_pem);
    let oidc = oidc.serve().await;
    let mut agent = oidc.house.agent().await;
    let begun = oidc.house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let request = redeem_request(&begun.transaction, &callback);
    let refused = agent.redeem_code(request.clone()).await.err().unwrap();
    assert_eq!(reason(&refused), "AS_CLIENT_AUTH_FAILED");
    assert_eq!(refused.code(), tonic::Code::Internal);
    assert_eq!(fact(&refused, "oauth_error").as_deref(), Some("invalid_client"));
    assert!(!refused.message().contains("client authentication failed"), "the server's words are passed on");
    // At this provider the code would still be good. narrowgate does not send it again.
    assert_eq!(reason(&agent.redeem_code(request).await.err().unwrap()), "CODE_ALREADY_USED");
    assert_eq!(oidc.counts().token, 1);
    oidc.house.event("exchange.failed").await;
}
