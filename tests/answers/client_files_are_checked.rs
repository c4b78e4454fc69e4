use crate::house::{House, Plan, write};
use narrowgate::dev::ca::San;
use std::{fs, os::unix::fs::PermissionsExt, process::Output};

const SUBJECT: &str = "subject = { san_uri = \"spiffe://acme.test/narrowgate\" }\n";

fn check(house: &House) -> Output {
    house.command("check").output().unwrap()
}

/// Fails unless both `check` and `serve` refuse the configuration and say this.
fn assert_refused(house: &House, says: &str) {
    for command in ["check", "serve"] {
        let output = house.command(command).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{command}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(says), "{command} says {told}");
    }
    assert!(!house.path("run/agent.sock").exists());
}

// rows: MTLS-02
#[test]
fn exactly_one_subject_value_is_expected() {
    let wrong = [
        (
            "subject = { san_uri = \"spiffe://acme.test/narrowgate\", san_dns = \"narrowgate\" }\n",
            "exactly one subject value",
        ),
        ("subject = { dn = \"CN=narrowgate\", san_email = \"a@b\" }\n", "exactly one subject value"),
        ("subject = {}\n", "exactly one subject value"),
        ("", "needs `subject` with exactly one of"),
        ("subject = { san_uri = \"\" }\n", "is empty"),
        ("subject = { san_ip = \"here\" }\n", "is not an IP address"),
        ("subject = { san_uid = \"x\" }\n", "unknown key"),
        ("subject = \"CN=narrowgate\"\n", "must be a table"),
    ];
    for (subject, says) in wrong {
        assert_refused(&Plan::new().config(SUBJECT, subject).build(), says);
    }
}

// rows: MTLS-02
#[test]
fn a_certificate_without_the_expected_value_is_refused() {
    let absent = [
        "san_uri = \"spiffe://acme.test/Narrowgate\"",
        "san_uri = \"spiffe://acme.test/narrowgate/\"",
        "san_uri = \"spiffe://acme.test/\"",
        "san_dns = \"narrowgate\"",
        "san_ip = \"127.0.0.1\"",
        "san_email = \"narrowgate@acme.test\"",
        "dn = \"CN=somebody\"",
    ];
    for value in absent {
        let house = Plan::new().config(SUBJECT, &format!("subject = {{ {value} }}\n")).build();
        assert_refused(&house, "CLIENT_CERT_SUBJECT_MISMATCH");
    }
}

// rows: MTLS-02
#[test]
fn each_kind_of_subject_value_is_found_where_it_is() {
    let here = [
        "san_dns = \"ng.acme.test\"",
        "san_ip = \"127.0.0.1\"",
        "san_uri = \"spiffe://acme.test/ng\"",
        "dn = \"CN=ng\"",
    ];
    for value in here {
        let house = Plan::new().config(SUBJECT, &format!("subject = {{ {value} }}\n")).build();
        let sans = [San::Dns("ng.acme.test"), San::Ip([127, 0, 0, 1].into()), San::Uri("spiffe://acme.test/ng")];
        let identity = house.clients_ca.client("ng", &sans).unwrap();
        write(&house.path("client.pem"), &identity.certificate_pem);
        write(&house.path("client.key"), &identity.key_pem);
        let output = check(&house);
        assert_eq!(output.status.code(), Some(0), "{value}: {output:?}");
    }
}

// rows: MTLS-02
#[test]
fn no_other_method_of_authentication_is_accepted() {
    for method in ["client_secret_jwt", "none", "TLS_CLIENT_AUTH", ""] {
        let plan = Plan::new().config("auth = \"tls_client_auth\"", &format!("auth = \"{method}\""));
        assert_refused(&plan.build(), "must be one of tls_client_auth, self_signed_tls_client_auth, private_key_jwt");
    }
}

// rows: MTLS-11
#[test]
fn a_key_that_others_may_read_is_refused() {
    let house = Plan::new().build();
    for (file, mode) in [("client.key", 0o644), ("client.key", 0o640), ("client.key", 0o604), ("daemon.key", 0o644)] {
        fs::set_permissions(house.path(file), fs::Permissions::from_mode(mode)).unwrap();
        assert_refused(&house, "run chmod 0600 on it");
        fs::set_permissions(house.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(house.path("client.key"), fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(check(&house).status.code(), Some(0));
}

// rows: MTLS-11
#[test]
fn a_key_of_another_user_is_refused() {
    let house = Plan::new().build();
    let key = house.path("client.key");
    if std::os::unix::fs::chown(&key, Some(12_345), None).is_err() {
        eprintln!("skipped: giving a file away needs root");
        return;
    }
    assert_refused(&house, "belongs to uid 12345");
}

// rows: MTLS-11
#[test]
fn a_key_that_is_none_or_another_certificates_is_refused() {
    let house = Plan::new().build();
    write(&house.path("client.key"), "not a key\n");
    assert_refused(&house, "holds no private key in PEM");
    let other = house.clients_ca.client("other", &[]).unwrap();
    write(&house.path("client.key"), &other.key_pem);
    assert_refused(&house, "does not belong to");
    fs::remove_file(house.path("client.key")).unwrap();
    fs::create_dir(house.path("client.key")).unwrap();
    assert_refused(&house, "is not a regular file");
}

// rows: MTLS-11
#[test]
fn key_material_has_no_field_in_the_protocol() {
    let proto = include_str!("../../proto/narrowgate/v1/token.proto");
    let fields: Vec<&str> = proto
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && line.contains(" = ") && line.contains(';'))
        .filter_map(|line| line.split(" = ").next()?.split_whitespace().last())
        .collect();
    assert!(fields.len() > 40, "the fields were not found: {fields:?}");
    for field in fields {
        for word in ["key", "pem", "certificate", "private", "verifier", "secret"] {
            // The one that a front end brings with the code of a request of its own; it is in no reply.
            assert!(field == "code_verifier" || !field.to_lowercase().contains(word), "{field}");
        }
    }
}
