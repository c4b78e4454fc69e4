use crate::{
    asking::READ,
    house::{House, Plan, begin_request, get},
    wire::{
        BEGIN, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, Wire, block,
        call_block, frame, message, nothing_was_called,
    },
};
use prost::Message;
use std::time::Duration;
use tokio::net::UnixStream;

/// RFC 9113 §7.
const ENHANCE_YOUR_CALM: u32 = 11;
/// Longer than any of these takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

async fn connect(house: &House) -> Wire<UnixStream> {
    let mut wire = Wire::unix(&house.path("run/agent.sock"), &[]).await;
    wire.until(SETTINGS).await.unwrap();
    wire
}

/// Sends this again and again until the other side has had enough, and gives the error code it ends with.
async fn flood(wire: Wire<UnixStream>, count: u32, piece: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Option<u32> {
    let (reading, mut writing) = wire.0.into_split();
    let writer = tokio::spawn(async move {
        for number in 0..count {
            if tokio::io::AsyncWriteExt::write_all(&mut writing, &piece(number)).await.is_err() {
                break;
            }
        }
        writing
    });
    let mut reader = Wire(tokio::io::join(reading, tokio::io::sink()));
    let goaway = tokio::time::timeout(PATIENCE, reader.until(GOAWAY)).await.expect("it has not had enough");
    // Whoever goes away cleanly says so first, and what it has against us last.
    let mut code = goaway.map(|(_, payload)| code_of(&payload));
    while let Ok(Some((_, payload))) = tokio::time::timeout(Duration::from_secs(1), reader.until(GOAWAY)).await {
        code = Some(code_of(&payload));
    }
    drop(writer.await);
    code
}

fn code_of(goaway: &[u8]) -> u32 {
    u32::from_be_bytes([goaway[4], goaway[5], goaway[6], goaway[7]])
}

/// While a hostile connection does what it does, another one is served, call for call.
async fn served_beside(house: &House, hostile: impl Future<Output = Option<u32>>) -> Option<u32> {
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &[READ]).await.unwrap().grant;
    let honest = async {
        for _ in 0..20 {
            get(&mut agent, &grant).await.unwrap();
        }
    };
    let (code, ()) = tokio::join!(hostile, honest);
    get(&mut agent, &grant).await.unwrap();
    code
}

// rows: GRPC-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_end_the_connection() {
    let house = Plan::new().open().await;
    let wire = connect(&house).await;
    let open_and_reset = |number: u32| {
        let stream = 2 * number + 1;
        let cancel = 8u32.to_be_bytes();
        [frame(HEADERS, END_HEADERS, stream, &call_block(BEGIN)), frame(RST_STREAM, 0, stream, &cancel)].concat()
    };
    let code = served_beside(&house, flood(wire, 100_000, open_and_reset)).await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
}

// rows: GRPC-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_end_the_connection() {
    let house = Plan::new().open().await;
    let wire = connect(&house).await;
    // CVE-2024-27316 and its kin: a header block that goes on and on.
    let go_on = |number: u32| {
        let fields = block(&[("x-pad", &"x".repeat(120))]).repeat(64);
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        let payload = if number == 0 { call_block(BEGIN) } else { fields };
        frame(kind, 0, 1, &payload)
    };
    let code = served_beside(&house, flood(wire, 100_000, go_on)).await;
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
}

// rows: GRPC-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_list_over_the_limit_reaches_nobody() {
    let house = Plan::new().open().await;
    let mut wire = connect(&house).await;
    let large = [call_block(BEGIN), block(&[("x-pad", &"x".repeat(120))]).repeat(140)].concat();
    assert!(large.len() > 16 * 1024 && large.len() < 20 * 1024);
    let (first, rest) = large.split_at(16_000);
    let bytes = [frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat();
    wire.send(&bytes).await.unwrap();
    // 431 in the answer's block, or a reset of the stream: the connection is told, and goes on.
    let (kind, stream, _) = loop {
        let next = tokio::time::timeout(PATIENCE, wire.next()).await.unwrap().unwrap();
        if matches!(next.0, HEADERS | RST_STREAM | GOAWAY) {
            break next;
        }
    };
    assert!((kind == HEADERS || kind == RST_STREAM) && stream == 1, "{kind} on {stream}");
    nothing_was_called(&house);
}

