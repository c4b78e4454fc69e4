use crate::{
    asking::{READ, begin, run, words},
    house::{COURIER, House, Plan, begin_request, eventually},
};
use narrowgate::{
    api::proto::token_service_client::TokenServiceClient,
    dev::ca::{Ca, San},
};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

// rows: CALL-05
#[tokio::test]
async fn a_tcp_listener_without_tls_is_a_mistake_of_configuration() {
    let all = [
        "certificate = \"daemon.pem\"\n",
        "key = \"daemon.key\"\n",
        "trust_bundle = \"agents-ca.pem\"\n",
        "trust_domain = \"acme.test\"\n",
    ];
    for (missing, named) in [
        (&all[..1], "`certificate` is missing in [listen.tcp]"),
        (&all[1..2], "`key` is missing in [listen.tcp]"),
        (&all[2..3], "`trust_bundle` is missing in [listen.tcp]"),
        (&all[3..], "`trust_domain` is missing in [listen.tcp]"),
        (&all[..], "TCP needs mutual TLS, on loopback too"),
    ] {
        let plan = missing.iter().fold(Plan::new(), |plan, line| plan.config(line, ""));
        let house = plan.config("127.0.0.1:0", "127.0.0.1:7000").build();
        for command in ["check", "serve"] {
            let output = run(house.command(command)).await;
            assert_eq!(output.status.code(), Some(64), "{}", words(&output));
            assert!(words(&output).contains(named), "{named:?} is not in {:?}", words(&output));
        }
        assert!(!house.path("run").exists(), "something was bound");
    }
}

/// Nobody got as far as an RPC: no attestation was even tried.
async fn nobody_came_in(house: &House, refusals: usize) {
    let refused = || house.log().matches("refused a TLS peer").count();
    eventually("the door to say that it refused", || (refused() >= refusals).then_some(())).await;
    for code in ["agent.rejected", "authorization.decided", "exchange.refused"] {
        assert!(house.events(code).is_empty(), "{code}");
    }
    assert_eq!(house.server.front_connections(), 0);
}

/// Tries a call over TLS without a client certificate.
async fn without_certificate(house: &House) -> Result<(), String> {
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    let port = house.tcp_port().await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(house.server_ca.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let connector = tower::service_fn(move |_| {
        let config = Arc::clone(&config);
        async move {
            let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://localhost:{port}")).unwrap();
    let channel = endpoint.connect_with_connector(connector).await.map_err(|e| format!("{e:?}"))?;
    let mut agent = TokenServiceClient::new(channel);
    begin(&mut agent, begin_request(&[READ])).await.map(drop).map_err(|status| format!("{status:?}"))
}

// rows: CALL-05
#[tokio::test]
async fn a_client_without_certificate_fails_in_the_handshake() {
    let house = Plan::new().open().await;
    without_certificate(&house).await.unwrap_err();
    nobody_came_in(&house, 1).await;
    // With one it comes in by the same door.
    let mut courier = house.svid_agent(COURIER).await;
    house.begin(&mut courier, &[READ]).await.unwrap();
}

// rows: CALL-05
#[tokio::test]
async fn a_certificate_that_the_trust_bundle_does_not_vouch_for_is_none() {
    let house = Plan::new().open().await;
    let stranger = Ca::new("agents").unwrap();
    let same_name = stranger.client("agent", &[San::Uri(COURIER)]).unwrap();
    let elsewhere = house.agents_ca.client("agent", &[San::Uri("spiffe://evil.test/agent/courier")]).unwrap();
    let no_id = house.agents_ca.client("agent", &[San::Dns("courier.acme.test")]).unwrap();
    for identity in [same_name, elsewhere, no_id] {
        // In TLS 1.3 the client hears of it with its first read.
        if let Ok(mut agent) = house.tls_agent(identity).await {
            assert!(house.begin(&mut agent, &[READ]).await.is_err());
        }
    }
    nobody_came_in(&house, 3).await;
}

// rows: CALL-05
#[tokio::test]
async fn plaintext_is_not_spoken_on_the_tcp_port() {
    let house = Plan::new().open().await;
    let port = house.tcp_port().await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    if let Ok(channel) = endpoint.connect().await {
        assert!(begin(&mut TokenServiceClient::new(channel), begin_request(&[READ])).await.is_err());
    }
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tcp.write_all(b"POST /narrowgate.v1.TokenService/BeginAuthorization HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // An alert or a reset; in no case HTTP.
    let _ = tcp.read_to_end(&mut answer).await;
    assert!(!answer.windows(4).any(|w| w == b"HTTP"), "{answer:?}");
    nobody_came_in(&house, 2).await;
}
