use crate::{
    house::{
        Plan, begin_request, fact, get, reason, redeem, redeem_request,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{BOTH, MALFORMED, READ, about, facts, plan, raw, refuses, settled},
};
use tonic::Code;

const WRITE: &str = "customers.write";
const DELETE: &str = "customers.delete";
const UPGRADED: (Code, &str) = (Code::FailedPrecondition, "SCOPE_UPGRADED");

fn sent_scope(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == "scope").unwrap().1.into_owned()
}

// rows: SCOP-03
#[tokio::test]
async fn one_refused_scope_refuses_the_request() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let status = house.begin(&mut agent, &[READ, DELETE]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED"));
    assert_eq!(fact(&status, "scopes").as_deref(), Some(DELETE));
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("approval_required"));
    let decision = fact(&status, "decision_id").unwrap();
    let denied = about(&house, "authorization.decided", &decision).remove(0);
    assert_eq!(denied["status_code"], "HUMAN_APPROVAL_REQUIRED");
    assert_eq!(facts(&denied)["removed_scopes"][0]["scope"], DELETE);
    // Nobody was asked anything.
    assert_eq!((house.server.front_connections(), house.server.token_connections()), (0, 0));
}

// rows: SCOP-03
#[tokio::test]
async fn with_allow_partial_the_server_sees_what_policy_allows() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let mut request = begin_request(&[DELETE, READ]);
    request.allow_partial = true;
    let begun = agent.begin_authorization(request).await.unwrap().into_inner();
    assert_eq!(begun.scopes, [READ]);
    assert_eq!(begun.refused_scopes.len(), 1);
    assert_eq!(
        (begun.refused_scopes[0].scope.as_str(), begun.refused_scopes[0].policy_code.as_str()),
        (DELETE, "approval_required")
    );
    assert_eq!(sent_scope(&begun.authorization_url), READ);
    let callback = house.server.approve(&begun.authorization_url);
    let token = redeem(&mut agent, &begun.transaction, &callback).await.unwrap().token.unwrap();
    assert_eq!(token.scopes, [READ]);
    let mut request = begin_request(&[DELETE]);
    request.allow_partial = true;
    assert_eq!(reason(&agent.begin_authorization(request).await.err().unwrap()), "HUMAN_APPROVAL_REQUIRED");
}

// rows: SCOP-04
#[tokio::test]
async fn an_omitted_scope_is_the_one_that_was_asked() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for scopes in [vec![READ], vec![READ, WRITE]] {
        house.server.behave(Script::Token(Behaviour::OmitScope));
        let redeemed = house.login(&mut agent, &scopes).await.unwrap();
        assert_eq!(redeemed.token.unwrap().scopes, scopes);
        assert_eq!(get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap().scopes, scopes);
    }
    house.assert_no_secret_leaked();
}

// rows: SCOP-04
#[tokio::test]
async fn an_unknown_grant_is_never_taken_for_all_or_for_what_was_asked() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    // A transaction without scopes cannot even be begun, so an omitted scope always has a meaning.
    let status = house.begin(&mut agent, &[]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_REQUIRED"));
    refuses(&house, &mut agent, Behaviour::EmptyScope, MALFORMED, BOTH).await;
    for scope in
        [" ", "customers.read ", " customers.read", "customers.read  customers.read", "customers.read\t", "a\"b"]
    {
        refuses(&house, &mut agent, Behaviour::Narrower(scope.to_owned()), MALFORMED, BOTH).await;
    }
    for scope in ["null", "[\"customers.read\"]", "true", "{}"] {
        let body = format!(r#"{{"access_token":"canary-at-scope","token_type":"Bearer","scope":{scope}}}"#);
        refuses(&house, &mut agent, raw(200, &body), MALFORMED, &["access_token"]).await;
    }
    settled(&house, &mut agent).await;
}

// rows: SCOP-05 INTR-01
#[tokio::test]
async fn a_broader_answer_is_refused_revoked_and_reported() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let broader = [
        (Behaviour::Broader("admin".to_owned()), "admin"),
        // Policy would allow it, but it was not asked for.
        (Behaviour::Broader(WRITE.to_owned()), WRITE),
        (Behaviour::Narrower(WRITE.to_owned()), WRITE),
        (Behaviour::Narrower("Customers.read".to_owned()), "Customers.read"),
        (Behaviour::Narrower("customers".to_owned()), "customers"),
        (Behaviour::Broader("openid offline_access".to_owned()), "offline_access openid"),
    ];
    for (behaviour, beyond) in broader {
        let status = refuses(&house, &mut agent, behaviour, UPGRADED, BOTH).await;
        assert_eq!(fact(&status, "scopes").as_deref(), Some(beyond));
        let decision = fact(&status, "decision_id").unwrap();
        let alert = about(&house, "detect.scope_escalation", &decision);
        assert_eq!(alert.len(), 1);
        assert_eq!((&alert[0]["is_alert"], &alert[0]["severity"]), (&true.into(), &"High".into()));
        assert_eq!(facts(&alert[0])["scopes"], beyond);
        assert!(about(&house, "token.issued", &decision).is_empty());
    }
    settled(&house, &mut agent).await;
}

// rows: SCOP-06
#[tokio::test]
async fn a_narrower_answer_is_said_to_be_narrower() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Narrower(READ.to_owned())));
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    assert_eq!(redeemed.token.unwrap().scopes, [READ]);
    assert_eq!(get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap().scopes, [READ]);
    let issued = house.event("token.issued").await;
    assert_eq!(facts(&issued)["requested_scopes"], serde_json::json!([READ, WRITE]));
    assert_eq!(issued["privileges"], serde_json::json!([READ]));
    assert_eq!(house.server.revocation_posts(), 0);
    house.assert_no_secret_leaked();
}

// rows: SCOP-06 INTR-01
#[tokio::test]
async fn a_caller_that_needs_all_gets_nothing_less() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Narrower(READ.to_owned())));
    let (transaction, callback) = house.approved(&mut agent, &[READ, WRITE]).await;
    let mut request = redeem_request(&transaction, &callback.url);
    request.required_scopes = vec![READ.to_owned(), WRITE.to_owned()];
    let status = agent.redeem_code(request).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "SCOPE_NARROWED"));
    assert_eq!(fact(&status, "scopes").as_deref(), Some(WRITE));
    let decision = fact(&status, "decision_id").unwrap();
    assert_eq!(about(&house, "exchange.failed", &decision)[0]["status_code"], "SCOPE_NARROWED");
    let both = || (about(&house, "token.revoked", &decision).len() == 2).then_some(());
    crate::house::eventually("both tokens are revoked", both).await;
    settled(&house, &mut agent).await;
}

// rows: SCOP-06
#[tokio::test]
async fn a_narrower_answer_is_decided_again() {
    let together = r#"@id("test.together")
        @code("read_alone")
        forbid (principal, action == Narrowgate::Action::"release_token", resource)
        when { context.token.scopes == [Narrowgate::Scope::"customers.read"] };"#;
    let house = plan().policy(together).open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Narrower(READ.to_owned())));
    let status = house.login(&mut agent, &[READ, WRITE]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("read_alone"));
    let decision = fact(&status, "decision_id").unwrap();
    let both = || (about(&house, "token.revoked", &decision).len() == 2).then_some(());
    crate::house::eventually("both tokens are revoked", both).await;
    house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    house.assert_no_secret_leaked();
}
