use crate::{
    house::{
        Agent, House, Plan, begin_request, fact, reason,
        scripted_as::{
            WellKnown,
            behaviour::{Behaviour, Script},
        },
    },
    kit::{READ, members, raw_with},
};
use serde_json::{Value, json};
use std::time::Duration;
use tonic::{Code, Status};

const UNAVAILABLE: (Code, &str) = (Code::Unavailable, "METADATA_UNAVAILABLE");

async fn refused(house: &House, agent: &mut Agent, (code, why): (Code, &str), what: &str) -> Status {
    let status = house.begin(agent, &[READ]).await.err().expect(what);
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{what}");
    assert_eq!(house.server.token_connections(), 0, "{what}");
    status
}

// rows: DISC-01
#[tokio::test]
async fn an_agent_names_issuers_by_alias_only() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let own = house.server.issuer();
    for issuer in ["https://evil.example", own.as_str(), "CORP", "corp ", "other", "169.254.169.254"] {
        let mut request = begin_request(&[READ]);
        request.issuer = issuer.to_owned();
        let status = agent.begin_authorization(request).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "ISSUER_UNKNOWN"), "{issuer}");
    }
    let mut request = begin_request(&[READ]);
    request.client = "https://evil.example".to_owned();
    assert_eq!(reason(&agent.begin_authorization(request).await.err().unwrap()), "CLIENT_UNKNOWN");
    assert_eq!((house.server.front_connections(), house.server.token_connections()), (0, 0));
    // No name was looked up either: the daemon's TRACE log would say so.
    assert!(!house.log().contains("evil.example"));
    let mut request = begin_request(&[READ]);
    request.issuer = "corp".to_owned();
    agent.begin_authorization(request).await.unwrap();
}

// rows: DISC-02
#[tokio::test]
async fn metadata_of_another_issuer_is_not_used() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let own = house.server.issuer();
    let others = [
        json!(format!("{own}/")),
        json!(own.to_uppercase()),
        json!(own.replace("https", "HTTPS")),
        json!(own.replace("127.0.0.1", "localhost")),
        json!("https://honest.example"),
        json!(format!("{own} ")),
        json!([own]),
        json!(""),
        Value::Null,
    ];
    for issuer in others {
        house.server.metadata_override(members([("issuer", issuer.clone())]));
        let mismatch = (Code::FailedPrecondition, "METADATA_ISSUER_MISMATCH");
        refused(&house, &mut agent, mismatch, &issuer.to_string()).await;
    }
    assert_eq!(house.server.front_token_posts(), 0);
    house.server.metadata_override(serde_json::Map::new());
    house.login(&mut agent, &[READ]).await.unwrap();
}

fn metadata_paths(house: &House) -> Vec<String> {
    house.server.requests().into_iter().filter(|line| line.contains("well-known")).collect()
}

const STEPS: [&str; 3] = [
    "front GET /.well-known/oauth-authorization-server/t1",
    "front GET /.well-known/openid-configuration/t1",
    "front GET /t1/.well-known/openid-configuration",
];

fn html() -> Behaviour {
    raw_with(200, &[("Content-Type", "text/html")], "<html>not here</html>")
}

// rows: DISC-03
#[tokio::test]
async fn well_known_places_are_tried_in_order() {
    let tenant = |place| {
        Plan::new().server(move |setup| {
            setup.issuer_path = "/t1".to_owned();
            setup.well_known = place;
        })
    };
    let house = tenant(WellKnown::OAuth).open().await;
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    assert_eq!(metadata_paths(&house), STEPS[..1]);

    let house = tenant(WellKnown::OpenId).open().await;
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    assert_eq!(metadata_paths(&house), STEPS[..2]);

    let house = tenant(WellKnown::OpenId).open().await;
    house.server.behave(Script::Metadata(Behaviour::Status(404)));
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    assert_eq!(metadata_paths(&house), STEPS);

    let house = tenant(WellKnown::Both).open().await;
    house.server.behave(Script::Metadata(html()));
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    assert_eq!(metadata_paths(&house), STEPS[..2]);

    let house = tenant(WellKnown::Both).open().await;
    house.server.always(Script::Metadata(html()));
    refused(&house, &mut house.agent().await, UNAVAILABLE, "html everywhere").await;
    assert_eq!(metadata_paths(&house), STEPS);
}

