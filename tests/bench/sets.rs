//! Policy sets of any size, with the agents, client and scopes that they are about.

use narrowgate::{
    caller::{Caller, Peer, Svid},
    config::{self, Config},
    dev::ca::{Ca, San},
    model::Wall,
};
use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt, path::Path};
use tempfile::TempDir;

pub(crate) const SCOPES: [&str; 3] = ["customers.read", "customers.write", "openid"];

/// What the permits' scopes name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Their agent: `principal == ...`.
    Agent,
    /// Their agent's team: `principal in ...`.
    Group,
    /// Nothing: the condition says whom they are about.
    Unscoped,
}

impl Kind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Group => "group",
            Self::Unscoped => "unscoped",
        }
    }

    /// One permit about this agent.
    fn permit(self, number: usize) -> String {
        let (principal, condition) = match self {
            Self::Agent => (format!("principal == Narrowgate::Agent::\"agent-{number}\""), String::new()),
            Self::Group => (format!("principal in Narrowgate::Team::\"team-{number}\""), String::new()),
            Self::Unscoped => {
                ("principal".to_owned(), format!(" && principal.owner == Narrowgate::Team::\"team-{number}\""))
            }
        };
        let lifetime = "context.base.lifetime <= duration(\"1h\")";
        format!(
            "@id(\"p.{number}\")\n@max_lifetime(\"10m\")\n\
             permit ({principal}, action == Narrowgate::Action::\"grant_scope\", resource)\n\
             when {{ principal.trust >= 2 && {lifetime}{condition} }};\n"
        )
    }
}

/// Files in a folder of their own.
pub(crate) struct Set {
    folder: TempDir,
}

impl Set {
    /// So many permits, of which one is about the agent that asks, beside the sample guardrails and the one permit of
    /// the gate.
    pub(crate) fn write(kind: Kind, policies: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        let mut permits = String::new();
        (0..policies).for_each(|number| permits.push_str(&kind.permit(number)));
        let gate = "@id(\"gate\") permit (principal, action == Narrowgate::Action::\"release_token\", resource is Narrowgate::Client)\n\
                    when { principal.trust >= 2 };\n";
        fs::create_dir(folder.path().join("policies")).unwrap();
        put("policies/permits.cedar", &permits);
        put("policies/gate.cedar", gate);
        put("policies/guardrails.cedar", &sample("base/guardrails.cedar"));
        put("agents.toml", &agents(policies));
        put("apis.toml", &sample("apis.toml"));
        let servers = Ca::new("servers").unwrap();
        put("ca.pem", servers.certificate_pem());
        let client = servers.client("client", &[San::Uri("spiffe://acme.test/narrowgate")]).unwrap();
        put("client.pem", &client.certificate_pem);
        put("client.key", &client.key_pem);
        put("narrowgate.toml", &MAIN.replace("@FOLDER@", &folder.path().display().to_string()));
        Self { folder }
    }

    pub(crate) fn config(&self) -> Config {
        let file = self.folder.path().join("narrowgate.toml");
        config::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    /// Every policy.
    pub(crate) fn text(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join("policies").join(name)).unwrap();
        ["permits.cedar", "gate.cedar", "guardrails.cedar"].map(read).join("\n")
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text().len()
    }
}

/// The agent that asks, by mutual TLS.
pub(crate) fn caller(config: &Config) -> Caller {
    let svid = Svid {
        spiffe_id: "spiffe://acme.test/agent/0".to_owned(),
        trust_domain: "acme.test".to_owned(),
        not_before: Wall(0),
        not_after: Wall(4_000_000_000_000),
        thumbprint: "x".repeat(43),
    };
    let peer = Peer::Mtls { svid, ip: [127, 0, 0, 1].into() };
    Caller::attest(&peer, &config.estate.registry, Wall(1_795_300_000_000)).unwrap()
}

fn sample(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)).unwrap()
}

fn agents(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        write!(
            text,
            "[[agent]]\nid = \"agent-{number}\"\nspiffe_id = \"spiffe://acme.test/agent/{number}\"\n\
             owner = \"team-{number}\"\nenvironment = \"prod\"\ntrust = 3\n"
        )
        .unwrap();
    }
    text
}

const MAIN: &str = r#"
environment = "prod"

[listen.unix]
path = "@FOLDER@/run/agent.sock"
mode = "0600"

[audit]
directory = "audit"

[policy]
directory = "policies"

[registry]
agents = "agents.toml"
apis = "apis.toml"

[[issuer]]
alias = "corp"
issuer = "https://as.acme.test"
ca = "ca.pem"

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
