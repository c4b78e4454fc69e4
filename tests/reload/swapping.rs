//! How these tests change files under a running daemon.

use crate::{
    house::{House, Plan, eventually, write},
    kit::{self, Admin, facts},
};
use narrowgate::api::proto::{GetStatusRequest, GetStatusResponse};
use serde_json::Value;
use std::fs;

/// A policy that changes nothing, by this name.
pub(crate) fn harmless(id: &str) -> String {
    format!(
        "@id(\"{id}\") permit (principal, action == Narrowgate::Action::\"break_glass\", resource) when {{ false }};"
    )
    .replace("when { false }", "when { context.now < datetime(\"2000-01-01\") }")
}

/// A house with an operator, whose daemon looks at its files this often.
pub(crate) fn plan(every: &str) -> Plan {
    watching(kit::plan(), every)
}

pub(crate) fn watching(plan: Plan, every: &str) -> Plan {
    plan.config("directory = \"policies\"", &format!("directory = \"policies\"\ncheck_every = \"{every}\""))
}

/// Puts a file in the place of another, at once.
pub(crate) fn put(house: &House, name: &str, text: &str) {
    let draft = house.path(".draft");
    write(&draft, text);
    fs::rename(draft, house.path(name)).unwrap();
}

/// Changes a file; what is replaced must be there.
pub(crate) fn edit(house: &House, name: &str, from: &str, to: &str) {
    let text = fs::read_to_string(house.path(name)).unwrap();
    assert!(text.contains(from), "{name} has no {from:?}");
    put(house, name, &text.replace(from, to));
}

/// Waits for this generation; the event of its activation.
pub(crate) async fn generation(house: &House, number: u64) -> Value {
    let of = |event: &Value| facts(event)["generation"] == number;
    eventually(&format!("generation {number}"), || house.events("policy.activated").into_iter().find(of)).await
}

pub(crate) async fn status(admin: &mut Admin) -> GetStatusResponse {
    admin.get_status(GetStatusRequest {}).await.unwrap().into_inner()
}

/// Waits until the files are found sound again.
pub(crate) async fn sound(admin: &mut Admin) -> GetStatusResponse {
    for _ in 0..600 {
        let now = status(admin).await;
        if now.policy_failure.as_ref().is_none_or(|failure| !failure.stands) {
            return now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the files are not found sound again")
}
