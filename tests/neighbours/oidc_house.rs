//! A house whose authorization server is oidc-provider 9. The scripted server of the house stays idle, which the
//! tests can hold narrowgate to.

use crate::{
    house::{House, Plan, write},
    tools::node_script,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Lines, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

pub(crate) const CRM: &str = "https://crm.example.test/api";
pub(crate) const CALLBACK: &str = "http://127.0.0.1:50123/callback";
/// The name in the certificate of narrowgate's client.
pub(crate) const CLIENT_NAME: &str = "spiffe://acme.test/narrowgate";

const PROVIDER_LOG: &str = "oidc-provider.log";

/// What the provider is set up with.
#[derive(Default)]
pub(crate) struct Provider {
    /// The tokens of the client are certificate-bound.
    pub(crate) bound: bool,
    /// It knows DPoP, and the tokens of the client are bound by it.
    pub(crate) dpop: bool,
    /// The client authenticates with this key, a JWK, for this algorithm, and pushes its requests.
    pub(crate) signs: Option<(Value, &'static str)>,
    /// It signs its authorization requests too, and pushes them only where this says so.
    pub(crate) signs_requests: Option<bool>,
    /// What the person refuses.
    pub(crate) refuse_scopes: &'static [&'static str],
    /// It exchanges tokens, and gives the client tokens of its own. Actor tokens are signed with the client's key.
    pub(crate) exchanges: bool,
    /// The types of authorization details that it knows.
    pub(crate) details_types: Option<&'static [&'static str]>,
}

impl Provider {
    fn grants(&self) -> Vec<&'static str> {
        let more = ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"];
        let more = more.into_iter().filter(|_| self.exchanges);
        ["authorization_code", "refresh_token"].into_iter().chain(more).collect()
    }
}

/// A running house with its provider.
pub(crate) struct OidcHouse {
    pub(crate) house: House,
    pub(crate) issuer: String,
    process: Child,
    conversation: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

/// How often the provider was called, and connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    pub(crate) token: u64,
    pub(crate) revocation: u64,
    pub(crate) pushed: u64,
    pub(crate) connections: u64,
}

impl OidcHouse {
    /// Opens a house by a plan, with this provider as its authorization server.
    pub(crate) async fn open(plan: Plan, provider: Provider) -> Self {
        let built = Self::build(plan, &provider);
        built.serve().await
    }

    /// The same, with the daemon left to [`Self::serve`], so that files can be changed.
    pub(crate) fn build(plan: Plan, provider: &Provider) -> Self {
        let house = plan.build();
        let mut client = json!({
            "client_id": "narrowgate-sales",
            "auth": "tls_client_auth",
            "subject": { "tls_client_auth_san_uri": CLIENT_NAME },
            "bound": provider.bound,
            "redirect_uris": [CALLBACK],
            "grant_types": provider.grants(),
        });
        if let Some((key, alg)) = &provider.signs {
            client["auth"] = json!("private_key_jwt");
            client["subject"] = json!({});
            client["jwks"] = json!({ "keys": [key] });
            client["signing_alg"] = json!(alg);
            client["must_push"] = json!(provider.signs_requests.unwrap_or(true));
            client["request_alg"] = json!(provider.signs_requests.map(|_| alg));
        }
        let settings = json!({
            "tls": { "certificate": house.path("daemon.pem"), "key": house.path("daemon.key") },
            "client_ca": house.path("clients-ca.pem"),
            "clients": [client],
            "actor_key": provider.exchanges.then(|| house.path("client.key")),
            "resources": [
                { "identifier": CRM, "scopes": ["customers.read", "customers.write", "customers.delete"] },
            ],
            "refuse_scopes": provider.refuse_scopes,
            "dpop": provider.dpop,
            "details_types": provider.details_types,
        });
        let path = house.path("oidc-provider.json");
        write(&path, &settings.to_string());
        let mut process = Command::new("node")
            .arg(node_script("neighbours/oidc-provider", "server.mjs"))
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(house.path(PROVIDER_LOG)).unwrap())
            .spawn()
            .expect("node cannot be started: tests/run needs it on the PATH");
        let stdin = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let hello: Value = serde_json::from_str(&lines.next().expect("the provider ended").unwrap()).unwrap();
        let issuer = hello["issuer"].as_str().unwrap().to_owned();
        let config = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
        write(&house.path("narrowgate.toml"), &config.replace(&house.server.issuer(), &issuer));
        Self { house, issuer, process, conversation: Mutex::new((stdin, lines)) }
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) async fn serve(mut self) -> Self {
        self.house.start();
        self.house.wait_until_serving().await;
        self
    }

    /// What the provider has counted so far.
    pub(crate) fn counts(&self) -> Counts {
        let mut conversation = self.conversation.lock().unwrap();
        let (stdin, lines) = &mut *conversation;
        stdin.write_all(b"counts\n").unwrap();
        let counts: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let [token, revocation, pushed, connections] =
            ["token", "revocation", "pushed", "connections"].map(|name| counts[name].as_u64().unwrap());
        Counts { token, revocation, pushed, connections }
    }

    /// Plays the person's browser, up to the callback.
    pub(crate) async fn browse(&self, authorization_url: &str) -> String {
        let mut browser = Command::new("node");
        browser
            .arg(node_script("neighbours/oidc-provider", "browser.mjs"))
            .arg(self.house.path("server-ca.pem"))
            .args([authorization_url, CALLBACK]);
        let output = tokio::task::spawn_blocking(move || browser.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "the browser ended on a page: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A path in the house.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.house.path(name)
    }

    /// Fails if a secret of a flow is in the log or in the audit log, or if the idle scripted server was called.
    pub(crate) fn assert_discreet(&self, secrets: &[&str]) {
        let (log, audit) = (self.house.log(), self.house.audit_text());
        for secret in secrets {
            assert!(secret.len() > 8, "{secret:?} is no secret to look for");
            assert!(!log.contains(secret), "a secret is in the log");
            assert!(!audit.contains(secret), "a secret is in the audit log");
        }
        let server = &self.house.server;
        assert_eq!((server.front_connections(), server.token_connections()), (0, 0), "the wrong server was called");
    }
}

impl Drop for OidcHouse {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            // Many mistakes get the same answer; the provider's log says which it was.
            eprintln!("--- the provider's log\n{}", fs::read_to_string(self.path(PROVIDER_LOG)).unwrap_or_default());
        }
    }
}

/// The claims of a JWT.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_else(|| panic!("no JWT"));
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A parameter of a URL.
pub(crate) fn parameter(url: &str, name: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).unwrap_or_else(|| panic!("no {name}")).1.into_owned()
}
