use crate::{
    house::{
        COURIER, Plan, get,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{READ, WRITE, answer, obtain, obtain_request, open},
};
use serde_json::json;
use tonic::Code;

const CLIENT_CREDENTIALS: &str = "client_credentials";

#[tokio::test]
async fn its_own_permit_is_asked_for() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let obtained = obtain(&mut agent, obtain_request(None, &[READ])).await.unwrap();
    assert_eq!(obtained.token.as_ref().unwrap().scopes, [READ]);
    get(&mut agent, &obtained.grant).await.unwrap();
    let sent = house.server.requests_of(CLIENT_CREDENTIALS).pop().unwrap();
    let names: Vec<&str> = sent.form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grant_type", "scope", "resource", "client_id"]);
    let decided = house.event("exchange.decided").await;
    assert_eq!(decided["unmapped"]["narrowgate"]["grant_type"], CLIENT_CREDENTIALS);
    // The permit for codes is none for this.
    let mut plan = Plan::new();
    for (_, text) in &mut plan.policies {
        *text = text.replace(
            "action == Narrowgate::Action::\"client_credentials\"",
            "action == Narrowgate::Action::\"redeem_code\"",
        );
    }
    let house = open(plan, "").await;
    let mut agent = house.agent().await;
    let refused = obtain(&mut agent, obtain_request(None, &[READ])).await;
    crate::kit::refused(refused, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(house.server.token_posts(), 0);
    house.login(&mut agent, &[READ]).await.unwrap();
}

#[tokio::test]
async fn the_answer_is_judged_like_any_other() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Broader("customers.delete".to_owned())));
    let refused = obtain(&mut agent, obtain_request(None, &[READ, WRITE])).await;
    crate::kit::refused(refused, Code::FailedPrecondition, "SCOPE_UPGRADED");
    crate::house::eventually("the revocation", || house.server.revocations().pop()).await;
    // RFC 6749 §4.4.3: a refresh token should not be there; it is nobody's.
    answer(&house, json!({ "refresh_token": "canary-rt-unasked" }));
    obtain(&mut agent, obtain_request(None, &[READ])).await.unwrap();
    house.event("detect.unexpected_refresh_token").await;
    house.server.behave(Script::Token(Behaviour::ResetAfterRequest));
    let refused = obtain(&mut agent, obtain_request(None, &[READ])).await;
    crate::kit::refused(refused, Code::Aborted, "REQUEST_OUTCOME_UNKNOWN");
    house.event("exchange.failed").await;
    // Each scope is decided for each agent.
    let mut courier = house.svid_agent(COURIER).await;
    let refused = obtain(&mut courier, obtain_request(None, &[WRITE])).await;
    crate::kit::refused(refused, Code::PermissionDenied, "POLICY_DENIED");
    // Each decision has its end on record.
    let ids = |code: &str| -> Vec<serde_json::Value> {
        let events = house.events(code).into_iter();
        events.filter(|e| e["action_id"] != json!(2)).map(|e| e["metadata"]["correlation_uid"].clone()).collect()
    };
    let ends: Vec<_> = ["token.issued", "exchange.failed"].iter().flat_map(|code| ids(code)).collect();
    assert!(house.server.token_posts() == 3 && ends.len() == 3, "{ends:?}");
}
