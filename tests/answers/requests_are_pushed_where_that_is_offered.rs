use crate::{
    client_keys::{open, pair, plan_with, signing_plan},
    house::{
        House, Plan, reason,
        scripted_as::{
            assertions::Registered,
            behaviour::{Behaviour, Script},
            par::Offer,
        },
    },
    kit::{READ, Trap, raw},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use tonic::Code;
use url::Url;

const FORM: [&str; 8] = [
    "response_type",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "client_id",
];

fn names(url: &str) -> Vec<String> {
    Url::parse(url).unwrap().query_pairs().map(|(name, _)| name.into_owned()).collect()
}

fn par(line: &str) -> Plan {
    Plan::new().config("deadline = \"5s\"\n", &format!("deadline = \"5s\"\n{line}\n"))
}

async fn offered(plan: Plan, offer: Offer) -> House {
    let mut house = plan.build();
    house.server.offer_par(offer);
    house.start();
    house.wait_until_serving().await;
    house
}

// rows: PAR-01 PAR-02 PAR-03 MTLS-01
#[tokio::test]
async fn the_browser_carries_a_reference_and_nothing_else() {
    for offer in [Offer::Offered, Offer::Required] {
        let house = offered(Plan::new(), offer).await;
        let mut agent = house.agent().await;
        let mut references = BTreeSet::new();
        for _ in 0..2 {
            let begun = house.begin(&mut agent, &[READ]).await.unwrap();
            assert_eq!(names(&begun.authorization_url), ["client_id", "request_uri"]);
            let url = Url::parse(&begun.authorization_url).unwrap();
            let (_, reference) = url.query_pairs().find(|(name, _)| name == "request_uri").unwrap();
            assert!(references.insert(reference.into_owned()), "a request_uri is used once");
            // The reference ends before the transaction does, and the caller is told of the earlier.
            let left = begun.expire_time.unwrap().seconds - now();
            assert!((50..=60).contains(&left), "{left}");
            let callback = house.server.approve(&begun.authorization_url);
            crate::house::redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
            assert_eq!(house.server.try_approve(&begun.authorization_url), Err("unknown request_uri".to_owned()));
        }
        let pushed = house.server.pushed_requests();
        assert_eq!(pushed.len(), 2);
        for request in pushed {
            // The same way to prove who sends it as at the token endpoint: the certificate, and the client_id.
            assert_eq!(
                (&request.client_refused, request.method.as_str(), request.target.as_str()),
                (&None, "POST", "/par")
            );
            assert!(request.client_certificate_der.is_some());
            let sent: Vec<&str> = request.form.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(sent, FORM);
            assert_eq!(request.param("resource"), Some("https://crm.example.test/api"));
        }
        assert!(house.server.requests().iter().all(|line| !line.contains("state=")));
    }
}

#[expect(clippy::disallowed_methods, reason = "the daemon's clock is the machine's")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

// rows: PAR-01 PKJ-05
#[tokio::test]
async fn a_pushed_request_is_authenticated_like_a_token_request() {
    let key = pair("ES256");
    let secret = "canary-secret-0123456789";
    let allowed = |plan: Plan| plan.config("deadline = \"5s\"\n", "deadline = \"5s\"\nallow_client_secret = true\n");
    let basic = plan_with("auth = \"client_secret_basic\"\nclient_secret_file = \"secret\"");
    let ways = [
        (signing_plan(), Registered::PrivateKeyJwt(key.public.clone())),
        (allowed(basic), Registered::SecretBasic(secret.to_owned())),
    ];
    for (plan, registered) in ways {
        let house = open(plan, &[("assertion.key", &key.pem), ("secret", secret)], registered).await;
        house.server.offer_par(Offer::Required);
        let mut agent = house.agent().await;
        house.login(&mut agent, &[READ]).await.unwrap();
        let (pushed, sent) = (house.server.pushed_requests(), house.server.token_requests());
        assert_eq!((pushed.len(), sent.len()), (1, 1));
        assert_eq!((&pushed[0].client_refused, &sent[0].client_refused), (&None, &None));
        let shown = |name| [pushed[0].param(name), sent[0].param(name)];
        assert!(shown("client_assertion")[0].is_none() || shown("client_assertion")[0] != shown("client_assertion")[1]);
        assert_eq!(pushed[0].header("authorization"), sent[0].header("authorization"));
    }
}

// rows: PAR-01
#[tokio::test]
async fn without_an_endpoint_nothing_is_begun_where_it_is_required() {
    let required: Value = json!({ "require_pushed_authorization_requests": true });
    let by_metadata = offered(Plan::new(), Offer::No).await;
    by_metadata.server.metadata_override(required.as_object().unwrap().clone());
    let by_config = offered(par("par = \"required\""), Offer::No).await;
    let forbidden = offered(par("par = \"off\""), Offer::Required).await;
    for house in [&by_metadata, &by_config, &forbidden] {
        let mut agent = house.agent().await;
        for _ in 0..3 {
            let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
            assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "PAR_REQUIRED"));
        }
        assert_eq!((house.server.pushed_requests().len(), house.server.token_connections()), (0, 0));
    }
    // Switched off, and not insisted on: as if it were not there.
    let off = offered(par("par = \"off\""), Offer::Offered).await;
    let mut agent = off.agent().await;
    let begun = off.begin(&mut agent, &[READ]).await.unwrap();
    assert!(names(&begun.authorization_url).contains(&"code_challenge".to_owned()));
    off.server.approve(&begun.authorization_url);
    assert!(off.server.pushed_requests().is_empty());
}

