use crate::{
    house::{COURIER, House, get, unix_channel},
    kit::{admin, facts, freeze, plain, plan, refused, target},
};
use narrowgate::api::proto::{
    DrainRequest, FreezeRequest, GetStatusRequest, ListFreezesRequest, ListGrantsRequest, RevokeGrantsRequest,
    UnfreezeRequest, admin_service_client::AdminServiceClient, revoke_grants_request::Which,
};
use std::os::unix::fs::PermissionsExt;
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Every call there is, as well-formed as an operator's.
async fn every_call(channel: Channel) -> Vec<(&'static str, Status)> {
    let mut admin = AdminServiceClient::new(channel);
    let target = || Some(target("agent"));
    let which = Some(Which::Of(target().unwrap()));
    let freeze = FreezeRequest { target: target(), ticket: String::new() };
    vec![
        ("GetStatus", admin.get_status(GetStatusRequest {}).await.err().unwrap()),
        ("ListGrants", admin.list_grants(ListGrantsRequest::default()).await.err().unwrap()),
        ("RevokeGrants", admin.revoke_grants(RevokeGrantsRequest { which }).await.err().unwrap()),
        ("Freeze", admin.freeze(freeze).await.err().unwrap()),
        ("Unfreeze", admin.unfreeze(UnfreezeRequest { target: target() }).await.err().unwrap()),
        ("ListFreezes", admin.list_freezes(ListFreezesRequest {}).await.err().unwrap()),
        ("Drain", admin.drain(DrainRequest {}).await.err().unwrap()),
    ]
}

async fn nothing_happened(house: &House) {
    let mut agent = house.svid_agent(COURIER).await;
    house.login(&mut agent, &["mail.read"]).await.unwrap();
    assert!(house.events("admin.frozen").is_empty() && house.events("admin.completed").is_empty());
}

// rows: CALL-09
#[tokio::test]
async fn on_the_agents_socket_there_is_no_admin_service() {
    let house = plain().open().await;
    for (operation, status) in every_call(unix_channel(&house.path("run/agent.sock")).await).await {
        refused::<()>(Err(status), Code::Unimplemented, "METHOD_UNKNOWN");
        assert!(house.events("admin.decided").is_empty(), "{operation}");
    }
    nothing_happened(&house).await;
}

// rows: CALL-09
#[tokio::test]
async fn on_the_admin_socket_an_agent_is_nobody() {
    let house = plain().open().await;
    let mode = std::fs::metadata(house.path("run/admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let socket = house.path("run/admin.sock");
    let mut called = Vec::new();
    for (operation, status) in every_call(unix_channel(&socket).await).await {
        refused::<()>(Err(status), Code::PermissionDenied, "OPERATOR_UNKNOWN");
        called.push(operation);
    }
    let rejected = house.events("agent.rejected");
    assert!(rejected.iter().all(|event| event["status_code"] == "OPERATOR_UNKNOWN"));
    assert_eq!(rejected.iter().map(|event| facts(event)["operation"].clone()).collect::<Vec<_>>(), called);
    house.event("detect.unknown_operator").await;
    assert!(house.events("admin.decided").is_empty(), "policy was asked");
    nothing_happened(&house).await;
}

// rows: CALL-09
#[tokio::test]
async fn an_operator_gets_no_token_and_no_health_there() {
    let house = plan().open().await;
    let socket = house.path("run/admin.sock");
    let mut operator = crate::house::unix_agent(&socket).await;
    refused(house.begin(&mut operator, &["mail.read"]).await, Code::Unimplemented, "METHOD_UNKNOWN");
    refused(get(&mut operator, "grant_0").await, Code::Unimplemented, "METHOD_UNKNOWN");
    let check = HealthCheckRequest::default();
    let answer = HealthClient::new(unix_channel(&socket).await).check(check).await;
    refused(answer, Code::Unimplemented, "METHOD_UNKNOWN");
    // On the agents' socket the operator is no agent.
    let mut stranger = house.agent().await;
    refused(house.begin(&mut stranger, &["mail.read"]).await, Code::PermissionDenied, "AGENT_UNKNOWN");
}

// rows: CALL-09
#[tokio::test]
async fn an_operator_may_do_what_a_policy_permits_and_nothing_else() {
    let mut plan = plan();
    plan.policies.retain(|(_, text)| !text.contains("operator.stop"));
    let plan = plan.policy(
        "@id(\"test.look\")\npermit (principal == Narrowgate::Operator::\"root\", action == Narrowgate::Action::\"admin_status\", resource);",
    );
    let house = plan.open().await;
    let mut admin = admin(&house).await;
    admin.get_status(GetStatusRequest {}).await.unwrap();
    admin.list_freezes(ListFreezesRequest {}).await.unwrap();
    refused(freeze(&mut admin, "agent").await, Code::PermissionDenied, "POLICY_DENIED");
    refused(admin.list_grants(ListGrantsRequest::default()).await, Code::PermissionDenied, "POLICY_DENIED");
    refused(admin.drain(DrainRequest {}).await, Code::PermissionDenied, "POLICY_DENIED");
    let denied: Vec<_> = house.events("admin.decided").into_iter().filter(|e| e["status_code"] != "ALLOW").collect();
    assert_eq!(denied.len(), 3, "{denied:#?}");
    nothing_happened(&house).await;
}

// rows: CALL-09
#[tokio::test]
async fn nobody_is_both() {
    let mut plan = plain();
    plan.agents = plan.agents.replace("uid = 4200000000", &format!("uid = {}", rustix::process::geteuid().as_raw()));
    let house = plan.build();
    let output = house.command("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("operator `root` and agent `quoter` have the same uid"), "{said}");

    let mut plan = plain();
    let at = plan.agents.find("[[operator]]").unwrap();
    plan.agents.truncate(at);
    let output = plan.build().command("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(64) && said.contains("[listen.admin] has nobody to serve"), "{said}");
}
