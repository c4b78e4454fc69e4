use crate::{
    asking::refused,
    house::{get, write},
    kit::{again, beside, granted, plan, restart, restored, store},
};
use std::fs;
use tonic::Code;

// rows: RT-02 (bad input: a corrupted or foreign grant store is reported by name and moved aside, never half used)
#[tokio::test]
async fn whatever_is_wrong_with_it() {
    let (mut house, _, grant) = granted(plan("")).await;
    house.stop().await;
    let sound = fs::read(store(&house)).unwrap();
    let mut flipped = sound.clone();
    // In the header, in every page.
    flipped.iter_mut().skip(64).step_by(509).for_each(|byte| *byte ^= 1);
    let bad = [flipped, sound[..sound.len() / 3].to_vec(), b"SQLite format 3\0".repeat(512), Vec::new()];
    for bytes in &bad {
        fs::write(store(&house), bytes).unwrap();
        let starts = house.events("grants.restored").len();
        again(&mut house).await;
        assert_eq!(restored(&house, starts).await, (0, 0));
        let event = house.events("grants.store_rejected").pop().unwrap();
        assert_eq!(event["severity"], "Critical");
        let moved_to = event["unmapped"]["narrowgate"]["moved_to"].as_str().unwrap();
        assert!(moved_to.contains("/store/grants.redb.corrupt-"), "{moved_to}");
        assert_eq!(fs::metadata(moved_to).unwrap().len(), bytes.len() as u64);
        assert!(house.log().contains("grants.redb.corrupt-"), "whoever starts it is told by name");
        let mut agent = house.agent().await;
        refused(get(&mut agent, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
        // The daemon works on, and keeps what is new.
        let new = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
        get(&mut restart(&mut house).await, &new).await.unwrap();
        house.stop().await;
    }
    assert_eq!(beside(&house, ".corrupt").len(), bad.len());
}

// rows: RT-02
#[tokio::test]
async fn another_key_is_no_damage() {
    let (mut house, _, grant) = granted(plan("")).await;
    house.stop().await;
    write(&house.path("grants.key"), &"a5".repeat(32));
    let mut serve = house.command("serve");
    let output = tokio::task::spawn_blocking(move || serve.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(64), "a mistake of the configuration, not of the machine");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("grants.redb was written with another key"), "{said}");
    assert!(beside(&house, ".corrupt").is_empty());
    // Nothing was lost.
    write(&house.path("grants.key"), &"5a".repeat(32));
    again(&mut house).await;
    get(&mut house.agent().await, &grant).await.unwrap();
}
