use crate::house::{Plan, begin_request, reason};
use tonic::Code;

const BRIEF: &str = r#"
@id("brief") @max_lifetime("60s") @no_refresh
permit (principal, action == Narrowgate::Action::"release_token", resource);
"#;

const ERRING: &str = r#"
@id("erring") @code("erring")
forbid (principal, action == Narrowgate::Action::"grant_scope", resource == Narrowgate::Scope::"customers.write")
when { principal.trust * 9223372036854775807 > 5 };
"#;

// rows: POL-10
#[tokio::test]
async fn terms_of_the_permit_that_released_are_kept_too() {
    let house = Plan::new().policy(BRIEF).open().await;
    let mut agent = house.agent().await;
    let token = house.login(&mut agent, &["customers.read"]).await.unwrap().token.unwrap();
    let (lease, expire) = (token.lease_time.unwrap().seconds, token.expire_time.unwrap().seconds);
    let issued = house.event("token.issued").await;
    assert_eq!(issued["unmapped"]["narrowgate"]["lease_seconds"], 60);
    assert!(lease < expire);
}

// rows: POL-10 INTR-01
#[tokio::test]
async fn a_refresh_token_that_may_not_be_kept_is_revoked_with_its_grant() {
    let house = Plan::new().policy(BRIEF).open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    assert_eq!(house.event("token.issued").await["unmapped"]["narrowgate"]["refresh_token_held"], false);
    let request = narrowgate::api::proto::RevokeGrantRequest { grant, ..Default::default() };
    agent.revoke_grant(request).await.unwrap();
    let hints: Vec<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
    assert_eq!(hints, ["refresh_token", "access_token"]);
}

// rows: POL-01
#[tokio::test]
async fn an_error_is_no_reason_to_ask_for_less() {
    let house = Plan::new().policy(ERRING).open().await;
    let mut agent = house.agent().await;
    let mut request = begin_request(&["customers.read", "customers.write"]);
    request.allow_partial = true;
    let status = agent.begin_authorization(request).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_EVAL_ERROR"));
    assert_eq!(house.event("authorization.decided").await["severity"], "High");
}
