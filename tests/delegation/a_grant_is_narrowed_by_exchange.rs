use crate::{
    house::{
        Agent, COURIER, House, Plan, begin_request, eventually, redeem,
        scripted_as::{
            behaviour::{Behaviour, Script},
            delegation::TOKEN_EXCHANGE,
        },
    },
    kit::{READ, WRITE, open, open_with, refused},
};
use narrowgate::api::proto::{
    BeginAuthorizationRequest, GetTokenRequest, RevokeGrantRequest, Token, WatchTokenRequest, WatchTokenResponse,
    watch_token_response::Event,
};
use std::{collections::BTreeSet, time::Duration};
use tonic::{Code, Status, Streaming};

fn plan() -> Plan {
    Plan::new().config("deadline = \"5s\"", "deadline = \"5s\"\nrefresh_narrowing = \"exchange\"")
}

async fn narrow(agent: &mut Agent, grant: &str, scopes: &[&str]) -> Result<Token, Status> {
    let scopes = scopes.iter().map(ToString::to_string).collect();
    let request = GetTokenRequest { grant: grant.to_owned(), scopes, ..GetTokenRequest::default() };
    Ok(agent.get_token(request).await?.into_inner().token.unwrap())
}

async fn revoked(house: &House, count: usize) -> Vec<(String, String)> {
    eventually("the revocations", || {
        let revocations = house.server.revocations();
        (revocations.len() >= count).then_some(revocations)
    })
    .await
}

// rows: TEX-04 SCOP-05
#[tokio::test]
async fn the_broad_token_is_exchanged_once_and_the_narrow_one_kept() {
    let house = open(plan(), "").await;
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let broad = login.token.unwrap();
    let first = narrow(&mut agent, &login.grant, &[READ]).await.unwrap();
    assert_eq!(first.scopes, [READ]);
    let sent = house.server.requests_of(TOKEN_EXCHANGE);
    assert_eq!((sent.len(), sent[0].param("scope")), (1, Some(READ)));
    assert_eq!(sent[0].param("subject_token"), Some(broad.access_token.as_str()));
    // It is a token of the same grant: served again without a request, and revoked with it.
    assert_eq!(narrow(&mut agent, &login.grant, &[READ]).await.unwrap().access_token, first.access_token);
    assert_eq!(narrow(&mut agent, &login.grant, &[]).await.unwrap().access_token, broad.access_token);
    assert_eq!((house.server.requests_of(TOKEN_EXCHANGE).len(), house.server.refreshes().len()), (1, 0));
    let mut courier = house.svid_agent(COURIER).await;
    refused(narrow(&mut courier, &login.grant, &[READ]).await, Code::NotFound, "GRANT_UNKNOWN");
    refused(narrow(&mut agent, &login.grant, &["customers.delete"]).await, Code::PermissionDenied, "SCOPE_NOT_GRANTED");
    let end = RevokeGrantRequest { grant: login.grant.clone(), ..RevokeGrantRequest::default() };
    agent.revoke_grant(end).await.unwrap();
    let tokens: Vec<String> = revoked(&house, 3).await.into_iter().map(|(_, token)| token).collect();
    assert!(tokens.contains(&first.access_token) && tokens.contains(&broad.access_token));
    refused(narrow(&mut agent, &login.grant, &[READ]).await, Code::NotFound, "GRANT_UNKNOWN");
}

