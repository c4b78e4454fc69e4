//! Each hand-out asks `release_token` and `grant_scope` for every scope in the token; revocation stays outside.

use crate::house::{Plan, fact, get, reason};
use narrowgate::api::proto::{Claimed, GetTokenRequest, RevocationOutcome, RevokeGrantRequest};
use tonic::Code;

// rows: DEC-10 POL-05
#[tokio::test]
async fn what_release_token_forbids_is_withheld() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    let mut request = GetTokenRequest { grant: redeemed.grant.clone(), ..GetTokenRequest::default() };
    request.claimed = Some(Claimed { purpose: "bulk-export".to_owned(), ..Claimed::default() });
    let status = agent.get_token(request).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
    assert_eq!(fact(&status, "policy_code").unwrap(), "bulk_export");
    let withheld = house.event("token.withheld").await;
    assert_eq!(withheld["metadata"]["correlation_uid"], fact(&status, "decision_id").unwrap());
    assert_eq!((&withheld["action_id"], &withheld["status_id"]), (&2.into(), &2.into()));
    // The grant is untouched: the next honest call gets its token, by a decision of its own.
    let (one, two) = (get(&mut agent, &redeemed.grant).await.unwrap(), get(&mut agent, &redeemed.grant).await.unwrap());
    assert_ne!(one.decision_id, two.decision_id);
    assert_eq!(house.server.token_posts(), 1);
}

// rows: DEC-10
#[tokio::test]
async fn one_forbidden_scope_withholds_the_token() {
    let no = "@id(\"no\") @code(\"writes_closed\")\n\
        forbid (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"customers.write\")\n\
        when { context.flow == \"hold\" };";
    let house = Plan::new().policy(no).open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    let status = get(&mut agent, &redeemed.grant).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
    assert_eq!(fact(&status, "policy_code").unwrap(), "writes_closed");
    assert_eq!(fact(&status, "scopes").unwrap(), "customers.write");
    let narrow = house.login(&mut agent, &["customers.read"]).await.unwrap();
    get(&mut agent, &narrow.grant).await.unwrap();
}

// rows: DEC-10 POL-10
#[tokio::test]
async fn nothing_that_forbids_obtaining_forbids_giving_back() {
    let no = "@id(\"no\") @code(\"frozen\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource)\n\
        when { context has handOut && context.handOut == \"again\" };";
    let house = Plan::new().policy(no).open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    let status = get(&mut agent, &redeemed.grant).await.err().unwrap();
    assert_eq!(fact(&status, "policy_code").unwrap(), "frozen");
    let request = RevokeGrantRequest { grant: redeemed.grant.clone(), ..RevokeGrantRequest::default() };
    let revoked = agent.revoke_grant(request).await.unwrap().into_inner();
    assert!(revoked.access_token() == RevocationOutcome::Revoked);
    let decided = house.event("revocation.decided").await;
    assert_eq!(decided["metadata"]["correlation_uid"], revoked.decision_id);
    assert_eq!(reason(&get(&mut agent, &redeemed.grant).await.err().unwrap()), "GRANT_UNKNOWN");
}
