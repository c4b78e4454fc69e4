use crate::{
    house::{
        Plan, fact,
        scripted_as::{
            behaviour::{Behaviour, Script},
            delegation::TOKEN_EXCHANGE,
        },
    },
    kit::{READ, WRITE, exchange, open, request, subject},
};
use serde_json::json;
use tonic::Code;

// rows: TEX-04
#[tokio::test]
async fn nobody_gets_more_than_the_subject_has() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    for (carried, asked) in [(json!(READ), vec![READ, WRITE]), (json!(WRITE), vec![READ]), (json!(null), vec![READ])] {
        let token = subject(&house, &json!({ "scope": carried }));
        let refused = exchange(&mut agent, request(&token, &asked)).await;
        crate::kit::refused(refused, Code::PermissionDenied, "SCOPE_NOT_IN_SUBJECT");
    }
    // What policy does not allow is not asked for, whatever the subject carries.
    let token = subject(&house, &json!({ "scope": "customers.read customers.delete" }));
    let refused = exchange(&mut agent, request(&token, &["customers.delete"])).await;
    crate::kit::refused(refused, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
    assert_eq!(house.server.token_posts(), 0);
    // And what the server adds is revoked.
    house.server.behave(Script::Token(Behaviour::Broader("customers.delete".to_owned())));
    let refused = exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await;
    let status = crate::kit::refused(refused, Code::FailedPrecondition, "SCOPE_UPGRADED");
    assert_eq!(fact(&status, "scopes").unwrap(), "customers.delete");
    crate::house::eventually("the revocation", || house.server.revocations().pop()).await;
}

// rows: TEX-05
#[tokio::test]
async fn one_bad_target_refuses_the_whole_request() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let token = subject(&house, &json!({}));
    let to = |resources: &[&str], audiences: &[&str]| {
        let mut request = request(&token, &[READ]);
        request.resources = resources.iter().map(ToString::to_string).collect();
        request.audiences = audiences.iter().map(ToString::to_string).collect();
        request
    };
    let crm = "https://crm.example.test/api";
    for request in [
        to(&[], &["crm-service", "crm-standby", "payroll"]),
        to(&[], &["payroll"]),
        to(&[crm, "https://payroll.example.test/"], &[]),
        to(&[crm], &["payroll"]),
        // An alias is ours, no name of a target.
        to(&[], &["crm"]),
    ] {
        let refused = exchange(&mut agent, request).await;
        crate::kit::refused(refused, Code::PermissionDenied, "TARGET_NOT_ALLOWED");
    }
    // Of another API, a token for both would be too broad.
    let refused = exchange(&mut agent, to(&[], &["crm-service", "mail-service"])).await;
    crate::kit::refused(refused, Code::InvalidArgument, "FIELD_INVALID");
    assert_eq!(house.server.token_posts(), 0);
    exchange(&mut agent, to(&[crm], &["crm-service", "crm-standby"])).await.unwrap();
    let sent = house.server.requests_of(TOKEN_EXCHANGE).pop().unwrap();
    let audiences: Vec<&str> = sent.form.iter().filter(|(k, _)| k == "audience").map(|(_, v)| v.as_str()).collect();
    assert_eq!(audiences, ["crm-service", "crm-standby"]);
}
