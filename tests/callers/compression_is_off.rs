use crate::{
    asking::{READ, refused},
    house::{House, Plan, begin_request},
    raw,
    wire::{BEGIN, nothing_was_called},
};
use prost::Message;
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};
use tonic::Code;

fn peak_kib(house: &House) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// These bytes by gzip(1).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip").arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output.stdout
}

fn compressed(message: &[u8]) -> Vec<u8> {
    [&[1u8], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice(), message].concat()
}

// rows: GRPC-07 GRPC-02
#[tokio::test]
async fn a_compressed_message_is_refused_without_being_opened() {
    let house = Plan::new().open().await;
    let socket = house.path("run/agent.sock");
    let honest = gzip(&begin_request(&[READ]).encode_to_vec());
    // It fits the limit on messages, and holds 60 MiB.
    let bomb = gzip(&vec![0x0a; 60 << 20]);
    assert!(bomb.len() < 64 * 1024, "{}", bomb.len());
    for (encoding, message) in
        [("gzip", &honest), ("gzip", &bomb), ("deflate", &honest), ("x-own", &honest), ("zstd", &bomb)]
    {
        let before = peak_kib(&house);
        let answer = raw::send(&socket, BEGIN, &[("grpc-encoding", encoding)], compressed(message)).await;
        refused::<()>(Err(answer.status()), Code::Unimplemented, "ENCODING_UNSUPPORTED");
        let grown = peak_kib(&house).saturating_sub(before);
        assert!(grown < 8 * 1024, "memory grew by {grown} KiB");
    }
    // Marked as compressed by no declared encoding: no message at all (gRPC over HTTP/2, Compressed-Flag).
    for encoding in [None, Some(("grpc-encoding", "identity"))] {
        let headers: Vec<(&str, &str)> = encoding.into_iter().collect();
        let answer = raw::send(&socket, BEGIN, &headers, compressed(&bomb)).await;
        refused::<()>(Err(answer.status()), Code::InvalidArgument, "FIELD_INVALID");
    }
    nothing_was_called(&house);
    // What a client offers to understand is no demand, and replies are plain.
    let plain = begin_request(&[READ]).encode_to_vec();
    let answer = raw::call(&socket, BEGIN, &[("grpc-accept-encoding", "gzip,identity")], &plain).await;
    assert_eq!(answer.status().code(), Code::Ok);
    assert!(answer.headers.get("grpc-encoding").is_none() && answer.body[0] == 0);
}
