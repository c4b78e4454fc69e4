//! What a refusal says would lift it, for people and programs.

use crate::api::proto::Advice;
use prost::Message;
use serde_json::{Map, Value, json};
use tonic::Status;

/// The advice in a status.
fn of(status: &Status) -> Option<Advice> {
    let rich = tonic_types::Status::decode(status.details()).ok()?;
    let found = rich.details.iter().find(|any| any.type_url.ends_with("/narrowgate.v1.Advice"))?;
    Advice::decode(found.value.as_slice()).ok()
}

/// The lines that say what to do, and the same as JSON; `None` where the status has no advice.
pub(super) fn told(status: &Status) -> Option<(String, Value)> {
    let advice = of(status)?;
    let (mut text, mut value) = (String::new(), Map::new());
    if let Some(step_up) = advice.step_up {
        let (acr, age) = (step_up.acr_values.join(" "), step_up.max_age.map(|age| age.seconds));
        let acr_shown = if acr.is_empty() { "any" } else { acr.as_str() };
        text = format!("\nLog in again: acr_values {acr_shown}");
        if let Some(age) = age {
            text = format!("{text}, max_age {age}s");
        }
        let members = json!({ "acr_values": step_up.acr_values, "max_age_seconds": age });
        value.insert("step_up".to_owned(), members);
    }
    if let Some(wanted) = advice.approval {
        let request = if wanted.request.is_empty() { "(begin again to be told)" } else { wanted.request.as_str() };
        text = format!(
            "{text}\nTo be approved: {request}\nAn approver signs it, and the record goes with the same request:\n  \
             narrowgate approve sign --key KEY --approver ID --policy-digest {} --request '...'",
            wanted.policy_digest
        );
        let members = json!({
            "request": wanted.request, "request_digest": wanted.request_digest, "policy_digest": wanted.policy_digest,
        });
        value.insert("approval".to_owned(), members);
    }
    Some((text, Value::Object(value)))
}
