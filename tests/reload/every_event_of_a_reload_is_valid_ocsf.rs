//! What is recorded of reloads, and the schema's own judgement of it.

use crate::{
    house::COURIER,
    kit::{admin, facts, granted},
    swapping::{edit, generation, harmless, plan, put, sound},
};
use narrowgate::api::proto::ReloadRequest;

// rows: AUD-01 AUD-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_them() {
    let mut house = plan("100ms").open().await;
    let mut admin = admin(&house).await;
    granted(&house).await;
    put(&house, "policies/extra.cedar", &format!("// \u{202e}\n{}", harmless("x").replace("now", "\u{1f4a3}")));
    let said = house.event("policy.rejected").await;
    assert!(facts(&said)["first_mistake"].as_str().unwrap().contains("extra.cedar:2:"), "{said}");
    put(&house, "policies/extra.cedar", &harmless("x"));
    sound(&mut admin).await;
    generation(&house, 2).await;
    edit(&house, "agents.toml", "\"courier\"", "\"another\"");
    edit(&house, "agents.toml", COURIER, "spiffe://acme.test/agent/another");
    admin.reload(ReloadRequest::default()).await.unwrap();
    house.event("registration.removed").await;
    house.stop().await;
    house.assert_valid_ocsf(&["policy.activated", "policy.rejected", "registration.removed", "admin.completed"], &[]);
}
