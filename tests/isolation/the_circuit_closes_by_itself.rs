use crate::{
    assert_left_alone,
    house::{Plan, binary, eventually, reason, redeem, unix_channel},
    two::Two,
};
use serde_json::{Value, json};
use std::time::Duration;
use tonic::Streaming;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};

/// What `narrowgate health` prints.
async fn printed(two: &Two, format: &str) -> String {
    let mut health = binary();
    health.args(["health", "--endpoint", &two.house.endpoint(), "--output", format]);
    let output = tokio::task::spawn_blocking(move || health.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "a dead issuer does not make the whole unhealthy: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The next status of a watch.
async fn next(watched: &mut Streaming<HealthCheckResponse>) -> i32 {
    tokio::time::timeout(Duration::from_secs(15), watched.message()).await.unwrap().unwrap().unwrap().status
}

// rows: TOK-15 (the circuit) GRPC-11
#[tokio::test]
async fn when_the_server_answers_again_and_everyone_can_see_it() {
    let two = Two::open(Plan::new(), "circuit_backoff = \"400ms\"", |_| {}).await;
    let mut agent = two.house.agent().await;
    let channel = unix_channel(&two.house.path("run/agent.sock")).await;
    let request = HealthCheckRequest { service: "issuer/partner".to_owned() };
    let mut watched = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    assert_eq!(next(&mut watched).await, 1);

    let (transaction, callback) = two.approved(&mut agent).await;
    two.partner.stop_listening_token();
    // One code: none of these sends it.
    for _ in 0..5 {
        let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
        assert_eq!(reason(&status), "AS_UNREACHABLE");
        assert!(crate::house::fact(&status, "circuit").is_none());
    }
    assert_eq!(next(&mut watched).await, 2);
    let health: Value = serde_json::from_str(&printed(&two, "json").await).unwrap();
    let issuers = json!({ "corp": "SERVING", "partner": "NOT_SERVING" });
    assert_eq!(health, json!({ "status": "SERVING", "issuers": issuers }));
    assert_eq!(printed(&two, "text").await, "SERVING\nissuer/partner NOT_SERVING\n");
    let unavailable = two.house.event("issuer.unavailable").await;
    assert_eq!(unavailable["entity"]["name"], "partner");
    assert_eq!(unavailable["entity"]["uid"], two.partner.issuer());
    assert_eq!(unavailable["status_code"], "AS_UNREACHABLE");

    two.partner.resume_listening_token();
    let mut refused = 0;
    loop {
        match redeem(&mut agent, &transaction, &callback).await {
            Ok(_) => break,
            Err(status) => {
                let wait = assert_left_alone(&status);
                refused += 1;
                assert!(refused < 20, "it never closes");
                tokio::time::sleep(wait).await;
            }
        }
    }
    assert_eq!(two.partner.token_posts(), 1);
    assert_eq!(next(&mut watched).await, 1);
    eventually("both events", || (two.house.events("issuer.recovered").len() == 1).then_some(())).await;
    assert_eq!(two.house.events("issuer.unavailable").len(), 1);
    two.login(&mut agent).await.unwrap();
}

// rows: TOK-15 (the circuit)
#[tokio::test]
async fn one_call_tries_while_the_others_are_refused() {
    let two = Two::open(Plan::new(), "circuit_backoff = \"100ms\"", |_| {}).await;
    let mut agent = two.house.agent().await;
    let (first, first_callback) = two.approved(&mut agent).await;
    let (second, second_callback) = two.approved(&mut agent).await;
    two.partner.stop_listening_token();
    for _ in 0..5 {
        redeem(&mut agent, &first, &first_callback).await.err().unwrap();
    }
    two.partner.resume_listening_token();
    two.partner.set_pause(true);
    // Its back-off is over some time, and then the first call hangs in the pause: that is the one that tries.
    let mut other = agent.clone();
    let trying = tokio::spawn(async move {
        loop {
            match redeem(&mut other, &first, &first_callback).await {
                Ok(redeemed) => return redeemed,
                Err(status) => tokio::time::sleep(assert_left_alone(&status)).await,
            }
        }
    });
    eventually("the trial", || (two.partner.token_posts() == 1).then_some(())).await;
    for _ in 0..5 {
        assert_left_alone(&redeem(&mut agent, &second, &second_callback).await.err().unwrap());
    }
    assert_eq!(two.partner.token_posts(), 1);
    two.partner.set_pause(false);
    trying.await.unwrap();
    redeem(&mut agent, &second, &second_callback).await.unwrap();
}
