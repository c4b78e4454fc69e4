use crate::{
    house::{
        House, fact,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{BOTH, MALFORMED, NONE, member, plan, refuses, settled},
};
use serde_json::json;
use std::fs;
use tonic::Code;

/// What a broken answer head comes to.
const UNKNOWN: (Code, &str) = (Code::Aborted, "REDEEM_OUTCOME_UNKNOWN");
/// What the server may write before it learns that nobody reads: the sockets' own buffers.
const SOCKET_BUFFERS: u64 = 16 << 20;

fn status_kib(house: &House, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// rows: TOK-07
#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    for behaviour in [Behaviour::EndlessBody, Behaviour::EndlessChunks] {
        let before = house.server.endless_bytes();
        // The tokens in it had come whole before it was cut off.
        let status = refuses(&house, &mut agent, behaviour, MALFORMED, BOTH).await;
        assert_eq!(fact(&status, "rule").as_deref(), Some("size"));
        assert!(house.server.endless_bytes() - before < SOCKET_BUFFERS);
    }
    refuses(&house, &mut agent, Behaviour::HugeHeader(1 << 20), UNKNOWN, NONE).await;
    refuses(&house, &mut agent, Behaviour::HugeHeader(80 << 10), UNKNOWN, NONE).await;
    settled(&house, &mut agent).await;
}

// rows: TOK-07
#[tokio::test]
async fn an_answer_ends_at_64_kib() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let padded = |kib: usize| member("x_pad", json!("x".repeat(kib << 10)));
    refuses(&house, &mut agent, padded(65), MALFORMED, BOTH).await;
    house.server.behave(Script::Token(padded(60)));
    settled(&house, &mut agent).await;
    assert_eq!(house.server.revocation_posts(), 2);
}

// rows: TOK-07
#[tokio::test]
async fn only_plain_encoding_is_asked_for_and_taken() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    refuses(&house, &mut agent, Behaviour::Gzip, MALFORMED, NONE).await;
    refuses(&house, &mut agent, Behaviour::GzipBomb(32 << 20), MALFORMED, NONE).await;
    refuses(&house, &mut agent, Behaviour::GzipBomb(64 << 20), MALFORMED, NONE).await;
    settled(&house, &mut agent).await;
    for sent in house.server.token_requests().iter().chain(&house.server.revocation_requests()) {
        assert_eq!(sent.header("accept-encoding"), Some("identity"));
    }
}

// rows: TOK-07
#[tokio::test]
async fn an_oversized_answer_costs_next_to_no_memory() {
    let mut plan = plan();
    // At TRACE the log's own buffers would be what is measured.
    plan.log = "info".to_owned();
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let oversized = || {
        [
            Behaviour::EndlessBody,
            Behaviour::EndlessChunks,
            Behaviour::HugeHeader(1 << 20),
            Behaviour::GzipBomb(32 << 20),
        ]
    };
    // Once to warm up: allocator arenas, policy evaluation, the first segment of the log.
    for behaviour in oversized() {
        let (expected, revoked) = match behaviour {
            Behaviour::HugeHeader(_) => (UNKNOWN, NONE),
            Behaviour::GzipBomb(_) => (MALFORMED, NONE),
            _ => (MALFORMED, BOTH),
        };
        refuses(&house, &mut agent, behaviour, expected, revoked).await;
    }
    fs::write(format!("/proc/{}/clear_refs", house.pid()), "5").unwrap();
    let before = status_kib(&house, "VmRSS");
    for behaviour in oversized() {
        let (expected, revoked) = match behaviour {
            Behaviour::HugeHeader(_) => (UNKNOWN, NONE),
            Behaviour::GzipBomb(_) => (MALFORMED, NONE),
            _ => (MALFORMED, BOTH),
        };
        refuses(&house, &mut agent, behaviour, expected, revoked).await;
    }
    let peak = status_kib(&house, "VmHWM");
    assert!(peak.saturating_sub(before) < 1024, "{before} KiB became {peak} KiB");
}
