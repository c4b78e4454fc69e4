//! A configuration on disk with agents, APIs and policies, and the commands that look at it. No daemon runs.

use narrowgate::dev::ca::{Ca, San};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

const CONFIG: &str = r#"
environment = "prod"

[listen.unix]
path = "@FOLDER@/run/agent.sock"

[listen.tcp]
address = "127.0.0.1:0"
certificate = "daemon.pem"
key = "daemon.key"
trust_bundle = "ca.pem"
trust_domain = "acme.test"

[audit]
directory = "audit"

[policy]
directory = "policies"

[registry]
agents = "agents.toml"
apis = "apis.toml"

[[issuer]]
alias = "corp"
issuer = "https://as.example.test"
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
client_credentials = true
"#;

/// The folder of a configuration.
pub(crate) struct OnDisk(TempDir);

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl OnDisk {
    /// With the sample policies, agents and APIs.
    pub(crate) fn sample() -> Self {
        let it = Self(tempfile::Builder::new().prefix("narrowgate-").tempdir().unwrap());
        fs::set_permissions(it.0.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(it.path("policies")).unwrap();
        let ca = Ca::new("sample").unwrap();
        it.write("ca.pem", ca.certificate_pem());
        let client = ca.client("narrowgate", &[San::Uri("spiffe://acme.test/narrowgate")]).unwrap();
        for (name, pair) in [("daemon", ca.server(&[San::Dns("localhost")]).unwrap()), ("client", client)] {
            it.write(&format!("{name}.pem"), &pair.certificate_pem);
            it.write(&format!("{name}.key"), &pair.key_pem);
        }
        it.write("narrowgate.toml", &CONFIG.replace("@FOLDER@", &it.0.path().display().to_string()));
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        for name in ["agents.toml", "apis.toml"] {
            it.write(name, &fs::read_to_string(sample.join(name)).unwrap());
        }
        for name in ["guardrails", "flows", "grants"].map(|name| format!("{name}.cedar")) {
            it.write(&format!("policies/{name}"), &fs::read_to_string(sample.join("base").join(&name)).unwrap());
        }
        it
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Replaces a piece of a file, which must be there.
    pub(crate) fn change(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replace(from, to));
    }

    /// `narrowgate policy COMMAND --config ...`.
    pub(crate) fn policy(&self, command: &str, arguments: &[&str]) -> Said {
        let config = self.path("narrowgate.toml").display().to_string();
        policy(&[&[command, "--config", &config], arguments].concat())
    }

    /// The same as JSON.
    pub(crate) fn json(&self, command: &str, arguments: &[&str]) -> (i32, Value) {
        self.policy(command, &[&["--output", "json"], arguments].concat()).json()
    }
}

impl Said {
    pub(crate) fn json(&self) -> (i32, Value) {
        (self.code, serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err)))
    }

    /// What is on both streams, once no line of it is too long for a terminal of a hundred columns.
    pub(crate) fn text(&self) -> String {
        for line in self.out.lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
        format!("{}{}", self.out, self.err)
    }
}

/// `narrowgate policy ...`.
pub(crate) fn policy(arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_narrowgate")).arg("policy").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Cedar's own samples, where `tests/run` has brought them.
pub(crate) fn cedar_samples() -> Option<PathBuf> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-env/cedar/sample-data");
    if !samples.is_dir() {
        eprintln!("SKIPPED: Cedar's own samples are not here; tests/run brings them");
        return None;
    }
    Some(samples)
}
