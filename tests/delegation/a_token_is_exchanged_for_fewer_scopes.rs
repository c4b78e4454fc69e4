use crate::{
    house::{
        Plan, get,
        scripted_as::delegation::{ACCESS_TOKEN, JWT, TOKEN_EXCHANGE},
    },
    kit::{QUOTER_NAME, READ, WRITE, exchange, open, request, subject},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::api::proto::{RevocationOutcome, RevokeGrantRequest, exchange_token_request::Subject};
use serde_json::{Value, json};

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

// rows: TEX-01 TEX-04 TEX-06 TEX-07 TEX-09
#[tokio::test]
async fn the_daemon_names_the_actor_and_the_result_is_a_grant() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let token = subject(&house, &json!({ "act": { "sub": "front-end" } }));
    let exchanged = exchange(&mut agent, request(&token, &[READ])).await.unwrap();
    let issued = exchanged.token.as_ref().unwrap();
    assert_eq!((issued.scopes.as_slice(), issued.token_type.as_str()), (&[READ.to_owned()][..], "Bearer"));
    assert_eq!(exchanged.issued_token_type, ACCESS_TOKEN);
    assert!(!issued.not_for_authorization);
    // What was sent: the server has checked the actor token's signature, issuer and audience.
    let sent = house.server.requests_of(TOKEN_EXCHANGE);
    let [sent] = sent.as_slice() else { panic!("{} requests", sent.len()) };
    for (name, value) in [
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("actor_token_type", JWT),
        ("requested_token_type", ACCESS_TOKEN),
        ("scope", READ),
        ("audience", "crm-service"),
        ("client_id", "narrowgate-sales"),
    ] {
        assert_eq!(sent.param(name), Some(value), "{name}");
    }
    let actor = claims(sent.param("actor_token").unwrap());
    assert_eq!(actor["sub"], QUOTER_NAME);
    assert!(actor["exp"].as_u64().unwrap() - actor["iat"].as_u64().unwrap() <= 60, "{actor}");
    assert_eq!(claims(&issued.access_token)["act"], json!({ "sub": QUOTER_NAME, "act": { "sub": "front-end" } }));
    // The result is a grant like any other, without refresh token.
    let got = get(&mut agent, &exchanged.grant).await.unwrap();
    assert_eq!(got.token.unwrap().access_token, issued.access_token);
    let end = RevokeGrantRequest { grant: exchanged.grant, ..RevokeGrantRequest::default() };
    let revoked = agent.revoke_grant(end).await.unwrap().into_inner();
    assert!(revoked.access_token() == RevocationOutcome::Revoked);
    assert!(revoked.refresh_token() == RevocationOutcome::Unspecified);
    // On record: the decision before the POST, who acts, and the person by reference alone.
    let decided = house.event("exchange.decided").await;
    let facts = &decided["unmapped"]["narrowgate"];
    assert_eq!(facts["grant_type"], TOKEN_EXCHANGE);
    assert_eq!((&facts["actor_depth"], &facts["actors"]), (&json!(2), &json!(["quoter"])));
    assert_eq!(facts["subject_issuer"], "corp");
    assert_eq!(decided["metadata"]["correlation_uid"], json!(exchanged.decision_id));
    assert_eq!(house.event("token.issued").await["metadata"]["correlation_uid"], json!(exchanged.decision_id));
    assert!(house.audit_text().contains("subject_ref") && !house.audit_text().contains("canary-sub-of-bob"));
}

// rows: TEX-04 TEX-07
#[tokio::test]
async fn a_grant_of_the_agents_own_stands_for_its_token() {
    let house = open(Plan::new(), "act_in_token = true").await;
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let own = |scopes: &[&str]| {
        let mut own = request("", scopes);
        (own.subject, own.subject_token_type) = (Some(Subject::SubjectGrant(login.grant.clone())), String::new());
        own
    };
    let exchanged = exchange(&mut agent, own(&[READ])).await.unwrap();
    assert_eq!(exchanged.token.unwrap().scopes, [READ]);
    let sent = house.server.requests_of(TOKEN_EXCHANGE);
    assert_eq!(sent[0].param("subject_token"), Some(login.token.unwrap().access_token.as_str()));
    // Neither the grant of another, nor one that has ended.
    let mut courier = house.svid_agent(crate::house::COURIER).await;
    crate::kit::refused(exchange(&mut courier, own(&[READ])).await, tonic::Code::NotFound, "GRANT_UNKNOWN");
    house.event("detect.cross_agent_handle").await;
    let end = RevokeGrantRequest { grant: login.grant.clone(), ..RevokeGrantRequest::default() };
    agent.revoke_grant(end).await.unwrap();
    crate::kit::refused(exchange(&mut agent, own(&[READ])).await, tonic::Code::NotFound, "GRANT_UNKNOWN");
    assert_eq!(house.server.requests_of(TOKEN_EXCHANGE).len(), 1);
}

// rows: TEX-07
#[tokio::test]
async fn who_the_person_is_decides_after_the_exchange_too() {
    let rule = "@id(\"person\") @code(\"not_her\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource)\n\
        when { context has subject && context.subject.user == Narrowgate::User::\"corp|canary-sub-of-ana\"\n\
          && !context.base.scopes.contains(Narrowgate::Scope::\"customers.write\") };";
    let house = open(Plan::new().policy(rule), "").await;
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ, WRITE, "openid"]).await.unwrap();
    let mut own = request("", &[READ]);
    (own.subject, own.subject_token_type) = (Some(Subject::SubjectGrant(login.grant)), String::new());
    let status = crate::kit::refused(exchange(&mut agent, own).await, tonic::Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(crate::house::fact(&status, "policy_code").unwrap(), "not_her");
    crate::house::eventually("the revocation", || house.server.revocations().pop()).await;
}
