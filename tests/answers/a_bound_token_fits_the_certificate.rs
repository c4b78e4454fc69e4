use crate::{
    house::{
        COURIER, House, Plan, get, reason,
        scripted_as::behaviour::{Behaviour, Script},
        write,
    },
    kit::{BOTH, READ, facts, members, refuses, settled},
};
use base64::{Engine, engine::general_purpose::URL_SAFE, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::{
    api::proto::Binding,
    dev::ca::{Identity, San},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use std::fs;
use tonic::Code;

const MISMATCH: (Code, &str) = (Code::FailedPrecondition, "TOKEN_BINDING_MISMATCH");
const UNUSABLE: (Code, &str) = (Code::FailedPrecondition, "BINDING_UNUSABLE");

fn bound(shared: bool) -> Plan {
    let more = format!("owner = \"sales\"\nbound_tokens = true\nshared_certificate = {shared}");
    crate::kit::plan().config("owner = \"sales\"", &more)
}

/// SHA-256 of the client's certificate, counted here and not by the code under test.
fn digest(house: &House) -> Vec<u8> {
    let pem = fs::read(house.path("client.pem")).unwrap();
    let der = CertificateDer::from_pem_slice(&pem).unwrap();
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der).as_ref().to_vec()
}

fn claims(name: &str, value: Value) -> Behaviour {
    Behaviour::JwtClaims(members([(name, value)]))
}

// rows: MTLS-06 MTLS-07 MTLS-08
#[tokio::test]
async fn a_token_bound_to_our_certificate_is_handed_out_as_bound() {
    let house = bound(true).open().await;
    let mut agent = house.agent().await;
    let own = URL_SAFE_NO_PAD.encode(digest(&house));
    house.server.behave(Script::Token(Behaviour::JwtBound { thumbprint: Some(own) }));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let token = redeemed.token.unwrap();
    assert!(token.binding() == Binding::Mtls);
    assert_eq!(token.token_type, "Bearer");
    assert!(get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap().binding() == Binding::Mtls);
    let issued = house.event("token.issued").await;
    assert_eq!(facts(&issued)["sender_constraint"], "x5t#S256");
    house.assert_no_secret_leaked();
}

// rows: MTLS-06 MTLS-08 INTR-01
#[tokio::test]
async fn a_token_bound_to_anything_else_is_refused_and_revoked() {
    let house = bound(true).open().await;
    let mut agent = house.agent().await;
    let own = digest(&house);
    let hex: String = own.iter().map(|byte| format!("{byte:02x}")).collect();
    let exact = URL_SAFE_NO_PAD.encode(&own);
    let other = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"other").as_ref());
    let wrong = [other, URL_SAFE.encode(&own), hex, format!(" {exact}"), exact.to_lowercase(), String::new()];
    for thumbprint in wrong {
        let behaviour = Behaviour::JwtBound { thumbprint: Some(thumbprint) };
        refuses(&house, &mut agent, behaviour, MISMATCH, BOTH).await;
    }
    let unbound = [
        claims("cnf", json!(null)),
        claims("cnf", json!({})),
        claims("cnf", json!({ "jkt": exact })),
        claims("cnf", json!({ "x5t#S256": [exact] })),
        claims("cnf", json!({ "X5T#S256": exact })),
        claims("cnf", json!(exact)),
        // Nothing says that an opaque token is bound.
        Behaviour::Honest,
        Behaviour::AccessTokenValue("canary-at-one.two".to_owned()),
    ];
    for behaviour in unbound {
        refuses(&house, &mut agent, behaviour, MISMATCH, BOTH).await;
    }
    house.server.always(Script::Token(Behaviour::JwtBound { thumbprint: None }));
    settled(&house, &mut agent).await;
}

// rows: MTLS-07
#[tokio::test]
async fn an_agent_without_the_certificate_cannot_begin_on_a_bound_client() {
    let house = bound(false).open().await;
    let mut agent = house.agent().await;
    let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), UNUSABLE);
    let refused = house.event("exchange.refused").await;
    assert_eq!(refused["status_code"], "BINDING_UNUSABLE");
    assert_eq!((house.server.front_connections(), house.server.token_connections()), (0, 0));

    let house = bound(true).open().await;
    let mut agent = house.svid_agent(COURIER).await;
    let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), UNUSABLE);
}

