use crate::{
    house::{COURIER, begin_request, eventually, reason},
    kit::{MAIL, facts},
    swapping::{harmless, plan, put},
};
use std::fs;
use tonic::Code;

// rows: POL-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_serves_once_it_is_there() {
    let mut house = plan("100ms").config("directory = \"policies\"", "directory = \"later\"").build();
    house.start();
    eventually("the log", || house.path("audit").exists().then_some(())).await;
    let said = house.event("policy.rejected").await;
    assert_eq!((&said["severity"], &facts(&said)["trigger"]), (&"Critical".into(), &"start".into()));
    eventually("an answer", || (house.health() == "NOT_SERVING").then_some(())).await;
    let mut agent = house.svid_agent(COURIER).await;
    let status = agent.begin_authorization(begin_request(&MAIL)).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "POLICY_NOT_LOADED"));
    // Half of it is none.
    fs::create_dir(house.path("draft")).unwrap();
    put(&house, "draft/half.cedar", &harmless("x")[..40]);
    fs::rename(house.path("draft"), house.path("later")).unwrap();
    eventually("the other mistake", || (house.events("policy.rejected").len() == 2).then_some(())).await;
    assert!(agent.begin_authorization(begin_request(&MAIL)).await.is_err());
    fs::remove_dir_all(house.path("later")).unwrap();
    fs::rename(house.path("policies"), house.path("later")).unwrap();
    let said = house.event("policy.activated").await;
    assert_eq!((&facts(&said)["generation"], &facts(&said)["trigger"]), (&1.into(), &"watch".into()));
    house.begin(&mut agent, &MAIL).await.unwrap();
    eventually("an answer", || (house.health() == "SERVING").then_some(())).await;
}

// rows: POL-02 POL-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_refuses_what_a_reload_refuses() {
    let case = r#"
[[case]]
name = "couriers write"
action = "grant_scope"
agent = "courier"
client = "sales-crm"
scope = "customers.write"
transport = "mtls"
expect = "allow"
reasons = []
"#;
    let mut plan = plan("100ms");
    plan.policies.push(("extra.cases.toml".to_owned(), case.to_owned()));
    let mut house = plan.build();
    house.start();
    eventually("the log", || house.path("audit").exists().then_some(())).await;
    let said = house.event("policy.rejected").await;
    assert!(facts(&said)["first_mistake"].as_str().unwrap().contains("couriers write"), "{said}");
    fs::remove_file(house.path("policies/extra.cases.toml")).unwrap();
    house.event("policy.activated").await;
}
