use crate::{
    asking::{READ, channel},
    house::{Agent, House, Plan, begin_request, eventually, get, redeem_request},
};
use narrowgate::api::proto::{GetTokenRequest, token_service_client::TokenServiceClient};
use serde_json::Value;
use std::collections::BTreeSet;
use tonic::{Request, metadata::MetadataValue};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CANARY: &str = "canary-of-the-trace-state";

fn traced<T>(message: T, headers: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().append(*name, MetadataValue::try_from(*value).unwrap());
    }
    request
}

/// The trace of the last decision to begin.
async fn trace_of(house: &House, agent: &mut Agent, headers: &[(&'static str, &str)]) -> String {
    agent.begin_authorization(traced(begin_request(&[READ]), headers)).await.unwrap();
    let event = house.events("authorization.decided").pop().unwrap();
    assert_eq!(event["trace"]["uid"], event["unmapped"]["narrowgate"]["trace_id"]);
    event["trace"]["uid"].as_str().unwrap().to_owned()
}

/// The log lines of calls of this trace.
fn lines(log: &str, trace: &str) -> Vec<Value> {
    let parsed = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(|line| line["span"]["trace_id"] == trace).collect()
}

// rows: OBS-01
#[tokio::test]
async fn a_callers_trace_is_in_every_event_and_log_line_of_its_call() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    assert_eq!(trace_of(&house, &mut agent, &[("traceparent", PARENT)]).await, TRACE);
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let redeem = traced(redeem_request(&transaction, &callback.url), &[("traceparent", PARENT)]);
    let redeemed = agent.redeem_code(redeem).await.unwrap().into_inner();
    let token = GetTokenRequest { grant: redeemed.grant, ..GetTokenRequest::default() };
    agent.get_token(traced(token, &[("traceparent", PARENT)])).await.unwrap();
    // The exchange runs on after the call's own task, and the hand-out is queued: all the same.
    eventually("the hand-out's event", || house.events("token.served").pop()).await;
    for code in ["exchange.decided", "token.issued", "token.served"] {
        let event = house.event(code).await;
        assert_eq!(event["unmapped"]["narrowgate"]["trace_id"], TRACE, "{code}");
    }
    let seen = eventually("the log lines", || Some(lines(&house.log(), TRACE)).filter(|l| l.len() >= 2)).await;
    let methods: BTreeSet<&str> = seen.iter().filter_map(|line| line["span"]["method"].as_str()).collect();
    assert!(methods.contains("BeginAuthorization") && methods.contains("RedeemCode"), "{methods:?}");
}

// rows: OBS-01
#[tokio::test]
async fn a_traceparent_that_is_no_such_thing_begins_a_new_trace() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let long = format!("{PARENT}0");
    let mut seen = BTreeSet::from([TRACE.to_owned(), "0".repeat(32)]);
    for bad in [
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
        long.as_str(),
        "",
        "nonsense",
    ] {
        let trace = trace_of(&house, &mut agent, &[("traceparent", bad)]).await;
        assert_eq!(trace.len(), 32, "{bad:?}");
        assert!(seen.insert(trace), "{bad:?} was believed, or two traces are one");
    }
    let twice = trace_of(&house, &mut agent, &[("traceparent", PARENT), ("traceparent", PARENT)]).await;
    assert!(seen.insert(twice), "two are none");
    assert!(seen.insert(trace_of(&house, &mut agent, &[]).await));
}

// rows: OBS-01
#[tokio::test]
async fn a_trace_changes_no_answer() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &[READ]).await.unwrap().grant;
    let first = get(&mut agent, &grant).await.unwrap();
    let others = ["00-11111111111111111111111111111111-1111111111111111-00", PARENT, "nonsense"];
    for parent in others {
        let request = GetTokenRequest { grant: grant.clone(), ..GetTokenRequest::default() };
        let again = agent.get_token(traced(request, &[("traceparent", parent)])).await.unwrap().into_inner();
        let (again, first) = (again.token.unwrap(), first.token.clone().unwrap());
        assert!(again.access_token == first.access_token, "the token held, not another");
    }
    assert_eq!(house.server.token_posts(), 1);
    let served = eventually("four hand-outs", || Some(house.events("token.served")).filter(|e| e.len() == 4)).await;
    let grounds: BTreeSet<String> = served.iter().map(|e| e["authorizations"].to_string()).collect();
    assert_eq!(grounds.len(), 1, "the same policies decided: {grounds:?}");
    let traces: BTreeSet<String> = served.iter().map(|e| e["unmapped"]["narrowgate"]["trace_id"].to_string()).collect();
    assert_eq!(traces.len(), 4);
}

// rows: OBS-02
#[tokio::test]
async fn what_else_comes_with_a_trace_goes_nowhere() {
    let house = Plan::new().open().await;
    let socket = house.path("run/agent.sock");
    let mut agent = TokenServiceClient::new(channel(&socket).await);
    // As much as fits into the headers of a call: it is dropped, and the call goes on.
    let state = format!("vendor={CANARY}{}", "x".repeat(6 * 1024));
    let baggage = format!("user={CANARY}{}", "y".repeat(6 * 1024));
    let headers = [("traceparent", PARENT), ("tracestate", state.as_str()), ("baggage", baggage.as_str())];
    let begun = agent.begin_authorization(traced(begin_request(&[READ]), &headers)).await.unwrap().into_inner();
    let callback = house.server.approve(&begun.authorization_url);
    let redeem = traced(redeem_request(&begun.transaction, &callback.url), &headers);
    agent.redeem_code(redeem).await.unwrap();
    // A MiB of it does not fit: the call is refused before anything of it is read, and the door stays open.
    let huge = format!("vendor={CANARY}{}", "z".repeat(1 << 20));
    let refused = agent.begin_authorization(traced(begin_request(&[READ]), &[("tracestate", &huge)])).await;
    assert!(refused.is_err());
    let mut agent = TokenServiceClient::new(channel(&socket).await);
    house.begin(&mut agent, &[READ]).await.unwrap();
    assert_eq!(house.events("authorization.decided").len(), 2);
    // The server was sent none of it.
    let tokens = house.server.token_requests().into_iter().map(|request| request.headers);
    let sent: Vec<_> = tokens.chain(house.server.front_headers()).collect();
    assert!(sent.len() >= 2, "the metadata and the code were asked for");
    for (name, value) in sent.into_iter().flatten() {
        assert!(!["traceparent", "tracestate", "baggage"].contains(&name.as_str()), "{name}");
        assert!(!value.contains(CANARY) && !value.contains(TRACE), "{name}: {value}");
    }
    assert!(!house.log().contains(CANARY) && !house.audit_text().contains(CANARY));
}
