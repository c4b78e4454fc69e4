use crate::{
    house::{COURIER, Plan, binary, get},
    kit::{READ, answer, exchange, issue, obtain, obtain_request, open, request, subject},
};
use narrowgate::api::proto::RevokeGrantRequest;
use serde_json::json;

const CODES: [&str; 9] = [
    "exchange.decided",
    "exchange.refused",
    "exchange.failed",
    "token.issued",
    "token.served",
    "token.revoked",
    "detect.subject_token_misuse",
    "detect.delegation_stripped",
    "detect.unexpected_refresh_token",
];

// rows: AUD-01
#[tokio::test]
async fn the_schema_says_so() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let token = subject(&house, &json!({ "act": { "sub": "front-end" } }));
    answer(&house, json!({ "refresh_token": "canary-rt-unasked" }));
    let exchanged = exchange(&mut agent, request(&token, &[READ])).await.unwrap();
    get(&mut agent, &exchanged.grant).await.unwrap();
    issue(&house, json!({ "act": null }));
    exchange(&mut agent, request(&token, &[READ])).await.err().unwrap();
    exchange(
        &mut house.svid_agent(COURIER).await,
        request(&subject(&house, &json!({ "aud": "narrowgate-sales" })), &[READ]),
    )
    .await
    .err()
    .unwrap();
    let denied = subject(&house, &json!({ "scope": "customers.delete" }));
    exchange(&mut agent, request(&denied, &["customers.delete"])).await.err().unwrap();
    obtain(&mut agent, obtain_request(None, &[READ])).await.unwrap();
    let end = RevokeGrantRequest { grant: exchanged.grant, ..RevokeGrantRequest::default() };
    agent.revoke_grant(end).await.unwrap();
    for code in CODES {
        house.event(code).await;
    }
    // Each decision can be asked again, actors and all.
    let mut replay = binary();
    replay.args(["policy", "replay", "--config"]).arg(house.path("narrowgate.toml"));
    let replayed = replay.output().unwrap();
    assert!(replayed.status.success(), "{replayed:?}");
    house.assert_valid_ocsf(&CODES, &[]);
}
