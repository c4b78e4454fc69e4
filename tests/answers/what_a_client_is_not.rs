use crate::house::{House, Plan, write};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use std::fs;

/// Fails unless `check` refuses the configuration and says all of this.
fn assert_refused(house: &House, says: &[&str]) {
    for command in ["check", "serve"] {
        let output = house.command(command).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{says:?}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(says.iter().all(|word| told.contains(word)), "{says:?} in {told}");
    }
    assert!(!house.path("run/agent.sock").exists());
}

fn assert_fine(house: &House) {
    let output = house.command("check").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

// rows: CODE-12
#[test]
fn the_password_and_implicit_grants_cannot_be_configured() {
    let lines = [
        "grants = [\"password\"]",
        "grants = [\"authorization_code\", \"password\"]",
        "grant_types = [\"implicit\"]",
        "grant_type = \"password\"",
        "response_type = \"token\"",
        "response_types = [\"code id_token\"]",
    ];
    for line in lines {
        let key = line.split(' ').next().unwrap();
        let house = Plan::new().config("owner = \"sales\"", &format!("owner = \"sales\"\n{line}")).build();
        assert_refused(&house, &[&format!("`client.{key}` cannot be chosen"), "RFC 9700 \u{a7}2.1.2, \u{a7}2.4"]);
    }
    for line in ["client_secret = \"canary-secret\"", "username = \"u\"", "password = \"canary-secret\""] {
        let house = Plan::new().config("owner = \"sales\"", &format!("owner = \"sales\"\n{line}")).build();
        assert_refused(&house, &["is a shared secret", "deploy/issuers.md"]);
        let output = house.command("check").output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stderr).contains("canary"), "a secret is in the message");
    }
}

// rows: MTLS-03 MTLS-02
#[test]
fn a_subject_is_compared_as_a_distinguished_name() {
    let with = |dn: &str| {
        let subject = "subject = { san_uri = \"spiffe://acme.test/narrowgate\" }\n";
        Plan::new().config(subject, &format!("subject = {{ dn = {dn:?} }}\n")).build()
    };
    for same in ["CN=narrowgate", "cn=NarrowGate", " CN = narrowgate ", "2.5.4.3=narrowgate", "CN=narrow\\67ate"] {
        assert_fine(&with(same));
    }
    for other in ["CN=narrow gate", "O=narrowgate", "CN=narrowgate,O=Acme", "O=Acme,CN=narrowgate", "CN=narrowgate+O=A"]
    {
        assert_refused(
            &with(other),
            &["CLIENT_CERT_SUBJECT_MISMATCH", "the certificate's subject is \"CN=narrowgate\""],
        );
    }
    for none in ["narrowgate", "CN=", "/CN=narrowgate", "CN=\"narrowgate\""] {
        assert_refused(&with(none), &["is not a distinguished name (RFC 4514)"]);
    }
}

/// The key set that holds these certificates, PEM.
fn jwks(certificates: &[&str]) -> String {
    let key = |pem: &&str| {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "x5c": [STANDARD.encode(&der)] })
    };
    json!({ "keys": certificates.iter().map(key).collect::<Vec<_>>() }).to_string()
}

