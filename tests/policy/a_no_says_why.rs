//! A refusal carries the policy's own code, its advice and its message; whose fault it is shows in the status.

use crate::house::{
    COURIER, Plan, begin_request, fact, reason,
    scripted_as::behaviour::{Behaviour, Script},
};
use tonic::Code;

// rows: DEC-16 GRPC-01 GRPC-02
#[tokio::test]
async fn the_facts_of_a_no() {
    let step_up = "@id(\"a.first\") @code(\"mfa_required\") @advice(\"step_up:urn:acme:mfa\") @message(\"Log in again.\")\n\
        forbid (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"mail.read\");";
    let house = Plan::new().policy(step_up).open().await;
    let mut agent = house.agent().await;
    let approval = (Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
    let cases = [
        (approval, "customers.delete", "approval_required", "approval", "Have a member of the owning team"),
        (
            (Code::FailedPrecondition, "STEP_UP_REQUIRED"),
            "mail.read",
            "mfa_required",
            "step_up:urn:acme:mfa",
            "Log in again.",
        ),
    ];
    for (told, scope, code, advice, message) in cases {
        let status = house.begin(&mut agent, &[scope]).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), told);
        assert_eq!(fact(&status, "policy_code").unwrap(), code);
        assert_eq!(fact(&status, "advice").unwrap(), advice);
        assert!(fact(&status, "message").unwrap().starts_with(message));
        assert_eq!(fact(&status, "scopes").unwrap(), scope);
        let decided = house.events("authorization.decided").pop().unwrap();
        assert_eq!(decided["metadata"]["correlation_uid"], fact(&status, "decision_id").unwrap());
        assert_eq!(decided["unmapped"]["narrowgate"]["removed_scopes"][0]["policy_code"], code);
    }
    let mut courier = house.svid_agent(COURIER).await;
    let status = house.begin(&mut courier, &["customers.write"]).await.err().unwrap();
    assert_eq!(fact(&status, "policy_code").unwrap(), "no_permit");
    assert!(fact(&status, "advice").is_none() && fact(&status, "message").is_none());
}

// rows: DEC-16
#[tokio::test]
async fn with_partial_consent_each_refused_scope_has_its_code() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let mut request = begin_request(&["customers.read", "customers.delete"]);
    request.allow_partial = true;
    let begun = agent.begin_authorization(request).await.unwrap().into_inner();
    assert_eq!(begun.scopes, ["customers.read"]);
    let refused: Vec<_> = begun.refused_scopes.iter().map(|r| (r.scope.as_str(), r.policy_code.as_str())).collect();
    assert_eq!(refused, [("customers.delete", "approval_required")]);
    assert!(
        begun.authorization_url.contains("scope=customers.read&")
            || begun.authorization_url.ends_with("scope=customers.read")
    );
}

// rows: DEC-16 GRPC-01
#[tokio::test]
async fn faults_of_the_server_are_not_called_a_lack_of_permission() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let error = |status, error: &str| Behaviour::OAuthError { status, error: error.to_owned(), description: None };
    let cases = [
        (error(400, "invalid_grant"), Code::FailedPrecondition, "GRANT_REJECTED"),
        (error(400, "invalid_scope"), Code::FailedPrecondition, "SCOPE_REJECTED"),
        (error(401, "invalid_client"), Code::Internal, "AS_CLIENT_AUTH_FAILED"),
        (error(400, "access_denied"), Code::Internal, "AS_REJECTED"),
        (error(403, "insufficient_scope"), Code::Internal, "AS_REJECTED"),
        (Behaviour::Broader("customers.delete".to_owned()), Code::FailedPrecondition, "SCOPE_UPGRADED"),
        (Behaviour::Status(403), Code::Internal, "AS_REJECTED"),
    ];
    for (behaviour, code, wanted) in cases {
        house.server.behave(Script::Token(behaviour));
        let status = house.login(&mut agent, &["customers.read"]).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (code, wanted));
        assert!(fact(&status, "decision_id").is_some() && fact(&status, "policy_code").is_none());
    }
}
