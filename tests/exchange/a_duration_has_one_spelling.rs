//! `min_ttl` is a `google.protobuf.Duration`: what that forbids is refused, not set right in silence.

use crate::{
    asking::{READ, begin, refused},
    house::{Plan, begin_request},
};
use narrowgate::api::proto::{BeginAuthorizationRequest, GetTokenRequest};
use prost_types::Duration;
use tonic::Code;

// rows: GRPC-01
#[tokio::test]
async fn out_of_range_it_is_refused() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &[READ]).await.unwrap().grant;
    let asked = |seconds, nanos| GetTokenRequest {
        grant: grant.clone(),
        min_ttl: Some(Duration { seconds, nanos }),
        ..GetTokenRequest::default()
    };
    let wrong = [
        (0, -1),
        (1, -1),
        (-1, 0),
        (-1, 999_999_999),
        (-1, 1_000_000_000),
        (0, 1_000_000_000),
        (0, i32::MAX),
        (1, i32::MIN),
        (i64::MIN, 0),
        (i64::MAX, 0),
        (86_400, 1),
    ];
    for (seconds, nanos) in wrong {
        let status = refused(agent.get_token(asked(seconds, nanos)).await, Code::InvalidArgument, "FIELD_INVALID");
        assert!(status.message().contains("`min_ttl` must be a duration"), "{seconds} {nanos}: {status:?}");
    }
    for (seconds, nanos) in [(0, 0), (0, 999_999_999), (1, 1)] {
        agent.get_token(asked(seconds, nanos)).await.unwrap();
    }
}

// rows: GRPC-01
#[tokio::test]
async fn so_is_the_age_of_a_login() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for (seconds, nanos) in [(0, -1), (-1, 0), (0, 1_000_000_000), (i64::MIN, 0)] {
        let max_age = Some(Duration { seconds, nanos });
        let request = BeginAuthorizationRequest { max_age, ..begin_request(&[READ]) };
        let status = refused(begin(&mut agent, request).await, Code::InvalidArgument, "FIELD_INVALID");
        assert!(status.message().contains("`max_age`"), "{seconds} {nanos}: {status:?}");
    }
}

/// Whoever adds a time to a request has to look at its range.
#[test]
fn no_other_request_holds_a_time() {
    let protocol = include_str!("../../proto/narrowgate/v1/token.proto");
    let (mut message, mut found) = ("", Vec::new());
    for line in protocol.lines() {
        if let Some(name) = line.strip_prefix("message ") {
            message = name.trim_end_matches(" {");
        }
        let field = line.trim_start();
        if field.starts_with("google.protobuf.") && (message.ends_with("Request") || message == "Claimed") {
            found.push(format!("{message}: {field}"));
        }
    }
    assert_eq!(
        found,
        [
            "BeginAuthorizationRequest: google.protobuf.Duration max_age = 10;",
            "GetTokenRequest: google.protobuf.Duration min_ttl = 4;",
            "WatchTokenRequest: google.protobuf.Duration min_ttl = 4;"
        ]
    );
}
