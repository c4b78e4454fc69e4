//! The server's metadata grows weaker: no `iss`, no PKCE, plain PKCE. (Keys that flip are for signed answers.)

use crate::kit::*;
use serde_json::json;

#[tokio::test]
async fn what_was_promised_at_the_beginning_is_demanded_at_the_end() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let flag = "authorization_response_iss_parameter_supported".to_owned();
    house.server.metadata_override([(flag, json!(false))].into_iter().collect());
    let without = by_fields(&transaction, &callback.code, &callback.state, "");
    refused(ask(&mut agent, without).await, Code::FailedPrecondition, "ISS_MISMATCH");
    assert_eq!(house.server.token_posts(), 0);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
}

#[tokio::test]
async fn without_s256_nothing_begins() {
    for methods in [json!(["plain"]), json!([]), serde_json::Value::Null, json!("S256")] {
        let weaker = methods.clone();
        let change = move |setup: &mut Setup<'_>| {
            setup.metadata_override.insert("code_challenge_methods_supported".to_owned(), weaker.clone());
        };
        let house = Plan::new().server(change).open().await;
        let status = house.begin(&mut house.agent().await, &[READ]).await.err().unwrap();
        assert!(
            ["PKCE_UNSUPPORTED", "METADATA_UNAVAILABLE"].contains(&reason(&status).as_str()),
            "{methods}: {status:?}"
        );
    }
}
