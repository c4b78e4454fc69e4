//! The house that tests live in: the released binary, a scripted authorization server over real mutual TLS, agents
//! at both doors. Everything on loopback, in a folder of its own.

mod checks;
pub(crate) mod front_end;
pub(crate) mod scripted_as;

use narrowgate::{
    api::proto::{
        BeginAuthorizationRequest, BeginAuthorizationResponse, GetTokenRequest, GetTokenResponse, RedeemCodeRequest,
        RedeemCodeResponse, redeem_code_request::Callback as WireCallback, token_service_client::TokenServiceClient,
    },
    dev::ca::{Ca, Identity, San},
};
use scripted_as::{Callback, ScriptedAs, Setup};
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

/// The sample agent at the Unix socket.
pub(crate) const QUOTER: &str = "quoter";
/// The sample agent at the mutual TLS door.
pub(crate) const COURIER: &str = "spiffe://acme.test/agent/courier";

pub(crate) type Agent = TokenServiceClient<Channel>;

/// What a house is built from; change it before [`Plan::open`].
pub(crate) struct Plan {
    /// `narrowgate.toml`; the place holders are filled in when the house opens.
    pub(crate) config: String,
    /// `agents.toml`.
    pub(crate) agents: String,
    /// `apis.toml`.
    pub(crate) apis: String,
    /// Policy files by name; the sample set unless changed.
    pub(crate) policies: Vec<(String, String)>,
    /// Changes to the authorization server's set-up.
    pub(crate) server: Box<dyn Fn(&mut Setup<'_>)>,
    /// Variables of the daemon's environment.
    pub(crate) environment: Vec<(String, String)>,
    /// The daemon's log filter.
    pub(crate) log: String,
}

/// A running house. Dropped, it kills the daemon by pid and removes the folder.
pub(crate) struct House {
    pub(crate) server: ScriptedAs,
    pub(crate) folder: TempDir,
    pub(crate) agents_ca: Ca,
    pub(crate) server_ca: Ca,
    pub(crate) clients_ca: Ca,
    environment: Vec<(String, String)>,
    log_filter: String,
    daemon: Option<Child>,
    log: Arc<Mutex<String>>,
}

const CONFIG: &str = r#"
environment = "prod"

[listen.unix]
path = "@FOLDER@/run/agent.sock"
mode = "0600"
# Tests are run from terminals too.
interactive = "allow"

[listen.tcp]
address = "127.0.0.1:0"
certificate = "daemon.pem"
key = "daemon.key"
trust_bundle = "agents-ca.pem"
trust_domain = "acme.test"

[audit]
directory = "audit"
commit_timeout = "5s"

[policy]
directory = "policies"

[registry]
agents = "agents.toml"
apis = "apis.toml"

[limits]
call_deadline = "20s"

[[issuer]]
alias = "corp"
allowed_ports = [@TOKEN_PORT@]
issuer = "@ISSUER@"
ca = "server-ca.pem"
deadline = "5s"

[[client]]
alias = "sales-crm"
issuer = "corp"
client_id = "narrowgate-sales"
auth = "tls_client_auth"
subject = { san_uri = "spiffe://acme.test/narrowgate" }
certificate = "client.pem"
key = "client.key"
redirect_uris = ["http://127.0.0.1/callback"]
owner = "sales"
"#;

impl Plan {
    /// The sample policies, `quoter` as whoever runs the tests, `courier` trusted enough to redeem.
    pub(crate) fn new() -> Self {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let read = |name: &str| fs::read_to_string(sample.join(name)).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let policies =
            ["guardrails.cedar", "flows.cedar", "grants.cedar"].map(|n| (n.to_owned(), read(&format!("base/{n}"))));
        Self {
            config: CONFIG.to_owned(),
            agents: read("agents.toml")
                // Whoever runs the tests is the agent, and no operator.
                .replace("uid = 0\n", "uid = 4200000000\n")
                .replace("uid = 1001", &format!("uid = {uid}"))
                .replace("trust = 1", "trust = 3"),
            apis: read("apis.toml"),
            policies: policies.into(),
            server: Box::new(|_| {}),
            environment: Vec::new(),
            log: "trace".to_owned(),
        }
    }

