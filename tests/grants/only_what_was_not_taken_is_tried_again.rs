use crate::{
    asking::{READ, WRITE, granted, narrow, refused, unbroken, until, wanted},
    house::{
        COURIER, Plan, reason,
        scripted_as::behaviour::{Behaviour, Script},
        write,
    },
};
use std::{fmt::Write as _, time::Duration};
use tokio::task::JoinSet;
use tonic::{Code, Request};
use tonic_types::StatusExt;

fn busy(status: u16, retry_after: &str) -> Script {
    let headers = vec![("Retry-After".to_owned(), retry_after.to_owned())];
    Script::Token(Behaviour::Raw { status, headers, body: Vec::new() })
}

// rows: TOK-15
#[tokio::test]
async fn a_long_wait_is_the_callers() {
    for status in [429, 503] {
        let (house, mut agent, redeemed) = granted(unbroken()).await;
        house.server.behave(busy(status, "99999"));
        for _ in 0..3 {
            let told = refused(narrow(&mut agent, &redeemed.grant, &[READ]).await, Code::Unavailable, "AS_UNAVAILABLE");
            let wait = told.get_details_retry_info().unwrap().retry_delay.unwrap();
            assert!(wait > Duration::from_secs(60) && wait <= Duration::from_secs(300), "{wait:?}");
        }
        // Those that came after did not ask the server again, for no scopes of this grant.
        refused(narrow(&mut agent, &redeemed.grant, &[WRITE]).await, Code::Unavailable, "AS_UNAVAILABLE");
        assert_eq!(house.server.refreshes().len(), 1, "{status}");
        // What is held is served all the same.
        narrow(&mut agent, &redeemed.grant, &[]).await.unwrap();
    }
}

// rows: TOK-15
#[tokio::test]
async fn a_short_wait_is_waited_for() {
    let (house, mut agent, redeemed) = granted(unbroken()).await;
    house.server.behave(busy(503, "1"));
    house.server.behave(busy(429, "1"));
    narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    let tokens: Vec<_> = house.server.refreshes();
    assert_eq!(tokens.len(), 3);
    assert!(tokens.iter().all(|request| request.param("refresh_token") == tokens[0].param("refresh_token")));
    // The third failure is the last.
    (0..3).for_each(|_| house.server.behave(busy(503, "1")));
    refused(narrow(&mut agent, &redeemed.grant, &[WRITE]).await, Code::Unavailable, "AS_UNAVAILABLE");
    assert_eq!(house.server.refreshes().len(), 6);
    let failed = house.event("exchange.failed").await;
    assert_eq!(failed["unmapped"]["narrowgate"]["tries"], 3);
}

