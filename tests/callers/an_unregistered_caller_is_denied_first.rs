use crate::{
    asking::{READ, ask, begin, refused},
    house::{Agent, House, Plan, begin_request, get, redeem_request},
};
use narrowgate::api::proto::{BeginAuthorizationRequest, RevokeGrantRequest};
use tonic::Code;

const STRANGER: &str = "spiffe://acme.test/agent/stranger";

/// Every RPC, with what would be another mistake if anyone looked at it.
async fn everything_is_refused(house: &House, agent: &mut Agent) {
    let unknown = |result| drop(refused::<()>(result, Code::PermissionDenied, "AGENT_UNKNOWN"));
    unknown(begin(agent, begin_request(&[READ])).await.map(drop));
    unknown(begin(agent, BeginAuthorizationRequest::default()).await.map(drop));
    let odd = BeginAuthorizationRequest { client: "none".to_owned(), agent: "x".to_owned(), ..begin_request(&["\t"]) };
    unknown(begin(agent, odd).await.map(drop));
    unknown(ask(agent, redeem_request("", "")).await.map(drop));
    unknown(ask(agent, redeem_request("txn_x", "/callback?code=a&code=b")).await.map(drop));
    unknown(get(agent, "").await.map(drop));
    unknown(get(agent, "grant_x").await.map(drop));
    unknown(agent.revoke_grant(RevokeGrantRequest::default()).await.map(drop));
    let rejected = house.events("agent.rejected");
    assert_eq!(rejected.len(), 8);
    assert!(rejected.iter().all(|e| e["status_code"] == "AGENT_UNKNOWN" && e["status_id"] == 2));
    for code in ["authorization.decided", "exchange.decided", "exchange.refused", "revocation.decided"] {
        assert!(house.events(code).is_empty(), "{code}");
    }
    assert_eq!((house.server.front_connections(), house.server.token_connections()), (0, 0), "an issuer was asked");
}

// rows: CALL-07
#[tokio::test]
async fn a_valid_svid_that_is_not_registered_is_denied_before_anything_is_read() {
    let house = Plan::new().open().await;
    let mut stranger = house.svid_agent(STRANGER).await;
    everything_is_refused(&house, &mut stranger).await;
    let event = house.event("agent.rejected").await;
    assert!(event["unmapped"]["narrowgate"]["peer"].as_str().unwrap().starts_with(STRANGER));
    let alert = house.event("detect.unknown_agent").await;
    assert_eq!(alert["severity_id"], 4);
}

// rows: CALL-07
#[tokio::test]
async fn an_unregistered_uid_is_denied_before_anything_is_read() {
    let uid = rustix::process::geteuid().as_raw();
    let mut plan = Plan::new();
    plan.agents = plan.agents.replace(&format!("uid = {uid}\n"), "uid = 4242\n");
    let house = plan.open().await;
    let mut stranger = house.agent().await;
    everything_is_refused(&house, &mut stranger).await;
    let event = house.event("agent.rejected").await;
    assert!(event["unmapped"]["narrowgate"]["peer"].as_str().unwrap().starts_with(&format!("unix uid {uid} gid ")));
}

// rows: CALL-07
#[tokio::test]
async fn a_registered_uid_in_another_group_is_nobody() {
    let uid = rustix::process::geteuid().as_raw();
    let mut plan = Plan::new();
    plan.agents = plan.agents.replace(&format!("uid = {uid}\n"), &format!("uid = {uid}\ngid = 4242\n"));
    let house = plan.open().await;
    let mut stranger = house.agent().await;
    everything_is_refused(&house, &mut stranger).await;
}
