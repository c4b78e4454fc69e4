//! One rich story that makes narrowgate write every kind of event it has, and the schema's own judgement of them.

use crate::house::{
    Agent, COURIER, House, Plan,
    front_end::registration,
    get, reason, redeem, redeem_request,
    scripted_as::behaviour::{Behaviour, RevocationBehaviour, Script},
    write,
};
use narrowgate::api::proto::{Claimed, GetTokenRequest, RedeemCodeRequest, RevokeGrantRequest};
use rustix::process::Signal;
use std::{fs, time::Duration};

const MAY_REGISTER: &str = r#"
@id("flow.front-end")
permit (principal, action == Narrowgate::Action::"register_authorization", resource is Narrowgate::Client)
when { principal in resource.owner };
"#;

const CODES: [&str; 31] = [
    "agent.rejected",
    "authorization.decided",
    "exchange.decided",
    "exchange.refused",
    "exchange.failed",
    "exchange.unknown",
    "token.issued",
    "token.refreshed",
    "token.served",
    "token.withheld",
    "token.revoked",
    "token.revoke_failed",
    "revocation.decided",
    "policy.activated",
    "policy.rejected",
    "daemon.started",
    "daemon.stopped",
    "audit.resumed",
    "issuer.unavailable",
    "issuer.recovered",
    "client.authentication_weak",
    "audit.file_lost",
    "detect.unknown_agent",
    "detect.cross_agent_handle",
    "detect.code_replay",
    "detect.state_mismatch",
    "detect.pkce_mismatch",
    "detect.iss_mismatch",
    "detect.redirect_mismatch",
    "detect.scope_escalation",
    "detect.metadata_downgrade",
];

async fn refused(agent: &mut Agent, transaction: &str, callback_url: &str, wanted: &str) {
    let status = agent.redeem_code(redeem_request(transaction, callback_url)).await.err().unwrap();
    assert_eq!(reason(&status), wanted);
}

async fn honest_work(house: &House, agent: &mut Agent) {
    let redeemed = house.login(agent, &["customers.read", "customers.write"]).await.unwrap();
    get(agent, &redeemed.grant).await.unwrap();
    let scopes = vec!["customers.read".to_owned()];
    let narrow = GetTokenRequest { grant: redeemed.grant.clone(), scopes, ..GetTokenRequest::default() };
    agent.get_token(narrow.clone()).await.unwrap();
    // The same again, and a refresh that fails.
    agent.get_token(narrow.clone()).await.unwrap();
    house.server.behave(Script::Token(Behaviour::Status(500)));
    let scopes = vec!["customers.write".to_owned()];
    agent.get_token(GetTokenRequest { scopes, ..narrow }).await.err().unwrap();
    house.begin(agent, &["customers.delete"]).await.err().unwrap();
    let mut request = GetTokenRequest { grant: redeemed.grant.clone(), ..GetTokenRequest::default() };
    request.claimed = Some(Claimed { purpose: "bulk-export".to_owned(), ..Claimed::default() });
    agent.get_token(request).await.err().unwrap();
    let mut courier = house.svid_agent(COURIER).await;
    assert_eq!(reason(&get(&mut courier, &redeemed.grant).await.err().unwrap()), "GRANT_UNKNOWN");
    house.login(&mut courier, &["customers.read"]).await.unwrap();
    let outcomes =
        [RevocationBehaviour::Ok200, RevocationBehaviour::Unsupported400, RevocationBehaviour::Unsupported400];
    for behaviour in outcomes {
        house.server.behave(Script::Revocation(behaviour));
    }
    let request = RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() };
    agent.revoke_grant(request).await.unwrap();
}

async fn attacks(house: &House, agent: &mut Agent) {
    let mut stranger = house.svid_agent("spiffe://acme.test/agent/nobody").await;
    assert_eq!(reason(&house.begin(&mut stranger, &["customers.read"]).await.err().unwrap()), "AGENT_UNKNOWN");
    let (transaction, callback) = house.approved(agent, &["customers.read"]).await;
    let changed = |from: &str, to: &str| callback.url.replace(from, to);
    refused(agent, &transaction, &changed("state=", "state=x"), "STATE_MISMATCH").await;
    refused(agent, &transaction, &changed("iss=https", "iss=http"), "ISS_MISMATCH").await;
    refused(agent, &transaction, &changed("/callback", "/callbacks"), "REDIRECT_URI_MISMATCH").await;
    redeem(agent, &transaction, &callback).await.unwrap();
    injected(house, agent).await;
    assert_eq!(reason(&redeem(agent, &transaction, &callback).await.err().unwrap()), "CODE_ALREADY_USED");
    house.server.behave(Script::Token(Behaviour::Broader("customers.delete".to_owned())));
    assert_eq!(reason(&house.login(agent, &["customers.read"]).await.err().unwrap()), "SCOPE_UPGRADED");
    for behaviour in [Behaviour::ResetAfterRequest, Behaviour::Status(503), Behaviour::Lifetime(7200.into())] {
        house.server.behave(Script::Token(behaviour));
        house.login(agent, &["customers.read"]).await.err().unwrap();
    }
}