    /// Replaces a piece of the configuration, which must be there.
    pub(crate) fn config(mut self, from: &str, to: &str) -> Self {
        assert!(self.config.contains(from), "the configuration has no {from:?}");
        self.config = self.config.replace(from, to);
        self
    }

    /// Adds a policy file.
    pub(crate) fn policy(mut self, text: &str) -> Self {
        self.policies.push((format!("extra-{}.cedar", self.policies.len()), text.to_owned()));
        self
    }

    /// Changes how the authorization server is set up.
    pub(crate) fn server(mut self, change: impl Fn(&mut Setup<'_>) + 'static) -> Self {
        self.server = Box::new(change);
        self
    }

    /// Writes everything, starts the server and the daemon, and waits until the daemon serves.
    pub(crate) async fn open(self) -> House {
        let mut house = self.build();
        house.start();
        house.wait_until_serving().await;
        house
    }

    /// Writes everything and starts the server; the daemon is left to the test.
    pub(crate) fn build(self) -> House {
        let folder = tempfile::Builder::new().prefix("narrowgate-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let [server_ca, clients_ca, agents_ca] = ["servers", "clients", "agents"].map(|n| Ca::new(n).unwrap());
        let mut setup = Setup::new(&server_ca, clients_ca.certificate_pem());
        (self.server)(&mut setup);
        let server = ScriptedAs::start(setup);
        let write = |name: &str, text: &str| write(&folder.path().join(name), text);
        for (name, ca) in
            [("server-ca.pem", &server_ca), ("clients-ca.pem", &clients_ca), ("agents-ca.pem", &agents_ca)]
        {
            write(name, ca.certificate_pem());
        }
        let loopback = [San::Ip([127, 0, 0, 1].into()), San::Dns("localhost")];
        let client = clients_ca.client("narrowgate", &[San::Uri("spiffe://acme.test/narrowgate")]).unwrap();
        for (name, identity) in [("daemon", server_ca.server(&loopback).unwrap()), ("client", client)] {
            write(&format!("{name}.pem"), &identity.certificate_pem);
            write(&format!("{name}.key"), &identity.key_pem);
        }
        let config = self
            .config
            .replace("@FOLDER@", &folder.path().display().to_string())
            .replace("@ISSUER@", &server.issuer())
            .replace("@TOKEN_PORT@", &server.token_port().to_string());
        write("narrowgate.toml", &config);
        write("agents.toml", &self.agents);
        write("apis.toml", &self.apis);
        fs::create_dir(folder.path().join("policies")).unwrap();
        for (name, text) in &self.policies {
            write(&format!("policies/{name}"), text);
        }
        let (environment, log_filter) = (self.environment, self.log);
        House {
            server,
            folder,
            agents_ca,
            server_ca,
            clients_ca,
            environment,
            log_filter,
            daemon: None,
            log: Arc::default(),
        }
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The released binary.
pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_narrowgate"))
}

impl House {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of the binary with the house's configuration.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = binary();
        command.arg(name).arg("--config").arg(self.path("narrowgate.toml"));
        command
    }

    /// Gives the daemon's next start another variable.
    pub(crate) fn environment(&mut self, (name, value): (&str, &str)) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the daemon and follows its log.
    pub(crate) fn start(&mut self) {
        let mut command = self.command("serve");
        command.args(["--log-json", "--log", &self.log_filter]).envs(self.environment.clone());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.follow(child.stderr.take().unwrap());
        self.follow(child.stdout.take().unwrap());
        self.daemon = Some(child);
    }

    fn follow(&self, output: impl std::io::Read + Send + 'static) {
        let (lines, log) = (BufReader::new(output), Arc::clone(&self.log));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
    }

    /// The daemon's log so far, standard output included.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    pub(crate) async fn wait_until_serving(&mut self) {
        let mut health = binary();
        let endpoint = self.endpoint();
        health.args(["health", "--wait", "--timeout", "20s", "--endpoint", &endpoint]);
        let output = tokio::task::spawn_blocking(move || health.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "the daemon does not serve: {output:?}\n{}", self.log());
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix:{}", self.path("run/agent.sock").display())
    }

    /// The port of the mutual TLS door, from the log.
    pub(crate) async fn tcp_port(&self) -> u16 {
        let up = |log: &str| {
            let line = log.lines().rfind(|l| l.contains("narrowgate is up"))?;
            let line: Value = serde_json::from_str(line).unwrap();
            line["fields"]["tcp"].as_str()?.rsplit(':').next()?.parse().ok()
        };
        eventually("the daemon names its port", || up(&self.log())).await
    }

    /// Ends the daemon with a signal and returns its exit code.
    pub(crate) async fn signal(&mut self, signal: rustix::process::Signal) -> Option<i32> {
        let child = self.daemon.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        wait(child).await
    }

    /// Sends the daemon a signal and leaves it to do what it does.
    pub(crate) fn tell(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(self.daemon.as_ref().unwrap()), signal).unwrap();
    }

