use crate::{
    asking::{READ, WRITE, ask, refused},
    house::{
        COURIER, House, Plan, eventually, fact, get, redeem_request,
        scripted_as::{
            Callback,
            behaviour::{Behaviour, Script},
        },
    },
};
use narrowgate::api::proto::RedeemCodeRequest;
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tonic::Code;

fn request(transaction: &str, callback: &Callback, id: &str) -> RedeemCodeRequest {
    RedeemCodeRequest { request_id: id.to_owned(), ..redeem_request(transaction, &callback.url) }
}

fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn posted(house: &House, posts: usize) {
    eventually("the POST", || (house.server.token_posts() == posts).then_some(())).await;
}

/// Redeems, and hangs up once the POST has arrived; the server answers into the void.
async fn hung_up(house: &House, request: RedeemCodeRequest) {
    let issued = house.events("token.issued").len();
    let posts = house.server.token_posts();
    house.server.set_pause(true);
    let mut agent = house.agent().await;
    let call = tokio::spawn(async move { ask(&mut agent, request).await.map(drop) });
    posted(house, posts + 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    house.server.set_pause(false);
    eventually("the issue", || (house.events("token.issued").len() > issued).then_some(())).await;
}

// decisions 5
// rows: CODE-03 CODE-06
#[tokio::test]
async fn the_same_request_gets_the_first_outcome_without_a_post() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ, WRITE]).await;
    let id = id();
    hung_up(&house, request(&transaction, &callback, &id)).await;
    let recovered = ask(&mut agent, request(&transaction, &callback, &id)).await.unwrap();
    assert!(recovered.recovered);
    let token = recovered.token.unwrap();
    assert_eq!(token.scopes, [READ, WRITE]);
    let again = ask(&mut agent, request(&transaction, &callback, &id)).await.unwrap();
    assert_eq!((again.grant.as_str(), again.recovered), (recovered.grant.as_str(), true));
    assert_eq!(again.token.unwrap().access_token, token.access_token);
    get(&mut agent, &recovered.grant).await.unwrap();
    assert_eq!((house.server.token_posts(), house.events("token.issued").len()), (1, 1));
    let served = house.event("token.served").await;
    assert_eq!(served["actor"]["user"]["uid"], "quoter");
    house.assert_no_secret_leaked();
}

// decisions 5
// rows: CODE-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_waits_for_the_answer_that_is_still_on_its_way() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let request = request(&begun.transaction, &callback, &id());
    house.server.set_pause(true);
    let call = |request: &RedeemCodeRequest| {
        let (mut agent, request) = (agent.clone(), request.clone());
        tokio::spawn(async move { ask(&mut agent, request).await })
    };
    let first = call(&request);
    posted(&house, 1).await;
    first.abort();
    let repeats: Vec<_> = (0..8).map(|_| call(&request)).collect();
    // Another request has no part in it, and what it is told comes before the answer does.
    let (mut other, stranger) = (agent.clone(), redeem_request(&begun.transaction, &callback.url));
    refused(ask(&mut other, stranger).await, Code::AlreadyExists, "CODE_ALREADY_USED");
    house.server.set_pause(false);
    for repeat in repeats {
        assert!(repeat.await.unwrap().unwrap().recovered);
    }
    assert_eq!((house.server.token_posts(), house.events("token.issued").len()), (1, 1));
    assert!(house.events("detect.code_replay").is_empty(), "a lost reply was taken for an attack");
}

// decisions 5
// rows: CODE-06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_that_waited_in_vain_is_told_that_the_code_is_spent() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let request = request(&transaction, &callback, &id());
    house.server.set_pause(true);
    house.server.behave(Script::Token(Behaviour::Status(500)));
    let call = || {
        let (mut agent, request) = (agent.clone(), request.clone());
        tokio::spawn(async move { ask(&mut agent, request).await })
    };
    let first = call();
    posted(&house, 1).await;
    let repeat = call();
    let stranger = ask(&mut agent.clone(), redeem_request(&transaction, &callback.url)).await;
    refused(stranger, Code::AlreadyExists, "CODE_ALREADY_USED");
    house.server.set_pause(false);
    refused(first.await.unwrap(), Code::Internal, "AS_REJECTED");
    refused(repeat.await.unwrap(), Code::AlreadyExists, "CODE_ALREADY_USED");
    assert_eq!(house.server.token_posts(), 1);
}

// decisions 5
// rows: CODE-03
#[tokio::test]
async fn anything_but_the_same_request_gets_nothing() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let right = id();
    ask(&mut agent, request(&begun.transaction, &callback, &right)).await.unwrap();
    for wrong in [id(), String::new()] {
        let result = ask(&mut agent, request(&begun.transaction, &callback, &wrong)).await;
        refused(result, Code::AlreadyExists, "CODE_ALREADY_USED");
    }
    let result = ask(&mut agent, request(&begun.transaction, &callback, "not a UUID")).await;
    refused(result, Code::InvalidArgument, "FIELD_INVALID");
    let other = house.server.approve(&begun.authorization_url);
    let result = ask(&mut agent, request(&begun.transaction, &other, &right)).await;
    refused(result, Code::FailedPrecondition, "TXN_TERMINAL");
    let mut courier = house.svid_agent(COURIER).await;
    let result = ask(&mut courier, request(&begun.transaction, &callback, &right)).await;
    refused(result, Code::NotFound, "TXN_UNKNOWN");
    assert_eq!(house.server.token_posts(), 1);
}

