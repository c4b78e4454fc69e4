use crate::{
    client_keys::{RSA_1024, open, pair, pem_of, plan_with, signing_plan},
    house::{
        House, Plan, eventually, get, reason,
        scripted_as::{
            assertions::Registered,
            behaviour::{Behaviour, Script},
        },
        write,
    },
    kit::READ,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::api::proto::{GetTokenRequest, RevokeGrantRequest};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

/// The requests so far that the server was POSTed, of every kind.
fn posted(house: &House) -> Vec<crate::house::scripted_as::record::TokenRequest> {
    [house.server.token_requests(), house.server.revocation_requests()].concat()
}

/// Header and claims of the assertion of a request.
fn assertion(request: &crate::house::scripted_as::record::TokenRequest) -> (Value, Value) {
    let parts: Vec<&str> = request.param("client_assertion").unwrap().split('.').collect();
    let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (json(parts[0]), json(parts[1]))
}

/// The warnings of two starts.
async fn told_twice(house: &House) -> Vec<Value> {
    let code = "client.authentication_weak";
    eventually(code, || Some(house.events(code)).filter(|told| told.len() >= 2)).await
}

fn signatures(house: &House) -> usize {
    house.log().matches("a client assertion was signed").count()
}

// rows: PKJ-01 PKJ-02 PKJ-03 PKJ-04 PKJ-05
#[tokio::test]
async fn every_request_has_an_assertion_of_its_own() {
    for alg in ["ES256", "EdDSA", "PS256"] {
        let key = pair(alg);
        let registered = Registered::PrivateKeyJwt(key.public.clone());
        let house = open(signing_plan(), &[("assertion.key", &key.pem)], registered).await;
        let mut agent = house.agent().await;
        let redeemed = house.login(&mut agent, &[READ, "customers.write"]).await.unwrap();
        // A refresh whose first attempt is not taken: the second is another request.
        let retry = vec![("Retry-After".to_owned(), "1".to_owned())];
        house.server.behave(Script::Token(Behaviour::Raw { status: 503, headers: retry, body: Vec::new() }));
        let (grant, scopes) = (redeemed.grant.clone(), vec![READ.to_owned()]);
        let narrow = agent.get_token(GetTokenRequest { grant, scopes, ..Default::default() }).await;
        if alg == "ES256" {
            // Left alone after a 503, or tried again: either way the next call gets its token.
            let again =
                GetTokenRequest { grant: redeemed.grant.clone(), scopes: vec![READ.to_owned()], ..Default::default() };
            let mut got = narrow;
            for _ in 0..100 {
                if got.is_ok() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                got = agent.get_token(again.clone()).await;
            }
            got.unwrap();
            assert_eq!(house.server.refreshes().len(), 2);
        }
        agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..Default::default() }).await.unwrap();
        let requests = posted(&house);
        assert!(requests.len() >= 4, "{alg}");
        let mut seen = BTreeSet::new();
        for request in &requests {
            assert_eq!(request.client_refused, None, "{alg}");
            assert_eq!(request.client_certificate_der, None);
            assert_eq!((request.header("authorization"), request.param("client_secret")), (None, None));
            let (header, claims) = assertion(request);
            assert_eq!(header, json!({ "alg": alg, "typ": "client-authentication+jwt" }));
            assert_eq!(claims["aud"], house.server.issuer());
            assert!(seen.insert(claims["jti"].as_str().unwrap().to_owned()), "a jti came twice");
            // A copy is of no use.
            assert_eq!(house.server.judge_again(request).as_deref(), Some("seen before"));
        }
        // Which the count of signatures is held to elsewhere, and the house's end to their absence from the log.
        eventually("as many signatures as requests", || (signatures(&house) == requests.len()).then_some(())).await;
    }
}

// rows: PKJ-06 PKJ-01
#[tokio::test]
async fn nothing_is_signed_for_a_server_that_claims_to_be_another() {
    let key = pair("ES256");
    let registered = Registered::PrivateKeyJwt(key.public.clone());
    let house = open(signing_plan(), &[("assertion.key", &key.pem)], registered).await;
    let claim = json!({ "issuer": "https://honest.example" });
    house.server.metadata_override(claim.as_object().unwrap().clone());
    let mut agent = house.agent().await;
    let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "METADATA_ISSUER_MISMATCH");
    assert_eq!((signatures(&house), posted(&house).len()), (0, 0));
    // The same server under its own name gets an assertion made out to that name, whatever else it says.
    let aud =
        json!({ "token_endpoint_auth_signing_alg_values_supported": ["none"], "audience": "https://honest.example" });
    house.server.metadata_override(aud.as_object().unwrap().clone());
    house.login(&mut agent, &[READ]).await.unwrap();
    assert_eq!((signatures(&house), posted(&house).len()), (1, 1));
    assert_eq!(assertion(&posted(&house)[0]).1["aud"], house.server.issuer());
}

