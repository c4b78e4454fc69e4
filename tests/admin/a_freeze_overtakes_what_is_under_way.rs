use crate::strace::Injected;
use crate::{
    house::{eventually, get, redeem},
    kit::{MAIL, admin, facts, freeze, granted, plan, refused, unfreeze},
};
use narrowgate::api::proto::{GetStatusRequest, GetTokenRequest};
use std::time::Duration;
use tonic::Code;

// rows: CACH-08 INTR-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_decision_and_post_no_code_leaves() {
    for lifted in [false, true] {
        let house = plan().open().await;
        let mut admin = admin(&house).await;
        let (mut agent, _) = granted(&house).await;
        let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
        let (posts, connections) = (house.server.token_posts(), house.server.token_connections());
        house.server.hold_handshakes(true);
        let redeeming = tokio::spawn({
            let (mut agent, transaction, callback) = (agent.clone(), transaction.clone(), callback.clone());
            async move { redeem(&mut agent, &transaction, &callback).await }
        });
        eventually("the connection", || Some(()).filter(|()| house.server.token_connections() > connections)).await;
        eventually("the decision", || Some(()).filter(|()| house.events("exchange.decided").len() == 2)).await;
        // The revocations wait for their handshakes too: the freeze does not wait for them for ever.
        let freezing = tokio::spawn({
            let mut admin = admin.clone();
            async move { freeze(&mut admin, "client").await }
        });
        eventually("the freeze", || Some(()).filter(|()| house.path("audit/freezes.json").exists())).await;
        if lifted {
            assert!(unfreeze(&mut admin, "client").await);
        }
        house.server.hold_handshakes(false);
        refused(redeeming.await.unwrap(), Code::PermissionDenied, "FROZEN");
        freezing.await.unwrap().unwrap();
        assert_eq!(house.server.token_posts(), posts, "the code left");
        let failed = house.event("exchange.failed").await;
        assert_eq!(failed["status_code"], "FROZEN");
        // It is over: the code is not put back.
        let again = redeem(&mut agent, &transaction, &callback).await;
        refused(again, Code::FailedPrecondition, "TXN_TERMINAL");
    }
}

// rows: CACH-08 INTR-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_post_and_reply_the_token_is_revoked() {
    for lifted in [false, true] {
        let house = plan().open().await;
        let mut admin = admin(&house).await;
        let mut agent = house.svid_agent(crate::house::COURIER).await;
        let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
        house.server.set_pause(true);
        let redeeming = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await });
        eventually("the code at the server", || Some(()).filter(|()| house.server.token_posts() == 1)).await;
        freeze(&mut admin, "issuer").await.unwrap();
        if lifted {
            // Nothing comes back by it: the login is older than the freeze.
            assert!(unfreeze(&mut admin, "issuer").await);
        }
        house.server.set_pause(false);
        refused(redeeming.await.unwrap(), Code::PermissionDenied, "FROZEN");
        eventually("both tokens revoked", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
        let hints: Vec<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
        assert_eq!(hints, ["refresh_token", "access_token"]);
        assert!(house.events("token.issued").is_empty());
        assert_eq!(house.event("exchange.failed").await["status_code"], "FROZEN");
    }
}

// rows: CACH-08 INTR-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_outcome_is_written_the_token_is_taken_back() {
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    let mut agent = house.svid_agent(crate::house::COURIER).await;
    let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
    house.server.set_pause(true);
    let redeeming = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await });
    eventually("the code at the server", || Some(()).filter(|()| house.server.token_posts() == 1)).await;
    let Some(slow) = Injected::into(&house, "delay_enter=1000000").await else { return };
    // The audit thread is reached a moment after the first one: then a record takes a second.
    let mut is_slow = false;
    for _ in 0..500 {
        let quick = Duration::from_millis(700);
        is_slow = tokio::time::timeout(quick, admin.get_status(GetStatusRequest {})).await.is_err();
        if is_slow {
            break;
        }
    }
    assert!(is_slow, "the audit thread is not slowed down");
    house.server.set_pause(false);
    eventually("the answer", || Some(()).filter(|()| house.log().contains("the token endpoint answered"))).await;
    freeze(&mut admin, "agent").await.unwrap();
    refused(redeeming.await.unwrap(), Code::PermissionDenied, "FROZEN");
    drop(slow);
    eventually("both tokens revoked", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
    assert_eq!(house.events("token.issued").len(), 1, "it was not that far yet");
    assert_eq!(house.event("token.withheld").await["status_code"], "FROZEN");
    assert!(crate::kit::grants(&mut admin).await.is_empty());
}

