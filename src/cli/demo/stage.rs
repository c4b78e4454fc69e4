//! What the demo plays on: a folder, certificates, an authorization server, the daemon.

use super::Trouble;
use crate::{
    app::{Daemon, Failure},
    config,
    dev::{
        authorization_server::{AuthorizationServer, DevClient, DevResource, ServerSetup},
        ca::{Ca, Identity, San},
    },
};
use std::{
    fs, io,
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The SPIFFE ID of the sample agent that comes by mutual TLS.
pub(super) const COURIER: &str = "spiffe://acme.test/agent/courier";
/// The identity of narrowgate at the authorization server.
const NARROWGATE: &str = "spiffe://acme.test/narrowgate";
/// The API that quoter works with.
const CRM: &str = "https://crm.example.test/api";
/// An alias here, the client_id there, how many seconds its tokens live, and whether they are bound to a key.
type Registration = (&'static str, &'static str, u64, bool);
/// The client registrations.
const CLIENTS: [Registration; 3] = [
    ("sales-crm", "narrowgate-sales", 3600, false),
    ("sales-brief", "narrowgate-sales-brief", 4, false),
    ("sales-bound", "narrowgate-sales-bound", 3600, true),
];
const REDIRECT: &str = "http://127.0.0.1/callback";

const POLICIES: [(&str, &str); 8] = [
    ("guardrails.cedar", include_str!("../../../policies/base/guardrails.cedar")),
    ("guardrails.cases.toml", include_str!("../../../policies/base/guardrails.cases.toml")),
    ("flows.cedar", include_str!("../../../policies/base/flows.cedar")),
    ("flows.cases.toml", include_str!("../../../policies/base/flows.cases.toml")),
    ("grants.cedar", include_str!("../../../policies/base/grants.cedar")),
    ("grants.cases.toml", include_str!("../../../policies/base/grants.cases.toml")),
    ("operators.cedar", include_str!("../../../policies/base/operators.cedar")),
    ("operators.cases.toml", include_str!("../../../policies/base/operators.cases.toml")),
];
const AGENTS: &str = include_str!("../../../policies/agents.toml");
const APIS: &str = include_str!("../../../policies/apis.toml");

/// The set-up of the demo.
pub(super) struct Stage {
    folder: PathBuf,
    keep: bool,
    /// The embedded authorization server.
    pub(super) server: AuthorizationServer,
    /// The daemon.
    pub(super) daemon: Daemon,
}

impl Stage {
    /// Builds everything.
    pub(super) async fn set(keep: Option<PathBuf>) -> Result<Self, Trouble> {
        let (folder, kept) = match keep {
            Some(folder) => (folder, true),
            None => (std::env::temp_dir().join(format!("narrowgate-demo-{}", uuid::Uuid::new_v4())), false),
        };
        make(&folder).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => format!(
                "{0} is there already, perhaps from a demo before: give --keep the name of a new folder, or remove this \
                 one with rm -r {0}",
                folder.display()
            ),
            io::ErrorKind::NotFound => {
                format!("{} cannot be made: the folder above it is not there; make that first", folder.display())
            }
            _ => format!("{} cannot be made: {e}", folder.display()),
        })?;
        let folder = folder.canonicalize().map_err(|e| e.to_string())?;
        let built = Self::build(&folder, kept).await;
        if built.is_err() && !kept {
            // What cannot be removed is in the system's folder for temporary files.
            let _ = fs::remove_dir_all(&folder);
        }
        built
    }

    async fn build(folder: &Path, keep: bool) -> Result<Self, Trouble> {
        let ca = Ca::new("narrowgate demo servers and clients").map_err(|e| e.to_string())?;
        let agents_ca = Ca::new("narrowgate demo agents").map_err(|e| e.to_string())?;
        let loopback = [San::Ip(Ipv4Addr::LOCALHOST.into()), San::Dns("localhost")];
        let server = AuthorizationServer::start(ServerSetup {
            server: ca.server(&loopback).map_err(|e| e.to_string())?,
            client_ca_pem: ca.certificate_pem().to_owned(),
            clients: CLIENTS.map(registration).to_vec(),
            resources: vec![
                resource(CRM, &["customers.read", "customers.write", "customers.delete"]),
                resource("https://mail.example.test/api", &["mail.read", "mail.send"]),
            ],
        });
        let server = server.await.map_err(|e| e.to_string())?;
        write(folder, "server-ca.pem", ca.certificate_pem())?;
        write(folder, "agents-ca.pem", agents_ca.certificate_pem())?;
        let client = ca.client("narrowgate", &[San::Uri(NARROWGATE)]).map_err(|e| e.to_string())?;
        pair(folder, "client", &client)?;
        pair(folder, "daemon", &ca.server(&loopback).map_err(|e| e.to_string())?)?;
        pair(folder, "courier", &agents_ca.client("courier", &[San::Uri(COURIER)]).map_err(|e| e.to_string())?)?;
        let uid = rustix::process::geteuid().as_raw();
        let agents = AGENTS.replace("uid = 1001", &format!("uid = {uid}")).replace("uid = 0", &format!("uid = {uid}"));
        write(folder, "agents.toml", &agents.replace("environment = \"prod\"", "environment = \"dev\""))?;
        let identifier = format!("identifier = \"{CRM}\"");
        let origins = format!("{identifier}\norigins = [\"{}\"]", server.api_origin());
        write(folder, "apis.toml", &APIS.replace(&identifier, &origins))?;
        make(&folder.join("policies")).map_err(|e| e.to_string())?;
        for (name, text) in POLICIES {
            write(&folder.join("policies"), name, text)?;
        }
        let file = folder.join("narrowgate.toml");
        write(folder, "narrowgate.toml", &configuration(folder, &server))?;
        let config = config::load(&file).map_err(|findings| listed(&findings))?;
        let daemon = Daemon::start(config, &file).await.map_err(|failure| match failure {
            Failure::Config(findings) => listed(&findings),
            other => other.to_string(),
        })?;
        if !daemon.policy_findings.is_empty() {
            return Err(listed(&daemon.policy_findings));
        }
        Ok(Self { folder: folder.to_owned(), keep, server, daemon })
    }

    /// The folder, if it stays.
    pub(super) fn kept(&self) -> Option<PathBuf> {
        self.keep.then(|| self.folder.clone())
    }

    /// A path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Stops everything and cleans up.
    pub(super) async fn strike(self) -> Result<(), Trouble> {
        self.daemon.stop().await;
        self.server.shutdown().await;
        if self.keep { Ok(()) } else { fs::remove_dir_all(&self.folder).map_err(|e| e.to_string()) }
    }
}

