//! Two issuers at one address, with certificates of the same names from one authority, and a client of its own at each:
//! nobody's connection, TLS session or certificate serves the other, and no request goes ahead of its handshake.

use crate::kit::*;
use narrowgate::dev::ca::San;
use rustls::pki_types::{CertificateDer, pem::PemObject};

const CATALOGUE: &str = r#"
[[api]]
alias = "other-crm"
identifier = "https://other.example.test/api"
issuer = "other"
owner = "sales"
data_class = "internal"

[[scope]]
name = "other.read"
api = "other-crm"
risk = 1
groups = ["crm.readonly"]
"#;
const OURS: &str = "spiffe://acme.test/narrowgate";

/// A house with a second issuer, `other`, whose client has a certificate of its own.
async fn two_issuers() -> (House, ScriptedAs) {
    let mut plan = Plan::new();
    plan.apis += CATALOGUE;
    let mut house = plan.build();
    let other = ScriptedAs::start(Setup::new(&house.server_ca, house.clients_ca.certificate_pem()));
    other.register_client("narrowgate-other", &format!("{OURS}-other"));
    house.server.register_client("narrowgate-sales", OURS);
    let second = house.clients_ca.client("other", &[San::Uri(&format!("{OURS}-other"))]).unwrap();
    write(&house.path("other.pem"), &second.certificate_pem);
    write(&house.path("other.key"), &second.key_pem);
    let file = house.path("narrowgate.toml");
    let config = fs::read_to_string(&file).unwrap();
    let second = config[config.find("[[issuer]]").unwrap()..]
        .replace("\"corp\"", "\"other\"")
        .replace("sales-crm", "other-client")
        .replace("narrowgate-sales", "narrowgate-other")
        .replace(&format!("{OURS}\""), &format!("{OURS}-other\""))
        .replace("\"client.", "\"other.")
        .replace(&house.server.issuer(), &other.issuer())
        .replace(&house.server.token_port().to_string(), &other.token_port().to_string());
    write(&file, &format!("{config}\n{second}"));
    house.start();
    house.wait_until_serving().await;
    (house, other)
}

#[tokio::test]
async fn each_issuer_has_connections_of_its_own() {
    let (house, other) = two_issuers().await;
    let mut agent = house.agent().await;
    for _ in 0..3 {
        house.login(&mut agent, &[READ]).await.unwrap();
        let request = BeginAuthorizationRequest { client: "other-client".to_owned(), ..begin_request(&["other.read"]) };
        let begun = agent.begin_authorization(request).await.unwrap().into_inner();
        redeem(&mut agent, &begun.transaction, &other.approve(&begun.authorization_url)).await.unwrap();
    }
    for (server, client, certificate) in
        [(&house.server, "narrowgate-sales", "client.pem"), (&other, "narrowgate-other", "other.pem")]
    {
        let own = CertificateDer::from_pem_slice(&fs::read(house.path(certificate)).unwrap()).unwrap();
        let requests = server.token_requests();
        assert_eq!(requests.len(), 3, "{client}");
        for request in requests {
            assert_eq!(request.param("client_id"), Some(client));
            assert_eq!(request.client_certificate_der.as_deref(), Some(&*own), "{client}");
        }
        // Sessions are resumed, which is when early data could be sent; none is.
        let (resumed, early) = server.token_resumptions();
        assert!(resumed > 0, "the eyes of this test");
        assert_eq!(early, 0, "{client}");
    }
}
