use crate::{
    asking::{READ, channel, refused},
    house::{Agent, House, Plan, begin_request, binary, eventually, get, scripted_as::behaviour::Script},
};
use narrowgate::api::proto::{
    BeginAuthorizationRequest, GetTokenRequest, GetTokenResponse, RevokeGrantRequest,
    token_service_client::TokenServiceClient,
};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
};
use tokio::task::JoinSet;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};

/// In every text that the test makes up, and never to be seen.
const CANARY: &str = "canary";
/// Paths and names of agents that are made up, of each; with the scopes they are more than ten thousand.
const EACH: usize = 4700;
/// Scopes that are made up: the refusal of each is made durable, so they are fewer.
const SCOPES: usize = 700;
/// Calls under way at once.
const AT_ONCE: usize = 64;

const METRICS: &str = "[metrics]\npath = \"@FOLDER@/numbers/metrics.sock\"\n\n[audit]";

fn plan() -> Plan {
    let plan = Plan::new().config("[audit]", METRICS);
    let limits = "[limits]\ncalls_per_second = 1000000\ncalls_burst = 1000000\ncalls_in_flight = 1000\n";
    Plan { log: "info".to_owned(), ..plan.config("[limits]\n", limits) }
}

/// What the command prints.
fn printed(house: &House) -> String {
    let output = binary().arg("metrics").arg("--socket").arg(house.path("numbers/metrics.sock")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The samples by series.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
    pairs.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
}

/// Asks for a scope that nobody declared.
async fn strange_scope(channel: Channel, n: usize) {
    let scope = format!("{CANARY}.scope.{n}");
    let result = TokenServiceClient::new(channel).begin_authorization(begin_request(&[&scope])).await;
    refused(result, Code::InvalidArgument, "SCOPE_UNDECLARED");
}

/// Names an agent that nobody registered.
async fn strange_agent(channel: Channel, n: usize) {
    let request = BeginAuthorizationRequest { agent: format!("{CANARY}-{n}"), ..begin_request(&[READ]) };
    let result = TokenServiceClient::new(channel).begin_authorization(request).await;
    refused(result, Code::InvalidArgument, "CALLER_IDENTITY_ASSERTED");
}

/// Calls a method that does not exist.
async fn strange_path(channel: Channel, n: usize) {
    let path = match n % 3 {
        0 => format!("/{CANARY}.v{n}.Service/Method"),
        1 => format!("/narrowgate.v1.TokenService/{CANARY}{n}"),
        _ => format!("/{CANARY}{n}"),
    };
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<GetTokenRequest, GetTokenResponse>::default();
    let path = PathAndQuery::try_from(path).unwrap();
    let result = grpc.unary(Request::new(GetTokenRequest::default()), path, codec).await;
    refused(result, Code::Unimplemented, "METHOD_UNKNOWN");
}

async fn strange_calls(house: &House, from: usize, to: usize) {
    let channel = channel(&house.path("run/agent.sock")).await;
    let mut calls = JoinSet::new();
    for n in from..to {
        if n < SCOPES {
            calls.spawn(strange_scope(channel.clone(), n));
        }
        calls.spawn(strange_agent(channel.clone(), n));
        calls.spawn(strange_path(channel.clone(), n));
        while calls.len() > AT_ONCE {
            calls.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    // A peer that nobody knows is metered, so few of them are enough.
    for n in from..to.min(from + 5) {
        let mut stranger = house.svid_agent(&format!("spiffe://acme.test/{CANARY}/{n}")).await;
        refused(get(&mut stranger, CANARY).await, Code::PermissionDenied, "AGENT_UNKNOWN");
    }
}

// rows: LEAK-07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_strange_words_make_no_series() {
    let house = plan().open().await;
    strange_calls(&house, 0, 3).await;
    let before = samples(&printed(&house));
    strange_calls(&house, 3, EACH).await;
    let text = printed(&house);
    let after = samples(&text);
    assert!(!text.contains(CANARY), "{text}");
    let names = |samples: &BTreeMap<String, f64>| samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
    assert!(after.len() < 100, "{} series", after.len());
    let calls = |method: &str, reason: &str| {
        after[&format!("narrowgate_calls_total{{method=\"{method}\",reason=\"{reason}\"}}")]
    };
    assert_eq!(calls("other", "METHOD_UNKNOWN"), as_f64(EACH));
    assert_eq!(calls("BeginAuthorization", "CALLER_IDENTITY_ASSERTED"), as_f64(EACH));
    assert_eq!(calls("BeginAuthorization", "SCOPE_UNDECLARED"), as_f64(SCOPES));
    assert_eq!(after["narrowgate_events_total{code=\"exchange.refused\"}"], as_f64(SCOPES));
}

fn as_f64(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap())
}

/// One login, one hand-out, one no of policy, one revocation.
async fn a_days_work(house: &House, agent: &mut Agent) {
    let grant = house.login(agent, &[READ]).await.unwrap().grant;
    get(agent, &grant).await.unwrap();
    refused(house.begin(agent, &["customers.delete"]).await, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
    agent.revoke_grant(RevokeGrantRequest { grant, ..RevokeGrantRequest::default() }).await.unwrap();
    house.begin(agent, &[READ]).await.unwrap();
    house.login(agent, &[READ]).await.unwrap();
}

// rows: LEAK-07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_counted_once() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    a_days_work(&house, &mut agent).await;
    house.server.behave(Script::Token(crate::house::scripted_as::behaviour::Behaviour::Status(503)));
    house.login(&mut agent, &[READ]).await.err().unwrap();
    // The access token and the refresh token of the grant that was given back.
    eventually("two revocations", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
    let after = samples(&printed(&house));
    // The same agent asks for the same, four times.
    assert!(after["narrowgate_decisions_cached_total"] >= 3.0, "{after:?}");
    for (series, value) in [
        ("calls_total{method=\"RedeemCode\",reason=\"OK\"}", 2.0),
        ("calls_total{method=\"RedeemCode\",reason=\"AS_UNAVAILABLE\"}", 1.0),
        ("calls_total{method=\"GetToken\",reason=\"OK\"}", 1.0),
        ("calls_total{method=\"BeginAuthorization\",reason=\"HUMAN_APPROVAL_REQUIRED\"}", 1.0),
        ("decisions_total{operation=\"BeginAuthorization\",outcome=\"allowed\"}", 4.0),
        ("decisions_total{operation=\"BeginAuthorization\",outcome=\"forbid_matched\"}", 1.0),
        ("tokens_total{event=\"issued\",issuer=\"corp\"}", 2.0),
        ("tokens_total{event=\"served\",issuer=\"corp\"}", 1.0),
        ("tokens_total{event=\"revoked\",issuer=\"corp\"}", 2.0),
        ("transactions", 1.0),
        ("grants", 1.0),
        ("serving", 1.0),
        ("connections{door=\"unix\"}", 1.0),
    ] {
        let found = after.get(&format!("narrowgate_{series}"));
        assert_eq!(found, Some(&value), "{series} in {after:#?}");
    }
    // What the log holds is what was counted, code by code.
    for (series, value) in after.iter().filter(|(series, _)| series.starts_with("narrowgate_events_total")) {
        let code = series.split('"').nth(1).unwrap();
        // One that nobody waits for is counted on its way.
        eventually(code, || Some(()).filter(|()| as_f64(house.events(code).len()) == *value)).await;
    }
    assert!(after["narrowgate_audit_commit_seconds_count"] >= 8.0);
}

/// What the socket answers to these bytes. One that asks too much may be cut off before it has read the answer.
fn raw(house: &House, request: &str) -> String {
    let mut stream = UnixStream::connect(house.path("numbers/metrics.sock")).unwrap();
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

// rows: LEAK-07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_gives_the_numbers_and_nothing_else() {
    let house = plan().open().await;
    let mode = std::fs::metadata(house.path("numbers/metrics.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let numbers = raw(&house, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(numbers.starts_with("HTTP/1.1 200"), "{numbers}");
    assert!(numbers.contains("application/openmetrics-text") && numbers.contains("narrowgate_serving 1"), "{numbers}");
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "404"),
        (format!("GET /{CANARY} HTTP/1.1\r\nhost: x\r\n\r\n"), "404"),
        ("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_owned(), "405"),
        ("GET /metrics HTTP/1.1\r\nhost: x\r\norigin: https://evil.test\r\n\r\n".to_owned(), "403"),
    ] {
        let answer = raw(&house, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(!answer.contains("narrowgate_") && !answer.contains(CANARY));
    }
    let long = raw(&house, &format!("GET /metrics HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "x".repeat(64 * 1024)));
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 431"), "{long}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_table_there_is_no_socket() {
    let house = Plan::new().open().await;
    assert!(!house.path("numbers/metrics.sock").exists());
    let output = binary().arg("metrics").arg("--socket").arg(house.path("numbers/metrics.sock")).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is [metrics] configured?"), "{output:?}");
}