fn registration((_, client_id, token_lifetime_secs, dpop_bound): Registration) -> DevClient {
    DevClient {
        client_id: client_id.to_owned(),
        san_uri: NARROWGATE.to_owned(),
        redirect_uris: vec![REDIRECT.to_owned()],
        token_lifetime_secs,
        dpop_bound,
    }
}

fn listed(findings: &[config::Finding]) -> Trouble {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn resource(identifier: &str, scopes: &[&str]) -> DevResource {
    DevResource { identifier: identifier.to_owned(), scopes: scopes.iter().map(ToString::to_string).collect() }
}

fn pair(folder: &Path, name: &str, identity: &Identity) -> Result<(), Trouble> {
    write(folder, &format!("{name}.pem"), &identity.certificate_pem)?;
    write(folder, &format!("{name}.key"), &identity.key_pem)
}

/// Makes a new folder for its owner alone.
fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)
}

/// Writes a new file that only its owner may read.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), Trouble> {
    use std::io::Write;
    let path = folder.join(name);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| format!("{}: {e}", path.display()))
}

fn configuration(folder: &Path, server: &AuthorizationServer) -> String {
    let issuer = server.issuer();
    // Its token endpoint asks for certificates, on a port of its own.
    let token_port = url::Url::parse(&server.token_endpoint()).ok().and_then(|url| url.port()).unwrap_or(443);
    format!(
        r#"# Written by `narrowgate demo` or `narrowgate dev`: not for production. deploy/narrowgate.toml explains every key.
# Only in dev may an operator have an agent's uid.
environment = "dev"

[listen.unix]
path = "{folder}/run/agent.sock"
# Whoever runs the demo sits at a terminal.
interactive = "allow"

[listen.admin]
path = "{folder}/run/admin.sock"

[listen.tcp]
address = "127.0.0.1:0"
certificate = "daemon.pem"
key = "daemon.key"
trust_bundle = "agents-ca.pem"
trust_domain = "acme.test"

[audit]
directory = "audit"
commit_timeout = "10s"

[policy]
directory = "policies"

[registry]
agents = "agents.toml"
apis = "apis.toml"

[[issuer]]
alias = "corp"
issuer = "{issuer}"
allowed_ports = [{token_port}]
ca = "server-ca.pem"
{clients}"#,
        folder = folder.display(),
        clients = CLIENTS.map(client).concat()
    )
}

fn client((alias, client_id, _, dpop_bound): Registration) -> String {
    let binding = if dpop_bound { "token_binding = \"dpop\"\n" } else { "" };
    format!(
        r#"
[[client]]
alias = "{alias}"
issuer = "corp"
client_id = "{client_id}"
auth = "tls_client_auth"
subject = {{ san_uri = "{NARROWGATE}" }}
certificate = "client.pem"
key = "client.key"
redirect_uris = ["{REDIRECT}"]
owner = "sales"
{binding}"#
    )
}
