//! The samples that people copy: they load, their policies validate, their cases pass.

use narrowgate::{
    config,
    dev::ca::{Ca, Identity, San},
    policy,
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

#[test]
fn the_annotated_configuration_loads_with_the_sample_policies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let (deploy, policies) = (folder.path().join("deploy"), folder.path().join("policies"));
    fs::create_dir_all(deploy.join("tls")).unwrap();
    fs::create_dir(&policies).unwrap();
    fs::copy(root.join("deploy/narrowgate.toml"), deploy.join("narrowgate.toml")).unwrap();
    for entry in fs::read_dir(root.join("policies")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, policies.join(path.file_name().unwrap())).unwrap();
    }
    let ca = Ca::new("sample").unwrap();
    let write = |name: &str, text: &str| {
        let path = deploy.join("tls").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let pair = |name: &str, identity: Identity| {
        write(&format!("{name}.pem"), &identity.certificate_pem);
        write(&format!("{name}.key"), &identity.key_pem);
    };
    write("as-ca.pem", ca.certificate_pem());
    write("agents-ca.pem", ca.certificate_pem());
    pair("daemon", ca.server(&[San::Dns("narrowgate.internal")]).unwrap());
    pair("client", ca.client("narrowgate", &[San::Uri("spiffe://acme.test/narrowgate")]).unwrap());

    let config = config::load(&deploy.join("narrowgate.toml")).map_err(shown).unwrap();
    let snapshot = policy::load(&config, 1, None).map_err(shown).unwrap();
    let tally = policy::cases::run(&config, &snapshot);
    assert!(tally.findings.is_empty(), "{}", shown(tally.findings));
    assert!(tally.passed >= 50, "only {} cases", tally.passed);
}

fn shown(findings: Vec<config::Finding>) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
