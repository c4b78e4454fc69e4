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
    process::Command,
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
        fs::create_dir_all(deployment.path("tls")).unwrap();
        fs::create_dir(deployment.folder.path().join("policies")).unwrap();
        fs::copy(root.join("deploy/narrowgate.toml"), deployment.path("narrowgate.toml")).unwrap();
        deployment.base_set();
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

    /// The sample set, and nothing else.
    fn base_set(&self) {
        let policies = self.folder.path().join("policies");
        fs::remove_dir_all(&policies).unwrap();
        fs::create_dir_all(policies.join("base")).unwrap();
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        for name in ["agents.toml", "apis.toml"] {
            fs::copy(samples.join(name), policies.join(name)).unwrap();
        }
        for entry in fs::read_dir(samples.join("base")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, policies.join("base").join(path.file_name().unwrap())).unwrap();
        }
    }

    /// Copies a topic of the library beside the base set, as its first lines say.
    fn take(&self, topic: &str) {
        let policies = self.folder.path().join("policies");
        for kind in ["cedar", "cases.toml"] {
            let name = format!("{topic}.{kind}");
            fs::copy(library().join(&name), policies.join("base").join(name)).unwrap();
        }
        if let Ok(more) = fs::read_to_string(library().join(format!("{topic}.apis.toml"))) {
            let apis = policies.join("apis.toml");
            fs::write(&apis, fs::read_to_string(&apis).unwrap() + &more).unwrap();
        }
    }

    /// What `narrowgate check` says of it.
    fn check(&self) -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_narrowgate"));
        command.args(["check", "--output", "json", "--config"]).arg(self.path("narrowgate.toml"));
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
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

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/library")
}

/// The topics of the library.
fn topics() -> Vec<String> {
    let names = fs::read_dir(library()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut topics: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(".cedar")?.to_owned())).collect();
    topics.sort();
    topics
}

#[test]
fn each_topic_of_the_library_loads_with_the_base_set_and_so_do_all_together() {
    let all = topics();
    assert!(all.len() >= 12, "{all:?}");
    let deployment = Deployment::new();
    let base = deployment.check()["cases_passed"].as_u64().unwrap();
    // A topic each, and all of them.
    for chosen in all.iter().map(std::slice::from_ref).chain([all.as_slice()]) {
        deployment.base_set();
        chosen.iter().for_each(|topic| deployment.take(topic));
        let said = deployment.check();
        let cases = |topic: &String| {
            let text = fs::read_to_string(library().join(format!("{topic}.cases.toml"))).unwrap();
            text.matches("[[case]]").count() as u64
        };
        assert_eq!(said["cases_passed"], base + chosen.iter().map(cases).sum::<u64>(), "{chosen:?}: {said:#}");
        assert_eq!(said["uncacheable"], serde_json::json!([]), "{chosen:?}");
    }
    // Every policy of them all is seen to hold, and every condition to be true and to be false.
    let mut command = Command::new(env!("CARGO_BIN_EXE_narrowgate"));
    command.args(["policy", "test", "--coverage", "--min-coverage", "100", "--config"]);
    let output = command.arg(deployment.path("narrowgate.toml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_cases_of_each_topic_notice_that_its_policies_are_gone() {
    let deployment = Deployment::new();
    for topic in topics() {
        deployment.take(&topic);
        fs::remove_file(deployment.folder.path().join(format!("policies/base/{topic}.cedar"))).unwrap();
    }
    let said = deployment.check().to_string();
    for topic in topics() {
        assert!(said.contains(&format!("{topic}.cases.toml")), "{topic}: {said}");
    }
}

#[test]
fn each_topic_says_when_to_use_it_and_has_a_case_for_each_policy() {
    let list = include_str!("../policies/library/README.md");
    for topic in topics() {
        let read = |kind: &str| fs::read_to_string(library().join(format!("{topic}.{kind}"))).unwrap();
        let (policies, cases) = (read("cedar"), read("cases.toml"));
        assert!(
            policies.starts_with("// ") && policies.contains("\n// Use it "),
            "{topic} does not say when to use it"
        );
        assert!(list.contains(&format!("| [{topic}]({topic}.cedar) |")), "the list does not name {topic}");
        for expect in ["allow", "deny"] {
            assert!(cases.contains(&format!("expect = \"{expect}\"")), "{topic} has no case to {expect}");
        }
        for policy in policies.split("@id(\"").skip(1) {
            let id = policy.split('"').next().unwrap();
            let named = cases.lines().any(|line| line.starts_with("reasons") && line.contains(&format!("\"{id}\"")));
            assert!(named, "no case of {topic} names {id}");
        }
    }
}

/// The blocks of a page in this language.
fn blocks_in<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let parts = page.split("```").skip(1).step_by(2);
    parts.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn the_policies_on_the_page_load_and_the_first_hour_ends_as_it_says() {
    let page = include_str!("../policies/README.md");
    let policies = blocks_in(page, "cedar");
    assert!(policies.len() >= 3, "{policies:?}");
    let deployment = Deployment::new();
    let base = deployment.folder.path().join("policies/base");
    for (nth, text) in policies.iter().enumerate() {
        fs::write(base.join(format!("page-{nth}.cedar")), text.replace("@id(\"", "@id(\"page.")).unwrap();
    }
    // Their cases aside, which are the base set's and want other answers.
    let config = deployment.load().unwrap();
    policy::load(&config, 1, None).map_err(shown).unwrap();
    // The rule of the first hour beside the base set: two of its cases said otherwise, and the one on the page holds.
    deployment.base_set();
    fs::write(base.join("mail.cedar"), policies[0]).unwrap();
    fs::write(base.join("mail.cases.toml"), blocks_in(page, "toml")[0]).unwrap();
    let said = deployment.check();
    let findings = said["findings"].as_array().unwrap();
    let failed: Vec<&str> = findings.iter().map(|finding| finding["file"].as_str().unwrap()).collect();
    assert!(failed.len() == 2 && failed.iter().all(|file| file.ends_with("base/grants.cases.toml")), "{said:#}");
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
