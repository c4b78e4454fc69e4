use crate::{
    house::{reason, redeem},
    kit::{READ, members},
    metadata_is_kept_while_it_may_be::{believing, refetched},
};
use serde_json::json;
use tonic::Code;

// rows: ISS-04
#[tokio::test]
async fn the_code_goes_to_the_endpoint_of_begin_or_nowhere() {
    let plan = believing("100ms", "1h").config("[[issuer]]\n", "[[issuer]]\nallowed_hosts = [\"localhost\"]\n");
    let house = plan.config("[limits]\n", "[limits]\ntransactions_per_agent = 1000\n").open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let moved = house.server.token_url().replace("127.0.0.1", "localhost");
    let aliases = json!({ "token_endpoint": moved, "revocation_endpoint": house.server.revocation_url() });
    house.server.metadata_override(members([("mtls_endpoint_aliases", aliases)]));
    refetched(&house, &mut agent).await.unwrap();
    refetched(&house, &mut agent).await.unwrap();
    for _ in 0..2 {
        let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "ISSUER_ENDPOINT_CHANGED"));
    }
    // Neither the new host nor the old one was connected to.
    assert_eq!((house.server.token_connections(), house.server.token_posts()), (0, 0));
    let closed = house.events("exchange.failed");
    assert_eq!(closed.len(), 2);
    assert!(closed.iter().all(|event| event["status_code"] == "ISSUER_ENDPOINT_CHANGED"));
    // What is begun with the new one goes there.
    house.login(&mut agent, &[READ]).await.unwrap();
    assert!(house.server.last_token_request().unwrap().header("host").unwrap().starts_with("localhost:"));
}

// rows: ISS-04
#[tokio::test]
async fn another_path_of_the_same_host_does_not_move_the_code() {
    let house = believing("100ms", "1h").open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let aliases = json!({ "token_endpoint": house.server.token_url() + "/v2" });
    house.server.metadata_override(members([("mtls_endpoint_aliases", aliases)]));
    refetched(&house, &mut agent).await.unwrap();
    refetched(&house, &mut agent).await.unwrap();
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert!(house.server.requests().iter().any(|line| line == "token POST /token"));
}

// rows: ISS-04 DISC-04
#[tokio::test]
async fn a_host_that_nobody_allowed_changes_nothing() {
    let house = believing("100ms", "1h").open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let aliases = json!({ "token_endpoint": "https://evil.example/token" });
    house.server.metadata_override(members([("mtls_endpoint_aliases", aliases)]));
    refetched(&house, &mut agent).await.unwrap();
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!(house.server.token_posts(), 1);
}
