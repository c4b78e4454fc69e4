use crate::{
    house::{House, Plan, binary},
    kit::{Resource, open_with},
};
use serde_json::Value;
use std::process::Output;

async fn run(house: &House, arguments: &[&str]) -> Output {
    let mut command = binary();
    command.args(["token", "challenge", "--endpoint", &house.endpoint()]).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn to_a_person_and_to_a_script() {
    let resource = Resource::start();
    let house = open_with(Plan::new(), &resource, "").await;
    let (url, header) = (resource.url("/api/x"), r#"Bearer error="insufficient_scope", scope="customers.read admin""#);
    let told = run(&house, &[&url, header]).await;
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let text = String::from_utf8(told.stdout).unwrap();
    let next =
        format!("narrowgate token begin --client sales-crm --resource {} --scope customers.read", resource.url("/api"));
    for line in
        ["api: crm", "issuer: corp", "scopes demanded: customers.read", "not declared, never asked for: admin", &next]
    {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let told = run(&house, &["--output", "json", &url, header]).await;
    let value: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&value["step_up"], &value["options"][0]["clients"][0]), (&true.into(), &"sales-crm".into()));
    let refused = run(&house, &["https://127.0.0.1/api"]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("API_UNDECLARED"), "{refused:?}");
}
