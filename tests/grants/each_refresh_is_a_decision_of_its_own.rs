use crate::{
    asking::{READ, WRITE, granted, narrow, refused, token},
    house::{Plan, fact},
};
use tonic::Code;

const CRM: &str = "https://crm.example.test/api";

// rows: RT-04
#[tokio::test]
async fn every_refresh_names_its_scopes_and_its_resource() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    for scopes in [&[READ][..], &[WRITE], &[READ]] {
        let got = narrow(&mut agent, &redeemed.grant, scopes).await.unwrap();
        assert_eq!(token(&got).scopes, scopes);
        assert_ne!(token(&got).access_token, redeemed.token.as_ref().unwrap().access_token);
    }
    let asked: Vec<_> = house.server.refreshes();
    let scopes: Vec<_> = asked.iter().map(|request| request.param("scope").unwrap()).collect();
    assert_eq!(scopes, [READ, WRITE]);
    for request in &asked {
        assert_eq!((request.param("resource"), request.param("client_id")), (Some(CRM), Some("narrowgate-sales")));
        assert!(request.client_certificate_der.is_some() && request.client_refused.is_none());
        assert_eq!(request.form.len(), 5, "nothing else is sent: {:?}", request.form);
    }
    // Decision and outcome pair, and name what they are about.
    let outcomes = house.events("token.refreshed");
    let decisions = house.events("exchange.decided");
    for (outcome, scope) in outcomes.iter().zip([READ, WRITE]) {
        let id = &outcome["metadata"]["correlation_uid"];
        let decided = decisions.iter().find(|event| event["metadata"]["correlation_uid"] == *id).unwrap();
        let facts = &decided["unmapped"]["narrowgate"];
        assert_eq!((&facts["grant_type"], &facts["phase"]), (&"refresh_token".into(), &"intent".into()));
        assert_eq!(facts["requested_scopes"], serde_json::json!([scope]));
        assert!(decided["metadata"]["sequence"].as_u64() < outcome["metadata"]["sequence"].as_u64());
    }
    assert_eq!((outcomes.len(), decisions.len()), (2, 3));
}

// rows: RT-04
#[tokio::test]
async fn more_than_the_grant_is_not_asked_for() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let more = narrow(&mut agent, &redeemed.grant, &[READ, WRITE]).await;
    refused(more, Code::PermissionDenied, "SCOPE_NOT_GRANTED");
    assert_eq!(house.server.token_posts(), 1);
}

// rows: RT-04
#[tokio::test]
async fn a_no_of_policy_opens_no_connection() {
    let rules = [
        ("action == Narrowgate::Action::\"refresh_token\"", "context.refreshCount >= 1", "POLICY_DENIED"),
        ("action == Narrowgate::Action::\"grant_scope\"", "context.flow == \"refresh\"", "SCOPE_NO_LONGER_ALLOWED"),
        // What would not be released is not fetched: a token for nobody must not come into being.
        ("action == Narrowgate::Action::\"release_token\"", "context.handOut == \"again\"", "POLICY_DENIED"),
    ];
    for (action, when, reason) in rules {
        let no = format!("@id(\"no\") @code(\"closed\") forbid (principal, {action}, resource) when {{ {when} }};");
        let (house, mut agent, redeemed) = granted(Plan::new().policy(&no)).await;
        if when.contains("refreshCount") {
            narrow(&mut agent, &redeemed.grant, &[WRITE]).await.unwrap();
        }
        let before = (house.server.token_connections(), house.server.token_posts());
        let status = refused(narrow(&mut agent, &redeemed.grant, &[READ]).await, Code::PermissionDenied, reason);
        assert_eq!(fact(&status, "policy_code").as_deref(), Some("closed"), "{when}");
        assert_eq!((house.server.token_connections(), house.server.token_posts()), before, "{when}");
        let denied = house.events("exchange.decided").pop().unwrap();
        assert_eq!(denied["action_id"], 2);
        assert_eq!(
            Some(denied["metadata"]["correlation_uid"].as_str().unwrap()),
            fact(&status, "decision_id").as_deref()
        );
    }
}

// rows: RT-04
#[tokio::test]
async fn a_grant_whose_refresh_token_policy_does_not_want_is_not_refreshed() {
    let term = "@id(\"test.term\") @no_refresh\n\
        permit (principal, action == Narrowgate::Action::\"grant_scope\", resource) when { context.flow == \"refresh\" };";
    let (house, mut agent, redeemed) = granted(Plan::new().policy(term)).await;
    let narrowed = narrow(&mut agent, &redeemed.grant, &[READ]).await;
    let status = refused(narrowed, Code::PermissionDenied, "OBLIGATION_UNMET");
    assert_eq!(fact(&status, "obligation").as_deref(), Some("no_refresh"));
    assert!(house.server.refreshes().is_empty());
}
