use crate::{
    asking::refused,
    house::{
        House, eventually, get,
        scripted_as::behaviour::{RevocationBehaviour, Script},
        write,
    },
    kit::{again, granted, plan, restart, restored},
};
use std::fs;
use tonic::Code;

fn change(house: &House, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(house.path(file)).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    write(&house.path(file), &text.replace(from, to));
}

/// Stops, changes a file, and starts again: the grant is not held any more. Whether it was revoked.
async fn dropped(file: &str, from: &str, to: &str, why: &str) -> bool {
    let (mut house, _, grant) = granted(plan("")).await;
    house.stop().await;
    change(&house, file, from, to);
    again(&mut house).await;
    assert_eq!(restored(&house, 1).await, (0, 1), "{to}");
    let event = house.event("grant.dropped").await;
    let facts = &event["unmapped"]["narrowgate"];
    assert_eq!((&facts["why"], &facts["agent"]), (&why.into(), &"quoter".into()));
    let revocable = facts["revocable"] == true;
    if revocable {
        eventually("its revocation", || house.server.revocations().pop()).await;
    }
    // It is out of the file as well, once it is revoked; what cannot be told stays there, for the change may be a slip.
    restart(&mut house).await;
    assert_eq!(restored(&house, 2).await, (0, u64::from(!revocable)), "{to}");
    if file != "agents.toml" {
        refused(get(&mut house.agent().await, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    }
    let revoked = house.server.revocations();
    assert!(revoked.iter().all(|(hint, _)| hint == "refresh_token"));
    assert_eq!(revoked.len(), usize::from(revocable), "{to}");
    assert!(house.server.refreshes().is_empty());
    revocable
}

// rows: RT-02 INTR-03
#[tokio::test]
async fn its_refresh_token_is_revoked_where_it_can_be() {
    // The agent has gone: its client can still tell the server.
    assert!(dropped("agents.toml", "\"quoter\"", "\"another\"", "agent").await);
    // The client is another one there: the token is not its.
    let client_id = ("client_id = \"narrowgate-sales\"", "client_id = \"narrowgate-other\"");
    assert!(!dropped("narrowgate.toml", client_id.0, client_id.1, "client").await);
    // Its API has another name: what the token is for is not known any more.
    assert!(dropped("apis.toml", "https://crm.example.test/api", "https://crm.example.test/v2", "api").await);
}

// rows: RT-02 RT-01
#[tokio::test]
async fn no_refresh_token_goes_where_the_configuration_does_not_lead() {
    let (mut house, _, _) = granted(plan("")).await;
    house.stop().await;
    let port = house.server.token_port();
    // The port of the token endpoint that it was given by is not allowed any more.
    change(&house, "narrowgate.toml", &format!("allowed_ports = [{port}]"), "allowed_ports = [1]");
    house.start();
    eventually("the record", || house.events("grants.restored").get(1).cloned()).await;
    assert_eq!(restored(&house, 1).await, (0, 1));
    let posts = (house.server.token_posts(), house.server.revocation_posts());
    assert_eq!(posts, (1, 0));
}

// rows: RT-02
#[tokio::test]
async fn a_slip_that_is_corrected_costs_no_grant() {
    let (mut house, _, grant) = granted(plan("")).await;
    house.stop().await;
    change(&house, "narrowgate.toml", "client_id = \"narrowgate-sales\"", "client_id = \"narrowgate-other\"");
    again(&mut house).await;
    assert_eq!(restored(&house, 1).await, (0, 1));
    house.stop().await;
    change(&house, "narrowgate.toml", "client_id = \"narrowgate-other\"", "client_id = \"narrowgate-sales\"");
    again(&mut house).await;
    assert_eq!(restored(&house, 2).await, (1, 0));
    get(&mut house.agent().await, &grant).await.unwrap();
    assert!(house.server.revocations().is_empty());
}

// rows: RT-02 INTR-01
#[tokio::test]
async fn what_its_server_has_not_confirmed_is_tried_again_at_the_next_start() {
    let (mut house, _, _) = granted(plan("")).await;
    house.stop().await;
    change(&house, "agents.toml", "\"quoter\"", "\"another\"");
    house.server.behave(Script::Revocation(RevocationBehaviour::Status(503)));
    again(&mut house).await;
    assert_eq!(restored(&house, 1).await, (0, 1));
    eventually("the first try", || (house.server.revocation_posts() == 1).then_some(())).await;
    // In order, so that whatever was to be written is.
    restart(&mut house).await;
    assert_eq!(restored(&house, 2).await, (0, 1));
    eventually("its revocation", || house.server.revocations().pop()).await;
    restart(&mut house).await;
    assert_eq!(restored(&house, 3).await, (0, 0));
}
