//! Cedar skips a policy that errs and may still say Allow. Here any error is a no, though a permit matches.

use crate::{
    check,
    house::{House, Plan, fact, get, reason},
};
use serde_json::Value;
use tonic::{Code, Status};

/// Passes strict validation, and overflows for every agent of trust 2 or more.
const OVERFLOW: &str = "principal.trust * 9223372036854775807 > 5";
/// Passes strict validation, and overflows for every time after 1970.
const FAR_FUTURE: &str =
    "context.base.now.offset(duration(\"106751991167d\")).durationSince(datetime(\"1970-01-01\")) > duration(\"1d\")";

fn erring(effect: &str, action: &str, condition: &str) -> String {
    let code = if effect == "forbid" { "@code(\"erring\")" } else { "" };
    format!(
        "@id(\"erring\") {code}\n{effect} (principal, action == Narrowgate::Action::\"{action}\", resource)\nwhen {{ {condition} }};\n"
    )
}

/// A house whose policies are the sample set, which allows the flow, and one that errs.
async fn open(effect: &str, action: &str, condition: &str) -> House {
    let house = Plan::new().policy(&erring(effect, action, condition)).open().await;
    let checked = check(&house, &[]);
    assert_eq!(checked.exit, 0, "it must pass strict validation: {}", checked.text);
    house
}

fn assert_eval_error(status: &Status) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::PermissionDenied, "POLICY_EVAL_ERROR"));
    assert!(fact(status, "decision_id").is_some());
}

fn assert_recorded(event: &Value) {
    let facts = &event["unmapped"]["narrowgate"];
    assert_eq!(facts["deny_kind"], "eval_error", "{event}");
    assert_eq!(event["severity"], "High");
    assert_eq!(event["status_id"], 2);
    let detail = event["status_detail"].as_str().unwrap();
    assert!(detail.ends_with(" evaluation errors") && !detail.ends_with(" 0 evaluation errors"), "{detail}");
}

// rows: POL-01
#[tokio::test]
async fn at_begin() {
    let questions = [
        ("forbid", "begin_authorization", OVERFLOW),
        ("permit", "begin_authorization", OVERFLOW),
        ("forbid", "grant_scope", OVERFLOW),
        ("permit", "grant_scope", OVERFLOW),
        ("forbid", "begin_authorization", FAR_FUTURE),
        ("permit", "grant_scope", FAR_FUTURE),
    ];
    for (effect, action, condition) in questions {
        let house = open(effect, action, condition).await;
        let mut agent = house.agent().await;
        let status = house.begin(&mut agent, &["customers.read"]).await.err().unwrap();
        assert_eval_error(&status);
        let decided = house.event("authorization.decided").await;
        assert_recorded(&decided);
        assert_eq!(decided["metadata"]["correlation_uid"], fact(&status, "decision_id").unwrap());
        assert_eq!(house.server.front_connections(), 0, "no discovery for a request that policy refused");
    }
}

// rows: POL-01 POL-05
#[tokio::test]
async fn at_redeem_and_the_code_stays_here() {
    for (effect, condition) in [("forbid", OVERFLOW), ("permit", OVERFLOW), ("forbid", FAR_FUTURE)] {
        let house = open(effect, "redeem_code", condition).await;
        let mut agent = house.agent().await;
        let status = house.login(&mut agent, &["customers.read"]).await.err().unwrap();
        assert_eval_error(&status);
        assert_recorded(&house.event("exchange.decided").await);
        assert_eq!((house.server.token_connections(), house.server.token_posts()), (0, 0));
        house.assert_no_secret_leaked();
    }
}

// rows: POL-01 POL-05
#[tokio::test]
async fn at_release_and_the_token_is_revoked() {
    let house = open("forbid", "release_token", OVERFLOW).await;
    let mut agent = house.agent().await;
    let status = house.login(&mut agent, &["customers.read"]).await.err().unwrap();
    assert_eval_error(&status);
    assert_eq!(house.server.token_posts(), 1);
    assert_recorded(&house.event("exchange.failed").await);
    let revoked = house.event("token.revoked").await;
    assert_eq!(revoked["unmapped"]["narrowgate"]["why"], "not_released");
    assert!(house.server.revocation_posts() >= 1);
    assert!(house.events("token.issued").is_empty());
}

// rows: POL-01
#[tokio::test]
async fn at_a_later_hand_out() {
    let condition = format!("context.handOut == \"again\" && {OVERFLOW}");
    let house = open("forbid", "release_token", &condition).await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    let status = get(&mut agent, &redeemed.grant).await.err().unwrap();
    assert_eval_error(&status);
    assert_recorded(&house.event("token.withheld").await);
}

// rows: POL-01
#[tokio::test]
async fn nothing_permitted_is_denied_and_forbid_overrides_permit() {
    let mut plan = Plan::new();
    plan.policies.retain(|(name, _)| name != "grants.cedar");
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let status = house.begin(&mut agent, &["customers.read"]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
    assert_eq!(fact(&status, "policy_code").unwrap(), "no_permit");

    let all = "@id(\"all\") permit (principal, action, resource);\n";
    let no =
        "@id(\"no\") @code(\"closed\") forbid (principal, action == Narrowgate::Action::\"redeem_code\", resource);";
    let house = Plan::new().policy(all).policy(no).open().await;
    let mut agent = house.agent().await;
    let status = house.login(&mut agent, &["customers.read"]).await.err().unwrap();
    assert_eq!(reason(&status), "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").unwrap(), "closed");
    assert_eq!(house.server.token_posts(), 0);
}
