use crate::{
    asking::{READ, WRITE, granted, narrow, refused, token, wanted},
    house::{COURIER, Plan, eventually, fact},
};
use narrowgate::api::proto::{Claimed, GetTokenRequest};
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tonic::Code;

// rows: RT-03 CACH-07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_are_one_post_and_fifty_answers() {
    let (house, agent, redeemed) = granted(Plan::new()).await;
    house.server.set_pause(true);
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        calls.spawn(async move { narrow(&mut agent, &grant, &[READ]).await });
    }
    eventually("the first POST", || (house.server.refreshes().len() == 1).then_some(())).await;
    house.server.set_pause(false);
    let answers: Vec<_> = calls.join_all().await.into_iter().map(Result::unwrap).collect();
    let tokens: BTreeSet<_> = answers.iter().map(|answer| token(answer).access_token.clone()).collect();
    let decisions: BTreeSet<_> = answers.iter().map(|answer| answer.decision_id.clone()).collect();
    assert_eq!((answers.len(), tokens.len(), decisions.len()), (50, 1, 50));
    assert_eq!((house.server.refreshes().len(), house.server.most_refreshes_at_once()), (1, 1));
    assert_eq!(house.events("token.refreshed").len(), 1);
    eventually("the others' hand-outs", || (house.events("token.served").len() == 49).then_some(())).await;
}

// rows: RT-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_tokens_of_one_grant_are_fetched_one_after_the_other() {
    let (house, agent, redeemed) = granted(Plan::new()).await;
    let mut calls = JoinSet::new();
    for scope in [READ, WRITE, READ, WRITE] {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        calls.spawn(async move { narrow(&mut agent, &grant, &[scope]).await });
    }
    for answer in calls.join_all().await {
        answer.unwrap();
    }
    // Had one refresh token been used twice, the server would have ended the family.
    assert_eq!((house.server.refreshes().len(), house.server.most_refreshes_at_once()), (2, 1));
    assert_eq!(house.server.reused_families(), 0);
}

// rows: CACH-07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hangs_up_leaves_its_token_to_those_that_wait() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    house.server.set_pause(true);
    let call = |agent: &crate::house::Agent| {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        tokio::spawn(async move { narrow(&mut agent, &grant, &[READ]).await })
    };
    let leader = call(&agent);
    eventually("the leader's POST", || (house.server.refreshes().len() == 1).then_some(())).await;
    let follower = call(&agent);
    leader.abort();
    assert!(leader.await.is_err_and(|error| error.is_cancelled()));
    // Another agent does not even find the grant, and waits for nobody.
    let mut other = house.svid_agent(COURIER).await;
    refused(narrow(&mut other, &redeemed.grant, &[READ]).await, Code::NotFound, "GRANT_UNKNOWN");
    house.server.set_pause(false);
    let followed = follower.await.unwrap().unwrap();
    let again = narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    assert_eq!(token(&followed).access_token, token(&again).access_token);
    assert_eq!(house.server.refreshes().len(), 1);
    // The abandoned exchange has its closing line all the same.
    let (decided, refreshed) = (house.event("token.refreshed").await, house.events("token.refreshed").len());
    assert_eq!((refreshed, &decided["status_id"]), (1, &1.into()));
}

// rows: CACH-07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_that_waits_has_a_decision_of_its_own() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    house.server.set_pause(true);
    let (mut leader, grant) = (agent.clone(), redeemed.grant.clone());
    let leader = tokio::spawn(async move { narrow(&mut leader, &grant, &[READ]).await });
    eventually("the leader's POST", || (house.server.refreshes().len() == 1).then_some(())).await;
    let claimed = Some(Claimed { purpose: "bulk-export".to_owned(), ..Claimed::default() });
    let greedy = GetTokenRequest { claimed, ..wanted(&redeemed.grant, &[READ]) };
    let mut other = agent.clone();
    let (waits, again) = (greedy.clone(), greedy);
    let follower = tokio::spawn(async move { other.get_token(waits).await });
    house.server.set_pause(false);
    leader.await.unwrap().unwrap();
    let status = refused(follower.await.unwrap(), Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("bulk_export"));
    refused(agent.get_token(again).await, Code::PermissionDenied, "POLICY_DENIED");
    narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    assert_eq!(house.server.refreshes().len(), 1);
}