// rows: TEX-04 TEX-09 SCOP-05
#[tokio::test]
async fn a_narrow_token_that_is_too_broad_is_revoked_and_the_grant_lives() {
    let house = open(plan(), "").await;
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    house.server.behave(Script::Token(Behaviour::Broader(WRITE.to_owned())));
    refused(narrow(&mut agent, &login.grant, &[READ]).await, Code::FailedPrecondition, "SCOPE_UPGRADED");
    assert_eq!(revoked(&house, 1).await[0].0, "access_token");
    narrow(&mut agent, &login.grant, &[READ]).await.unwrap();
    // Its own gate is asked: who may not exchange gets nothing narrower.
    let rule = "@id(\"no.exchange\") @code(\"no_exchange\")\n\
        forbid (principal, action == Narrowgate::Action::\"exchange_token\", resource);";
    let house = open(plan().policy(rule), "").await;
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    refused(narrow(&mut agent, &login.grant, &[READ]).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(house.server.token_posts(), 1);
}

#[tokio::test]
async fn without_an_exchange_nothing_is_narrower() {
    let house = open_with(plan(), "").await;
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    refused(narrow(&mut agent, &login.grant, &[READ]).await, Code::FailedPrecondition, "NARROWING_UNAVAILABLE");
    assert_eq!(house.server.token_posts(), 1);
}

/// An exchange names scopes alone: what would become of the details nobody could tell.
// rows: RES-06 TEX-04
#[tokio::test]
async fn a_grant_of_authorization_details_is_not_narrowed_so() {
    let permit = "@id(\"test.details\")\n\
        permit (principal, action == Narrowgate::Action::\"grant_detail\", resource in Narrowgate::Api::\"crm\");";
    let mut plan = plan().policy(permit);
    plan.apis.push_str(
        "\n[[authorization_details_type]]\ntype = \"payment_initiation\"\napi = \"crm\"\nfields = { amount = \"at_most\" }\n",
    );
    let house = open(plan, "").await;
    let mut agent = house.agent().await;
    let asked = r#"[{"type":"payment_initiation","amount":"10"}]"#.to_owned();
    let request = BeginAuthorizationRequest { authorization_details: asked, ..begin_request(&[READ, WRITE]) };
    let begun = agent.begin_authorization(request).await.unwrap().into_inner();
    let callback = house.server.approve(&begun.authorization_url);
    let login = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    refused(narrow(&mut agent, &login.grant, &[READ]).await, Code::FailedPrecondition, "NARROWING_UNAVAILABLE");
    assert_eq!(house.server.requests_of(TOKEN_EXCHANGE).len(), 0);
    narrow(&mut agent, &login.grant, &[]).await.unwrap();
}

async fn next(messages: &mut Streaming<WatchTokenResponse>) -> Event {
    let message = tokio::time::timeout(Duration::from_secs(10), messages.message()).await;
    message.expect("no message comes").unwrap().expect("the watch goes on").event.unwrap()
}

// rows: TEX-04 CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_the_narrow_token_watches_its_grant() {
    // There is room for one grant: what is narrower is none of its own.
    let house = open(plan().config("[limits]", "[limits]\ngrants_per_agent = 1"), "").await;
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let request =
        WatchTokenRequest { grant: login.grant.clone(), scopes: vec![READ.to_owned()], ..WatchTokenRequest::default() };
    let mut messages = agent.watch_token(request).await.unwrap().into_inner();
    let Event::Token(got) = next(&mut messages).await else { panic!("no token") };
    let token = got.token.unwrap();
    assert_eq!(token.scopes, [READ]);
    assert_eq!(narrow(&mut agent, &login.grant, &[READ]).await.unwrap().access_token, token.access_token);
    // The log says of which grant it is.
    let reference = |event: &serde_json::Value| event["unmapped"]["narrowgate"]["grant_ref"].to_string();
    let issued = eventually("both issues", || Some(house.events("token.issued")).filter(|it| it.len() == 2)).await;
    let served = house.event("token.served").await;
    let references: BTreeSet<String> = issued.iter().chain([&served]).map(reference).collect();
    assert_eq!(references.len(), 1, "{references:?}");
    // It ends with its grant, while the token lives.
    let end = RevokeGrantRequest { grant: login.grant.clone(), ..RevokeGrantRequest::default() };
    agent.revoke_grant(end).await.unwrap();
    let Event::Ended(ended) = next(&mut messages).await else { panic!("another token") };
    assert_eq!(ended.reason, "GRANT_UNKNOWN");
}
