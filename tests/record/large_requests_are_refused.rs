use crate::{
    house::{House, Plan, begin_request},
    raw,
    witness::Witness,
};
use narrowgate::api::proto::Claimed;
use prost::Message;
use std::fs;
use tonic::Code;

const LIMIT: usize = 64 * 1024;
const BEGIN: &str = "/narrowgate.v1.TokenService/BeginAuthorization";

/// A request of exactly this many bytes on the wire.
fn request_of(size: usize) -> Vec<u8> {
    let of = |length: usize| {
        let mut request = begin_request(&["customers.read"]);
        request.claimed = Some(Claimed { purpose: "p".repeat(length), ..Claimed::default() });
        request.encode_to_vec()
    };
    let message = (0..=size).rev().map(of).find(|m| m.len() <= size).unwrap();
    assert_eq!(message.len(), size);
    message
}

fn resident_kib(house: &House) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// rows: GRPC-06
#[tokio::test]
async fn one_byte_more_than_the_limit_is_too_much() {
    let house = Plan::new().open().await;
    let socket = house.path("run/agent.sock");
    let mut witness = Witness::default();
    // At the limit it is read, and then refused for what it says.
    let answer = raw::call(&socket, BEGIN, &[], &request_of(LIMIT)).await;
    witness.expect::<()>(Err(answer.status()), Code::InvalidArgument, "FIELD_INVALID");
    for size in [LIMIT + 1, 1 << 20, 5 << 20] {
        let answer = raw::call(&socket, BEGIN, &[], &vec![0x0a; size]).await;
        witness.expect::<()>(Err(answer.status()), Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    }
    let answer = raw::call(&socket, "/grpc.health.v1.Health/Check", &[], &request_of(LIMIT + 1)).await;
    assert_eq!(answer.status().code(), Code::ResourceExhausted);
}

// rows: GRPC-06
#[tokio::test]
async fn an_announced_length_reserves_nothing() {
    let house = Plan::new().open().await;
    let socket = house.path("run/agent.sock");
    raw::send(&socket, BEGIN, &[], vec![0, 0, 0, 0, 0]).await;
    let before = resident_kib(&house);
    for _ in 0..50 {
        // Four gigabytes are announced and a few bytes come.
        let answer = raw::send(&socket, BEGIN, &[], [&[0, 0xff, 0xff, 0xff, 0xff], b"abc".as_slice()].concat()).await;
        Witness::default().expect::<()>(Err(answer.status()), Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    }
    let grown = resident_kib(&house).saturating_sub(before);
    assert!(grown < 32 * 1024, "memory grew by {grown} KiB");
}

// rows: GRPC-01 GRPC-02
#[tokio::test]
async fn what_is_no_message_is_the_callers_mistake() {
    let house = Plan::new().open().await;
    let socket = house.path("run/agent.sock");
    let framed = |message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0u8], length.as_slice(), message].concat()
    };
    let canary = "canary-body-0123456789abcdef";
    let bodies = [
        framed(&[0xff; 32]),
        framed(&[&[0x0a, 0x7f], canary.as_bytes()].concat()),
        // A field of text that is not UTF-8.
        framed(&[&[0x0a, 30, 0xff, 0xfe], canary.as_bytes()].concat()),
        vec![7, 0, 0, 0, 1, 0],
        vec![1, 0, 0, 0, 1, 0],
        vec![0, 0, 0, 0, 9, 0],
        Vec::new(),
    ];
    for body in bodies {
        let shown = format!("{body:?}");
        let answer = raw::send(&socket, BEGIN, &[], body).await;
        Witness::default().expect::<()>(Err(answer.status()), Code::InvalidArgument, "FIELD_INVALID");
        assert!(!answer.around_the_message().contains(canary), "{shown}");
    }
    assert!(!house.log().contains(canary));
}