// rows: DISC-03 INTR-02
#[tokio::test]
async fn an_issuer_is_an_https_url_without_query_and_fragment() {
    let wrong = [
        "https://h.example/t1?x=1",
        "https://h.example/t1#x",
        "http://h.example",
        "https://u:p@h.example",
        "h.example",
        "",
    ];
    for issuer in wrong {
        let house = Plan::new().config("issuer = \"@ISSUER@\"", &format!("issuer = \"{issuer}\"")).build();
        let output = house.command("check").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{issuer}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("`issuer.issuer` must"), "{issuer}: {output:?}");
    }
    for endpoint in ["authorization", "token", "revocation"] {
        let line =
            |name: &str| format!("{name} = \"{}://h.example/x\"\n", if name == endpoint { "http" } else { "https" });
        let all: String = ["authorization", "token", "revocation"].iter().map(|name| line(name)).collect();
        let head = "deadline = \"5s\"\n";
        let house = Plan::new().config(head, &format!("{head}[issuer.endpoints]\n{all}")).build();
        let output = house.command("check").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{endpoint}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(&format!("`issuer.endpoints.{endpoint}` must")),
            "{output:?}"
        );
    }
}

// rows: DISC-04 INTR-02 PAR-04
#[tokio::test]
async fn an_endpoint_on_another_host_is_rejected_by_name() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let rejected = (Code::FailedPrecondition, "METADATA_REJECTED");
    let front = house.server.issuer();
    let wrong = [
        "https://evil.example/x".to_owned(),
        "https://127.0.0.2/x".to_owned(),
        "https://127.0.0.1.evil.example/x".to_owned(),
        "https://evil.example@127.0.0.1/x".to_owned(),
        front.replace("https", "http"),
        "file:///etc/passwd".to_owned(),
        "javascript:alert(1)".to_owned(),
        "data:text/html,x".to_owned(),
        format!("{front}/x#fragment"),
        "/x".to_owned(),
        String::new(),
    ];
    for field in ["authorization_endpoint", "token_endpoint", "revocation_endpoint"] {
        for url in &wrong {
            house.server.metadata_override(members([("mtls_endpoint_aliases", Value::Null), (field, json!(url))]));
            let status = refused(&house, &mut agent, rejected, &format!("{field} {url}")).await;
            assert_eq!(fact(&status, "field").as_deref(), Some(field));
            assert!(!format!("{status:?}").contains("evil.example"));
        }
        house.server.metadata_override(members([("mtls_endpoint_aliases", Value::Null), (field, json!(7))]));
        refused(&house, &mut agent, rejected, field).await;
    }
    assert!(house.log().contains(r#"allowed_hosts = [\"evil.example\"]"#), "the log has no line to add");
}

// rows: DISC-04 MTLS-05
#[tokio::test]
async fn a_host_that_configuration_allows_is_used() {
    let plan = Plan::new().config("[[issuer]]\n", "[[issuer]]\nallowed_hosts = [\"localhost\"]\n");
    let house = plan.open().await;
    let token = house.server.token_url().replace("127.0.0.1", "localhost");
    let aliases = json!({ "token_endpoint": token, "revocation_endpoint": house.server.revocation_url() });
    house.server.metadata_override(members([("mtls_endpoint_aliases", aliases)]));
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    assert!(house.server.last_token_request().unwrap().header("host").unwrap().starts_with("localhost:"));
}

// rows: MTLS-05
#[tokio::test]
async fn an_alias_wins_where_there_is_one() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let aliases = json!({ "token_endpoint": house.server.token_url() });
    house.server.metadata_override(members([("mtls_endpoint_aliases", aliases)]));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let request = narrowgate::api::proto::RevokeGrantRequest { grant: redeemed.grant, ..Default::default() };
    agent.revoke_grant(request).await.unwrap();
    let posts: Vec<String> = house.server.requests().into_iter().filter(|line| line.contains(" POST ")).collect();
    // The front wants no certificate and refuses, so the outcome is no concern here: the place is.
    assert_eq!(posts[..2], ["token POST /token", "front POST /revoke"]);
    assert_eq!(house.server.revocation_posts(), 0);
}

// rows: MTLS-05 DISC-04
#[tokio::test]
async fn an_alias_on_another_host_is_rejected() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for field in ["token_endpoint", "revocation_endpoint"] {
        for value in [json!("https://evil.example/x"), json!("http://127.0.0.1/x"), json!(7)] {
            house.server.metadata_override(members([("mtls_endpoint_aliases", json!({ field: value }))]));
            let rejected = (Code::FailedPrecondition, "METADATA_REJECTED");
            let status = refused(&house, &mut agent, rejected, field).await;
            assert_eq!(fact(&status, "field").as_deref(), Some(field));
        }
    }
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

