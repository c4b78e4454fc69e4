use crate::{
    house::{COURIER, House, eventually, fact, get, redeem},
    kit::{Admin, MAIL, admin, facts, granted, grants, refused},
    swapping::{edit, plan, put, status},
    watching,
};
use narrowgate::api::proto::ReloadRequest;
use std::fs;
use tonic::Code;

/// Takes the files anew; the generation after it.
async fn reload(admin: &mut Admin) -> u64 {
    let done = admin.reload(ReloadRequest::default()).await.unwrap().into_inner();
    assert_eq!(done.outcome().as_str_name(), "OUTCOME_ACTIVATED", "{:?}", done.mistakes.first().map(|m| &m.message));
    done.policy.unwrap().generation
}

/// The tables of `courier` changed so.
fn courier(house: &House, from: &str, to: &str) {
    let text = fs::read_to_string(house.path("agents.toml")).unwrap();
    let at = text.find("id = \"courier\"").unwrap();
    let (before, after) = text.split_at(at);
    assert!(after.contains(from), "{from}");
    put(house, "agents.toml", &format!("{before}{}", after.replacen(from, to, 1)));
}

// rows: POL-04 CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_agent_and_one_that_lost_its_trust() {
    let house = plan("1h").open().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    get(&mut agent, &grant).await.unwrap();
    let changes = [
        ("trust = 3", "trust = 3\nquarantined = true", "agent_quarantined"),
        ("trust = 3", "trust = 1", "trust_too_low"),
    ];
    for (from, to, code) in changes {
        courier(&house, from, to);
        reload(&mut admin).await;
        let status = refused(get(&mut agent, &grant).await, Code::PermissionDenied, "POLICY_DENIED");
        assert_eq!(fact(&status, "policy_code").as_deref(), Some(code));
        // Nothing was taken away for good: the grant is there when the file is as before.
        courier(&house, to, from);
        reload(&mut admin).await;
        get(&mut agent, &grant).await.unwrap();
    }
    // A scope that has become risky.
    edit(
        &house,
        "apis.toml",
        "name = \"mail.send\"\napi = \"mail\"\nrisk = 2",
        "name = \"mail.send\"\napi = \"mail\"\nrisk = 4",
    );
    assert_eq!(reload(&mut admin).await, 6);
    refused(get(&mut agent, &grant).await, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
    // One that is no longer declared.
    edit(&house, "apis.toml", "\"mail.send\"", "\"mail.sent\"");
    reload(&mut admin).await;
    assert!(get(&mut agent, &grant).await.is_err());
    refused(house.begin(&mut agent, &MAIL).await, Code::InvalidArgument, "SCOPE_UNDECLARED");
}

