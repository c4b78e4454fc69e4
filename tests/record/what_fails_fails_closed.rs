//! The rows of the fail-closed table that no other file here is about.

use crate::house::{
    Plan, get, reason, redeem, redeem_request,
    scripted_as::behaviour::{Behaviour, Script},
};
use tonic::Code;

// rows: CALL-01 POL-05
#[tokio::test]
async fn a_peer_that_is_not_registered_reaches_no_policy() {
    let mut plan = Plan::new();
    let uid = rustix::process::geteuid().as_raw();
    plan.agents = plan.agents.replace(&format!("uid = {uid}\n"), "uid = 4000000\n");
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let status = house.begin(&mut agent, &["customers.read"]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "AGENT_UNKNOWN"));
    let rejected = house.event("agent.rejected").await;
    assert_eq!((&rejected["status_id"], &rejected["status_code"]), (&2.into(), &"AGENT_UNKNOWN".into()));
    let evidence = rejected["unmapped"]["narrowgate"]["peer"].as_str().unwrap();
    assert!(evidence.contains(&format!("uid {uid}")), "{evidence}");
    assert!(house.events("authorization.decided").is_empty());
    assert_eq!(house.server.front_connections(), 0);
}

// rows: POL-01
#[tokio::test]
async fn an_answer_that_is_not_right_is_revoked_refused_and_alerted() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let answers = [
        (Behaviour::Broader("customers.delete".to_owned()), "SCOPE_UPGRADED"),
        (Behaviour::Lifetime("soon".into()), "AS_RESPONSE_MALFORMED"),
        (Behaviour::TokenType(Some("DPoP".to_owned())), "TOKEN_TYPE_UNSUPPORTED"),
        (Behaviour::TokenWith400, "AS_RESPONSE_MALFORMED"),
    ];
    for (number, (answer, wanted)) in answers.into_iter().enumerate() {
        house.server.behave(Script::Token(answer));
        let status = house.login(&mut agent, &["customers.read"]).await.err().unwrap();
        assert_eq!(reason(&status), wanted);
        let revoked = || (house.server.revocation_posts() >= (number + 1) * 2).then_some(());
        crate::house::eventually("access and refresh token are revoked", revoked).await;
        let failed = house.events("exchange.failed").pop().expect("recorded before it is told");
        assert_eq!(failed["status_code"], wanted);
    }
    let alert = house.event("detect.scope_escalation").await;
    assert_eq!((&alert["severity"], &alert["is_alert"]), (&"High".into(), &true.into()));
    assert!(house.events("token.issued").is_empty());
}

// rows: CODE-05
#[tokio::test]
async fn an_unknown_outcome_is_never_posted_again() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for behaviour in [Behaviour::ResetAfterRequest, Behaviour::CloseAfterRequest] {
        let posts = house.server.token_posts();
        let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
        house.server.behave(Script::Token(behaviour));
        let mut request = redeem_request(&transaction, &callback.url);
        request.request_id = "0191d3c0-0000-7000-8000-000000000001".to_owned();
        let status = agent.redeem_code(request.clone()).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "REDEEM_OUTCOME_UNKNOWN"));
        let again = agent.redeem_code(request).await.err().unwrap();
        assert_eq!(reason(&again), "CODE_ALREADY_USED");
        assert_eq!(reason(&redeem(&mut agent, &transaction, &callback).await.err().unwrap()), "CODE_ALREADY_USED");
        assert_eq!(house.server.token_posts(), posts + 1);
    }
    assert_eq!(house.events("exchange.failed").len(), 2);
    assert!(house.events("token.issued").is_empty());
}

// rows: POL-01 POL-10
#[tokio::test]
async fn a_grant_of_nobody_is_a_no() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let status = get(&mut agent, "grant_00000000000000000000000000000000").await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "GRANT_UNKNOWN"));
    assert!(house.events("token.served").is_empty());
}
