use crate::{
    house::{
        redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{READ, granted, narrow, plan, refused},
};
use serde_json::json;
use tonic::Code;

// rows: DPOP-04 DPOP-03
#[tokio::test]
async fn one_challenge_then_success_is_two_requests_with_two_proofs() {
    let house = plan().open().await;
    house.server.dpop(|dpop| dpop.demanded = Some("nonce-1".to_owned()));
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    let proofs = house.server.proofs();
    assert_eq!(proofs.len(), 2);
    assert_eq!((proofs[0].claim("nonce"), proofs[1].claim("nonce")), (None, Some("nonce-1")));
    assert_ne!(proofs[0].claim("jti"), proofs[1].claim("jti"));
    // The same request, but for its proof.
    let requests = house.server.token_requests();
    assert_eq!((&requests[0].body, &requests[0].target), (&requests[1].body, &requests[1].target));
    // One decision, one issue: it is one exchange all the same.
    assert_eq!((house.events("exchange.decided").len(), house.events("token.issued").len()), (1, 1));
    // The next one knows the nonce already.
    house.login(&mut agent, &[READ]).await.unwrap();
    assert_eq!(house.server.token_posts(), 3);
}

// rows: DPOP-04
#[tokio::test]
async fn a_server_that_is_never_content_is_asked_twice_and_no_more() {
    let house = plan().open().await;
    house.server.dpop(|dpop| dpop.never_content = true);
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    refused(redeem(&mut agent, &transaction, &callback).await, Code::Unavailable, "DPOP_NONCE_LOOP");
    assert_eq!(house.server.token_posts(), 2);
    let failed = house.event("exchange.failed").await;
    assert_eq!(failed["status_code"], "DPOP_NONCE_LOOP");
    // The transaction is over: not even the right answer would be asked for again.
    house.server.dpop(|dpop| dpop.never_content = false);
    refused(redeem(&mut agent, &transaction, &callback).await, Code::AlreadyExists, "CODE_ALREADY_USED");
    assert_eq!(house.server.token_posts(), 2);
}

// rows: DPOP-04
#[tokio::test]
async fn a_refresh_is_challenged_once_too_and_loses_nothing() {
    let (house, mut agent, redeemed) = granted(plan()).await;
    house.server.dpop(|dpop| dpop.demanded = Some("nonce-2".to_owned()));
    narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    assert_eq!(house.server.token_posts(), 3);
    house.server.dpop(|dpop| dpop.never_content = true);
    let write = &["customers.write"];
    refused(narrow(&mut agent, &redeemed.grant, write).await, Code::Unavailable, "DPOP_NONCE_LOOP");
    assert_eq!(house.server.token_posts(), 5);
    // The grant lives on.
    house.server.dpop(|dpop| dpop.never_content = false);
    for _ in 0..100 {
        if narrow(&mut agent, &redeemed.grant, write).await.is_ok() {
            assert_eq!(house.server.reused_families(), 0);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the grant was lost");
}

// rows: DPOP-04 DPOP-07
#[tokio::test]
async fn only_a_challenge_is_answered_by_a_second_request() {
    let nonce = |value: &str| ("DPoP-Nonce".to_owned(), value.to_owned());
    let content = ("Content-Type".to_owned(), "application/json".to_owned());
    let body = |value: serde_json::Value| value.to_string().into_bytes();
    let asked = || body(json!({ "error": "use_dpop_nonce" }));
    let raw = |status, headers: &[(String, String)], body| Behaviour::Raw { status, headers: headers.to_vec(), body };
    let malformed = (Code::FailedPrecondition, "AS_RESPONSE_MALFORMED");
    let cases = [
        (raw(400, std::slice::from_ref(&content), asked()), malformed),
        (raw(400, &[content.clone(), nonce("a"), nonce("b")], asked()), malformed),
        (raw(400, &[content.clone(), nonce("a b")], asked()), malformed),
        (raw(400, &[content.clone(), nonce(&"n".repeat(1025))], asked()), malformed),
        (raw(401, &[content.clone(), nonce("a")], asked()), (Code::Internal, "AS_REJECTED")),
        (raw(400, &[nonce("a")], asked()), (Code::Internal, "AS_REJECTED")),
        (
            raw(400, &[content.clone(), nonce("a")], body(json!({ "error": "invalid_grant" }))),
            (Code::FailedPrecondition, "GRANT_REJECTED"),
        ),
        (
            raw(
                400,
                &[content.clone(), nonce("a")],
                body(json!({ "error": "use_dpop_nonce", "access_token": "canary-at-x" })),
            ),
            malformed,
        ),
        (raw(400, &[content, nonce(&"n".repeat(64 * 1024))], asked()), (Code::Aborted, "REDEEM_OUTCOME_UNKNOWN")),
    ];
    let house = plan().config("deadline = \"5s\"", "deadline = \"5s\"\ncircuit_breaker = false").open().await;
    let mut agent = house.agent().await;
    for (at, (behaviour, (code, why))) in cases.into_iter().enumerate() {
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        let before = house.server.token_posts();
        house.server.behave(Script::Token(behaviour));
        let status = redeem(&mut agent, &transaction, &callback).await;
        assert_eq!(house.server.token_posts(), before + 1, "case {at}");
        refused(status, code, why);
    }
}