/// A code with a verifier that is not the registered one's.
async fn injected(house: &House, agent: &mut Agent) {
    let begins = &mut agent.clone();
    let request = house.registered(agent, begins, registration("quoter", &["customers.read"])).await.unwrap();
    let request = RedeemCodeRequest {
        code_verifier: "verifier-of-another-0123456789-0123456789-0123456789".to_owned(),
        ..request
    };
    assert_eq!(reason(&agent.redeem_code(request).await.err().unwrap()), "PKCE_MISMATCH");
}

/// The server's metadata promises less than it did.
async fn downgrade(house: &House, agent: &mut Agent) {
    let iss = "authorization_response_iss_parameter_supported".to_owned();
    house.server.metadata_override([(iss, serde_json::Value::Null)].into_iter().collect());
    for _ in 0..200 {
        house.begin(agent, &["customers.read"]).await.unwrap();
        if !house.events("detect.metadata_downgrade").is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The server asks for a second, is left alone for it, and comes back.
async fn outage(house: &House, agent: &mut Agent) {
    let soon = ("Retry-After".to_owned(), "1".to_owned());
    house.server.behave(Script::Token(Behaviour::Raw { status: 503, headers: vec![soon], body: Vec::new() }));
    house.login(agent, &["customers.read"]).await.err().unwrap();
    house.event("issuer.unavailable").await;
    let (transaction, callback) = house.approved(agent, &["customers.read"]).await;
    while let Err(status) = redeem(agent, &transaction, &callback).await {
        assert_eq!(reason(&status), "AS_UNREACHABLE");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    house.event("issuer.recovered").await;
}

/// The client authenticates by a secret from the next start on.
fn with_a_secret(house: &House) {
    let config = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    let config = config.replace("subject = { san_uri = \"spiffe://acme.test/narrowgate\" }\n", "");
    let config = config.replace("\"tls_client_auth\"", "\"client_secret_post\"\nclient_secret_file = \"secret\"");
    let config = config.replace("deadline = \"5s\"\n", "deadline = \"5s\"\nallow_client_secret = true\n");
    write(&house.path("narrowgate.toml"), &config);
    write(&house.path("secret"), "canary-client-secret");
}

async fn misfortunes(house: &mut House) {
    let mut agent = house.agent().await;
    fs::rename(house.path("audit"), house.path("audit-away")).unwrap();
    assert_eq!(reason(&house.begin(&mut agent, &["customers.read"]).await.err().unwrap()), "AUDIT_UNAVAILABLE");
    fs::rename(house.path("audit-away"), house.path("audit")).unwrap();
    house.event("audit.resumed").await;
    // The file in use is moved aside, under a name that is read all the same.
    fs::rename(house.path("audit/audit-000000000000-000.jsonl"), house.path("audit/audit-000000000000-900.jsonl"))
        .unwrap();
    house.event("audit.file_lost").await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    house.server.set_pause(true);
    let posts = house.server.token_posts();
    let call = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await.map(|_| ()) });
    let sent = |s: &crate::house::scripted_as::ScriptedAs| s.token_posts() > posts;
    assert!(tokio::task::block_in_place(|| house.server.wait_for(Duration::from_secs(10), sent)));
    house.signal(Signal::KILL).await;
    call.await.unwrap().expect_err("its connection is gone");
    house.server.set_pause(false);
    write(&house.path("policies/broken.cedar"), "permit");
    house.start();
    house.event("policy.rejected").await;
    house.event("exchange.unknown").await;
    house.stop().await;
    fs::remove_file(house.path("policies/broken.cedar")).unwrap();
    with_a_secret(house);
    house.start();
    house.wait_until_serving().await;
    assert_eq!(house.stop().await, Some(0));
}

// rows: AUD-01 AUD-05 AUD-08 DEC-25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_event() {
    let plan = Plan::new().policy(MAY_REGISTER).config("[limits]\n", "[limits]\ntransactions_per_agent = 1000\n");
    let mut house =
        plan.config("[[issuer]]\n", "[[issuer]]\nmetadata_ttl = \"100ms\"\ncircuit_backoff = \"100ms\"\n").open().await;
    let mut agent = house.agent().await;
    honest_work(&house, &mut agent).await;
    attacks(&house, &mut agent).await;
    outage(&house, &mut agent).await;
    downgrade(&house, &mut agent).await;
    for code in ["token.revoke_failed", "token.revoked", "token.served"] {
        house.event(code).await;
    }
    misfortunes(&mut house).await;
    house.assert_no_secret_leaked();
    house.assert_valid_ocsf(&CODES, &[]);
}
