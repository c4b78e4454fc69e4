use crate::{
    house::{
        House, Plan, eventually, get,
        scripted_as::delegation::{ACCESS_TOKEN, JWT},
    },
    kit::{QUOTER_NAME, READ, answer, exchange, issue, open, request, subject},
};
use serde_json::json;
use tonic::Code;

async fn revoked(house: &House, count: usize) {
    eventually("the revocations", || (house.server.revocations().len() >= count).then_some(())).await;
}

// rows: TEX-02
#[tokio::test]
async fn another_type_of_token_is_refused_and_revoked() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let types = [
        json!(null),
        json!("urn:ietf:params:oauth:token-type:refresh_token"),
        json!(JWT),
        json!("access_token"),
        json!([ACCESS_TOKEN]),
    ];
    for (at, issued) in types.into_iter().enumerate() {
        answer(&house, json!({ "issued_token_type": issued }));
        let refused = exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await;
        crate::kit::refused(refused, Code::FailedPrecondition, "ISSUED_TYPE_UNEXPECTED");
        revoked(&house, at + 1).await;
    }
}

// rows: TEX-03
#[tokio::test]
async fn what_is_no_access_token_says_so() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    answer(&house, json!({ "token_type": "N_A" }));
    let refused = exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await;
    crate::kit::refused(refused, Code::FailedPrecondition, "TOKEN_TYPE_UNSUPPORTED");
    let mut jwt = request(&subject(&house, &json!({})), &[READ]);
    jwt.requested_token_type = JWT.to_owned();
    let exchanged = exchange(&mut agent, jwt).await.unwrap();
    let again = get(&mut agent, &exchanged.grant).await.unwrap();
    for token in [exchanged.token.unwrap(), again.token.unwrap()] {
        assert!(token.not_for_authorization);
        assert_eq!(token.token_type, "N_A");
    }
    assert_eq!(exchanged.issued_token_type, JWT);
}

// rows: TEX-09
#[tokio::test]
async fn a_delegation_comes_back_with_its_actors() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let before = json!({ "act": { "sub": "front-end" } });
    let acts = [
        json!(null),
        json!({ "sub": "front-end" }),
        json!({ "sub": "somebody", "act": { "sub": "front-end" } }),
        // One was cut off, one was added.
        json!({ "sub": QUOTER_NAME }),
        json!({ "sub": QUOTER_NAME, "act": { "sub": "front-end", "act": { "sub": "back-end" } } }),
        json!("quoter"),
    ];
    let count = acts.len();
    for act in acts {
        issue(&house, json!({ "act": act }));
        let refused = exchange(&mut agent, request(&subject(&house, &before), &[READ])).await;
        crate::kit::refused(refused, Code::FailedPrecondition, "ACT_MISSING");
    }
    // An opaque token shows nobody.
    answer(&house, json!({ "access_token": "canary-at-opaque" }));
    let refused = exchange(&mut agent, request(&subject(&house, &before), &[READ])).await;
    crate::kit::refused(refused, Code::FailedPrecondition, "ACT_MISSING");
    revoked(&house, count + 1).await;
    house.event("detect.delegation_stripped").await;
    // Unless the operator trusts its server for that.
    let house = open(Plan::new(), "act_in_token = false").await;
    let mut agent = house.agent().await;
    answer(&house, json!({ "access_token": "canary-at-opaque" }));
    exchange(&mut agent, request(&subject(&house, &before), &[READ])).await.unwrap();
}

fn chain(depth: usize) -> serde_json::Value {
    (1..depth).fold(json!({ "sub": "actor-0" }), |inner, at| json!({ "sub": format!("actor-{at}"), "act": inner }))
}

// rows: TEX-09
#[tokio::test]
async fn a_chain_that_is_too_long_is_refused_and_never_cut() {
    let mut plan = Plan::new();
    // The configuration's bound, not the sample guard's.
    for (_, text) in &mut plan.policies {
        *text = text.replace("context.base.actors.depth > 3", "context.base.actors.depth > 30");
    }
    let house = open(plan, "max_actors = 4").await;
    let mut agent = house.agent().await;
    let token = subject(&house, &json!({ "act": chain(4) }));
    let refused = exchange(&mut agent, request(&token, &[READ])).await;
    crate::kit::refused(refused, Code::FailedPrecondition, "ACT_TOO_DEEP");
    assert_eq!(house.server.token_posts(), 0);
    let token = subject(&house, &json!({ "act": chain(3) }));
    issue(&house, json!({ "act": chain(5) }));
    let refused = exchange(&mut agent, request(&token, &[READ])).await;
    crate::kit::refused(refused, Code::FailedPrecondition, "ACT_TOO_DEEP");
    revoked(&house, 1).await;
    exchange(&mut agent, request(&token, &[READ])).await.unwrap();
    // Policy sees the depth: the sample's own bound is three.
    let house = open(Plan::new(), "max_actors = 4").await;
    let mut agent = house.agent().await;
    let refused = exchange(&mut agent, request(&subject(&house, &json!({ "act": chain(3) })), &[READ])).await;
    let status = crate::kit::refused(refused, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(crate::house::fact(&status, "policy_code").unwrap(), "delegation_out_of_bounds");
    assert_eq!(house.server.token_posts(), 0);
}

// rows: TEX-11
#[tokio::test]
async fn a_refresh_token_that_comes_unasked_is_revoked() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    answer(&house, json!({ "refresh_token": "canary-rt-unasked" }));
    let exchanged = exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await.unwrap();
    let revocations = eventually("the revocation", || {
        let revocations = house.server.revocations();
        (!revocations.is_empty()).then_some(revocations)
    })
    .await;
    assert_eq!(revocations, [("refresh_token".to_owned(), "canary-rt-unasked".to_owned())]);
    house.event("detect.unexpected_refresh_token").await;
    let issued = house.event("token.issued").await;
    assert_eq!(issued["unmapped"]["narrowgate"]["refresh_token_held"], json!(false));
    // It is held by nobody: what asks for fewer scopes cannot use it.
    get(&mut agent, &exchanged.grant).await.unwrap();
    assert!(house.server.refreshes().is_empty());
}

// rows: TEX-06
#[tokio::test]
async fn impersonation_is_policys_to_allow() {
    let mut plan = Plan::new();
    let more = "actor_token = \"none\"";
    let house = open(plan, more).await;
    let mut agent = house.agent().await;
    let refused = exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await;
    crate::kit::refused(refused, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(house.server.token_posts(), 0);
    plan = Plan::new();
    for (_, text) in &mut plan.policies {
        *text = text.replace("(context has impersonation && context.impersonation) ||", "false ||");
    }
    let house = open(plan, more).await;
    let mut agent = house.agent().await;
    exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await.unwrap();
    assert_eq!(house.server.last_token_request().unwrap().param("actor_token"), None);
}
