//! Answers that never end, or that are small on the wire and large in memory.

use crate::kit::*;

/// The daemon's resident memory, in KiB.
fn resident(house: &House) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_answer_is_cut_off_before_it_is_read() {
    let house = Plan::new().config("deadline = \"5s\"", "deadline = \"15s\"").open().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    let before = resident(&house);
    let depth = format!("{{\"access_token\":{}", "[".repeat(1 << 18));
    for answer in [
        Behaviour::EndlessBody,
        Behaviour::EndlessChunks,
        Behaviour::HugeHeader(1 << 20),
        Behaviour::Gzip,
        Behaviour::GzipBomb(32 << 20),
        body(200, &depth),
    ] {
        let what = format!("{answer:?}").chars().take(40).collect::<String>();
        let told = answered(&house, &mut agent, answer).await;
        assert!(
            ["AS_RESPONSE_MALFORMED", "REDEEM_OUTCOME_UNKNOWN"].contains(&reason(&told).as_str()),
            "{what}: {told:?}"
        );
    }
    assert!(house.server.endless_bytes() < 16 << 20, "{}", house.server.endless_bytes());
    let grown = resident(&house).saturating_sub(before);
    assert!(grown < 24 << 10, "it grew by {grown} KiB");
    for endless in [Behaviour::EndlessBody, Behaviour::GzipBomb(32 << 20)] {
        house.server.behave(Script::Metadata(endless));
        let _ = house.begin(&mut agent, &[READ]).await;
    }
    house.login(&mut agent, &[READ]).await.unwrap();
    assert!(resident(&house).saturating_sub(before) < 24 << 10);
}
