use crate::{
    asking::{READ, WRITE, narrow, refused},
    house::{House, eventually, get},
    kit::{again, assert_sealed, beside, crash, granted, plan, restart, restored, store, used},
};
use narrowgate::api::proto::{RevocationOutcome, RevokeGrantRequest};
use rustix::process::Signal;
use std::{fs, os::unix::fs::MetadataExt};
use tonic::Code;

/// The refresh token that is sent next is the one that came last, whatever lies between.
fn assert_rotated(house: &House) {
    let issued: Vec<String> = house.server.issues().into_iter().map(|issue| issue.refresh).collect();
    assert_eq!(used(house), issued[..issued.len() - 1]);
    assert_eq!(house.server.reused_families(), 0);
}

// rows: RT-02 RT-01
#[tokio::test]
async fn after_a_stop_and_after_a_crash() {
    let (mut house, mut agent, grant) = granted(plan("")).await;
    narrow(&mut agent, &grant, &[READ]).await.unwrap();
    for round in 1..4 {
        let mut agent = if round == 2 { crash(&mut house).await } else { restart(&mut house).await };
        assert_eq!(restored(&house, round).await, (1, 0));
        // No token was kept: each is fetched anew, by the refresh token that came last.
        let posts = house.server.token_posts();
        narrow(&mut agent, &grant, &[WRITE]).await.unwrap();
        get(&mut agent, &grant).await.unwrap();
        assert_eq!(house.server.token_posts(), posts + 2);
        assert_rotated(&house);
        assert_sealed(&house);
    }
    assert_eq!(fs::metadata(store(&house)).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(house.path("store")).unwrap().mode() & 0o777, 0o700);
    assert!(house.server.revocations().is_empty(), "a restart revokes nothing that an agent has");
    let stopped = house.event("daemon.stopped").await;
    assert_eq!(stopped["unmapped"]["narrowgate"]["grants_stored"], 1);
    assert_eq!(stopped["unmapped"]["narrowgate"]["refresh_tokens_left"], 0);
    assert_eq!(stopped["unmapped"]["narrowgate"]["grant_store_written"], true);
}

// rows: RT-02
#[tokio::test]
async fn another_agent_finds_nothing_after_a_restart_either() {
    let (mut house, _, grant) = granted(plan("")).await;
    restart(&mut house).await;
    let up = || (house.log().matches("narrowgate is up").count() == 2).then_some(());
    eventually("its new port", up).await;
    let mut courier = house.svid_agent(crate::house::COURIER).await;
    refused(get(&mut courier, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    assert!(house.server.refreshes().is_empty());
}

// rows: RT-02
#[tokio::test]
async fn what_has_ended_stays_so() {
    let (mut house, mut agent, grant) = granted(plan("")).await;
    let kept = house.login(&mut agent, &[READ, WRITE]).await.unwrap().grant;
    let request = RevokeGrantRequest { grant: grant.clone(), ..RevokeGrantRequest::default() };
    let revoked = agent.revoke_grant(request).await.unwrap().into_inner();
    assert!(revoked.refresh_token() == RevocationOutcome::Revoked);
    // The agent was told: from that moment no crash brings it back.
    let mut agent = crash(&mut house).await;
    assert_eq!(restored(&house, 1).await, (1, 0));
    refused(get(&mut agent, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    get(&mut agent, &kept).await.unwrap();
    // The server ends the other one: dead, and so after a crash.
    house.server.end_all_families();
    refused(narrow(&mut agent, &kept, &[READ]).await, Code::FailedPrecondition, "REAUTH_REQUIRED");
    eventually("its record is gone", || house.events("exchange.failed").pop()).await;
    let mut agent = restart(&mut house).await;
    assert_eq!(restored(&house, 2).await, (0, 0));
    refused(get(&mut agent, &kept).await, Code::NotFound, "GRANT_UNKNOWN");
}

// rows: RT-02
#[tokio::test]
async fn one_file_has_one_daemon() {
    let (house, _agent, _) = granted(plan("")).await;
    // Another daemon with an audit log and a socket of its own, and the same file.
    let text = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    let text = text.replace("directory = \"audit\"", "directory = \"audit-2\"").replace("agent.sock", "agent-2.sock");
    crate::house::write(&house.path("second.toml"), &text);
    let mut second = crate::house::binary();
    second.arg("serve").arg("--config").arg(house.path("second.toml"));
    let output = tokio::task::spawn_blocking(move || second.output().unwrap()).await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("grants.redb is in use by another narrowgate"), "{said}");
    assert!(beside(&house, ".corrupt").is_empty());
}

// rows: RT-02
#[tokio::test]
async fn a_start_that_is_cut_off_loses_nothing() {
    let (mut house, _, grant) = granted(plan("")).await;
    house.signal(Signal::KILL).await;
    for wait in 0..12 {
        house.start();
        tokio::time::sleep(std::time::Duration::from_millis(wait * 7)).await;
        house.signal(Signal::KILL).await;
    }
    again(&mut house).await;
    get(&mut house.agent().await, &grant).await.unwrap();
    assert!(beside(&house, ".corrupt").is_empty());
}
