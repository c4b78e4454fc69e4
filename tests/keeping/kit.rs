//! A house whose grants are kept in a file.

use crate::{
    asking::{READ, WRITE},
    house::{Agent, House, Plan, eventually, write},
};
use rustix::process::Signal;
use std::{fs, path::PathBuf};

/// Grants in `store/grants.redb`, under a key of its own. `more` is further lines of `[grants]`.
pub(crate) fn plan(more: &str) -> Plan {
    stored(Plan::new(), more)
}

/// The same of another house.
pub(crate) fn stored(plan: Plan, more: &str) -> Plan {
    let grants = format!(
        "[grants]\nstore = \"file\"\nfile = \"store/grants.redb\"\nkey_file = \"grants.key\"\n{more}\n\n[limits]"
    );
    // Without a circuit breaker, so that every POST can be counted.
    plan.config("[limits]", &grants).config("deadline = \"5s\"", "deadline = \"5s\"\ncircuit_breaker = false")
}

/// The house with its key, not yet started.
pub(crate) fn build(plan: Plan) -> House {
    let house = plan.build();
    write(&house.path("grants.key"), &"5a".repeat(32));
    house
}

pub(crate) async fn open(plan: Plan) -> House {
    let mut house = build(plan);
    again(&mut house).await;
    house
}

/// A house with a grant of reading and writing customers.
pub(crate) async fn granted(plan: Plan) -> (House, Agent, String) {
    let house = open(plan).await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &[READ, WRITE]).await.unwrap().grant;
    (house, agent, grant)
}

/// Starts the daemon, and waits until it serves.
pub(crate) async fn again(house: &mut House) {
    house.start();
    house.wait_until_serving().await;
}

/// Ends it without a word, and starts it again.
pub(crate) async fn crash(house: &mut House) -> Agent {
    house.signal(Signal::KILL).await;
    again(house).await;
    house.agent().await
}

/// Stops it in order, and starts it again.
pub(crate) async fn restart(house: &mut House) -> Agent {
    assert_eq!(house.stop().await, Some(0));
    again(house).await;
    house.agent().await
}

pub(crate) fn store(house: &House) -> PathBuf {
    house.path("store/grants.redb")
}

/// The files beside the store with this in their name.
pub(crate) fn beside(house: &House, part: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(house.path("store")).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().contains(part)).collect()
}

/// The numbers of the last start's record: grants held, grants dropped.
pub(crate) async fn restored(house: &House, start: usize) -> (u64, u64) {
    let event = eventually("the record of what was restored", || house.events("grants.restored").get(start).cloned());
    let event = event.await;
    let facts = &event["unmapped"]["narrowgate"];
    (facts["held"].as_u64().unwrap(), facts["dropped"].as_u64().unwrap())
}

/// The refresh tokens that were sent, in order.
pub(crate) fn used(house: &House) -> Vec<String> {
    house.server.refreshes().iter().map(|request| request.param("refresh_token").unwrap().to_owned()).collect()
}

/// Nothing that the server knows as a secret is in the folder of the store.
pub(crate) fn assert_sealed(house: &House) {
    let secrets = house.server.secrets();
    assert!(secrets.iter().any(|secret| secret.starts_with("canary-rt-")));
    for path in beside(house, "") {
        let bytes = fs::read(&path).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!secrets.iter().any(|secret| holds(secret.as_bytes())), "a secret is in {}", path.display());
        assert!(!holds(b"canary") && !holds(b"grant_") && !holds(b"quoter"), "{} can be read", path.display());
    }
}
