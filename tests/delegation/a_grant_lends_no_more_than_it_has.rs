use crate::{
    house::{
        House, Plan, fact, get, reason,
        scripted_as::{
            behaviour::{Behaviour, Script},
            delegation::TOKEN_EXCHANGE,
        },
    },
    kit::{READ, WRITE, exchange, object, open, refused, request},
};
use narrowgate::api::proto::{ExchangeTokenRequest, exchange_token_request::Subject};
use serde_json::json;
use std::time::Duration;
use tonic::Code;

fn of_grant(grant: &str, scopes: &[&str]) -> ExchangeTokenRequest {
    let mut own = request("", scopes);
    (own.subject, own.subject_token_type) = (Some(Subject::SubjectGrant(grant.to_owned())), String::new());
    own
}

/// A house in which what a code brings for `customers.read` is on these terms besides, and nothing else is.
async fn on_terms(terms: &str) -> House {
    let permit = format!(
        "@id(\"extra\") {terms}\npermit (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"customers.read\")\nwhen {{ context.flow == \"code\" }};"
    );
    open(Plan::new().policy(&permit), "").await
}

// rows: TEX-07 CACH-01
#[tokio::test]
async fn a_token_that_would_not_be_handed_out_now_is_not_exchanged() {
    let rule = "@id(\"no.again\") @code(\"not_again\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource) when { context.handOut == \"again\" };";
    let house = open(Plan::new().policy(rule), "").await;
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let result = exchange(&mut agent, of_grant(&login.grant, &[READ])).await;
    let status = refused(result, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").unwrap(), "not_again");
    assert!(house.server.requests_of(TOKEN_EXCHANGE).is_empty());
    let withheld = house.event("token.withheld").await;
    assert_eq!(withheld["unmapped"]["narrowgate"]["operation"], "ExchangeToken");
}

// rows: TEX-07 INTR-05
#[tokio::test]
async fn nor_is_one_that_its_issuer_does_not_stand_by() {
    for narrowing in ["", "refresh_narrowing = \"exchange\"\n"] {
        let lines = format!(
            "deadline = \"5s\"\n{narrowing}\n[issuer.access_token]\ncontract = \"introspection\"\nintrospection_cache = \"100ms\"\n"
        );
        let house = open(Plan::new().config("deadline = \"5s\"\n", &lines), "").await;
        let mut agent = house.agent().await;
        let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
        exchange(&mut agent, of_grant(&login.grant, &[READ])).await.unwrap();
        let inactive = Behaviour::Members(object(json!({ "active": false })));
        house.server.always(Script::Introspection(inactive));
        // The issuer's last word counts for as long as it is told.
        tokio::time::sleep(Duration::from_millis(150)).await;
        if narrowing.is_empty() {
            let result = exchange(&mut agent, of_grant(&login.grant, &[READ])).await;
            refused(result, Code::FailedPrecondition, "TOKEN_EXPIRED");
        } else {
            let scopes = vec![READ.to_owned()];
            let narrow = narrowgate::api::proto::GetTokenRequest { grant: login.grant, scopes, ..Default::default() };
            refused(agent.get_token(narrow).await, Code::FailedPrecondition, "TOKEN_EXPIRED");
        }
        assert_eq!(house.server.requests_of(TOKEN_EXCHANGE).len(), 1);
    }
}

// rows: TEX-10 POL-10
#[tokio::test]
async fn what_comes_of_it_is_served_no_longer_than_the_grants_own_token() {
    let house = on_terms("@max_lifetime(\"60s\")").await;
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ]).await.unwrap();
    let parent = login.token.unwrap().lease_time.unwrap();
    let exchanged = exchange(&mut agent, of_grant(&login.grant, &[READ])).await.unwrap();
    let lease = exchanged.token.unwrap().lease_time.unwrap();
    assert!(lease.seconds <= parent.seconds + 1, "{lease:?} is after {parent:?}");
    // Nor by way of what was exchanged before.
    let again = exchange(&mut agent, of_grant(&exchanged.grant, &[READ])).await.unwrap();
    let lease = again.token.unwrap().lease_time.unwrap();
    assert!(lease.seconds <= parent.seconds + 1, "{lease:?} is after {parent:?}");
}

// rows: POL-10
#[tokio::test]
async fn uses_are_not_counted_anew() {
    let house = on_terms("@max_uses(\"4\")").await;
    let mut agent = house.agent().await;
    // Once at the login, and once for the exchange: two are left.
    let login = house.login(&mut agent, &[READ]).await.unwrap();
    let exchanged = exchange(&mut agent, of_grant(&login.grant, &[READ])).await.unwrap();
    get(&mut agent, &exchanged.grant).await.unwrap();
    assert_eq!(reason(&get(&mut agent, &exchanged.grant).await.err().unwrap()), "GRANT_UNKNOWN");
    let result = exchange(&mut agent, of_grant(&exchanged.grant, &[READ])).await;
    refused(result, Code::NotFound, "GRANT_UNKNOWN");
    // It is the token's own agent that has used it up, not what came of it.
    get(&mut agent, &login.grant).await.unwrap();
    get(&mut agent, &login.grant).await.unwrap();
    assert_eq!(reason(&get(&mut agent, &login.grant).await.err().unwrap()), "GRANT_UNKNOWN");
    let result = exchange(&mut agent, of_grant(&login.grant, &[READ])).await;
    refused(result, Code::NotFound, "GRANT_UNKNOWN");
}