// rows: CACH-04
#[tokio::test]
async fn a_policy_tightened_between_two_tries_ends_them() {
    let (house, mut agent, redeemed) = granted(unbroken()).await;
    house.server.behave(busy(503, "4"));
    let (mut waiting, grant) = (agent.clone(), redeemed.grant.clone());
    let refreshing = tokio::spawn(async move { narrow(&mut waiting, &grant, &[READ]).await });
    until("the first try", || async { (house.server.refreshes().len() == 1).then_some(()) }).await;
    let no =
        "@id(\"later\") @code(\"closed\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource);";
    write(&house.path(".draft"), no);
    std::fs::rename(house.path(".draft"), house.path("policies/later.cedar")).unwrap();
    house.tell(rustix::process::Signal::HUP);
    until("the new set", || async { (house.events("policy.activated").len() == 2).then_some(()) }).await;
    // The decision of the first try is none any more; the next call is decided by the current set.
    refused(refreshing.await.unwrap(), Code::Unavailable, "AS_UNAVAILABLE");
    refused(narrow(&mut agent, &redeemed.grant, &[READ]).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(house.server.refreshes().len(), 1);
}

// rows: TOK-15
#[tokio::test]
async fn no_wait_outlasts_the_callers_deadline() {
    let (house, mut agent, redeemed) = granted(unbroken()).await;
    house.server.behave(busy(503, "4"));
    let mut request = Request::new(wanted(&redeemed.grant, &[READ]));
    request.set_timeout(Duration::from_secs(3));
    // It is told at once, not when the time is up.
    refused(agent.get_token(request).await, Code::Unavailable, "AS_UNAVAILABLE");
    assert_eq!(house.server.refreshes().len(), 1);
}

// rows: TOK-15
#[tokio::test]
async fn what_may_have_been_taken_is_not_sent_again() {
    for (behaviour, code, why) in [
        (Behaviour::ResetAfterRequest, Code::Aborted, "REFRESH_OUTCOME_UNKNOWN"),
        (Behaviour::CloseAfterRequest, Code::Aborted, "REFRESH_OUTCOME_UNKNOWN"),
        (Behaviour::Status(500), Code::Internal, "AS_REJECTED"),
        (Behaviour::Status(502), Code::Internal, "AS_REJECTED"),
    ] {
        let (house, mut agent, redeemed) = granted(unbroken()).await;
        let rotated = matches!(behaviour, Behaviour::ResetAfterRequest | Behaviour::CloseAfterRequest);
        house.server.behave(Script::Token(behaviour));
        refused(narrow(&mut agent, &redeemed.grant, &[READ]).await, code, why);
        assert_eq!(house.server.refreshes().len(), 1);
        let next = until("the next try", || {
            let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
            async move {
                let next = narrow(&mut agent, &grant, &[READ]).await;
                let held = next.as_ref().is_err_and(|status| reason(status) == why);
                (!held).then_some(next)
            }
        })
        .await;
        // A server that had replaced the token says so now.
        assert_eq!(next.map_err(|status| reason(&status)).is_err_and(|why| why == "REAUTH_REQUIRED"), rotated);
        assert_eq!(house.server.refreshes().len(), 2);
    }
}

// rows: TOK-15
#[tokio::test]
async fn a_connection_that_never_was_may_be_made_again() {
    let (house, mut agent, redeemed) = granted(unbroken()).await;
    // Both end before the TLS handshake does.
    (0..2).for_each(|_| house.server.behave(Script::Token(Behaviour::ResetBeforeRequest)));
    narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    assert_eq!(house.server.refreshes().len(), 1);
    assert_eq!(house.server.reused_families(), 0);
}

fn told(status: &tonic::Status) -> Duration {
    assert!(["AS_UNAVAILABLE", "ISSUER_BUSY"].contains(&reason(status).as_str()), "{status:?}");
    status.get_details_retry_info().unwrap().retry_delay.unwrap()
}

// rows: TOK-15
#[tokio::test]
async fn a_server_that_asked_to_wait_is_left_alone_and_every_grant_is_told_so() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    let other = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    house.server.behave(busy(503, "60"));
    refused(narrow(&mut agent, &redeemed.grant, &[READ]).await, Code::Unavailable, "AS_UNAVAILABLE");
    // The circuit is open: another grant does not even connect.
    let before = house.server.token_connections();
    let told = refused(narrow(&mut agent, &other.grant, &[READ]).await, Code::Unavailable, "AS_UNREACHABLE");
    assert!(told.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::from_secs(4));
    assert_eq!((house.server.token_connections(), house.server.refreshes().len()), (before, 1));
    narrow(&mut agent, &other.grant, &[]).await.unwrap();
}

/// Agents of the storm, and grants of each.
const AGENTS: usize = 100;
const GRANTS: usize = 2;

// rows: TOK-15 RT-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_agents_come_through_a_storm_with_one_post_for_each_grant_and_nothing_lost() {
    let mut plan = unbroken();
    for number in 0..AGENTS {
        let identity = format!("id = \"storm-{number}\"\nspiffe_id = \"{COURIER}-{number}\"");
        write!(plan.agents, "\n[[agent]]\n{identity}\nowner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n").unwrap();
    }
    let house = plan.open().await;
    let mut grants = Vec::new();
    for number in 0..AGENTS {
        let mut agent = house.svid_agent(&format!("{COURIER}-{number}")).await;
        for _ in 0..GRANTS {
            let redeemed = house.login(&mut agent, &["mail.read", "mail.send"]).await.unwrap();
            grants.push((agent.clone(), redeemed.grant));
        }
    }
    let stormy = AGENTS * GRANTS;
    (0..stormy).for_each(|_| house.server.behave(busy(503, "1")));
    let mut calls = JoinSet::new();
    for (agent, grant) in grants.iter().flat_map(|one| [one.clone(), one.clone()]) {
        calls.spawn(async move {
            let mut agent = agent;
            loop {
                match narrow(&mut agent, &grant, &["mail.read"]).await {
                    Ok(got) => return got,
                    // As a good client: after the time that it was told.
                    Err(status) => tokio::time::sleep(told(&status)).await,
                }
            }
        });
    }
    assert_eq!(calls.join_all().await.len(), 2 * stormy);
    assert_eq!((house.server.most_refreshes_at_once(), house.server.reused_families()), (1, 0));
    // Each grant was refreshed once; all else was the storm.
    assert_eq!(house.server.refreshes().len(), 2 * stormy);
    assert_eq!(house.events("token.refreshed").len(), stormy);
    for (mut agent, grant) in grants {
        narrow(&mut agent, &grant, &["mail.read"]).await.unwrap();
    }
    assert_eq!(house.server.refreshes().len(), 2 * stormy);
}
