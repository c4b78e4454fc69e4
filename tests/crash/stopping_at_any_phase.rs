//! SIGTERM while a redemption stands still at each phase.

use crate::{
    house::{
        House, begin_request, eventually,
        scripted_as::behaviour::{RevocationBehaviour, Script},
        unix_channel,
    },
    ledger::{Ledger, References},
    phase::{Phase, hold},
    plan,
    strace::Injected,
};
use narrowgate::api::proto::token_service_client::TokenServiceClient;
use rustix::process::Signal;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use tonic::{Code, Streaming, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};

async fn watch(house: &House) -> Streaming<HealthCheckResponse> {
    let mut client = HealthClient::new(unix_channel(&house.path("run/agent.sock")).await);
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, ServingStatus::Serving);
    watch
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    let message = tokio::time::timeout(Duration::from_secs(10), watch.message()).await;
    message.expect("in time").unwrap().expect("the watch goes on").status()
}

/// A call on a connection that is made when it is needed.
async fn new_call(socket: &Path) -> tonic::Status {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
    let call = async { TokenServiceClient::new(channel).begin_authorization(begin_request(&["customers.read"])).await };
    let answer = tokio::time::timeout(Duration::from_secs(5), call).await.expect("an answer at once, not at the end");
    answer.map(drop).unwrap_err()
}

/// The daemon's last word, and the books in order.
fn assert_last_word(house: &House) -> Value {
    Ledger::closed(&house.path("audit"));
    let last = house.audit().pop().unwrap();
    assert_eq!(last["metadata"]["event_code"], "daemon.stopped", "{last}");
    last["unmapped"]["narrowgate"].clone()
}

fn sorted(tokens: impl Iterator<Item = String>) -> BTreeSet<String> {
    tokens.collect()
}

// rows: GRPC-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_finished() {
    for phase in Phase::ALL {
        let mut house = plan().open().await;
        let (mut agent, mut watch) = (house.agent().await, watch(&house).await);
        let Some(mut held) = hold(&house, &mut agent, phase).await else { continue };
        house.tell(Signal::TERM);
        assert_eq!(next(&mut watch).await, ServingStatus::NotServing, "{phase:?}");
        // Not only when it ends: a new connection is refused while it drains.
        let socket = house.path("run/agent.sock");
        eventually("the door is closed", || (!socket.exists()).then_some(())).await;
        let status = new_call(&socket).await;
        assert_eq!(status.code(), Code::Unavailable, "{phase:?}: {status:?}");
        // On the old connection too, before and after its GOAWAY. If that comes while the client hands the call to the
        // connection, tonic calls it cancelled, or repeats the GOAWAY as an internal error; either way it was not taken.
        let status = agent.begin_authorization(begin_request(&["customers.read"])).await.err().unwrap();
        let refused = matches!(status.code(), Code::Unavailable | Code::Cancelled);
        assert!(refused || format!("{status:?}").contains("NO_ERROR, Remote"), "{phase:?}: {status:?}");
        held.go_on(&house);
        let answer = held.answer().await.unwrap_or_else(|s| panic!("{phase:?}: {s:?}"));
        assert_eq!(answer.token.unwrap().access_token, house.server.issues().pop().unwrap().access);
        drop(watch);
        assert_eq!(house.ended().await, Some(0), "{phase:?}");
        let facts = assert_last_word(&house);
        assert_eq!((&facts["grants_left"], &facts["refresh_tokens_left"]), (&1.into(), &1.into()), "{phase:?}");
        assert_eq!((house.server.token_posts(), house.server.revocation_posts()), (1, 0), "{phase:?}");
    }
}

// rows: GRPC-13 GRPC-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_waits_for_any_more_is_revoked() {
    for phase in Phase::ALL {
        let mut house = plan().open().await;
        let mut agent = house.agent().await;
        let Some(mut held) = hold(&house, &mut agent, phase).await else { continue };
        held.hang_up().await;
        house.tell(Signal::TERM);
        eventually("the stop", || house.log().contains("stopping: SIGTERM").then_some(())).await;
        held.go_on(&house);
        assert_eq!(house.ended().await, Some(0), "{phase:?}");
        let facts = assert_last_word(&house);
        assert_eq!(facts["grants_left"], 0, "{phase:?}");
        let issued = sorted(house.server.issues().into_iter().flat_map(|issue| [issue.access, issue.refresh]));
        let revoked = sorted(house.server.revocations().into_iter().map(|(_, token)| token));
        // Before the POST it depends on who was quicker: nothing is issued, or what was is revoked.
        assert_eq!(revoked, issued, "{phase:?}");
        assert!(issued.len() == 2 || !phase.is_sent(), "{phase:?}");
        let said = house.events("token.revoked");
        assert_eq!(said.len(), issued.len(), "{phase:?}");
        assert!(said.iter().all(|e| e["unmapped"]["narrowgate"]["why"] == "stopped_undelivered"), "{phase:?}");
    }
}

/// Reads frames (RFC 9113 §4.1) until a GOAWAY; its error code.
async fn goaway(stream: &mut UnixStream) -> u32 {
    loop {
        let mut head = [0u8; 9];
        stream.read_exact(&mut head).await.expect("a GOAWAY before the end");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0u8; length];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == 7 {
            return u32::from_be_bytes(payload[4..8].try_into().unwrap());
        }
    }
}

