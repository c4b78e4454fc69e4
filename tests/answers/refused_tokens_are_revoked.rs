use crate::{
    house::{
        Agent, House, Plan, eventually, fact, reason,
        scripted_as::behaviour::{Behaviour, RevocationBehaviour, Script},
    },
    kit::{READ, about, facts, members, settled},
};
use narrowgate::api::proto::{RevocationOutcome, RevokeGrantRequest};
use serde_json::{Value, json};

/// A policy that refuses every token after it was issued, until its scope is `customers.write` too.
const NEVER: &str = r#"@id("test.never")
    @code("not_alone")
    forbid (principal, action == Narrowgate::Action::"release_token", resource)
    unless { context.token.scopes.contains(Narrowgate::Scope::"customers.write") };"#;

fn plan() -> Plan {
    crate::kit::plan().config("[limits]\n", "[limits]\nrevocation_retry = \"10ms\"\n")
}

/// A login whose one token, without refresh token, is refused after it was issued. Gives its exchange's id.
async fn refuse_one(house: &House, agent: &mut Agent) -> String {
    let bad = Behaviour::All(vec![Behaviour::NoRefreshToken, Behaviour::Broader("admin".to_owned())]);
    house.server.behave(Script::Token(bad));
    let status = house.login(agent, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "SCOPE_UPGRADED");
    fact(&status, "decision_id").unwrap()
}

async fn closed(house: &House, code: &str, decision: &str) -> Value {
    eventually(code, || about(house, code, decision).pop()).await
}

// rows: INTR-01 INTR-02
#[tokio::test]
async fn a_token_that_policy_refuses_is_revoked_once() {
    let house = plan().policy(NEVER).open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::NoRefreshToken));
    let status = house.login(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("not_alone"));
    let decision = fact(&status, "decision_id").unwrap();
    let revoked = closed(&house, "token.revoked", &decision).await;
    assert_eq!(facts(&revoked)["why"], "not_released");
    assert_eq!(facts(&revoked)["token_kind"], "access_token");
    assert_eq!(about(&house, "exchange.failed", &decision)[0]["status_code"], "POLICY_DENIED");
    assert_eq!(house.server.revocation_posts(), 1);
    let sent = house.server.revocation_requests().remove(0);
    assert_eq!(sent.method, "POST");
    assert_eq!(sent.param("client_id"), Some("narrowgate-sales"));
    assert_eq!(sent.param("token_type_hint"), Some("access_token"));
    assert!(sent.param("token").unwrap().starts_with("canary-at-"));
    // Authenticated: by our certificate, and by nothing else.
    assert!(sent.client_certificate_der.is_some() && sent.client_refused.is_none());
    assert!(sent.header("authorization").is_none());
    house.login(&mut agent, &[READ, "customers.write"]).await.unwrap();
    assert_eq!(house.server.revocation_posts(), 1);
    house.assert_no_secret_leaked();
}

