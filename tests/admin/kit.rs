//! How these tests administer.

use crate::house::{Agent, COURIER, House, Plan, binary, reason, unix_channel};
use narrowgate::api::proto::{
    FreezeRequest, FreezeResponse, GrantSummary, ListGrantsRequest, RevokeGrantsRequest, Target, Toll, UnfreezeRequest,
    admin_service_client::AdminServiceClient, revoke_grants_request::Which, target::Kind,
};
use serde_json::Value;
use std::process::Output;
use tonic::{Code, Status, transport::Channel};

pub(crate) const MAIL: [&str; 2] = ["mail.read", "mail.send"];
/// An agent's uid that nobody here has.
pub(crate) const NOBODY: u32 = 4_200_000_000;

pub(crate) type Admin = AdminServiceClient<Channel>;

/// A house whose agent `courier` comes by mutual TLS, and whose operator `root` is whoever runs the tests.
pub(crate) fn plan() -> Plan {
    let own = rustix::process::geteuid().as_raw();
    let mut plan = plain();
    plan.agents = plan.agents.replace(&format!("uid = {NOBODY}"), "uid = @OPERATOR@");
    plan.agents =
        plan.agents.replace(&format!("uid = {own}\n"), "uid = 1001\n").replace("@OPERATOR@", &own.to_string());
    plan
}

/// The same, but whoever runs the tests is the agent `quoter`, and nobody is the operator.
pub(crate) fn plain() -> Plan {
    let plan = Plan::new().config("[audit]", "[listen.admin]\npath = \"@FOLDER@/run/admin.sock\"\n\n[audit]");
    let policy =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/base/operators.cedar")).unwrap();
    plan.policy(&policy)
}

pub(crate) async fn admin(house: &House) -> Admin {
    AdminServiceClient::new(unix_channel(&house.path("run/admin.sock")).await)
}

/// The agent, and its handle.
pub(crate) async fn granted(house: &House) -> (Agent, String) {
    let mut agent = house.svid_agent(COURIER).await;
    let grant = house.login(&mut agent, &MAIL).await.unwrap().grant;
    (agent, grant)
}

pub(crate) fn target(kind: &str) -> Target {
    let kind = match kind {
        "agent" => Kind::Agent("courier".to_owned()),
        "client" => Kind::Client("sales-crm".to_owned()),
        "issuer" => Kind::Issuer("corp".to_owned()),
        other => panic!("{other}"),
    };
    Target { kind: Some(kind) }
}

pub(crate) async fn freeze(admin: &mut Admin, kind: &str) -> Result<FreezeResponse, Status> {
    let request = FreezeRequest { target: Some(target(kind)), ticket: "incident-4711".to_owned() };
    Ok(admin.freeze(request).await?.into_inner())
}

pub(crate) async fn unfreeze(admin: &mut Admin, kind: &str) -> bool {
    admin.unfreeze(UnfreezeRequest { target: Some(target(kind)) }).await.unwrap().into_inner().was_frozen
}

pub(crate) async fn revoke(admin: &mut Admin, which: Which) -> Toll {
    let request = RevokeGrantsRequest { which: Some(which) };
    admin.revoke_grants(request).await.unwrap().into_inner().toll.unwrap()
}

pub(crate) async fn grants(admin: &mut Admin) -> Vec<GrantSummary> {
    admin.list_grants(ListGrantsRequest::default()).await.unwrap().into_inner().grants
}

pub(crate) fn refused<T>(result: Result<T, Status>, code: Code, why: &str) -> Status {
    let status = result.err().expect("it was not refused");
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{status:?}");
    status
}

pub(crate) fn facts(event: &Value) -> &Value {
    &event["unmapped"]["narrowgate"]
}

/// `narrowgate admin`, at this house.
pub(crate) fn command(house: &House, arguments: &[&str]) -> Output {
    let mut command = binary();
    command.arg("admin").arg("--socket").arg(house.path("run/admin.sock")).args(arguments);
    command.output().unwrap()
}
