//! A house with two authorization servers: `corp`, as in every house, and `partner`, which is to misbehave.

use crate::house::{
    self, Agent, House, Plan,
    scripted_as::{Callback, ScriptedAs, Setup},
    write,
};
use narrowgate::{
    api::proto::{BeginAuthorizationRequest, RedeemCodeResponse},
    dev::ca::{Ca, San},
};
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// The scope at `corp`.
pub(crate) const CORP: &str = "customers.read";
/// The scope at `partner`.
pub(crate) const PARTNER: &str = "mail.read";

/// A house and its second server.
pub(crate) struct Two {
    pub(crate) house: House,
    pub(crate) partner: ScriptedAs,
}

impl Two {
    /// Opens a house in which the API `mail` belongs to `partner`. `issuer` is further lines of its `[[issuer]]`.
    pub(crate) async fn open(plan: Plan, issuer: &str, change: impl FnOnce(&mut Setup<'_>)) -> Self {
        Self::open_with(plan, issuer, "", change).await
    }

    /// The same; `client` is further lines of its `[[client]]`.
    pub(crate) async fn open_with(
        mut plan: Plan,
        issuer: &str,
        client: &str,
        change: impl FnOnce(&mut Setup<'_>),
    ) -> Self {
        let [servers, clients] = ["partner servers", "partner clients"].map(|name| Ca::new(name).unwrap());
        let mut setup = Setup::new(&servers, clients.certificate_pem());
        change(&mut setup);
        let partner = ScriptedAs::start(setup);
        let (corp, mail) = plan.apis.split_once("alias = \"mail\"").unwrap();
        plan.apis = format!("{corp}alias = \"mail\"{}", mail.replacen("issuer = \"corp\"", "issuer = \"partner\"", 1));
        plan.config.push_str(&format!(
            r#"
[[issuer]]
alias = "partner"
issuer = "{}"
ca = "partner-ca.pem"
allowed_ports = [{}]
{issuer}

[[client]]
alias = "sales-mail"
issuer = "partner"
client_id = "narrowgate-mail"
auth = "tls_client_auth"
subject = {{ san_uri = "spiffe://acme.test/narrowgate-mail" }}
certificate = "partner.pem"
key = "partner.key"
redirect_uris = ["http://127.0.0.1/callback"]
owner = "sales"
{client}
"#,
            partner.issuer(),
            partner.token_port()
        ));
        let mut house = plan.build();
        let client = clients.client("narrowgate", &[San::Uri("spiffe://acme.test/narrowgate-mail")]).unwrap();
        write(&house.path("partner-ca.pem"), servers.certificate_pem());
        write(&house.path("partner.pem"), &client.certificate_pem);
        write(&house.path("partner.key"), &client.key_pem);
        house.start();
        house.wait_until_serving().await;
        Self { house, partner }
    }

    /// Begins at `partner`.
    pub(crate) async fn begin(agent: &mut Agent) -> Result<(String, String), Status> {
        let request = BeginAuthorizationRequest {
            client: "sales-mail".to_owned(),
            scopes: vec![PARTNER.to_owned()],
            redirect_uri: "http://127.0.0.1:50123/callback".to_owned(),
            ..BeginAuthorizationRequest::default()
        };
        let begun = agent.begin_authorization(request).await?.into_inner();
        Ok((begun.transaction, begun.authorization_url))
    }

    /// Begins at `partner`, and has the person approve.
    pub(crate) async fn approved(&self, agent: &mut Agent) -> (String, Callback) {
        let (transaction, url) = Self::begin(agent).await.unwrap();
        (transaction, self.partner.approve(&url))
    }

    /// The whole flow at `partner`.
    pub(crate) async fn login(&self, agent: &mut Agent) -> Result<RedeemCodeResponse, Status> {
        let (transaction, callback) = self.approved(agent).await;
        house::redeem(agent, &transaction, &callback).await
    }

    /// What health says of a service, by its number in the protocol: 1 serving, 2 not serving.
    pub(crate) async fn health(&self, service: &str) -> Result<i32, Status> {
        let channel = house::unix_channel(&self.house.path("run/agent.sock")).await;
        let request = HealthCheckRequest { service: service.to_owned() };
        Ok(HealthClient::new(channel).check(request).await?.into_inner().status)
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let log = self.house.log();
            for secret in self.partner.secrets().into_iter().filter(|secret| secret.len() >= 8) {
                assert!(!log.contains(&secret), "a secret of the second server is in the log");
            }
        }
    }
}
