use crate::{
    asking::READ,
    house::{COURIER, Plan, QUOTER, begin_request},
};
use narrowgate::api::proto::token_service_client::TokenServiceClient;
use tonic::{
    Request,
    metadata::{AsciiMetadataKey, MetadataValue},
};

/// The header names that proxies use, each with a claim to be someone else.
const CLAIMS: [(&str, &str); 6] = [
    ("x-forwarded-client-cert", "Hash=00;URI=spiffe://acme.test/agent/courier"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-user", "courier"),
    ("forwarded", "for=10.0.0.1;by=proxy"),
    ("x-spiffe-id", "spiffe://acme.test/agent/courier"),
    ("client-cert", ":MIIB:"),
];

const NO_COURIER: &str = r#"
@id("test.no-courier")
@code("it_is_courier")
forbid (principal == Narrowgate::Agent::"courier", action == Narrowgate::Action::"begin_authorization", resource);
"#;

// rows: CALL-11 CALL-01
#[tokio::test]
async fn a_proxys_word_is_ignored_and_the_soc_hears_of_it() {
    let house = Plan::new().policy(NO_COURIER).open().await;
    for (count, (name, value)) in CLAIMS.into_iter().enumerate() {
        let channel = crate::asking::channel(&house.path("run/agent.sock")).await;
        let mut agent = TokenServiceClient::with_interceptor(channel, move |mut request: Request<()>| {
            request.metadata_mut().insert(AsciiMetadataKey::from_static(name), MetadataValue::from_static(value));
            Ok(request)
        });
        // The real peer decides, twice, and one alert is enough for one connection.
        for _ in 0..2 {
            agent.begin_authorization(begin_request(&[READ])).await.unwrap();
        }
        let alerts = crate::house::eventually("the alert", || {
            let alerts = house.events("detect.proxy_identity_header");
            (alerts.len() > count).then_some(alerts)
        });
        let alerts = alerts.await;
        assert_eq!(alerts.len(), count + 1, "{name}");
        let alert = alerts.last().unwrap();
        assert_eq!(alert["unmapped"]["narrowgate"]["evidence"], name);
        assert_eq!((&alert["actor"]["user"]["uid"], &alert["severity"]), (&QUOTER.into(), &"High".into()));
    }
    let decided = house.events("authorization.decided");
    assert_eq!(decided.len(), 2 * CLAIMS.len());
    assert!(decided.iter().all(|event| event["actor"]["user"]["uid"] == QUOTER));
    let log = house.audit_text();
    assert!(!log.contains("10.0.0.1") && !log.contains("URI=spiffe"), "a header's value is in the log");
    // By mutual TLS too: the certificate is the one of the handshake.
    let mut courier = house.svid_agent(COURIER).await;
    assert!(house.begin(&mut courier, &[READ]).await.is_err());
}
