use crate::{
    house::{Plan, begin_request, fact, reason},
    kit::{OPENID, READ, facts, param},
};
use narrowgate::api::proto::RevokeGrantRequest;
use tonic::Code;

const OFFLINE: &str = "offline_access";
const DECLARED: &str = "\n[[scope]]\nname = \"offline_access\"\nissuers = [\"corp\"]\nrisk = 1\n";

fn declaring() -> Plan {
    let mut plan = Plan::new();
    plan.apis.push_str(DECLARED);
    plan
}

// rows: SCOP-08
#[tokio::test]
async fn a_permit_on_read_is_none_on_offline_access() {
    let house = declaring().open().await;
    let mut agent = house.agent().await;
    let status = house.begin(&mut agent, &[READ, OFFLINE]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
    assert_eq!(fact(&status, "scopes").as_deref(), Some(OFFLINE));
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("no_permit"));
    // Nothing was begun, so nothing is held.
    assert_eq!((house.server.front_connections(), house.server.token_connections()), (0, 0));
    assert!(house.events("token.issued").is_empty());
}

// rows: SCOP-08
#[tokio::test]
async fn a_refresh_token_that_comes_without_the_permit_is_never_used() {
    let house = declaring().open().await;
    let mut agent = house.agent().await;
    let mut request = begin_request(&[READ, OFFLINE]);
    request.allow_partial = true;
    let begun = agent.begin_authorization(request).await.unwrap().into_inner();
    assert_eq!(begun.scopes, [READ]);
    assert_eq!(param(&begun.authorization_url, "scope").as_deref(), Some(READ));
    // This server gives one to everybody.
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = crate::house::redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    let issued = house.event("token.issued").await;
    assert_eq!(facts(&issued)["refresh_token_held"], false);
    // Forgotten it would live on, so it goes with its grant.
    let request = RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() };
    agent.revoke_grant(request).await.unwrap();
    let hints: Vec<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
    assert_eq!(hints, ["refresh_token", "access_token"]);
}

// rows: SCOP-08
#[tokio::test]
async fn with_a_permit_it_goes_along_with_any_api() {
    let permit = "@id(\"offline\") permit (principal, action == Narrowgate::Action::\"grant_scope\", \
        resource == Narrowgate::Scope::\"offline_access\");";
    let house = declaring().policy(permit).open().await;
    let mut agent = house.agent().await;
    for scopes in [[READ, OFFLINE], ["mail.read", OFFLINE]] {
        house.login(&mut agent, &scopes).await.unwrap();
    }
    let held: Vec<bool> = house.events("token.issued").iter().map(|e| facts(e)["refresh_token_held"] == true).collect();
    assert_eq!(held, [true, true]);
}

// rows: SCOP-08
#[tokio::test]
async fn openid_is_denied_where_nothing_permits_it() {
    let mut plan = Plan::new();
    for (_, text) in &mut plan.policies {
        *text = text.replace("Narrowgate::ScopeGroup::\"identity\"", "Narrowgate::ScopeGroup::\"nobody\"");
    }
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let status = house.begin(&mut agent, &[READ, OPENID]).await.err().unwrap();
    assert_eq!(reason(&status), "POLICY_DENIED");
    assert_eq!(fact(&status, "scopes").as_deref(), Some(OPENID));
    house.login(&mut agent, &[READ]).await.unwrap();
}

#[tokio::test]
async fn alone_it_names_the_person_and_is_for_no_api() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[OPENID]).await.unwrap();
    assert_eq!((begun.resource.as_str(), param(&begun.authorization_url, "resource")), ("", None));
    let mut request = begin_request(&[OPENID]);
    request.resource = "https://crm.example.test/api".to_owned();
    let status = agent.begin_authorization(request).await.err().unwrap();
    assert_eq!(reason(&status), "RESOURCE_UNKNOWN");
}
