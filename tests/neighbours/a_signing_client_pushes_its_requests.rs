use crate::{
    house::{Plan, get, reason, redeem_request, write},
    oidc_house::{CRM, OidcHouse, Provider, claims, parameter},
};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use narrowgate::api::proto::{RevocationOutcome, RevokeGrantRequest};
use serde_json::{Value, json};
use url::Url;

/// A private key, PKCS#8 PEM, and its public half as a JWK.
fn key(alg: &str) -> (String, Value) {
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (der, jwk) = match alg {
        "ES256" => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            let point = pair.public_key().as_ref();
            let jwk = json!({ "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..65]) });
            (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), jwk)
        }
        "EdDSA" => {
            let pair = Ed25519KeyPair::generate().unwrap();
            let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref()) });
            (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), jwk)
        }
        _ => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            // RFC 8017 A.1.1: SEQUENCE { INTEGER n (257 octets, the first zero), INTEGER e (3 octets) }.
            let public = pair.public_key().as_ref();
            let jwk = json!({ "kty": "RSA", "n": b64(&public[9..265]), "e": b64(&public[267..270]) });
            (AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec(), jwk)
        }
    };
    let text = STANDARD.encode(der);
    (format!("-----BEGIN {0}-----\n{text}\n-----END {0}-----\n", concat!("PRIVATE", " KEY")), jwk)
}

fn plan() -> Plan {
    let certificate = "auth = \"tls_client_auth\"\nsubject = { san_uri = \"spiffe://acme.test/narrowgate\" }\n\
                       certificate = \"client.pem\"\nkey = \"client.key\"\n";
    Plan::new().config(certificate, "auth = \"private_key_jwt\"\nassertion_key = \"assertion.key\"\n")
}

/// The provider judges every assertion and every pushed request, and refuses this client any request that is not pushed.
// rows: PKJ-01 PKJ-02 PKJ-04 PAR-01 PAR-02
#[tokio::test]
async fn a_certified_provider_takes_assertions_and_pushed_requests() {
    for alg in ["ES256", "PS256", "EdDSA"] {
        let (pem, jwk) = key(alg);
        let provider = Provider { signs: Some((jwk, alg)), ..Provider::default() };
        let built = OidcHouse::build(plan(), &provider);
        write(&built.path("assertion.key"), &pem);
        let oidc = built.serve().await;
        let mut agent = oidc.house.agent().await;
        let begun = oidc.house.begin(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
        let url = Url::parse(&begun.authorization_url).unwrap();
        let names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["client_id", "request_uri"], "{alg}");
        let callback = oidc.browse(&begun.authorization_url).await;
        assert_eq!(parameter(&callback, "iss"), oidc.issuer);
        let request = redeem_request(&begun.transaction, &callback);
        let redeemed = agent.redeem_code(request).await.unwrap().into_inner();
        let token = redeemed.token.unwrap();
        let inside = claims(&token.access_token);
        assert_eq!((&inside["aud"], &inside["client_id"]), (&CRM.into(), &"narrowgate-sales".into()));
        get(&mut agent, &redeemed.grant).await.unwrap();
        let end = RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() };
        let ended = agent.revoke_grant(end).await.unwrap().into_inner();
        assert_eq!(ended.refresh_token().as_str_name(), RevocationOutcome::Revoked.as_str_name());
        let counts = oidc.counts();
        assert_eq!((counts.pushed, counts.token, counts.revocation), (1, 1, 2), "{alg}");
        oidc.assert_discreet(&[&token.access_token, &parameter(&callback, "code")]);
    }
}

// rows: PKJ-04
#[tokio::test]
async fn a_key_that_the_provider_does_not_know_is_refused_before_the_person_is_asked() {
    let (_, registered) = key("ES256");
    let (other, _) = key("ES256");
    let provider = Provider { signs: Some((registered, "ES256")), ..Provider::default() };
    let built = OidcHouse::build(plan(), &provider);
    write(&built.path("assertion.key"), &other);
    let oidc = built.serve().await;
    let mut agent = oidc.house.agent().await;
    let status = oidc.house.begin(&mut agent, &["customers.read"]).await.err().unwrap();
    assert_eq!(reason(&status), "AS_CLIENT_AUTH_FAILED");
    let counts = oidc.counts();
    assert_eq!((counts.pushed, counts.token), (1, 0));
}

/// The provider takes no request of this client that is not signed, by the browser or pushed.
// rows: PAR-05 PAR-02
#[tokio::test]
async fn a_certified_provider_takes_signed_requests() {
    for (alg, pushes) in [("ES256", true), ("ES256", false), ("PS256", false), ("EdDSA", true)] {
        let (pem, jwk) = key(alg);
        let provider = Provider { signs: Some((jwk, alg)), signs_requests: Some(pushes), ..Provider::default() };
        let signing = format!("assertion_key = \"assertion.key\"\nrequest_object_signing_alg = \"{alg}\"");
        let par = if pushes { "required" } else { "off" };
        let plan = plan().config("assertion_key = \"assertion.key\"", &signing);
        let plan = plan.config("deadline = \"5s\"", &format!("deadline = \"5s\"\npar = \"{par}\""));
        let built = OidcHouse::build(plan, &provider);
        write(&built.path("assertion.key"), &pem);
        let oidc = built.serve().await;
        let mut agent = oidc.house.agent().await;
        let begun = oidc.house.begin(&mut agent, &["customers.read"]).await.unwrap();
        let url = Url::parse(&begun.authorization_url).unwrap();
        let names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["client_id", if pushes { "request_uri" } else { "request" }], "{alg}");
        let callback = oidc.browse(&begun.authorization_url).await;
        let redeemed = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
        let token = redeemed.token.unwrap();
        assert_eq!(token.scopes, ["customers.read"]);
        assert_eq!(oidc.counts().pushed, u64::from(pushes), "{alg}");
        oidc.assert_discreet(&[&token.access_token, &parameter(&callback, "code")]);
    }
}