// rows: PKJ-01 PKJ-03
#[tokio::test]
async fn an_old_audience_needs_its_switch_and_is_told_at_each_start() {
    let key = pair("ES256");
    let old = || Registered::LegacyJwt(key.public.clone());
    let strict = open(signing_plan(), &[("assertion.key", &key.pem)], old()).await;
    let mut agent = strict.agent().await;
    assert_eq!(reason(&strict.login(&mut agent, &[READ]).await.err().unwrap()), "AS_CLIENT_AUTH_FAILED");
    assert!(strict.events("client.authentication_weak").is_empty());

    let switches = "deadline = \"5s\"\nclient_assertion = { typ = \"JWT\", legacy_aud = true }\n";
    let plan = signing_plan().config("deadline = \"5s\"\n", switches);
    let mut house = open(plan, &[("assertion.key", &key.pem)], old()).await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    let aud = assertion(&posted(&house)[0]).1["aud"].clone();
    assert_eq!(aud, format!("{}/token", house.server.issuer()));
    house.stop().await;
    house.start();
    house.wait_until_serving().await;
    let told = told_twice(&house).await;
    assert_eq!(told.len(), 2);
    for event in told {
        assert_eq!((&event["severity"], &event["entity"]["name"]), (&json!("Medium"), &json!("sales-crm")));
        assert_eq!(event["unmapped"]["narrowgate"]["setting"], "legacy_aud");
    }
}

// rows: PKJ-04 (the switch for Entra)
#[tokio::test]
async fn rs256_with_x5t_needs_its_switch() {
    let mut key = pair("RS256");
    let signer = rcgen::KeyPair::from_pem(&key.pem).unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&signer).unwrap();
    key.public.certificate = Some(certificate.der().to_vec());
    let files = [("assertion.key", key.pem.as_str()), ("assertion.pem", &certificate.pem())];
    let with = "assertion_key = \"assertion.key\"";
    let plan = || signing_plan().config(with, &format!("{with}\nassertion_certificate = \"assertion.pem\""));
    let switches = "deadline = \"5s\"\nclient_assertion = { legacy_rs256 = true, legacy_aud = true }\n";
    let entra = plan().config("deadline = \"5s\"\n", switches);
    let house = open(entra, &files, Registered::LegacyJwt(key.public.clone())).await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    let (header, _) = assertion(&posted(&house)[0]);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("JWT")));

    let house = plan().build();
    files.iter().for_each(|(name, text)| write(&house.path(name), text));
    assert_refused(&house, &["`assertion_certificate` is of use only with legacy_rs256"]);
    let house = signing_plan().config("deadline = \"5s\"\n", switches).build();
    write(&house.path("assertion.key"), &pair("ES256").pem);
    assert_refused(&house, &["legacy_rs256 of its issuer needs an RSA key and `assertion_certificate`"]);
}

/// Fails unless `check` and `serve` refuse the configuration and say all of this.
fn assert_refused(house: &House, says: &[&str]) {
    for command in ["check", "serve"] {
        let output = house.command(command).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{says:?}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(says.iter().all(|word| told.contains(word)), "{says:?} in {told}");
    }
}

fn refused_with(auth: &str, files: &[(&str, &str)], says: &[&str]) {
    let house = plan_with(auth).build();
    files.iter().for_each(|(name, text)| write(&house.path(name), text));
    assert_refused(&house, says);
}

