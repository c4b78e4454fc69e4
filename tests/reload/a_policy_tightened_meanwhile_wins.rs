use crate::{
    house::{COURIER, House, eventually, fact, get, reason, redeem},
    kit::{MAIL, admin, granted, refused},
    strace::Injected,
    swapping::{harmless, plan, put},
    watching,
};
use narrowgate::api::proto::{GetTokenRequest, RedeemCodeResponse, ReloadRequest};
use tonic::{Code, Status};

/// Closes everything that ends with a token.
async fn tighten(house: &House) {
    let no =
        "@id(\"later\") @code(\"closed\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource);";
    put(house, "policies/later.cedar", no);
    let done = admin(house).await.reload(ReloadRequest::default()).await.unwrap().into_inner();
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
    admin(&house).await.reload(ReloadRequest::default()).await.unwrap();
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
    admin(&house).await.reload(ReloadRequest::default()).await.unwrap();
    agent.get_token(again).await.unwrap();
    assert_eq!(house.server.refreshes().len(), 1);
}

/// Redeems while each write to the disk takes so many seconds, and puts these rules there as soon as the outcome is in the
/// file. `None` where strace is missing.
async fn overtaken(seconds: u64, rules: &str) -> Option<(House, Result<RedeemCodeResponse, Status>)> {
    let house = plan("1h").open().await;
    let mut agent = house.svid_agent(COURIER).await;
    let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
    let slowed = Injected::into(&house, &format!("delay_enter={}", seconds * 1_000_000)).await?;
    let redeeming = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await });
    // It is in the file, and not on the disk.
    house.event("token.issued").await;
    put(&house, "policies/later.cedar", rules);
    house.tell(rustix::process::Signal::HUP);
    let result = redeeming.await.unwrap();
    drop(slowed);
    Some((house, result))
}

/// Slower and slower disks: one of them is slower than this machine takes a set.
const DISKS: [u64; 3] = [2, 5, 10];

// rows: CACH-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_outcome_is_written_the_token_is_taken_back() {
    let no =
        "@id(\"later\") @code(\"closed\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource);";
    for seconds in DISKS {
        let Some((house, result)) = overtaken(seconds, no).await else { return };
        let Err(status) = result else { continue };
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

// rows: CACH-04 POL-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_handed_out_for_as_long_as_the_newer_terms_allow() {
    let shorter = "@id(\"later\") @max_lifetime(\"30s\")\n\
        permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);";
    for seconds in DISKS {
        let Some((_house, result)) = overtaken(seconds, shorter).await else { return };
        let token = result.unwrap().token.unwrap();
        // Tokens of the scripted server live an hour.
        let lease = token.lease_time.unwrap().seconds - token.expire_time.unwrap().seconds + 3600;
        if lease <= 30 {
            return;
        }
        assert_eq!(lease, 120, "the terms of the set before");
    }
    panic!("no set was taken while an outcome was written");
}