// rows: PAR-03
#[tokio::test]
async fn only_a_201_with_a_reference_of_its_own_is_a_success() {
    let plan = par("circuit_breaker = false").config("[limits]\n", "[limits]\ntransactions_per_agent = 1\n");
    let house = offered(plan, Offer::Offered).await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    let evil = format!("https://127.0.0.1:{}/r", trap.port());
    let member = |name: &str, value: Value| Behaviour::Members([(name.to_owned(), value)].into_iter().collect());
    let good = r#"{"request_uri":"urn:ietf:params:oauth:request_uri:x","expires_in":60}"#;
    let malformed = [
        raw(200, good),
        raw(202, good),
        raw(201, "{}"),
        raw(201, "[]"),
        raw(201, &format!("{good}{good}")),
        raw(201, r#"{"request_uri":"urn:a:b","request_uri":"urn:a:c","expires_in":60}"#),
        member("request_uri", Value::Null),
        member("request_uri", json!("")),
        member("request_uri", json!(7)),
        member("request_uri", json!("relative")),
        member("request_uri", json!("https://evil.example/r")),
        member("request_uri", json!(evil)),
        member("request_uri", json!("http://127.0.0.1/r")),
        member("request_uri", json!("javascript:alert(1)")),
        member("request_uri", json!(format!("urn:{}", "x".repeat(2000)))),
        member("request_uri", json!("urn:a:b c")),
        member("expires_in", json!(0)),
        member("expires_in", json!(-5)),
        member("expires_in", json!("60")),
        member("expires_in", json!(1.5)),
        member("expires_in", Value::Null),
        member("error", json!("invalid_request")),
    ];
    for behaviour in malformed {
        let what = format!("{behaviour:?}");
        house.server.behave(Script::Par(behaviour));
        let status = house.begin(&mut agent, &[READ]).await.err().expect(&what);
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::FailedPrecondition, "PAR_RESPONSE_MALFORMED"),
            "{what}"
        );
    }
    let error = |status, error: &str| Behaviour::OAuthError {
        status,
        error: error.to_owned(),
        description: Some("canary-text-0123456789".to_owned()),
    };
    let others = [
        (error(401, "invalid_client"), "AS_CLIENT_AUTH_FAILED"),
        (error(400, "invalid_scope"), "SCOPE_REJECTED"),
        (error(400, "invalid_grant"), "AS_REJECTED"),
        (error(400, "invalid_request"), "AS_REJECTED"),
        (Behaviour::Status(500), "AS_REJECTED"),
        (Behaviour::Status(503), "AS_UNAVAILABLE"),
        (Behaviour::Status(429), "AS_UNAVAILABLE"),
        (Behaviour::Redirect { status: 307, location: evil.clone() }, "AS_REDIRECT_REFUSED"),
        (Behaviour::ResetAfterRequest, "AS_UNREACHABLE"),
    ];
    for (behaviour, wanted) in others {
        house.server.behave(Script::Par(behaviour));
        let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
        assert_eq!(reason(&status), wanted);
        assert!(!format!("{status:?}").contains("canary"), "the server's own words");
    }
    trap.assert_untouched();
    // Not one of these transactions was left behind: the agent may have one only. Each refusal is on record.
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    crate::house::redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    let refused = house.events("exchange.refused");
    assert_eq!(refused.iter().filter(|e| e["status_code"] == "PAR_RESPONSE_MALFORMED").count(), 22);
}

// rows: PAR-01 DISC-05
#[tokio::test]
async fn what_was_offered_once_is_not_given_up_silently() {
    let house = offered(par("metadata_ttl = \"100ms\"\nmetadata_stale = \"1ms\""), Offer::Offered).await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[READ]).await.unwrap();
    house.server.offer_par(Offer::No);
    tokio::time::sleep(Duration::from_millis(150)).await;
    let status = loop {
        match house.begin(&mut agent, &[READ]).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(status) => break status,
        }
    };
    assert!(["METADATA_REJECTED", "METADATA_STALE"].contains(&reason(&status).as_str()), "{status:?}");
    let event = house.event("detect.metadata_downgrade").await;
    let members = event["unmapped"]["narrowgate"]["members"].to_string();
    assert!(members.contains("pushed_authorization_request_endpoint"), "{event}");
}
