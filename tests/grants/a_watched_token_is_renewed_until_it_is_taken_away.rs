use crate::{
    asking::{READ, granted, refused, short, until},
    house::{
        COURIER, Plan, binary, eventually, get,
        scripted_as::behaviour::{Behaviour, Script},
    },
    watching::{broken, ended, lease, now, token, value, watch},
};
use narrowgate::api::proto::RevokeGrantRequest;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};
use tonic::Code;

fn revocation(grant: &str) -> RevokeGrantRequest {
    RevokeGrantRequest { grant: grant.to_owned(), ..RevokeGrantRequest::default() }
}

// rows: CACH-03 CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_token_comes_before_the_one_before_it_ends() {
    let (house, mut agent, redeemed) = granted(short(4)).await;
    let mut messages = watch(&mut agent, &redeemed.grant).await.unwrap();
    let mut before = token(&mut messages).await;
    assert_eq!(value(&before), redeemed.token.unwrap().access_token);
    for _ in 0..2 {
        let next = token(&mut messages).await;
        assert_ne!(value(&next), value(&before));
        assert!(now() < lease(&before) && lease(&before) < lease(&next));
        before = next;
    }
    // Each refresh is a decision of its own, and so is each hand-out.
    let refreshed = house.events("token.refreshed");
    assert_eq!((refreshed.len(), house.server.refreshes().len(), house.server.most_refreshes_at_once()), (2, 2, 1));
    for event in &refreshed {
        assert_eq!(event["unmapped"]["narrowgate"]["ahead"], true);
        assert_eq!(event["unmapped"]["narrowgate"]["operation"], "WatchToken");
    }
    let served = eventually("three hand-outs", || {
        let served = house.events("token.served");
        (served.len() == 3).then_some(served)
    });
    let served = served.await;
    assert!(served.iter().all(|event| event["unmapped"]["narrowgate"]["operation"] == "WatchToken"));
    let decided: Vec<_> = served.iter().map(|event| event["metadata"]["correlation_uid"].as_str().unwrap()).collect();
    assert_eq!(decided[2], before.decision_id);
}

// rows: INTR-03 (as far as its agent revokes)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_told_at_once_to_all_who_watch() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    let mut first = watch(&mut agent, &redeemed.grant).await.unwrap();
    let mut second = watch(&mut house.agent().await, &redeemed.grant).await.unwrap();
    token(&mut first).await;
    token(&mut second).await;
    // Of another agent's grant nothing is learnt.
    let mut other = house.svid_agent(COURIER).await;
    refused(watch(&mut other, &redeemed.grant).await, Code::NotFound, "GRANT_UNKNOWN");
    house.agent().await.revoke_grant(revocation(&redeemed.grant)).await.unwrap();
    for messages in [&mut first, &mut second] {
        assert_eq!(ended(messages).await.reason, "GRANT_UNKNOWN");
    }
    refused(watch(&mut agent, &redeemed.grant).await, Code::NotFound, "GRANT_UNKNOWN");
}

// rows: RT-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_end_of_a_grant_is_told_while_its_token_lives() {
    let (house, mut agent, redeemed) = granted(short(6)).await;
    let mut messages = watch(&mut agent, &redeemed.grant).await.unwrap();
    let last = token(&mut messages).await;
    house.server.end_all_families();
    assert_eq!(ended(&mut messages).await.reason, "REAUTH_REQUIRED");
    assert!(now() < lease(&last));
    refused(watch(&mut agent, &redeemed.grant).await, Code::FailedPrecondition, "REAUTH_REQUIRED");
}

// rows: RT-06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_whose_time_is_up_ends_its_watch_and_being_watched_is_no_idleness() {
    let grants = "[grants]\nidle_lifetime = \"6s\"\nabsolute_lifetime = \"9s\"\n\n[limits]";
    let (_house, mut agent, redeemed) = granted(Plan::new().config("[limits]", grants)).await;
    let begun = now();
    let mut messages = watch(&mut agent, &redeemed.grant).await.unwrap();
    token(&mut messages).await;
    assert_eq!(ended(&mut messages).await.reason, "GRANT_UNKNOWN");
    assert!(now() - begun > 7_000);
}

// rows: TOK-15 CACH-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_fails_is_tried_again_while_the_token_lives() {
    let (house, mut agent, redeemed) = granted(short(16)).await;
    let mut messages = watch(&mut agent, &redeemed.grant).await.unwrap();
    let first = token(&mut messages).await;
    house.server.behave(Script::Token(Behaviour::Status(500)));
    let second = token(&mut messages).await;
    assert!(value(&second) != value(&first) && now() < lease(&first));
    assert_eq!(house.events("exchange.failed").len(), 1);
}

// rows: CACH-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_no_successor_can_be_had_the_stream_breaks_and_says_why() {
    let (house, mut agent, redeemed) = granted(short(2)).await;
    let mut messages = watch(&mut agent, &redeemed.grant).await.unwrap();
    let last = token(&mut messages).await;
    house.server.always(Script::Token(Behaviour::Status(500)));
    assert_eq!(broken(&mut messages).await, (Code::Internal, "AS_REJECTED".to_owned()));
    assert!(now() >= lease(&last));
    assert!(house.server.refreshes().len() <= 4, "{}", house.server.refreshes().len());
    // It says nothing of the grant, which lives.
    house.server.always(Script::Token(Behaviour::Honest));
    until("another watch", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { watch(&mut agent, &grant).await.ok() }
    })
    .await;
}

// rows: CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_of_policy_ends_the_watch_when_the_token_does() {
    let no =
        "@id(\"no\") @code(\"closed\") forbid (principal, action == Narrowgate::Action::\"refresh_token\", resource);";
    let (house, mut agent, redeemed) = granted(short(2).policy(no)).await;
    let mut messages = watch(&mut agent, &redeemed.grant).await.unwrap();
    token(&mut messages).await;
    let end = ended(&mut messages).await;
    assert_eq!((end.reason.as_str(), end.metadata["policy_code"].as_str()), ("POLICY_DENIED", "closed"));
    let denied = house.events("exchange.decided").pop().unwrap();
    assert_eq!(denied["metadata"]["correlation_uid"], end.metadata["decision_id"].as_str());
    assert!(house.server.refreshes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_call_brings_is_given_to_those_who_watch_the_same() {
    let (_house, mut agent, redeemed) = granted(short(3)).await;
    let mut messages = watch(&mut agent, &redeemed.grant).await.unwrap();
    let first = token(&mut messages).await;
    // Both wait for the same successor; one of them fetches it.
    let other = until("the successor", || {
        let (mut agent, grant, first) = (agent.clone(), redeemed.grant.clone(), value(&first));
        async move { get(&mut agent, &grant).await.ok().filter(|got| value(got) != first) }
    })
    .await;
    assert_eq!(value(&token(&mut messages).await), value(&other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_prints_a_line_for_each() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    let mut command = binary();
    command.args(["token", "watch", "--scope", READ, "--endpoint", &house.endpoint(), "--grant", &redeemed.grant]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    assert!(first["access_token"].as_str().unwrap().starts_with("canary-at-"));
    assert_eq!(first["scopes"], serde_json::json!([READ]));
    agent.revoke_grant(revocation(&redeemed.grant)).await.unwrap();
    assert_eq!(next()["ended"], "GRANT_UNKNOWN");
    assert!(!child.wait().unwrap().success());
}