    /// Waits for the daemon's end; its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        wait(self.daemon.take().unwrap()).await
    }

    /// Stops the daemon as an init system would.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM).await
    }

    /// An agent at the Unix socket: `quoter`.
    pub(crate) async fn agent(&self) -> Agent {
        unix_agent(&self.path("run/agent.sock")).await
    }

    /// An agent at the mutual TLS door with a fresh SVID.
    pub(crate) async fn svid_agent(&self, spiffe_id: &str) -> Agent {
        let identity = self.agents_ca.client("agent", &[San::Uri(spiffe_id)]).unwrap();
        self.tls_agent(identity).await.unwrap()
    }

    /// An agent at the mutual TLS door with this certificate.
    pub(crate) async fn tls_agent(&self, identity: Identity) -> Result<Agent, String> {
        let port = self.tcp_port().await;
        tls_agent(port, &self.server_ca, identity).await
    }

    /// Begins on the sample client with the sample redirect URI.
    pub(crate) async fn begin(&self, agent: &mut Agent, scopes: &[&str]) -> Result<BeginAuthorizationResponse, Status> {
        Ok(agent.begin_authorization(begin_request(scopes)).await?.into_inner())
    }

    /// Begins, and has the person approve.
    pub(crate) async fn approved(&self, agent: &mut Agent, scopes: &[&str]) -> (String, Callback) {
        let begun = self.begin(agent, scopes).await.unwrap();
        (begun.transaction, self.server.approve(&begun.authorization_url))
    }

    /// The whole flow.
    pub(crate) async fn login(&self, agent: &mut Agent, scopes: &[&str]) -> Result<RedeemCodeResponse, Status> {
        let (transaction, callback) = self.approved(agent, scopes).await;
        redeem(agent, &transaction, &callback).await
    }

    /// Every audit event so far, oldest first.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = self.audit_text();
        // A line that is being written may be seen in part.
        let (complete, _) = text.rsplit_once('\n').unwrap_or_default();
        complete.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The audit log as it is on disk.
    pub(crate) fn audit_text(&self) -> String {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.path("audit")).unwrap().map(|e| e.unwrap().path()).collect();
        paths.retain(|p| p.extension().is_some_and(|e| e == "jsonl"));
        paths.sort();
        paths.iter().map(|p| fs::read_to_string(p).unwrap()).collect()
    }

    /// The events with this code so far.
    pub(crate) fn events(&self, code: &str) -> Vec<Value> {
        self.audit().into_iter().filter(|e| e["metadata"]["event_code"] == code).collect()
    }

    /// Waits for an event with this code.
    pub(crate) async fn event(&self, code: &str) -> Value {
        eventually(&format!("an event {code}"), || self.events(code).pop()).await
    }

    /// Fails if anything the server knows as a secret is in the log, at its lowest level, or anywhere in the folder of
    /// the audit log. Every house asks this at its end.
    pub(crate) fn assert_no_secret_leaked(&self) {
        let log = self.log();
        let files = fs::read_dir(self.path("audit")).into_iter().flatten().filter_map(Result::ok);
        let kept: Vec<Vec<u8>> = files.filter_map(|file| fs::read(file.path()).ok()).collect();
        let secrets = self.server.secrets();
        assert!(!holds_any(log.as_bytes(), &secrets), "a secret is in the log");
        assert!(!kept.iter().any(|bytes| holds_any(bytes, &secrets)), "a secret is in the folder of the audit log");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            // The tail of a trace is what a failed test is understood by.
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- the daemon's log, newest first\n{}", tail.join("\n"));
        } else {
            self.assert_no_secret_leaked();
        }
    }
}