// rows: INTR-01 TOK-04
#[tokio::test]
async fn every_token_that_one_answer_names_is_revoked() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let kind = r#""token_type":"Bearer","expires_in":60"#;
    for (body, rule, tokens) in [
        (
            format!(
                r#"{{"access_token":"canary-at-1a","access_token":"canary-at-1b","refresh_token":"canary-rt-1",{kind}}}"#
            ),
            "duplicate_member",
            vec!["canary-rt-1", "canary-at-1a", "canary-at-1b"],
        ),
        (
            format!(
                r#"{{{kind},"refresh_token":"canary-rt-2a","access_token":"canary-at-2","refresh_token":"canary-rt-2b"}}"#
            ),
            "duplicate_member",
            vec!["canary-rt-2a", "canary-rt-2b", "canary-at-2"],
        ),
        (
            format!(
                r#"{{"access_token":"canary-at-3a","access_token":"canary-at-3a","access_token":"canary-at-3b",{kind}"#
            ),
            "duplicate_member",
            vec!["canary-at-3a", "canary-at-3b"],
        ),
        // Handed out, it would be a refresh token in the agent's hands.
        (
            format!(r#"{{"access_token":"canary-both-4","refresh_token":"canary-both-4",{kind}}}"#),
            "same_token",
            vec!["canary-both-4", "canary-both-4"],
        ),
    ] {
        let before = house.server.revocations().len();
        house.server.behave(Script::Token(crate::kit::raw(200, &body)));
        let status = house.login(&mut agent, &[READ]).await.err().unwrap();
        assert_eq!((reason(&status).as_str(), fact(&status, "rule").as_deref()), ("AS_RESPONSE_MALFORMED", Some(rule)));
        assert!(!format!("{status:?}").contains("canary"), "{status:?}");
        let decision = fact(&status, "decision_id").unwrap();
        eventually(&body, || (about(&house, "token.revoked", &decision).len() == tokens.len()).then_some(())).await;
        let gone = house.server.revocations().split_off(before);
        assert_eq!(gone.iter().map(|(_, token)| token.as_str()).collect::<Vec<_>>(), tokens);
        // The rule is a word of ours, and stands wherever somebody looks for it.
        assert_eq!(facts(&about(&house, "exchange.failed", &decision)[0])["rule"], rule);
        let said = |line: &str| line.contains("breaks RFC 6749") && line.contains(&format!(r#""rule":"{rule}""#));
        assert!(house.log().lines().any(said), "{}", house.log());
    }
    assert!(!house.log().contains("canary-") && !house.audit_text().contains("canary-"));
}

// rows: INTR-01
#[tokio::test]
async fn a_revocation_that_fails_is_tried_again_until_it_works() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    for behaviour in [RevocationBehaviour::Status(503), RevocationBehaviour::Reset, RevocationBehaviour::Status(500)] {
        house.server.behave(Script::Revocation(behaviour));
    }
    let decision = refuse_one(&house, &mut agent).await;
    closed(&house, "token.revoked", &decision).await;
    assert_eq!(house.server.revocation_posts(), 4);
    assert!(house.events("token.revoke_failed").is_empty());

    settled(&house, &mut agent).await;
}

// rows: INTR-01
#[tokio::test]
async fn a_revocation_that_never_works_is_an_alert_in_the_end() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    house.server.always(Script::Revocation(RevocationBehaviour::Status(503)));
    let decision = refuse_one(&house, &mut agent).await;
    let failed = closed(&house, "token.revoke_failed", &decision).await;
    assert_eq!((facts(&failed)["revocation"].as_str(), failed["severity"].as_str()), (Some("gave_up"), Some("High")));
    assert_eq!(house.server.revocation_posts(), 6);
    let tokens: std::collections::BTreeSet<_> = house.server.revocations().into_iter().collect();
    assert_eq!(tokens.len(), 1, "each try is for the same token");
    assert!(about(&house, "token.revoked", &decision).is_empty());
    settled(&house, &mut agent).await;
}

// rows: INTR-01
#[tokio::test]
async fn where_nothing_can_be_revoked_the_log_says_so() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    for behaviour in [RevocationBehaviour::Unsupported400, RevocationBehaviour::Status(404)] {
        let posts = house.server.revocation_posts();
        house.server.behave(Script::Revocation(behaviour));
        let decision = refuse_one(&house, &mut agent).await;
        let failed = closed(&house, "token.revoke_failed", &decision).await;
        assert_eq!(facts(&failed)["revocation"], "REVOKE_UNSUPPORTED");
        assert_eq!(house.server.revocation_posts(), posts + 1);
    }
    settled(&house, &mut agent).await;

    let house = plan().open().await;
    let mut agent = house.agent().await;
    let aliases = json!({ "token_endpoint": house.server.token_url() });
    house.server.metadata_override(members([("mtls_endpoint_aliases", aliases), ("revocation_endpoint", Value::Null)]));
    let decision = refuse_one(&house, &mut agent).await;
    let failed = closed(&house, "token.revoke_failed", &decision).await;
    assert_eq!(facts(&failed)["revocation"], "REVOKE_UNSUPPORTED");
    assert_eq!(house.server.revocation_posts(), 0);
    settled(&house, &mut agent).await;
}

// rows: INTR-01 INTR-02
#[tokio::test]
async fn a_grant_that_is_given_back_is_revoked_with_the_refresh_token_first() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let request = RevokeGrantRequest { grant: redeemed.grant, ..Default::default() };
    let reply = agent.revoke_grant(request.clone()).await.unwrap().into_inner();
    assert!(reply.access_token() == RevocationOutcome::Revoked);
    assert!(reply.refresh_token() == RevocationOutcome::Revoked);
    let hints: Vec<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
    assert_eq!(hints, ["refresh_token", "access_token"]);
    assert_eq!(reason(&agent.revoke_grant(request).await.err().unwrap()), "GRANT_UNKNOWN");
    let requests = house.server.requests();
    assert!(requests.iter().filter(|line| line.contains("revoke")).all(|line| line == "token POST /revoke"));
    settled(&house, &mut agent).await;
}
