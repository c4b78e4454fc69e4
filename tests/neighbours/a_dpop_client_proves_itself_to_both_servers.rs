use crate::{
    house::{House, Plan, reason, redeem_request, write},
    oidc_house::{CRM, OidcHouse, Provider, claims},
};
use narrowgate::api::proto::{GetTokenRequest, SignProofRequest, Token};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::{fs, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn dpop_plan() -> Plan {
    Plan::new().config("owner = \"sales\"", "owner = \"sales\"\ntoken_binding = \"dpop\"")
}

/// What a resource server answers to a GET with this token and proof: its status, and the nonce it wants.
async fn ask(house: &House, uri: &str, token: &Token, proof: &str) -> (u16, Option<String>) {
    let url = url::Url::parse(uri).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(house.server_ca.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let tcp = TcpStream::connect(("127.0.0.1", url.port().unwrap())).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.unwrap();
    let target = &url[url::Position::BeforePath..];
    let Token { token_type, access_token, .. } = token;
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: {token_type} {access_token}\r\nDPoP: {proof}\r\nConnection: close\r\n\r\n",
        url.authority()
    );
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Node ends without a close_notify now and then.
    let _ = tls.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let nonce = answer.lines().find_map(|line| line.strip_prefix("dpop-nonce: ")).map(str::to_owned);
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), nonce)
}

// rows: DPOP-01 DPOP-02 DPOP-04 DPOP-06 DPOP-10
#[tokio::test]
async fn a_dpop_client_proves_itself_to_both_servers() {
    let provider = Provider { dpop: true, ..Provider::default() };
    let oidc = OidcHouse::build(dpop_plan(), &provider);
    // The API is at the provider's own origin here.
    let apis = fs::read_to_string(oidc.path("apis.toml")).unwrap();
    let identifier = format!("identifier = \"{CRM}\"");
    let origins = format!("{identifier}\norigins = [\"{}\"]", oidc.issuer);
    write(&oidc.path("apis.toml"), &apis.replacen(&identifier, &origins, 1));
    let oidc = oidc.serve().await;
    let mut agent = oidc.house.agent().await;
    let begun = oidc.house.begin(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let redeemed = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
    assert_eq!(oidc.counts().token, 2, "the provider asks for its nonce first");
    let token = redeemed.token.unwrap();
    assert_eq!(
        (token.token_type.as_str(), &claims(&token.access_token)["cnf"]["jkt"]),
        ("DPoP", &token.jkt.clone().into())
    );

    let uri = format!("{}/api/customers?page=1", oidc.issuer);
    let proving = |nonce: Option<String>, scopes: &[&str]| SignProofRequest {
        grant: redeemed.grant.clone(),
        http_method: "GET".to_owned(),
        http_uri: uri.clone(),
        nonce: nonce.unwrap_or_default(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        ..SignProofRequest::default()
    };
    let first = agent.sign_proof(proving(None, &[])).await.unwrap().into_inner().proof;
    let (status, nonce) = ask(&oidc.house, &uri, &token, &first).await;
    assert!(status == 401 && nonce.is_some(), "{status}");
    let second = agent.sign_proof(proving(nonce, &[])).await.unwrap().into_inner().proof;
    assert_eq!(ask(&oidc.house, &uri, &token, &second).await.0, 200);
    assert_eq!(ask(&oidc.house, &uri, &token, &second).await.0, 401, "a proof is for one request");

    // A refresh is bound to the same key, and the narrower token has proofs of its own.
    let read = vec!["customers.read".to_owned()];
    let request = GetTokenRequest { grant: redeemed.grant.clone(), scopes: read, ..GetTokenRequest::default() };
    let narrower = agent.get_token(request).await.unwrap().into_inner().token.unwrap();
    assert_eq!((&narrower.jkt, &claims(&narrower.access_token)["scope"]), (&token.jkt, &"customers.read".into()));
    let third = agent.sign_proof(proving(None, &["customers.read"])).await.unwrap().into_inner().proof;
    assert_eq!(ask(&oidc.house, &uri, &token, &third).await.0, 401, "it is the narrower token's");
    let fourth = agent.sign_proof(proving(None, &["customers.read"])).await.unwrap().into_inner().proof;
    assert_eq!(ask(&oidc.house, &uri, &narrower, &fourth).await.0, 200);
    oidc.assert_discreet(&[&token.access_token, &narrower.access_token, &second, &fourth]);
}

// rows: DPOP-09
#[tokio::test]
async fn a_provider_that_knows_no_dpop_is_told_apart_by_its_token() {
    let oidc = OidcHouse::open(dpop_plan(), Provider::default()).await;
    let mut agent = oidc.house.agent().await;
    let begun = oidc.house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let refused = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.err().unwrap();
    assert_eq!(reason(&refused), "TOKEN_BINDING_MISMATCH");
    oidc.house.event("token.revoked").await;
    assert!(oidc.house.events("token.issued").is_empty());
}