// rows: GRPC-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_gets_goaway_and_the_stop_is_quick() {
    let mut house = plan().open().await;
    let mut idle = UnixStream::connect(house.path("run/agent.sock")).await.unwrap();
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // The server's own settings: it has taken the connection.
    let mut first = [0u8; 9];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(first[3], 4);
    let mut rest = vec![0u8; usize::from(first[1]) << 8 | usize::from(first[2])];
    idle.read_exact(&mut rest).await.unwrap();
    house.tell(Signal::TERM);
    assert_eq!(goaway(&mut idle).await, 0, "NO_ERROR");
    let began = Instant::now();
    assert_eq!(house.ended().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_last_word(&house);
}

// rows: GRPC-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once_and_is_on_record() {
    for second in [Signal::TERM, Signal::INT] {
        let mut house = plan().open().await;
        let mut agent = house.agent().await;
        let mut held = hold(&house, &mut agent, Phase::Sent).await.unwrap();
        house.tell(Signal::TERM);
        eventually("the stop", || house.log().contains("stopping: SIGTERM").then_some(())).await;
        house.tell(second);
        // The server still says nothing: nobody waited for it.
        assert_eq!(house.ended().await, Some(1));
        let last = house.event("daemon.stopped").await;
        let facts = &last["unmapped"]["narrowgate"];
        assert_eq!((&facts["cut_off"], &last["severity"]), (&true.into(), &"High".into()));
        assert!(facts["under_way"].as_u64().unwrap() >= 1);
        held.answer().await.err().expect("cut off");
        held.go_on(&house);
        house.start();
        house.wait_until_serving().await;
        let unknown = house.event("exchange.unknown").await;
        assert_eq!(unknown["metadata"]["correlation_uid"], held.exchange.as_str());
        assert_eq!(house.stop().await, Some(0));
        assert_last_word(&house);
    }
}

// rows: GRPC-13 (what a stop does to tokens that agents hold)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_tokens_outlive_a_stop_unless_their_issuer_says_otherwise() {
    for (switch, revoked) in [("false", 0), ("true", 6)] {
        let switch = format!("deadline = \"5s\"\nrevoke_on_stop = {switch}");
        let mut house = plan().config("deadline = \"5s\"", &switch).open().await;
        let mut agent = house.agent().await;
        for _ in 0..3 {
            house.login(&mut agent, &["customers.read"]).await.unwrap();
        }
        assert_eq!(house.stop().await, Some(0));
        let facts = assert_last_word(&house);
        let left = if revoked == 0 { 3 } else { 0 };
        assert_eq!((&facts["grants_left"], &facts["refresh_tokens_left"]), (&left.into(), &left.into()));
        assert_eq!(house.server.revocation_posts(), revoked);
        let said = house.events("token.revoked");
        assert_eq!(said.len(), revoked);
        assert!(said.iter().all(|e| e["unmapped"]["narrowgate"]["why"] == "stopped"));
        let books = Ledger::closed(&house.path("audit"));
        let references = References::of(&house.path("audit"));
        for issue in house.server.issues().iter().filter(|_| revoked > 0) {
            assert!(books.revoked.contains(&references.access_token(&issue.access)));
            assert!(books.revoked.contains(&references.refresh_token(&issue.refresh)));
        }
    }
}

// rows: GRPC-13 AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_does_not_hold_the_stop_up() {
    let mut house =
        crate::house::Plan::new().config("commit_timeout = \"5s\"", "commit_timeout = \"300ms\"").open().await;
    let Some(injected) = Injected::into(&house, "delay_enter=60000000").await else { return };
    let mut agent = house.agent().await;
    let status = house.begin(&mut agent, &["customers.read"]).await.err().unwrap();
    assert_eq!(crate::house::reason(&status), "AUDIT_UNAVAILABLE");
    house.tell(Signal::TERM);
    // strace keeps the dead from being waited for, so this looks at its state: gone long before the disk comes back.
    let status = format!("/proc/{}/status", house.pid());
    let dead = || std::fs::read_to_string(&status).unwrap().contains("State:\tZ").then_some(());
    eventually("its end", dead).await;
    drop(injected);
    assert_eq!(house.ended().await, Some(0));
    assert!(house.events("daemon.stopped").is_empty(), "what was never written is not there");
}

// rows: GRPC-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_revoke_does_not_hold_the_stop_up() {
    let mut house = plan().config("deadline = \"5s\"", "deadline = \"1s\"\nrevoke_on_stop = true").open().await;
    let mut agent = house.agent().await;
    for _ in 0..3 {
        house.login(&mut agent, &["customers.read"]).await.unwrap();
    }
    house.server.always(Script::Revocation(RevocationBehaviour::Status(503)));
    assert_eq!(house.stop().await, Some(0));
    assert_last_word(&house);
    let failed = house.events("token.revoke_failed");
    assert_eq!(failed.len(), 6, "each token that was not revoked is said");
    assert!(failed.iter().all(|event| event["severity"] == "High"));
}