// rows: MTLS-04
#[test]
fn a_self_signed_certificate_is_published_before_it_is_used() {
    let method = "auth = \"self_signed_tls_client_auth\"";
    let subject = "subject = { san_uri = \"spiffe://acme.test/narrowgate\" }\n";
    let plan = || Plan::new().config(subject, "").config("auth = \"tls_client_auth\"", method);
    assert_refused(&plan().build(), &["needs `published_jwks`"]);

    let house = plan().config(method, &format!("{method}\npublished_jwks = \"client.jwks.json\"")).build();
    assert_refused(&house, &["`client.published_jwks`", "cannot be read"]);
    let jwks_file = house.path("client.jwks.json");
    for broken in ["", "[]", "{}", "{\"keys\":{}}", "not json"] {
        write(&jwks_file, broken);
        assert_refused(&house, &["is not a JSON Web Key Set"]);
    }
    let in_use = fs::read_to_string(house.path("client.pem")).unwrap();
    let (old_key, next) =
        (fs::read_to_string(house.path("client.key")).unwrap(), house.clients_ca.client("ng", &[]).unwrap());
    for absent in
        [jwks(&[]), jwks(&[&next.certificate_pem]), "{\"keys\":[{\"kty\":\"EC\",\"x5c\":[\"AAAA\"]},{}]}".to_owned()]
    {
        write(&jwks_file, &absent);
        assert_refused(&house, &["CERT_NOT_PUBLISHED", "publish the set"]);
    }
    write(&jwks_file, &jwks(&[&in_use]));
    assert_fine(&house);
    // Rotation: the next certificate is refused until it is published beside the one in use; then either will do.
    let activate = |certificate: &str, key: &str| {
        write(&house.path("client.pem"), certificate);
        write(&house.path("client.key"), key);
    };
    activate(&next.certificate_pem, &next.key_pem);
    assert_refused(&house, &["CERT_NOT_PUBLISHED"]);
    write(&jwks_file, &jwks(&[&in_use, &next.certificate_pem]));
    assert_fine(&house);
    activate(&in_use, &old_key);
    assert_fine(&house);
    write(&jwks_file, &jwks(&[&next.certificate_pem]));
    assert_refused(&house, &["CERT_NOT_PUBLISHED"]);
    // It belongs to this method alone.
    let house = Plan::new().config("owner =", "published_jwks = \"client.jwks.json\"\nowner =").build();
    assert_refused(&house, &["belongs to self_signed_tls_client_auth"]);
}

/// A second issuer and its client, and what the first issuer is told of `iss`.
fn two_issuers(first_iss: bool, second_iss: bool, redirect: &str) -> House {
    let endpoints = |host: &str, iss: bool| {
        format!(
            "[issuer.endpoints]\nauthorization = \"https://{host}/a\"\ntoken = \"https://{host}/t\"\niss_parameter = {iss}\n"
        )
    };
    let head = "deadline = \"5s\"\n";
    let second = format!(
        "[[issuer]]\nalias = \"other\"\nissuer = \"https://other.example\"\nca = \"server-ca.pem\"\n{}\n\
         [[client]]\nalias = \"other-crm\"\nissuer = \"other\"\nclient_id = \"ng\"\nauth = \"tls_client_auth\"\n\
         subject = {{ san_uri = \"spiffe://acme.test/narrowgate\" }}\ncertificate = \"client.pem\"\n\
         key = \"client.key\"\nredirect_uris = [\"{redirect}\"]\nowner = \"sales\"\n\n[[client]]\nalias = \"sales-crm\"",
        endpoints("other.example", second_iss)
    );
    Plan::new()
        .config(head, &format!("{head}{}", endpoints("as.example", first_iss)))
        .config("[[client]]\nalias = \"sales-crm\"", &second)
        .build()
}

// rows: ISS-05 RURI-05
#[test]
fn two_issuers_without_iss_have_a_redirect_uri_each() {
    let shared = ["http://127.0.0.1/callback", "http://127.0.0.1:50123/callback"];
    for redirect in shared {
        // One that is silent is enough: its answer could be taken for the other's.
        for (first, second) in [(false, false), (false, true), (true, false)] {
            let silent = if first { "other" } else { "corp" };
            let says = format!("issuer `{silent}` sends no iss");
            assert_refused(
                &two_issuers(first, second, redirect),
                &["`sales-crm`", "`other-crm`", "share a redirect URI", &says, "RFC 9700 \u{a7}4.4.2.2"],
            );
        }
        // Both say who they are: then they may share.
        assert_fine(&two_issuers(true, true, redirect));
    }
    for own in ["http://127.0.0.1/other", "http://[::1]/callback", "https://app.example/callback"] {
        assert_fine(&two_issuers(false, false, own));
    }
}