/// Whether any of the secrets is in there. In one pass: a house that ran for long has thousands.
fn holds_any(bytes: &[u8], secrets: &BTreeSet<String>) -> bool {
    let mut by_start: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
    // A shorter one, such as an odd token of one letter, is found anywhere.
    for secret in secrets.iter().map(String::as_bytes).filter(|secret| secret.len() >= 8) {
        by_start.entry(&secret[..8]).or_default().push(secret);
    }
    bytes.windows(8).enumerate().any(|(at, start)| {
        by_start.get(start).is_some_and(|some| some.iter().any(|secret| bytes[at..].starts_with(secret)))
    })
}

/// A request to begin on the sample client.
pub(crate) fn begin_request(scopes: &[&str]) -> BeginAuthorizationRequest {
    BeginAuthorizationRequest {
        client: "sales-crm".to_owned(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        redirect_uri: "http://127.0.0.1:50123/callback".to_owned(),
        ..BeginAuthorizationRequest::default()
    }
}

/// A request to redeem a whole callback URL.
pub(crate) fn redeem_request(transaction: &str, callback_url: &str) -> RedeemCodeRequest {
    RedeemCodeRequest {
        transaction: transaction.to_owned(),
        callback: Some(WireCallback::CallbackUrl(callback_url.to_owned())),
        ..RedeemCodeRequest::default()
    }
}

/// Redeems a callback.
pub(crate) async fn redeem(
    agent: &mut Agent,
    transaction: &str,
    callback: &Callback,
) -> Result<RedeemCodeResponse, Status> {
    Ok(agent.redeem_code(redeem_request(transaction, &callback.url)).await?.into_inner())
}

/// Gets the token of a grant.
pub(crate) async fn get(agent: &mut Agent, grant: &str) -> Result<GetTokenResponse, Status> {
    Ok(agent.get_token(GetTokenRequest { grant: grant.to_owned(), ..GetTokenRequest::default() }).await?.into_inner())
}

/// The reason in a status.
pub(crate) fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "narrowgate");
    info.reason
}

/// A fact in a status.
pub(crate) fn fact(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.get(key).cloned()
}

/// Waits, without busy looping, until something is there.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("waited in vain for {what}")
}

/// Waits for a process to end.
pub(crate) async fn wait(mut child: Child) -> Option<i32> {
    tokio::task::spawn_blocking(move || child.wait().unwrap().code()).await.unwrap()
}

pub(crate) async fn unix_agent(socket: &Path) -> Agent {
    TokenServiceClient::new(unix_channel(socket).await)
}

pub(crate) async fn unix_channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}

pub(crate) async fn tls_agent(port: u16, server_ca: &Ca, identity: Identity) -> Result<Agent, String> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server_ca.certificate_pem().as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let connector = tower::service_fn(move |_| {
        let config = Arc::clone(&config);
        async move {
            let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
            tcp.set_nodelay(true)?;
            let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://localhost:{port}")).unwrap();
    let channel = endpoint.connect_with_connector(connector).await.map_err(|e| format!("{e:?}"))?;
    Ok(TokenServiceClient::new(channel))
}