// rows: GRPC-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_allowed_are_refused_one_by_one() {
    let house = Plan::new().open().await;
    let mut wire = connect(&house).await;
    // Open, and never finished: the message does not come.
    let opened: Vec<u8> =
        (0..200u32).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &call_block(BEGIN))).collect();
    wire.send(&opened).await.unwrap();
    let mut refused = 0;
    while refused < 200 - 128 {
        let (_, reason) = tokio::time::timeout(PATIENCE, wire.until(RST_STREAM)).await.unwrap().unwrap();
        // REFUSED_STREAM: nothing of it was looked at, it may be tried again.
        assert_eq!(reason, 7u32.to_be_bytes());
        refused += 1;
    }
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[READ]).await.unwrap();
    assert_eq!(house.events("authorization.decided").len(), 1);
}

// rows: GRPC-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_pings_without_end_cost_their_sender_alone() {
    let house = Plan::new().open().await;
    for (kind, payload) in [(SETTINGS, Vec::new()), (PING, vec![0; 8])] {
        let mut wire = connect(&house).await;
        let bytes = frame(kind, 0, 0, &payload).repeat(1000);
        let before = resident_kib(&house);
        // Never read: what is answered to it piles up at the sender's own end, and then nothing more is taken.
        let flooding = async {
            for _ in 0..2000 {
                if tokio::time::timeout(Duration::from_millis(500), wire.send(&bytes)).await.is_err() {
                    break;
                }
            }
            None
        };
        served_beside(&house, flooding).await;
        let grown = resident_kib(&house).saturating_sub(before);
        assert!(grown < 16 * 1024, "memory grew by {grown} KiB");
    }
}

// rows: GRPC-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_without_end_end_the_connection() {
    let house = Plan::new().open().await;
    let mut wire = connect(&house).await;
    // As many as a library may send to measure a link, each answered.
    for _ in 0..100 {
        wire.send(&frame(PING, 0, 0, &[7; 8])).await.unwrap();
        let (_, payload) = tokio::time::timeout(PATIENCE, wire.until(PING)).await.unwrap().expect("it ended");
        assert_eq!(payload, [7; 8]);
    }
    let flooding = async {
        for _ in 0..1000 {
            if wire.send(&frame(PING, 0, 0, &[0; 8]).repeat(100)).await.is_err() {
                break;
            }
        }
        // Answers to some, and then the end: hyper has no way to say ENHANCE_YOUR_CALM for us.
        let ended = async { while wire.next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("it goes on");
        None
    };
    served_beside(&house, flooding).await;
}

// rows: GRPC-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_gone_is_noticed_and_one_that_is_silent_is_not_sent_away() {
    let limits = "[limits]\nkeepalive = \"1s\"\n";
    let house = Plan::new().config("[limits]\n", limits).open().await;
    let (mut gone, mut silent) = (connect(&house).await, connect(&house).await);
    // Half open: it answers no ping, and is sent away.
    let ended = async {
        let mut pings = 0;
        while let Some((kind, ..)) = gone.next().await {
            pings += usize::from(kind == PING);
        }
        pings
    };
    // The other answers, and outlives it.
    let answering = async {
        for _ in 0..4 {
            let (_, payload) = silent.until(PING).await.expect("it was sent away");
            silent.send(&frame(PING, 1, 0, &payload)).await.unwrap();
        }
    };
    let both = async { tokio::join!(ended, answering) };
    let (pings, ()) = tokio::time::timeout(PATIENCE, both).await.expect("it is kept");
    assert_eq!(pings, 1);
}

fn resident_kib(house: &House) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// rows: GRPC-08
#[tokio::test]
async fn an_old_connection_is_asked_to_come_anew_and_its_call_is_answered() {
    let house = Plan::new().config("[limits]\n", "[limits]\nconnection_age = \"1s\"\n").open().await;
    let mut wire = connect(&house).await;
    // A call that began before: its message comes after GOAWAY.
    wire.send(&frame(HEADERS, END_HEADERS, 1, &call_block(BEGIN))).await.unwrap();
    let (_, payload) = tokio::time::timeout(PATIENCE, wire.until(GOAWAY)).await.unwrap().unwrap();
    assert_eq!(code_of(&payload), 0);
    let body = message(&begin_request(&[READ]).encode_to_vec());
    wire.send(&frame(DATA, END_STREAM, 1, &body)).await.unwrap();
    let answered = async {
        let mut answered = false;
        while let Some((kind, stream, _)) = wire.next().await {
            answered |= kind == DATA && stream == 1;
            // hyper measures its last stream by a ping (RFC 9113 §6.8).
            if kind == PING {
                let _ = wire.send(&frame(PING, 1, 0, &[0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54])).await;
            }
        }
        answered
    };
    assert!(tokio::time::timeout(PATIENCE, answered).await.expect("it lives on"), "the call was cut off");
}