// rows: CACH-08 INTR-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_under_way_brings_nothing_and_leaves_nothing() {
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    let posts = house.server.token_posts();
    house.server.set_pause(true);
    let narrower = GetTokenRequest { grant, scopes: vec![MAIL[0].to_owned()], ..GetTokenRequest::default() };
    let refreshing = tokio::spawn(async move { agent.get_token(narrower).await });
    eventually("the refresh at the server", || Some(()).filter(|()| house.server.token_posts() > posts)).await;
    let freezing = tokio::spawn(async move { freeze(&mut admin, "agent").await });
    eventually("the freeze", || Some(()).filter(|()| house.path("audit/freezes.json").exists())).await;
    house.server.set_pause(false);
    refused(refreshing.await.unwrap(), Code::PermissionDenied, "FROZEN");
    freezing.await.unwrap().unwrap();
    // The two of the first login, and the two that the refresh brought.
    eventually("four revocations", || Some(()).filter(|()| house.events("token.revoked").len() == 4)).await;
    let revoked: std::collections::BTreeSet<String> =
        house.server.revocations().into_iter().map(|(_, token)| token).collect();
    assert_eq!(revoked.len(), 4);
    assert!(house.events("token.refreshed").is_empty());
}

// rows: CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_was_decided_does_not_leave() {
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    let (posts, connections) = (house.server.token_posts(), house.server.token_connections());
    house.server.hold_handshakes(true);
    let narrower = GetTokenRequest { grant: grant.clone(), scopes: vec![MAIL[0].to_owned()], ..Default::default() };
    let mut asking = agent.clone();
    let refreshing = tokio::spawn(async move { asking.get_token(narrower).await });
    eventually("the connection", || Some(()).filter(|()| house.server.token_connections() > connections)).await;
    let freezing = tokio::spawn(async move { freeze(&mut admin, "client").await });
    eventually("the freeze", || Some(()).filter(|()| house.path("audit/freezes.json").exists())).await;
    house.server.hold_handshakes(false);
    refused(refreshing.await.unwrap(), Code::PermissionDenied, "FROZEN");
    freezing.await.unwrap().unwrap();
    assert_eq!(house.server.token_posts(), posts, "the refresh token left");
    assert_eq!(facts(&house.event("exchange.failed").await)["grant_type"], "refresh_token");
    refused(get(&mut agent, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
}

// rows: CACH-08 INTR-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_outcome_of_a_refresh_is_written_the_token_is_taken_back() {
    const ANSWERED: &str = "the token endpoint answered";
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    let (posts, answers) = (house.server.token_posts(), house.log().matches(ANSWERED).count());
    house.server.set_pause(true);
    let narrower = GetTokenRequest { grant, scopes: vec![MAIL[0].to_owned()], ..GetTokenRequest::default() };
    let refreshing = tokio::spawn(async move { agent.get_token(narrower).await });
    eventually("the refresh at the server", || Some(()).filter(|()| house.server.token_posts() > posts)).await;
    let Some(slow) = Injected::into(&house, "delay_enter=1000000").await else { return };
    // The audit thread is reached a moment after the first one: then a record takes a second.
    let mut is_slow = false;
    for _ in 0..500 {
        let quick = Duration::from_millis(700);
        is_slow = tokio::time::timeout(quick, admin.get_status(GetStatusRequest {})).await.is_err();
        if is_slow {
            break;
        }
    }
    assert!(is_slow, "the audit thread is not slowed down");
    house.server.set_pause(false);
    eventually("the answer", || Some(()).filter(|()| house.log().matches(ANSWERED).count() > answers)).await;
    freeze(&mut admin, "agent").await.unwrap();
    refused(refreshing.await.unwrap(), Code::PermissionDenied, "FROZEN");
    drop(slow);
    // Both access tokens, and the refresh token that has taken the first one's place.
    eventually("three revocations", || Some(()).filter(|()| house.events("token.revoked").len() == 3)).await;
    assert_eq!(house.events("token.refreshed").len(), 1, "it was not that far yet");
    let withheld = house.event("token.withheld").await;
    assert_eq!(
        (&withheld["status_code"], &facts(&withheld)["grant_type"]),
        (&"FROZEN".into(), &"refresh_token".into())
    );
    assert!(crate::kit::grants(&mut admin).await.is_empty());
}