// rows: DISC-05
#[tokio::test]
async fn a_document_out_of_bounds_is_not_used_in_part() {
    let house = Plan::new().config("deadline = \"5s\"", "deadline = \"1s\"").open().await;
    let mut agent = house.agent().await;
    let bad = [
        Behaviour::DuplicateKeys("issuer"),
        Behaviour::DuplicateKeys("token_endpoint"),
        Behaviour::Trailing,
        Behaviour::Bom,
        Behaviour::Gzip,
        Behaviour::GzipBomb(32 << 20),
        Behaviour::CutBody,
        Behaviour::EndlessBody,
        Behaviour::EndlessChunks,
        Behaviour::HugeHeader(1 << 20),
        Behaviour::ContentType(Some("text/plain".to_owned())),
        Behaviour::ContentType(None),
        Behaviour::Status(503),
        Behaviour::Dribble { interval_ms: 20 },
        raw_with(200, &[("Content-Type", "application/json")], "[]]"),
    ];
    for behaviour in bad {
        let mut what = format!("{behaviour:?}");
        what.truncate(200);
        house.server.always(Script::Metadata(behaviour));
        refused(&house, &mut agent, UNAVAILABLE, &what).await;
    }
    house.server.always(Script::Metadata(Behaviour::Honest));
    house.server.metadata_override(members([("x_pad", json!("x".repeat(257 * 1024)))]));
    refused(&house, &mut agent, UNAVAILABLE, "257 KiB").await;
    house.server.metadata_override(members([("x_deep", nested(32))]));
    refused(&house, &mut agent, UNAVAILABLE, "33 levels").await;
    house.server.metadata_override(members([("x_deep", nested(31)), ("x_pad", json!("x".repeat(200 * 1024)))]));
    house.login(&mut agent, &[READ]).await.unwrap();
    house.assert_no_secret_leaked();
}

/// The document with a header that asks to be kept for a year.
fn for_a_year(house: &House) -> Behaviour {
    let issuer = house.server.issuer();
    let document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": house.server.token_url(),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    let headers = [("Content-Type", "application/json"), ("Cache-Control", "public, max-age=31536000")];
    raw_with(200, &headers, &document.to_string())
}

// rows: DISC-06
#[tokio::test]
async fn a_document_is_believed_for_the_configured_time_whatever_it_asks() {
    let house = Plan::new().config("[[issuer]]\n", "[[issuer]]\nmetadata_ttl = \"1s\"\n").open().await;
    let mut agent = house.agent().await;
    house.server.always(Script::Metadata(for_a_year(&house)));
    house.begin(&mut agent, &[READ]).await.unwrap();
    let refetched = async {
        while house.server.metadata_requests() == 1 {
            house.begin(&mut agent, &[READ]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refetched).await.unwrap();

    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for _ in 0..3 {
        house.begin(&mut agent, &[READ]).await.unwrap();
    }
    assert_eq!(house.server.metadata_requests(), 1);
}

// rows: DISC-06
#[tokio::test]
async fn a_failure_is_not_remembered() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.server.always(Script::Metadata(Behaviour::Status(503)));
    refused(&house, &mut agent, UNAVAILABLE, "503").await;
    house.server.always(Script::Metadata(Behaviour::Honest));
    house.server.stop_listening_front();
    refused(&house, &mut agent, UNAVAILABLE, "nobody listens").await;
    house.server.resume_listening_front();
    house.login(&mut agent, &[READ]).await.unwrap();
}

// rows: SSRF-06 TOK-13
#[tokio::test]
async fn metadata_is_fetched_as_anyone_would() {
    let house = Plan::new().server(|setup| setup.front_asks_certificate = true).open().await;
    let mut agent = house.agent().await;
    let cookie = [("Set-Cookie", "canary=1; Path=/"), ("WWW-Authenticate", "Basic realm=\"x\"")];
    house.server.behave(Script::Metadata(raw_with(401, &cookie, "")));
    house.login(&mut agent, &[READ]).await.unwrap();
    assert_eq!(house.server.metadata_requests(), 2);
    assert!(house.server.front_client_certificates().is_empty());
    assert!(house.server.last_token_request().unwrap().client_certificate_der.is_some());
    for headers in house.server.front_headers() {
        for (name, _) in headers {
            assert!(["host", "accept", "accept-encoding", "user-agent"].contains(&name.as_str()), "{name} was sent");
        }
    }
}

// rows: DISC-04
#[tokio::test]
async fn a_capability_that_is_missing_refuses_the_server() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let unsupported = (Code::FailedPrecondition, "PKCE_UNSUPPORTED");
    for methods in [Value::Null, json!([]), json!(["plain"]), json!("S256"), json!(["s256"])] {
        house.server.metadata_override(members([("code_challenge_methods_supported", methods.clone())]));
        refused(&house, &mut agent, unsupported, &methods.to_string()).await;
    }
}
