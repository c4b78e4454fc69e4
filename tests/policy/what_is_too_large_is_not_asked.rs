//! A question has a size: what is larger is refused before any policy looks at it.

use crate::house::{Plan, begin_request, reason};
use narrowgate::api::proto::{BeginAuthorizationRequest, Claimed};
use tonic::Code;

// rows: POL-08
#[tokio::test]
async fn nor_decided() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let claimed = |claimed| BeginAuthorizationRequest { claimed: Some(claimed), ..begin_request(&["customers.read"]) };
    let text = |bytes: usize| claimed(Claimed { purpose: "x".repeat(bytes), ..Claimed::default() });
    let tags = |n: usize| claimed(Claimed { tags: (0..n).map(|n| format!("t{n}")).collect(), ..Claimed::default() });
    let scopes = |n: usize| {
        let scopes = (0..n).map(|n| format!("customers.read{n}")).collect();
        BeginAuthorizationRequest { scopes, ..begin_request(&[]) }
    };
    for (request, code, expected) in [
        // A context of a mebibyte, and 50,000 entities.
        (text(1 << 20), Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
        (tags(50_000), Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
        (scopes(50_000), Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
        // What comes through the door is bounded where it is read.
        (text(60_000), Code::InvalidArgument, "FIELD_INVALID"),
        (tags(2_000), Code::InvalidArgument, "FIELD_INVALID"),
        (scopes(1_000), Code::InvalidArgument, "SCOPE_SYNTAX"),
    ] {
        let status = agent.begin_authorization(request).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{status:?}");
    }
    assert!(house.events("authorization.decided").is_empty());
    // And what is in bounds is asked.
    agent.begin_authorization(text(64)).await.unwrap();
}
