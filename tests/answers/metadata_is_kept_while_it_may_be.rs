use crate::{
    house::{
        Agent, House, Plan, eventually, reason,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{READ, members, raw_with},
};
use narrowgate::api::proto::BeginAuthorizationResponse;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tonic::{Code, Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// A plan whose issuer's metadata is believed for this long, and used for this long after that.
pub(crate) fn believing(ttl: &str, stale: &str) -> Plan {
    let keys = format!("[[issuer]]\nmetadata_ttl = \"{ttl}\"\nmetadata_stale = \"{stale}\"\n");
    Plan::new().config("[[issuer]]\n", &keys)
}

/// Begins until the daemon has asked for the metadata again, and gives back the answer of that call.
pub(crate) async fn refetched(house: &House, agent: &mut Agent) -> Result<BeginAuthorizationResponse, Status> {
    for _ in 0..300 {
        let before = house.server.metadata_requests();
        let begun = house.begin(agent, &[READ]).await;
        if house.server.metadata_requests() > before {
            return begun;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the metadata was not asked for again")
}

/// A house whose agent may begin as often as it takes.
async fn open(plan: Plan) -> House {
    plan.config("[limits]\n", "[limits]\ntransactions_per_agent = 1000\n").open().await
}

/// What the health service says of the whole, and of the metadata.
async fn health(house: &House) -> (ServingStatus, Option<String>) {
    let mut client = HealthClient::new(crate::house::unix_channel(&house.path("run/agent.sock")).await);
    let answer = client.check(HealthCheckRequest::default()).await.unwrap();
    let detail = answer.metadata().get("narrowgate-metadata").map(|value| value.to_str().unwrap().to_owned());
    (answer.into_inner().status(), detail)
}

fn violations() -> Vec<(Behaviour, Map<String, Value>)> {
    let json_of = |body: &str| raw_with(200, &[("Content-Type", "application/json")], body);
    let nested = (0..32).fold(json!(1), |inner, _| json!([inner]));
    let mut all: Vec<(Behaviour, Map<String, Value>)> = [
        Behaviour::DuplicateKeys("token_endpoint"),
        Behaviour::Trailing,
        Behaviour::Bom,
        Behaviour::Gzip,
        Behaviour::CutBody,
        Behaviour::EndlessBody,
        Behaviour::ContentType(Some("text/html".to_owned())),
        Behaviour::Status(404),
        Behaviour::Status(503),
        Behaviour::Redirect { status: 302, location: "https://127.0.0.1:1/".to_owned() },
        json_of("[]"),
        json_of("{"),
        json_of("null"),
    ]
    .map(|behaviour| (behaviour, Map::new()))
    .into();
    let bent = [
        ("issuer", json!("https://evil.example")),
        ("issuer", Value::Null),
        ("mtls_endpoint_aliases", json!({ "token_endpoint": 7 })),
        ("authorization_endpoint", json!("https://evil.example/authorize")),
        ("authorization_endpoint", json!(7)),
        ("mtls_endpoint_aliases", json!({ "token_endpoint": "https://evil.example/token" })),
        ("mtls_endpoint_aliases", json!({ "revocation_endpoint": "http://127.0.0.1/revoke" })),
        ("pushed_authorization_request_endpoint", json!("https://evil.example/par")),
        ("x_pad", json!("x".repeat(257 * 1024))),
        ("x_deep", nested),
    ];
    all.extend(bent.into_iter().map(|pair| (Behaviour::Honest, members([pair]))));
    all
}

// rows: DISC-05
#[tokio::test]
async fn the_last_good_document_stays_through_every_violation() {
    let house = open(believing("100ms", "1h").config("deadline = \"5s\"", "deadline = \"1s\"")).await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    for (behaviour, mut members) in violations() {
        let mut what = format!("{behaviour:?} {members:?}");
        what.truncate(200);
        // Were a part of such a document used, it would be this one.
        members.entry("authorization_endpoint").or_insert_with(|| json!(house.server.issuer() + "/elsewhere"));
        house.server.metadata_override(members);
        house.server.always(Script::Metadata(behaviour));
        let posts = house.server.token_posts();
        let begun = refetched(&house, &mut agent).await.expect(&what);
        let ours = format!("{}/authorize?", house.server.issuer());
        assert!(begun.authorization_url.starts_with(&ours), "{what}: {}", begun.authorization_url);
        let callback = house.server.approve(&begun.authorization_url);
        crate::house::redeem(&mut agent, &begun.transaction, &callback).await.expect(&what);
        assert_eq!(house.server.token_posts(), posts + 1, "{what}");
        let (status, detail) = health(&house).await;
        assert_eq!(status, ServingStatus::Serving, "{what}");
        assert!(detail.as_ref().is_some_and(|detail| detail.starts_with("corp=METADATA_")), "{what}: {detail:?}");
    }
    assert!(house.log().contains("the metadata cannot be renewed: the last good document is used"));
    assert!(!house.log().contains("evil.example/"), "a URL of a refused document is in the log");
    // And the next good one is taken.
    house.server.always(Script::Metadata(Behaviour::Honest));
    house.server.metadata_override(members([("authorization_endpoint", json!(house.server.issuer() + "/new"))]));
    let moved = || house.server.issuer() + "/new?";
    for _ in 0..200 {
        if refetched(&house, &mut agent).await.unwrap().authorization_url.starts_with(&moved()) {
            assert_eq!(health(&house).await, (ServingStatus::Serving, None));
            return;
        }
    }
    panic!("the good document was not taken");
}

// rows: DISC-06
#[tokio::test]
async fn stale_use_is_bounded() {
    let house = open(believing("100ms", "300ms")).await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[READ]).await.unwrap();
    house.server.stop_listening_front();
    let refused = async {
        loop {
            if let Err(status) = house.begin(&mut agent, &[READ]).await {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(20), refused).await.unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "METADATA_STALE"));
    assert_eq!(crate::house::fact(&status, "cause").as_deref(), Some("METADATA_UNAVAILABLE"));
    let failed = house.events("exchange.refused").pop().unwrap();
    assert_eq!(failed["status_code"], "METADATA_STALE");
    // A document that cannot be used is no new one.
    house.server.metadata_override(members([("issuer", json!("https://evil.example"))]));
    house.server.resume_listening_front();
    let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "METADATA_STALE");
    house.server.metadata_override(Map::new());
    house.login(&mut agent, &[READ]).await.unwrap();
}

// rows: DISC-06 (callers in a hurry)
#[tokio::test]
async fn the_last_good_document_stands_in_for_callers_in_a_hurry() {
    let house = open(believing("100ms", "1h").config("deadline = \"5s\"", "deadline = \"4s\"")).await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[READ]).await.unwrap();
    house.server.always(Script::Metadata(Behaviour::Delay { ms: 60_000, then: Box::new(Behaviour::Honest) }));
    let within = |ms| {
        let mut request = Request::new(crate::house::begin_request(&[READ]));
        request.set_timeout(Duration::from_millis(ms));
        request
    };
    // The server takes the request and stays silent; whoever made the daemon ask is soon gone.
    let before = house.server.metadata_requests();
    for _ in 0..300 {
        let _ = agent.begin_authorization(within(100)).await;
        if house.server.metadata_requests() > before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    // Who waits less than that fetch may take is answered, and does not ask once more.
    for _ in 0..2 {
        agent.begin_authorization(within(1500)).await.unwrap();
    }
    assert_eq!(house.server.metadata_requests(), before + 1, "one fetch for all");
    // Nobody waits for the fetch any more, and its failure is known all the same.
    for _ in 0..300 {
        if let (status, Some(detail)) = health(&house).await {
            assert_eq!((status, detail.as_str()), (ServingStatus::Serving, "corp=METADATA_UNAVAILABLE"));
            return agent.begin_authorization(within(1500)).await.map(|_| ()).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("health says nothing of the metadata");
}

// rows: DISC-06
#[tokio::test]
async fn an_outage_is_not_hammered() {
    let house = open(believing("1s", "1h")).await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[READ]).await.unwrap();
    house.server.always(Script::Metadata(Behaviour::Status(503)));
    refetched(&house, &mut agent).await.unwrap();
    let before = house.server.metadata_requests();
    for _ in 0..40 {
        house.begin(&mut agent, &[READ]).await.unwrap();
    }
    // Each round asks both well-known places, and a new one comes after a second at the earliest: far fewer than calls.
    let asked = house.server.metadata_requests() - before;
    assert!(asked <= 40, "40 calls made {} rounds of requests", asked / 2);
}

// rows: DISC-06
#[tokio::test]
async fn who_waits_for_a_fetch_that_fails_shares_its_failure() {
    let house = open(Plan::new()).await;
    let slow = Behaviour::Delay { ms: 1500, then: Box::new(Behaviour::Status(503)) };
    house.server.behave(Script::Metadata(slow));
    house.server.always(Script::Metadata(Behaviour::Status(503)));
    let mut calls = Vec::new();
    for _ in 0..8 {
        let mut agent = house.agent().await;
        let request = crate::house::begin_request(&[READ]);
        calls.push(tokio::spawn(async move { agent.begin_authorization(request).await.map(|_| ()) }));
    }
    eventually("the metadata is asked for", || (house.server.metadata_requests() > 0).then_some(())).await;
    for call in calls {
        assert_eq!(reason(&call.await.unwrap().err().unwrap()), "METADATA_UNAVAILABLE");
    }
    assert_eq!(house.server.metadata_requests(), 2, "one round of both places");
    // Nothing of it is remembered.
    house.server.always(Script::Metadata(Behaviour::Honest));
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
}