// rows: CACH-08 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_no_longer_registered_loses_everything_at_once() {
    let house = plan("1h").open().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    let mut messages = watching::watch(&mut agent, &grant).await.unwrap();
    watching::token(&mut messages).await;
    let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
    let before = fs::read_to_string(house.path("agents.toml")).unwrap();
    courier(&house, "\"courier\"", "\"another\"");
    courier_is_now(&house, "another");
    reload(&mut admin).await;
    // On the same connection, at the next call.
    refused(get(&mut agent, &grant).await, Code::PermissionDenied, "AGENT_UNKNOWN");
    refused(redeem(&mut agent, &transaction, &callback).await, Code::PermissionDenied, "AGENT_UNKNOWN");
    assert!(grants(&mut admin).await.is_empty());
    assert_eq!(status(&mut admin).await.transactions, 0);
    // What is watched ends, and no token comes any more.
    let last = tokio::time::timeout(std::time::Duration::from_secs(20), messages.message()).await.unwrap();
    let is_token = last
        .ok()
        .flatten()
        .and_then(|message| message.event)
        .is_some_and(|event| matches!(event, narrowgate::api::proto::watch_token_response::Event::Token(_)));
    assert!(!is_token);
    // Revoked at the server, refresh token first, and on record.
    let said = house.event("registration.removed").await;
    assert_eq!((&facts(&said)["target"], &said["entity"]["name"]), (&"agent courier".into(), &"courier".into()));
    assert_eq!((&facts(&said)["grants"], &facts(&said)["transactions"]), (&1.into(), &1.into()));
    let hints: Vec<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
    assert_eq!(hints, ["refresh_token", "access_token"]);
    eventually("an event for each token", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
    assert_eq!(facts(&house.event("policy.activated").await)["registrations_removed"], 1);
    // Registered again it begins anew: nothing comes back.
    put(&house, "agents.toml", &before);
    reload(&mut admin).await;
    let mut agent = house.svid_agent(COURIER).await;
    refused(get(&mut agent, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    let grant = house.login(&mut agent, &MAIL).await.unwrap().grant;
    get(&mut agent, &grant).await.unwrap();
}

// rows: CACH-08 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_for_an_api_that_is_another_one_now_ends() {
    let house = plan("1h").open().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    let crm = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
    edit(&house, "apis.toml", "https://mail.example.test/api", "https://mail.example.test/v2");
    reload(&mut admin).await;
    refused(get(&mut agent, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    refused(redeem(&mut agent, &transaction, &callback).await, Code::FailedPrecondition, "TXN_TERMINAL");
    let said = house.event("registration.removed").await;
    assert_eq!((&facts(&said)["target"], &facts(&said)["grants"]), (&"api mail".into(), &1.into()));
    eventually("an event for each token", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
    // What is held for others stays, and the new one is asked for anew.
    get(&mut agent, &crm).await.unwrap();
    let begun = house.begin(&mut agent, &MAIL).await.unwrap();
    assert_eq!(begun.resource, "https://mail.example.test/v2");
}

// rows: CACH-08 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_belongs_to_another_api_now_is_no_scope_of_what_is_held() {
    let mut plan = plan("1h");
    // A policy that goes by the agent alone: it says nothing of where a scope belongs.
    plan.policies.push(("wide.cedar".to_owned(), "@id(\"wide\") permit (principal == Narrowgate::Agent::\"courier\", action == Narrowgate::Action::\"grant_scope\", resource);".to_owned()));
    let house = plan.open().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    get(&mut agent, &grant).await.unwrap();
    edit(&house, "apis.toml", "name = \"mail.send\"\napi = \"mail\"", "name = \"mail.send\"\napi = \"crm\"");
    reload(&mut admin).await;
    // The token is for the mail API, of which nobody has declared such a scope any more.
    assert!(get(&mut agent, &grant).await.is_err(), "a token for the scope's former API was handed out");
    // Nor where it is declared nowhere.
    edit(&house, "apis.toml", "\"mail.send\"", "\"mail.sent\"");
    reload(&mut admin).await;
    assert!(get(&mut agent, &grant).await.is_err(), "a token with an undeclared scope was handed out");
}

// rows: POL-04 SSRF-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_roots_that_were_replaced_in_their_file() {
    let mut plan = plan("1h");
    let api = "identifier = \"https://crm.example.test/api\"";
    assert!(plan.apis.contains(api));
    plan.apis = plan.apis.replace(api, &format!("{api}\nmetadata_ca = \"resource-ca.pem\""));
    let mut house = plan.build();
    let authority = |name| narrowgate::dev::ca::Ca::new(name).unwrap();
    put(&house, "resource-ca.pem", authority("before").certificate_pem());
    house.start();
    house.wait_until_serving().await;
    let mut admin = admin(&house).await;
    put(&house, "resource-ca.pem", authority("after").certificate_pem());
    assert_eq!(reload(&mut admin).await, 2);
    // Half of it is a mistake.
    put(&house, "resource-ca.pem", "-----BEGIN CERTIFICATE-----");
    let done = admin.reload(ReloadRequest::default()).await.unwrap().into_inner();
    assert_eq!(done.outcome().as_str_name(), "OUTCOME_REFUSED");
    assert_eq!(status(&mut admin).await.policy_generation, 2);
}

/// The one that was `courier` has another identity too.
fn courier_is_now(house: &House, name: &str) {
    edit(house, "agents.toml", COURIER, &COURIER.replace("courier", name));
}

// rows: POL-04 CALL-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_is_no_longer_one() {
    let house = plan("1h").open().await;
    let mut admin = admin(&house).await;
    let own = rustix::process::geteuid().as_raw();
    edit(&house, "agents.toml", &format!("id = \"root\"\nuid = {own}\n"), "id = \"root\"\nuid = 4200000001\n");
    reload(&mut admin).await;
    refused(admin.reload(ReloadRequest::default()).await, Code::PermissionDenied, "OPERATOR_UNKNOWN");
}

// rows: POL-04 CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_under_way_sees_it_too() {
    for gone in [false, true] {
        let house = plan("1h").open().await;
        let mut admin = admin(&house).await;
        let mut agent = house.svid_agent(COURIER).await;
        let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
        house.server.set_pause(true);
        let redeeming = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await });
        eventually("the code at the server", || Some(()).filter(|()| house.server.token_posts() == 1)).await;
        if gone {
            courier(&house, "\"courier\"", "\"another\"");
            courier_is_now(&house, "another");
        } else {
            courier(&house, "trust = 3", "trust = 1");
        }
        reload(&mut admin).await;
        house.server.set_pause(false);
        let status = redeeming.await.unwrap().err().expect("a token came of it");
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        eventually("both tokens revoked", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
        assert!(house.events("token.issued").is_empty() && grants(&mut admin).await.is_empty());
    }
}
