use crate::{
    house::scripted_as::behaviour::{Behaviour, Script},
    kit::{READ, granted, narrow, plan, refused, until},
};
use serde_json::{Value, json};
use tonic::Code;

const MISMATCH: (Code, &str) = (Code::FailedPrecondition, "TOKEN_BINDING_MISMATCH");

fn token_type(kind: &str) -> Behaviour {
    Behaviour::TokenType(Some(kind.to_owned()))
}

fn confirmed(cnf: Value) -> Behaviour {
    Behaviour::JwtClaims([("cnf".to_owned(), cnf)].into_iter().collect())
}

// rows: DPOP-09 TOK-05
#[tokio::test]
async fn a_bearer_token_is_a_downgrade_refused_and_revoked() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    for (at, kind) in ["Bearer", "bearer", "BEARER"].into_iter().enumerate() {
        house.server.behave(Script::Token(token_type(kind)));
        refused(house.login(&mut agent, &[READ]).await, MISMATCH.0, MISMATCH.1);
        until("both revocations", || (house.server.revocations().len() == 2 * (at + 1)).then_some(())).await;
    }
    for kind in ["mac", "N_A", "DPoP ", ""] {
        house.server.behave(Script::Token(token_type(kind)));
        refused(house.login(&mut agent, &[READ]).await, Code::FailedPrecondition, "TOKEN_TYPE_UNSUPPORTED");
    }
    assert!(house.events("token.issued").is_empty());
}

// rows: DPOP-09
#[tokio::test]
async fn a_jwt_that_is_not_bound_to_the_key_is_refused_whatever_its_type_says() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let other = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    for cnf in
        [Value::Null, json!({}), json!({ "jkt": other }), json!({ "jkt": [other] }), json!({ "x5t#S256": other })]
    {
        house.server.behave(Script::Token(confirmed(cnf)));
        refused(house.login(&mut agent, &[READ]).await, MISMATCH.0, MISMATCH.1);
    }
    // Bound to this very key it is taken.
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let url = url::Url::parse(&begun.authorization_url).unwrap();
    let (_, jkt) = url.query_pairs().find(|(name, _)| name == "dpop_jkt").unwrap();
    house.server.behave(Script::Token(confirmed(json!({ "jkt": jkt }))));
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = crate::house::redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    assert_eq!(redeemed.token.unwrap().jkt, jkt);
}

// rows: DPOP-09
#[tokio::test]
async fn a_refresh_is_no_way_to_a_bearer_token_either() {
    let (house, mut agent, redeemed) = granted(plan()).await;
    house.server.behave(Script::Token(token_type("Bearer")));
    refused(narrow(&mut agent, &redeemed.grant, &[READ]).await, MISMATCH.0, MISMATCH.1);
    until("the revocation", || house.server.revocations().pop()).await;
    assert_eq!(house.server.revocations()[0].0, "access_token");
}

// rows: DPOP-09
#[tokio::test]
async fn what_policy_demands_is_what_the_client_is_bound_by() {
    let demand = |proof: &str| {
        format!(
            "@id(\"test.bound\") @proof(\"{proof}\")\npermit (principal, action == Narrowgate::Action::\"grant_scope\", resource);"
        )
    };
    for (proof, kept) in [("dpop", true), ("any", true), ("mtls", false)] {
        let house = plan().policy(&demand(proof)).open().await;
        let mut agent = house.agent().await;
        let begun = house.begin(&mut agent, &[READ]).await;
        if kept {
            begun.unwrap();
        } else {
            refused(begun, Code::PermissionDenied, "OBLIGATION_UNMET");
        }
    }
    let house = crate::house::Plan::new().policy(&demand("dpop")).open().await;
    let mut agent = house.agent().await;
    refused(house.begin(&mut agent, &[READ]).await, Code::PermissionDenied, "OBLIGATION_UNMET");
}
