use crate::{
    house::{
        COURIER, Plan, reason,
        scripted_as::{
            Setup,
            behaviour::{Behaviour, Script},
        },
    },
    two::{CORP, Two},
};
use std::time::Duration;
use tokio::task::JoinHandle;

/// As many requests as may be under way at the partner.
const WIDTH: usize = 4;

/// Longer than the test: what hangs must still hang when the others are done.
fn plan() -> Plan {
    Plan::new().config(
        "call_deadline = \"20s\"",
        "call_deadline = \"120s\"\ncalls_in_flight = 8\ntransactions_per_agent = 100",
    )
}

fn ended<T>(calls: &[JoinHandle<T>]) -> usize {
    calls.iter().filter(|call| call.is_finished()).count()
}

/// Fills the lane of the partner from two agents, and logs in at `corp` all the while.
async fn the_others_do_not_notice(two: &Two, is_slow: impl Fn(&Two) -> usize) {
    let (mut quoter, mut courier) = (two.house.agent().await, two.house.svid_agent(COURIER).await);
    let mut hanging = Vec::new();
    for n in 1..=WIDTH {
        let (transaction, callback) = two.approved(&mut quoter).await;
        let mut agent = quoter.clone();
        hanging.push(tokio::spawn(
            async move { crate::house::redeem(&mut agent, &transaction, &callback).await.map(drop) },
        ));
        crate::house::eventually("the request hangs", || (is_slow(two) >= n).then_some(())).await;
    }
    // Its share is used up, half of the calls it may have under way; and the next are told so at once.
    for _ in 0..WIDTH {
        let refused = two.login(&mut quoter).await.err().unwrap();
        assert_eq!(reason(&refused), "ISSUER_BUSY");
    }
    for _ in 0..10 {
        two.house.login(&mut quoter, &[CORP]).await.unwrap();
        two.house.login(&mut courier, &[CORP]).await.unwrap();
    }
    assert_eq!(ended(&hanging), 0, "the partner hangs all the while");
    assert_eq!(two.house.server.token_posts(), 20);
    hanging.iter().for_each(JoinHandle::abort);
}

async fn open(change: impl FnOnce(&mut Setup<'_>)) -> Two {
    let issuer = format!("deadline = \"100s\"\nrequests_in_flight = {WIDTH}");
    Two::open(plan(), &issuer, change).await
}

// rows: TOK-08 GRPC-09 (attack 32)
#[tokio::test]
async fn which_takes_connections_and_never_says_a_word() {
    let two = open(|setup| setup.silent = true).await;
    the_others_do_not_notice(&two, |two| two.partner.token_connections()).await;
    assert_eq!(two.partner.token_handshakes(), 0);
}

// rows: TOK-08 GRPC-09 (attack 32)
#[tokio::test]
async fn which_stalls_in_the_handshake() {
    let two = open(|setup| setup.handshake_delay = Duration::from_secs(300)).await;
    the_others_do_not_notice(&two, |two| two.partner.token_connections()).await;
    assert_eq!(two.partner.token_handshakes(), 0);
}

// rows: TOK-08 GRPC-09 (attack 32)
#[tokio::test]
async fn which_answers_one_byte_a_second() {
    let two = open(|_| {}).await;
    two.partner.always(Script::Token(Behaviour::Dribble { interval_ms: 1000 }));
    the_others_do_not_notice(&two, |two| two.partner.token_posts()).await;
}

// rows: TOK-08 (attack 32)
#[tokio::test]
async fn which_sends_headers_without_end() {
    let two = open(|_| {}).await;
    let (mut quoter, mut courier) = (two.house.agent().await, two.house.svid_agent(COURIER).await);
    two.partner.always(Script::Token(Behaviour::EndlessHeaders));
    for _ in 0..WIDTH {
        let status = two.login(&mut quoter).await.err().unwrap();
        assert_eq!(reason(&status), "REDEEM_OUTCOME_UNKNOWN");
        two.house.login(&mut courier, &[CORP]).await.unwrap();
    }
    assert!(two.partner.endless_bytes() < 64 << 20, "they are not read for ever");
}

// rows: TOK-08 GRPC-09 (attack 32: metadata)
#[tokio::test]
async fn whose_metadata_never_comes() {
    let two = open(|_| {}).await;
    two.partner.always(Script::Metadata(Behaviour::Delay { ms: 300_000, then: Box::new(Behaviour::Honest) }));
    let (quoter, mut courier) = (two.house.agent().await, two.house.svid_agent(COURIER).await);
    let begin = || {
        let mut agent = quoter.clone();
        tokio::spawn(async move { Two::begin(&mut agent).await.map(drop) })
    };
    let mut hanging: Vec<_> = (0..2 * WIDTH).map(|_| begin()).collect();
    // Half of them are refused: the agent has the other half of its calls for the others.
    crate::house::eventually("the refusals", || (ended(&hanging) == WIDTH).then_some(())).await;
    for at in (0..hanging.len()).rev().collect::<Vec<_>>() {
        if hanging.get(at).is_some_and(JoinHandle::is_finished) {
            let refused = hanging.swap_remove(at).await.unwrap().err().unwrap();
            assert_eq!(reason(&refused), "ISSUER_BUSY");
        }
    }
    let mut quoter = quoter.clone();
    for _ in 0..5 {
        two.house.login(&mut quoter, &[CORP]).await.unwrap();
        two.house.login(&mut courier, &[CORP]).await.unwrap();
    }
    assert_eq!(ended(&hanging), 0);
    assert_eq!(two.partner.metadata_requests(), 1, "they wait for one fetch");
    hanging.iter().for_each(JoinHandle::abort);
}
