//! Authorization details (RFC 9396): read from the request, granted as asked unless a behaviour says otherwise.

use serde_json::{Map, Value};

use super::record::first;

/// The types that this server supports.
pub(crate) const TYPES: [&str; 2] = ["payment_initiation", "customer_information"];

/// What a request asks for, if a strict server takes it.
pub(super) fn requested(query: &[(String, String)]) -> Result<Option<Value>, String> {
    let Some(text) = first(query, "authorization_details") else { return Ok(None) };
    let details: Value = serde_json::from_str(text).map_err(|error| format!("authorization_details: {error}"))?;
    let known = |element: &Value| element["type"].as_str().is_some_and(|name| TYPES.contains(&name));
    let elements = details.as_array().ok_or("authorization_details is no array")?;
    if elements.iter().all(known) { Ok(Some(details)) } else { Err("invalid_authorization_details".into()) }
}

/// Says in an answer what was granted (RFC 9396 §7).
pub(super) fn granted(members: &mut Map<String, Value>, details: Option<&Value>) {
    if let Some(details) = details {
        members.insert("authorization_details".into(), details.clone());
    }
}
