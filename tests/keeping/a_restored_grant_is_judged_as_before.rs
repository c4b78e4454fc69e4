use crate::{
    asking::{READ, WRITE, narrow, refused},
    house::{fact, get},
    kit::{again, crash, granted, open, plan, restart},
};
use serde_json::Value;
use std::fs;
use tonic::Code;

const OPENID: &str = "openid";

/// What was asked of policy, without what differs from call to call.
fn asked(event: &Value) -> Value {
    fn forget(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for key in
                    ["now", "grantAge", "decision", "grant_ref", "transaction_ref", "lifetime", "trace_id", "asked_by"]
                {
                    members.remove(key);
                }
                members.values_mut().for_each(forget);
            }
            Value::Array(items) => items.iter_mut().for_each(forget),
            _ => {}
        }
    }
    let mut facts = event["unmapped"]["narrowgate"].clone();
    forget(&mut facts);
    facts
}

// rows: RT-02 IDT-11 POL-09
#[tokio::test]
async fn the_same_questions_are_put_to_policy() {
    let plan = plan("").config(
        "deadline = \"5s\"\ncircuit_breaker = false\n",
        "deadline = \"5s\"\ncircuit_breaker = false\n\n[issuer.id_token]\n",
    );
    let mut house = open(plan).await;
    let mut agent = house.agent().await;
    let mut grants = Vec::new();
    for _ in 0..2 {
        grants.push(house.login(&mut agent, &[READ, WRITE, OPENID]).await.unwrap().grant);
    }
    narrow(&mut agent, &grants[0], &[READ]).await.unwrap();
    let before = house.events("exchange.decided").pop().unwrap();
    let mut agent = crash(&mut house).await;
    narrow(&mut agent, &grants[1], &[READ]).await.unwrap();
    let after = house.events("exchange.decided").pop().unwrap();
    let (before, after) = (asked(&before), asked(&after));
    assert!(before["subject_ref"].is_string(), "{before:#}");
    assert_eq!(before, after, "{before:#}\n{after:#}");
    assert!(before.to_string().contains("refreshCount"), "the eyes of this test: {before:#}");
}

// rows: RT-02 RT-04
#[tokio::test]
async fn refreshes_are_counted_on() {
    let rule = "@id(\"no\") @code(\"enough\") forbid (principal, action == Narrowgate::Action::\"refresh_token\", resource) \
                when { context.refreshCount >= 2 };";
    let (mut house, mut agent, grant) = granted(plan("").policy(rule)).await;
    narrow(&mut agent, &grant, &[READ]).await.unwrap();
    let mut agent = crash(&mut house).await;
    narrow(&mut agent, &grant, &[READ]).await.unwrap();
    let mut agent = restart(&mut house).await;
    let posts = house.server.token_posts();
    let status = refused(narrow(&mut agent, &grant, &[READ]).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("enough"));
    assert_eq!(house.server.token_posts(), posts);
}

// rows: RT-02 POL-10
#[tokio::test]
async fn uses_are_counted_on() {
    let terms = "@id(\"extra\") @max_uses(\"2\")\n\
                 permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);";
    let (mut house, _, grant) = granted(plan("").policy(terms)).await;
    get(&mut crash(&mut house).await, &grant).await.unwrap();
    refused(get(&mut crash(&mut house).await, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
}

// rows: RT-02 RT-04
#[tokio::test]
async fn what_policy_says_now_is_what_counts() {
    let (mut house, mut agent, grant) = granted(plan("")).await;
    narrow(&mut agent, &grant, &[READ]).await.unwrap();
    house.stop().await;
    let no = "@id(\"no\") @code(\"closed\") forbid (principal, action == Narrowgate::Action::\"release_token\", resource) \
              when { context.handOut == \"again\" };";
    fs::write(house.path("policies/no.cedar"), no).unwrap();
    again(&mut house).await;
    let posts = house.server.token_posts();
    let mut agent = house.agent().await;
    let status = refused(get(&mut agent, &grant).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("closed"));
    assert_eq!(house.server.token_posts(), posts, "what would not be released is not fetched");
}
