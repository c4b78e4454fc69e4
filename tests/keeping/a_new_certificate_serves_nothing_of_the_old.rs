//! The client's certificate is replaced: what was bound to the old one is not handed out with the new one.

use crate::{
    asking::{READ, WRITE},
    house::{
        House, get,
        scripted_as::behaviour::{Behaviour, Script},
        write,
    },
    kit::{open, plan, restart},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::{api::proto::Binding, dev::ca::San, platform::digest::sha256};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::fs;

/// The client's certificate, as it is on disk now.
fn certificate(house: &House) -> Vec<u8> {
    CertificateDer::from_pem_slice(&fs::read(house.path("client.pem")).unwrap()).unwrap().to_vec()
}

/// The server binds the next token to it.
fn bind_next(house: &House) {
    let thumbprint = Some(URL_SAFE_NO_PAD.encode(sha256(&certificate(house))));
    house.server.behave(Script::Token(Behaviour::JwtBound { thumbprint }));
}

// rows: MTLS-09 MTLS-10
#[tokio::test]
async fn a_grant_goes_on_with_tokens_of_the_new_one() {
    let bound = "owner = \"sales\"\nbound_tokens = true\nshared_certificate = true";
    let mut house = open(plan("").config("owner = \"sales\"", bound)).await;
    let mut agent = house.agent().await;
    bind_next(&house);
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let (old, first) = (certificate(&house), redeemed.token.unwrap());
    assert_eq!(house.server.last_token_request().unwrap().client_certificate_der.as_ref(), Some(&old));

    let rotated = house.clients_ca.client("narrowgate", &[San::Uri("spiffe://acme.test/narrowgate")]).unwrap();
    write(&house.path("client.pem"), &rotated.certificate_pem);
    write(&house.path("client.key"), &rotated.key_pem);
    let mut agent = restart(&mut house).await;
    let new = certificate(&house);
    assert_ne!(old, new);
    bind_next(&house);
    let token = get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap();
    assert_ne!(token.access_token, first.access_token);
    assert!(token.binding() == Binding::Mtls);
    // The very next request shows the new one: no session, and no connection, of before.
    assert_eq!(house.server.last_token_request().unwrap().client_certificate_der, Some(new));
    assert_eq!(house.server.token_posts(), 2);
}
