use crate::{
    asking::{READ, ask, refused},
    house::{COURIER, House, Plan, eventually, redeem_request},
    wire::{DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, Wire, call_block, frame, message},
};
use narrowgate::api::proto::RedeemCodeRequest;
use prost::Message;
use std::collections::BTreeSet;
use tokio::net::UnixStream;
use tonic::Code;

const REDEEM: &str = "/narrowgate.v1.TokenService/RedeemCode";
const ID: &str = "8d7bb66a-5f0a-4a57-8f3f-1a3b8a0fd001";

/// Redeems on a connection that takes an answer's head, and not one byte of its body: the window is closed.
async fn redeem_without_reading(house: &House) -> (RedeemCodeRequest, Wire<UnixStream>) {
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let request = RedeemCodeRequest { request_id: ID.to_owned(), ..redeem_request(&transaction, &callback.url) };
    // SETTINGS_INITIAL_WINDOW_SIZE 0 (RFC 9113 §6.5.2).
    let mut wire = Wire::unix(&house.path("run/agent.sock"), &[0, 4, 0, 0, 0, 0]).await;
    wire.until(SETTINGS).await.unwrap();
    let body = message(&request.encode_to_vec());
    let call = [frame(HEADERS, END_HEADERS, 1, &call_block(REDEEM)), frame(DATA, END_STREAM, 1, &body)].concat();
    wire.send(&call).await.unwrap();
    loop {
        let (kind, stream, _) = wire.next().await.expect("no answer came");
        assert_ne!(kind, DATA, "the window is closed");
        if (kind, stream) == (HEADERS, 1) {
            return (request, wire);
        }
    }
}

fn plan() -> Plan {
    let plan = Plan::new().config("commit_timeout = \"5s\"", "commit_timeout = \"5s\"\noutcome_hold = \"100ms\"");
    plan.config("[limits]", "[limits]\nreplay_window = \"2s\"")
}

// rows: LEAK-05 GRPC-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_was_never_taken_is_revoked() {
    let house = plan().open().await;
    for hang_up in [true, false] {
        let before = house.server.revocations().len();
        let (_, wire) = redeem_without_reading(&house).await;
        // To go away, and to stay and never read, come to the same.
        let kept = (!hang_up).then_some(wire);
        eventually("both revocations", || (house.server.revocations().len() == before + 2).then_some(())).await;
        drop(kept);
    }
    let hints: BTreeSet<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
    assert_eq!(hints, BTreeSet::from(["access_token".to_owned(), "refresh_token".to_owned()]));
    eventually("their events", || (house.events("token.revoked").len() == 4).then_some(())).await;
    assert!(house.events("token.revoked").iter().all(|e| e["unmapped"]["narrowgate"]["why"] == "reply_lost"));
    assert_eq!(house.server.token_posts(), 2);
}

// rows: LEAK-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_was_never_taken_is_for_the_same_caller_and_request_alone() {
    let house = plan().config("replay_window = \"2s\"", "replay_window = \"60s\"").open().await;
    let (request, wire) = redeem_without_reading(&house).await;
    drop(wire);
    // Not for another agent, and not for another request of the same one.
    let mut courier = house.svid_agent(COURIER).await;
    refused(ask(&mut courier, request.clone()).await, Code::NotFound, "TXN_UNKNOWN");
    let mut agent = house.agent().await;
    let other = RedeemCodeRequest { request_id: String::new(), ..request.clone() };
    refused(ask(&mut agent, other).await, Code::AlreadyExists, "CODE_ALREADY_USED");
    let recovered = ask(&mut agent, request).await.unwrap();
    assert!(recovered.recovered && !recovered.token.unwrap().access_token.is_empty());
    assert_eq!((house.server.token_posts(), house.server.revocation_posts()), (1, 0));
}
