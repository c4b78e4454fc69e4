use crate::{
    house::{COURIER, House, eventually, fact, get, reason, redeem},
    kit::{MAIL, admin, granted, refused},
    strace::Injected,
    swapping::{harmless, plan, put},
    watching,
};
use narrowgate::api::proto::{GetTokenRequest, ReloadRequest};
use tonic::Code;

/// Closes everything that ends with a token.
async fn tighten(house: &House) {
    let no =
        "@id(\"later\") @code(\"closed\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource);";
    put(house, "policies/later.cedar", no);
    let done = admin(house).await.reload(ReloadRequest {}).await.unwrap().into_inner();
    assert_eq!((done.outcome().as_str_name(), done.policy.unwrap().generation), ("OUTCOME_ACTIVATED", 2));
}

// rows: CACH-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_decision_and_post_and_between_post_and_reply() {
    for before_post in [true, false] {
        let house = plan("1h").open().await;
        let mut agent = house.svid_agent(COURIER).await;
        let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
        let connections = house.server.token_connections();
        house.server.hold_handshakes(before_post);
        house.server.set_pause(!before_post);
        let redeeming = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await });
        house.event("exchange.decided").await;
        if before_post {
            eventually("the connection", || Some(()).filter(|()| house.server.token_connections() > connections)).await;
        } else {
            eventually("the code at the server", || Some(()).filter(|()| house.server.token_posts() == 1)).await;
        }
        tighten(&house).await;
        house.server.hold_handshakes(false);
        house.server.set_pause(false);
        let status = refused(redeeming.await.unwrap(), Code::PermissionDenied, "POLICY_DENIED");
        assert_eq!(fact(&status, "policy_code").as_deref(), Some("closed"));
        assert!(house.events("token.issued").is_empty());
        if before_post {
            // Decided twice, the second time by the current set, and ended once; no byte was sent.
            assert_eq!((house.server.token_posts(), house.events("exchange.decided").len()), (0, 1));
            let ended = house.events("exchange.failed");
            assert_eq!((ended.len(), &ended[0]["unmapped"]["narrowgate"]["generation"]), (1, &2.into()));
            let decided = &house.events("exchange.decided")[0];
            assert_eq!(decided["metadata"]["correlation_uid"], ended[0]["metadata"]["correlation_uid"]);
            continue;
        }
        // What was issued all the same is revoked, refresh token first.
        eventually("both tokens revoked", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
        let hints: Vec<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
        assert_eq!(hints, ["refresh_token", "access_token"]);
    }
}

// rows: CACH-04 CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_hand_outs_of_one_token() {
    let house = plan("1h").open().await;
    let (mut agent, grant) = granted(&house).await;
    get(&mut agent, &grant).await.unwrap();
    let mut messages = watching::watch(&mut agent, &grant).await.unwrap();
    watching::token(&mut messages).await;
    tighten(&house).await;
    let status = refused(get(&mut agent, &grant).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("closed"));
    let ended = watching::ended(&mut messages).await;
    assert_eq!((ended.reason.as_str(), ended.metadata["policy_code"].as_str()), ("POLICY_DENIED", "closed"));
}

// rows: CACH-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_both_sets_allow_goes_on_under_the_newer_one() {
    let house = plan("1h").open().await;
    let mut agent = house.svid_agent(COURIER).await;
    let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
    let connections = house.server.token_connections();
    house.server.hold_handshakes(true);
    let redeeming = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await });
    house.event("exchange.decided").await;
    eventually("the connection", || Some(()).filter(|()| house.server.token_connections() > connections)).await;
    put(&house, "policies/later.cedar", &harmless("later"));
    admin(&house).await.reload(ReloadRequest {}).await.unwrap();
    house.server.hold_handshakes(false);
    redeeming.await.unwrap().unwrap();
    let decided = house.events("exchange.decided");
    let generations: Vec<_> = decided.iter().map(|event| &event["unmapped"]["narrowgate"]["generation"]).collect();
    assert_eq!(generations, [1, 2]);
    assert_eq!(decided[0]["metadata"]["correlation_uid"], decided[1]["metadata"]["correlation_uid"]);
    assert_eq!((house.server.token_posts(), house.events("token.issued").len()), (1, 1));
}

// rows: CACH-04 RT-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_stays_here_too() {
    let house = plan("1h").open().await;
    let (mut agent, grant) = granted(&house).await;
    let connections = house.server.token_connections();
    house.server.hold_handshakes(true);
    let wanted = GetTokenRequest { grant, scopes: vec![MAIL[0].to_owned()], ..GetTokenRequest::default() };
    let again = wanted.clone();
    let mut other = agent.clone();
    let refreshing = tokio::spawn(async move { other.get_token(wanted).await });
    eventually("the connection", || Some(()).filter(|()| house.server.token_connections() > connections)).await;
    eventually("the decision", || Some(()).filter(|()| house.events("exchange.decided").len() == 2)).await;
    tighten(&house).await;
    house.server.hold_handshakes(false);
    refused(refreshing.await.unwrap(), Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(house.server.refreshes().len(), 0);
    // Nothing of the grant is lost by it.
    put(&house, "policies/later.cedar", &harmless("later"));
    admin(&house).await.reload(ReloadRequest {}).await.unwrap();
    agent.get_token(again).await.unwrap();
    assert_eq!(house.server.refreshes().len(), 1);
}

// rows: CACH-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_outcome_is_written_the_token_is_taken_back() {
    for seconds in [2, 5, 10] {
        let house = plan("1h").open().await;
        let mut agent = house.svid_agent(COURIER).await;
        let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
        let slow = format!("delay_enter={}", seconds * 1_000_000);
        let Some(slowed) = Injected::into(&house, &slow).await else { return };
        let redeeming = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await });
        // It is in the file, and not on the disk.
        house.event("token.issued").await;
        let no =
            "@id(\"later\") @code(\"closed\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource);";
        put(&house, "policies/later.cedar", no);
        house.tell(rustix::process::Signal::HUP);
        let Err(status) = redeeming.await.unwrap() else {
            // The disk was faster than this machine takes a set.
            eprintln!("once more, with a slower disk");
            continue;
        };
        drop(slowed);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
        assert_eq!(fact(&status, "policy_code").as_deref(), Some("closed"));
        eventually("both tokens revoked", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
        let withheld = house.event("token.withheld").await;
        let issued = house.event("token.issued").await;
        assert_eq!(withheld["metadata"]["correlation_uid"], issued["metadata"]["correlation_uid"]);
        return;
    }
    panic!("no set was taken while an outcome was written");
}
