//! The server's metadata grows weaker: no `iss`, no PKCE, plain PKCE; later, while we run, one after the other. And its
//! keys: the same name on a new key, whole sets that come and go, one that was withdrawn.

use crate::{
    identity::{claims, login, refuses, roomy},
    kit::*,
};
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

#[tokio::test]
async fn what_grows_weaker_later_is_told_and_not_believed() {
    let believing = "[[issuer]]\nmetadata_ttl = \"100ms\"\nmetadata_stale = \"1h\"\n";
    let plan = Plan::new().config("[[issuer]]\n", believing);
    let house = plan.config("[limits]\n", "[limits]\ntransactions_per_agent = 1000\n").open().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    for (member, value) in [
        ("authorization_response_iss_parameter_supported", json!(false)),
        ("token_endpoint_auth_methods_supported", json!(["client_secret_post"])),
        ("mtls_endpoint_aliases", json!(null)),
        ("code_challenge_methods_supported", json!(["plain"])),
    ] {
        house.server.metadata_override([(member.to_owned(), value)].into_iter().collect());
        let told = || {
            let members = |event: &serde_json::Value| facts(event)["members"].to_string().contains(member);
            house.events("detect.metadata_downgrade").into_iter().find(members)
        };
        for _ in 0..300 {
            if told().is_some() {
                break;
            }
            house.begin(&mut agent, &[READ]).await.expect(member);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert_eq!(told().expect(member)["is_alert"], true);
        // It goes on as before: a challenge, the endpoint behind the certificate, and `iss`.
        let posts = house.server.token_posts();
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        let without = by_fields(&transaction, &callback.code, &callback.state, "");
        refused(ask(&mut agent, without).await, Code::FailedPrecondition, "ISS_MISMATCH");
        redeem(&mut agent, &transaction, &callback).await.expect(member);
        assert_eq!((house.server.token_posts(), house.server.front_token_posts()), (posts + 1, 0), "{member}");
        let request = house.server.last_token_request().unwrap();
        assert!(request.param("code_verifier").is_some() && request.param("client_secret").is_none(), "{member}");
    }
}

#[tokio::test]
async fn keys_that_flip_are_told_and_fetched_no_more_often() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    let honest = house.server.keys();
    // The old name on a new key: what is at hand says no, and is not asked for anew.
    let rebound = house.server.sign_anew("id-1");
    house.server.publish(vec![rebound]);
    refuses(&house, &mut agent, claims(json!({})), "ID_TOKEN_INVALID", "signature").await;
    assert_eq!(house.server.jwks_requests(), 1);
    // Whole sets that come and go: one is taken, loudly, and then no more are fetched.
    for n in 0..10 {
        let key = house.server.sign_anew(&format!("flip-{n}"));
        house.server.publish(if n % 2 == 0 { vec![key] } else { honest.clone() });
        let taken = login(&house, &mut agent).await.is_ok();
        assert_eq!(taken, n == 0, "{n}");
    }
    assert_eq!((house.server.jwks_requests(), house.events("detect.jwks_changed").len()), (2, 1));
}

#[tokio::test]
async fn a_key_that_was_withdrawn_verifies_nothing() {
    let house = roomy("keys_ttl = \"1s\"").open().await;
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    house.server.publish(house.server.keys().into_iter().filter(|key| key["kid"] != "id-1").collect());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    refuses(&house, &mut agent, claims(json!({})), "ID_TOKEN_INVALID", "unknown_key").await;
}
