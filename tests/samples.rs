//! The samples that people copy: they load, their policies validate, their cases pass.
#![expect(clippy::unwrap_used, reason = "tests")]

use base64::{Engine, engine::general_purpose::STANDARD};
use narrowgate::{
    config::{self, Config},
    dev::ca::{Ca, Identity, San},
    policy,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A copy of `deploy/` and `policies/` with certificates where the configuration names some.
struct Deployment {
    folder: TempDir,
}

impl Deployment {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let deployment = Self { folder: tempfile::tempdir().unwrap() };
        let policies = deployment.folder.path().join("policies");
        fs::create_dir_all(deployment.path("tls")).unwrap();
        fs::create_dir_all(policies.join("base")).unwrap();
        fs::copy(root.join("deploy/narrowgate.toml"), deployment.path("narrowgate.toml")).unwrap();
        for name in ["agents.toml", "apis.toml"] {
            fs::copy(root.join("policies").join(name), policies.join(name)).unwrap();
        }
        for entry in fs::read_dir(root.join("policies/base")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, policies.join("base").join(path.file_name().unwrap())).unwrap();
        }
        let ca = Ca::new("sample").unwrap();
        for name in ["as-ca.pem", "agents-ca.pem", "public-roots.pem"] {
            deployment.write(name, ca.certificate_pem());
        }
        deployment.pair("daemon", &ca.server(&[San::Dns("narrowgate.internal")]).unwrap());
        let client = ca.client("narrowgate", &[San::Uri("spiffe://acme.test/narrowgate")]).unwrap();
        deployment.pair("client", &client);
        deployment.write("assertion.key", &rcgen::KeyPair::generate().unwrap().serialize_pem());
        deployment.write("google.secret", "canary-secret\n");
        let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let entra = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&rsa).unwrap();
        deployment.write("entra.key", &rsa.serialize_pem());
        deployment.write("entra.pem", &entra.pem());
        deployment.write("actor.key", &client.key_pem);
        let published = STANDARD.encode(&client.certificate_der);
        deployment.write("client.jwks.json", &format!(r#"{{"keys":[{{"kty":"EC","x5c":["{published}"]}}]}}"#));
        deployment
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("deploy").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path("tls").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn pair(&self, name: &str, identity: &Identity) {
        self.write(&format!("{name}.pem"), &identity.certificate_pem);
        self.write(&format!("{name}.key"), &identity.key_pem);
    }

    fn load(&self) -> Result<Config, String> {
        config::load(&self.path("narrowgate.toml")).map_err(shown)
    }
}

#[test]
fn the_annotated_configuration_loads_with_the_sample_policies() {
    let deployment = Deployment::new();
    let config = deployment.load().unwrap();
    let sources = policy::Sources::read(&config).map_err(shown).unwrap();
    let prepared = policy::prepare(&config, &sources, 1, None).map_err(shown).unwrap();
    assert!(prepared.cases_passed >= 50, "only {} cases", prepared.cases_passed);
}

/// The `toml` blocks of the page about issuers, each with the heading it stands under.
fn blocks(page: &str) -> Vec<(String, String)> {
    let (mut heading, mut block, mut found) = (String::new(), None, Vec::new());
    for line in page.lines() {
        match (&mut block, line) {
            (None, "```toml") => block = Some(String::new()),
            (Some(text), "```") => {
                found.push((heading.clone(), std::mem::take(text)));
                block = None;
            }
            (Some(text), line) => *text += &format!("{line}\n"),
            (None, line) => {
                if let Some(title) = line.strip_prefix("## ") {
                    heading = title.to_owned();
                }
            }
        }
    }
    assert!(block.is_none(), "a block does not end");
    found
}

// rows: DEC-18 DEC-20
#[test]
fn every_issuer_of_the_page_loads() {
    let page = include_str!("../deploy/issuers.md");
    let blocks = blocks(page);
    let headings: Vec<&str> = blocks.iter().map(|(heading, _)| heading.as_str()).collect();
    assert_eq!(headings, ["Keycloak", "Auth0", "Okta", "Microsoft Entra ID", "Google"]);
    let annotated = include_str!("../deploy/narrowgate.toml");
    let whole: String = blocks.iter().map(|(_, block)| block.as_str()).collect();
    for (heading, block) in blocks.iter().chain([&("all together".to_owned(), whole)]) {
        let deployment = Deployment::new();
        fs::write(deployment.path("narrowgate.toml"), format!("{annotated}\n{block}")).unwrap();
        let config = deployment.load().unwrap_or_else(|wrong| panic!("{heading}: {wrong}"));
        let more = block.matches("[[issuer]]").count();
        assert_eq!(config.issuers.len(), 2 + more, "{heading}");
    }
    // The page and the annotated configuration name every switch there is: an unknown key lists them all.
    let deployment = Deployment::new();
    let wrong = annotated.replace("[issuer.accept]\n", "[issuer.accept]\nqqqqqqqqqqqqqqqqqqqq = true\n");
    fs::write(deployment.path("narrowgate.toml"), wrong).unwrap();
    let told = deployment.load().unwrap_err();
    let known = told.split("known keys: ").nth(1).unwrap().lines().next().unwrap();
    let switches: Vec<&str> = known.split(", ").collect();
    assert_eq!(switches.len(), 6, "{known}");
    for switch in switches {
        assert!(page.contains(&format!("| `{switch} =")), "the page does not name {switch}");
        assert!(annotated.contains(&format!("\n{switch} = ")), "the annotated configuration does not name {switch}");
    }
}

fn shown(findings: Vec<config::Finding>) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