// rows: PKJ-04
#[test]
fn only_a_strong_key_signs_and_it_says_how() {
    let jwt = "auth = \"private_key_jwt\"\nassertion_key = \"assertion.key\"";
    let p256 = pair("ES256").pem;
    let good = [("assertion.key", p256.as_str())];
    for alg in ["HS256", "none", "RS256", "ES512", "es256"] {
        let auth = format!("{jwt}\nassertion_alg = \"{alg}\"");
        refused_with(&auth, &good, &["`client.assertion_alg` must be PS256, ES256 or EdDSA"]);
    }
    refused_with(&format!("{jwt}\nassertion_alg = \"PS256\""), &good, &["is PS256, but the key is for ES256"]);
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    for weak in [pem_of(RSA_1024), p384] {
        refused_with(jwt, &[("assertion.key", &weak)], &["`client.assertion_key`", "RSA of 2048 to 8192 bits"]);
    }
    refused_with(jwt, &[("assertion.key", "not a key")], &["holds no PKCS#8 key in PEM"]);
    refused_with(jwt, &[], &["`client.assertion_key`", "cannot be read"]);
    refused_with("auth = \"private_key_jwt\"", &[], &["private_key_jwt needs `assertion_key`"]);
    let house = plan_with(jwt).build();
    write(&house.path("assertion.key"), &p256);
    fs::set_permissions(house.path("assertion.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_refused(&house, &["has mode 0644; run chmod 0600 on it"]);
}

// rows: PKJ-07
#[test]
fn a_client_authenticates_in_one_way() {
    let certificate = "certificate = \"client.pem\"\nkey = \"client.key\"";
    let subject = "subject = { san_uri = \"spiffe://acme.test/narrowgate\" }";
    let key = pair("ES256").pem;
    let files = [("assertion.key", key.as_str()), ("secret", "canary-secret-0123456789")];
    let both = [
        ("tls_client_auth", format!("{subject}\nassertion_key = \"assertion.key\""), "`client.assertion_key`"),
        ("tls_client_auth", format!("{subject}\nclient_secret_file = \"secret\""), "`client.client_secret_file`"),
        ("tls_client_auth", format!("{subject}\njwt_svid = \"secret\""), "`client.jwt_svid`"),
        ("private_key_jwt", format!("{subject}\nassertion_key = \"assertion.key\""), "`client.subject`"),
        (
            "private_key_jwt",
            "assertion_key = \"assertion.key\"\nclient_secret_file = \"secret\"".to_owned(),
            "`client.client_secret_file`",
        ),
        (
            "client_secret_post",
            "assertion_key = \"assertion.key\"\nclient_secret_file = \"secret\"".to_owned(),
            "`client.assertion_key`",
        ),
    ];
    for (method, keys, says) in both {
        let auth = format!("auth = \"{method}\"\n{certificate}\n{keys}");
        refused_with(&auth, &files, &[says, "a client authenticates in one way (RFC 6749 \u{a7}2.3)"]);
    }
    for method in ["client_secret_jwt", "none", "bearer", ""] {
        refused_with(&format!("auth = \"{method}\""), &files, &["must be one of tls_client_auth, "]);
    }
    // A certificate may still be shown, for tokens to be bound to; without one none can be.
    let jwt = "auth = \"private_key_jwt\"\nassertion_key = \"assertion.key\"";
    refused_with(&format!("{jwt}\nbound_tokens = true"), &files, &["`client.bound_tokens` needs a certificate"]);
    let house = plan_with(&format!("{jwt}\n{certificate}\nbound_tokens = true")).build();
    files.iter().for_each(|(name, text)| write(&house.path(name), text));
    assert_eq!(house.command("check").output().unwrap().status.code(), Some(0));
}

// rows: PKJ-07
#[tokio::test]
async fn a_secret_is_off_unless_it_is_allowed_and_told_at_each_start() {
    const SECRET: &str = "canary-secret+with &=%: 0123456789";
    for method in ["client_secret_basic", "client_secret_post"] {
        let auth = format!("auth = \"{method}\"\nclient_secret_file = \"secret\"");
        refused_with(&auth, &[("secret", SECRET)], &["client `sales-crm`", "allow_client_secret = true"]);
        let allowed =
            |plan: Plan| plan.config("deadline = \"5s\"\n", "deadline = \"5s\"\nallow_client_secret = true\n");
        let registered = match method {
            "client_secret_basic" => Registered::SecretBasic(SECRET.to_owned()),
            _ => Registered::SecretPost(SECRET.to_owned()),
        };
        let mut house = open(allowed(plan_with(&auth)), &[("secret", &format!("{SECRET}\n"))], registered).await;
        let mut agent = house.agent().await;
        let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
        get(&mut agent, &redeemed.grant).await.unwrap();
        agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..Default::default() }).await.unwrap();
        let requests = posted(&house);
        assert_eq!(requests.len(), 3);
        for request in &requests {
            assert_eq!(request.client_refused, None);
            let both = request.header("authorization").is_some() && request.param("client_secret").is_some();
            assert!(!both && request.param("client_assertion").is_none() && request.client_certificate_der.is_none());
        }
        house.stop().await;
        house.start();
        house.wait_until_serving().await;
        let told = told_twice(&house).await;
        assert!(told.iter().all(|event| event["unmapped"]["narrowgate"]["method"] == method));
    }
    let house = plan_with("auth = \"client_secret_post\"\nclient_secret_file = \"secret\"").build();
    write(&house.path("secret"), SECRET);
    fs::set_permissions(house.path("secret"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_refused(&house, &["has mode 0640"]);
}
