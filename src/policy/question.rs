//! One question to Cedar, whole. What is asked is what is recorded: the log holds this very value, so nothing that
//! decided can be missing from it.

use crate::model::Wall;
use cedar_policy::{Context, EntityUid, EvalResult};
use serde_json::{Map, Value, json};

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) principal: EntityUid,
    pub(super) action: EntityUid,
    pub(super) resource: EntityUid,
    pub(super) context: Context,
}

impl Question {
    /// The time it is asked at, as the policies see it.
    pub(super) fn now(&self) -> Option<Wall> {
        let now = match self.context.get("base") {
            Some(EvalResult::Record(base)) => base.get("now").cloned(),
            _ => self.context.get("now"),
        };
        let Some(EvalResult::ExtensionValue(call)) = now else { return None };
        // As Cedar writes it: datetime("2026-11-22T10:00:00.000Z").
        let instant: jiff::Timestamp = call.split('"').nth(1)?.parse().ok()?;
        Some(Wall(instant.as_millisecond()))
    }

    /// Its context as JSON, with entities and extension values in their short forms: the schema, which the log names
    /// by digest, says which text is a time and which is a text.
    pub(super) fn context_json(&self) -> Result<Map<String, Value>, String> {
        match self.context.to_json_value().map_err(|e| e.to_string())? {
            Value::Object(mut map) => {
                map.values_mut().for_each(shorten);
                Ok(map)
            }
            _ => Err("a context is a record".to_owned()),
        }
    }
}

/// An entity's uid as JSON.
pub(super) fn uid_json(uid: &EntityUid) -> Value {
    json!({ "type": uid.type_name().to_string(), "id": uid.id().unescaped() })
}

/// Takes the escapes off Cedar's JSON.
fn shorten(value: &mut Value) {
    match value {
        Value::Object(map) if map.len() == 1 && map.contains_key("__entity") => {
            *value = map.remove("__entity").unwrap_or_default();
        }
        Value::Object(map) if map.len() == 1 && map.contains_key("__extn") => {
            let argument = map.get_mut("__extn").and_then(|call| call.get_mut("arg")).map(Value::take);
            *value = argument.unwrap_or_default();
        }
        Value::Object(map) => map.values_mut().for_each(shorten),
        Value::Array(items) => items.iter_mut().for_each(shorten),
        _ => {}
    }
}