// decisions 5
// rows: CODE-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_sixty_four_times_at_once_is_one_post_and_one_token() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let request = request(&transaction, &callback, &id());
    house.server.set_pause(true);
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let (mut agent, request) = (agent.clone(), request.clone());
        calls.spawn(async move { ask(&mut agent, request).await });
    }
    posted(&house, 1).await;
    house.server.set_pause(false);
    let replies: Vec<_> = calls.join_all().await.into_iter().map(Result::unwrap).collect();
    let tokens: BTreeSet<String> = replies.iter().map(|r| r.token.clone().unwrap().access_token).collect();
    assert_eq!((tokens.len(), house.server.token_posts()), (1, 1));
    assert_eq!(replies.iter().filter(|r| !r.recovered).count(), 1);
}

// decisions 5
// rows: CODE-07
#[tokio::test]
async fn release_is_asked_again_when_a_reply_is_recovered() {
    let only_once = "@id(\"test.once\")\n@code(\"only_once\")\nforbid (principal, \
        action == Narrowgate::Action::\"release_token\", resource) when { context.handOut == \"again\" };";
    let house = Plan::new().policy(only_once).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let request = request(&transaction, &callback, &id());
    ask(&mut agent, request.clone()).await.unwrap();
    let status = refused(ask(&mut agent, request).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("only_once"));
    house.event("token.withheld").await;
}

// decisions 4
// rows: CODE-06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_deadline_ends_its_wait_and_not_the_exchange() {
    let house = Plan::new().config("call_deadline = \"20s\"", "call_deadline = \"1s\"").open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let request = request(&transaction, &callback, &id());
    house.server.set_pause(true);
    // The server says nothing until the caller was answered.
    refused(ask(&mut agent, request.clone()).await, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    assert!(house.events("token.issued").is_empty() && house.events("exchange.failed").is_empty());
    house.server.set_pause(false);
    house.event("token.issued").await;
    assert!(ask(&mut agent, request).await.unwrap().recovered);
    assert_eq!(house.server.token_posts(), 1);
}

/// A reply counts as lost soon after this window.
fn soon_lost(window: &str) -> Plan {
    let plan = Plan::new().config("commit_timeout = \"5s\"", "commit_timeout = \"5s\"\noutcome_hold = \"500ms\"");
    plan.config("[limits]", &format!("[limits]\nreplay_window = \"{window}\""))
}

// decisions 5
// rows: CODE-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_nobody_asks_for_again_is_revoked_and_no_other() {
    let house = soon_lost("1s").open().await;
    let mut agent = house.agent().await;
    // Older than the lost one: it would be revoked first.
    let delivered = house.login(&mut agent, &[READ]).await.unwrap();
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let lost = request(&transaction, &callback, &id());
    hung_up(&house, lost.clone()).await;
    let revoked = eventually("both revocations", || {
        let events = house.events("token.revoked");
        (events.len() == 2).then_some(events)
    })
    .await;
    assert!(revoked.iter().all(|e| e["unmapped"]["narrowgate"]["why"] == "reply_lost"));
    let hints: BTreeSet<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
    assert_eq!(hints, BTreeSet::from(["access_token".to_owned(), "refresh_token".to_owned()]));
    let held = get(&mut agent, &delivered.grant).await.unwrap().token.unwrap().access_token;
    assert!(house.server.revocations().iter().all(|(_, token)| *token != held));
    // Too late to be asked for, and the code stays spent.
    let status = ask(&mut agent, lost).await.map(drop).unwrap_err();
    let late = ["CODE_ALREADY_USED", "TXN_UNKNOWN"];
    assert!(late.contains(&crate::house::reason(&status).as_str()), "{status:?}");
    assert_eq!((house.server.revocation_posts(), house.server.token_posts()), (2, 2));
}

// decisions 5
// rows: CODE-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovered_reply_is_not_revoked() {
    let house = soon_lost("2s").open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let kept = request(&transaction, &callback, &id());
    hung_up(&house, kept.clone()).await;
    let recovered = ask(&mut agent, kept).await.unwrap();
    // Another reply is lost later: once that one is revoked, the first would have been.
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    hung_up(&house, request(&transaction, &callback, &id())).await;
    eventually("the other revocations", || (house.events("token.revoked").len() == 2).then_some(())).await;
    get(&mut agent, &recovered.grant).await.unwrap();
    assert_eq!(house.server.revocation_posts(), 2);
}
