use crate::{
    client_keys::{open, pair, plan_with},
    house::{House, fact, reason, redeem, scripted_as::assertions::Registered, write},
    kit::READ,
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::Code;

const WORKLOAD: &str = "spiffe://acme.test/narrowgate";

fn svid(key: &EcdsaKeyPair, audience: &Value, seconds: i64) -> String {
    #[expect(clippy::disallowed_methods, reason = "whoever issues SVIDs has a clock of its own")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() as i64;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({ "sub": WORKLOAD, "aud": audience, "exp": now + seconds, "iat": now });
    let signed = format!("{}.{}", part(json!({ "alg": "ES256", "kid": "spire" })), part(claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}\n", URL_SAFE_NO_PAD.encode(signature))
}

fn sent(house: &House) -> Vec<String> {
    let requests = house.server.token_requests();
    requests.iter().map(|request| request.param("client_assertion").unwrap().to_owned()).collect()
}

// rows: PKJ-01 PKJ-05 (a JWT-SVID)
#[tokio::test]
async fn the_file_is_read_for_each_request_and_judged_before_the_code_is_spent() {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let mut public = pair("ES256").public;
    public.public = key.public_key().as_ref().to_vec();
    let plan = plan_with("auth = \"spiffe_jwt\"\njwt_svid = \"svid.jwt\"");
    let house = open(plan, &[("svid.jwt", "soon")], Registered::SpiffeJwt(public, WORKLOAD.to_owned())).await;
    let mut agent = house.agent().await;
    let renew = |text: &str| {
        // As helpers of the Workload API do: another file takes its place.
        write(&house.path("svid.new"), text);
        std::fs::rename(house.path("svid.new"), house.path("svid.jwt")).unwrap();
    };
    let issuer = json!(house.server.issuer());
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let unusable = [
        ("soon".to_owned(), "format"),
        (svid(&key, &issuer, -10), "exp"),
        (svid(&key, &json!([issuer, "https://other.example"]), 300), "aud"),
        (svid(&key, &json!("https://other.example"), 300), "aud"),
    ];
    for (text, rule) in unusable {
        renew(&text);
        let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Unavailable, "CLIENT_CREDENTIAL_UNUSABLE"),
            "{rule}"
        );
        assert_eq!(fact(&status, "rule").as_deref(), Some(rule));
    }
    std::fs::remove_file(house.path("svid.jwt")).unwrap();
    assert_eq!(reason(&redeem(&mut agent, &transaction, &callback).await.err().unwrap()), "CLIENT_CREDENTIAL_UNUSABLE");
    assert_eq!(house.server.token_posts(), 0);
    // Nothing was sent, so the same code is still good once there is an SVID.
    let first = svid(&key, &json!([issuer]), 300);
    renew(&first);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    let second = svid(&key, &issuer, 200);
    renew(&second);
    house.login(&mut agent, &[READ]).await.unwrap();
    assert_eq!(sent(&house), [first.trim(), second.trim()]);
    for request in house.server.token_requests() {
        let kind = request.param("client_assertion_type");
        assert_eq!(kind, Some("urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"));
        assert_eq!((request.client_refused, request.client_certificate_der), (None, None));
    }
}