/// A house whose client certificate is the SVID of the agent `courier`.
async fn sharing() -> (House, Identity) {
    let plan = bound(true).config("spiffe://acme.test/narrowgate", COURIER);
    let mut house = plan.build();
    let identity = house.clients_ca.client("courier", &[San::Uri(COURIER)]).unwrap();
    write(&house.path("client.pem"), &identity.certificate_pem);
    write(&house.path("client.key"), &identity.key_pem);
    let bundle = format!("{}{}", house.agents_ca.certificate_pem(), house.clients_ca.certificate_pem());
    write(&house.path("agents-ca.pem"), &bundle);
    house.start();
    house.wait_until_serving().await;
    house.server.always(Script::Token(Behaviour::JwtBound { thumbprint: None }));
    (house, identity)
}

// rows: MTLS-07 (decisions 1)
#[tokio::test]
async fn only_who_presents_the_same_certificate_gets_the_bound_token() {
    let (house, identity) = sharing().await;
    let mut agent = house.tls_agent(identity).await.unwrap();
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    assert!(redeemed.token.as_ref().unwrap().binding() == Binding::Mtls);
    get(&mut agent, &redeemed.grant).await.unwrap();

    // The same agent with another certificate: the same name, but not the holder of the key.
    let mut other = house.svid_agent(COURIER).await;
    let begun = house.begin(&mut other, &[READ]).await.err().unwrap();
    assert_eq!((begun.code(), reason(&begun).as_str()), UNUSABLE);
    let status = get(&mut other, &redeemed.grant).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), UNUSABLE);
    get(&mut agent, &redeemed.grant).await.unwrap();
    house.assert_no_secret_leaked();
}

// rows: MTLS-07 (decisions 1)
#[tokio::test]
async fn a_code_is_not_redeemed_for_another_certificate() {
    let (house, identity) = sharing().await;
    let mut agent = house.tls_agent(identity).await.unwrap();
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let mut other = house.svid_agent(COURIER).await;
    let status = crate::house::redeem(&mut other, &transaction, &callback).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), UNUSABLE);
    assert_eq!(house.server.token_connections(), 0);
    crate::house::redeem(&mut agent, &transaction, &callback).await.unwrap();
}

// rows: MTLS-07 (decisions 1)
#[tokio::test]
async fn the_default_client_authenticates_by_certificate_and_gets_bearer_tokens() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let token = house.login(&mut agent, &[READ]).await.unwrap().token.unwrap();
    assert!(token.binding() == Binding::Bearer);
    assert!(house.server.last_token_request().unwrap().client_refused.is_none());
    let issued = house.event("token.issued").await;
    assert_eq!(facts(&issued)["sender_constraint"], "none");
}

// rows: INTR-07
#[tokio::test]
async fn an_opaque_token_works_everywhere() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let odd = ["canary-at-0~+/._", "canary-at-eyJhbGciOiJub25lIn0.e30.", "canary-at-padded==", "canary-at-a.b.c.d.e"];
    for value in odd {
        house.server.behave(Script::Token(Behaviour::AccessTokenValue(value.to_owned())));
        let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
        assert_eq!(redeemed.token.unwrap().access_token, value);
        assert_eq!(get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap().access_token, value);
        let request = narrowgate::api::proto::RevokeGrantRequest { grant: redeemed.grant, ..Default::default() };
        agent.revoke_grant(request).await.unwrap();
        assert_eq!(house.server.revocations().pop().unwrap().1, value);
    }
    house.assert_no_secret_leaked();
}

// rows: INTR-07
#[tokio::test]
async fn what_a_token_says_of_itself_never_widens_anything() {
    let more = || {
        Behaviour::JwtClaims(members([
            ("scope", json!("customers.read customers.write customers.delete admin")),
            ("exp", json!(4_102_444_800_u64)),
            ("aud", json!("https://mail.example.test/api")),
        ]))
    };
    for plan in [bound(true), crate::kit::plan()] {
        let house = plan.open().await;
        let mut agent = house.agent().await;
        house.server.behave(Script::Token(Behaviour::All(vec![more(), Behaviour::OmitScope])));
        let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
        let token = redeemed.token.unwrap();
        assert_eq!(
            (token.scopes.as_slice(), token.resource.as_str()),
            ([READ.to_owned()].as_slice(), "https://crm.example.test/api")
        );
        let issued = house.event("token.issued").await;
        let span = token.expire_time.unwrap().seconds - issued["session"]["created_time"].as_i64().unwrap() / 1000;
        assert_eq!(span, 3600);
        let mut request = narrowgate::api::proto::GetTokenRequest { grant: redeemed.grant, ..Default::default() };
        request.scopes = vec!["customers.write".to_owned()];
        assert_eq!(reason(&agent.get_token(request).await.err().unwrap()), "SCOPE_NOT_GRANTED");
        house.assert_no_secret_leaked();
    }
}
