//! What is recorded of the file that grants are kept in, and the schema's own judgement of it.

use crate::{
    asking::{READ, refused},
    house::{eventually, write},
    kit::{again, granted, plan, restart, store},
};
use serde_json::Value;
use std::fs;
use tonic::Code;

const CODES: [&str; 5] =
    ["grants.restored", "grants.store_rejected", "grants.store_failed", "grants.store_resumed", "grant.dropped"];

// rows: AUD-01 AUD-08 RT-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_them() {
    let (mut house, _, grant) = granted(plan("")).await;
    // The disk is away for a moment. The file comes back whole, and the grants with it.
    let mut agent = restart(&mut house).await;
    fs::rename(house.path("store"), house.path("away")).unwrap();
    drop(crate::asking::narrow(&mut agent, &grant, &[READ]).await.unwrap());
    eventually("the alarm", || house.events("grants.store_failed").pop()).await;
    refused(house.login(&mut agent, &[READ]).await, Code::Unavailable, "GRANT_STORE_UNAVAILABLE");
    fs::rename(house.path("away"), house.path("store")).unwrap();
    eventually("its end", || house.events("grants.store_resumed").pop()).await;
    // The agent goes, and then the file.
    house.stop().await;
    let agents = fs::read_to_string(house.path("agents.toml")).unwrap();
    write(&house.path("agents.toml"), &agents.replace("\"quoter\"", "\"another\""));
    again(&mut house).await;
    eventually("the revocation", || house.events("token.revoked").pop()).await;
    house.stop().await;
    fs::write(store(&house), "nothing of the kind").unwrap();
    again(&mut house).await;
    house.stop().await;
    let severity = |code: &str| house.events(code).pop().unwrap()["severity"].clone();
    assert_eq!(CODES.map(severity), ["Informational", "Critical", "High", "High", "Medium"].map(Value::from));
    house.assert_valid_ocsf(&CODES, &[]);
}
