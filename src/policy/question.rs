//! One question to Cedar, whole. What is asked is what is recorded: the log holds this very value, so nothing that
//! decided can be missing from it.

use super::{Snapshot, ask::Answer};
use cedar_policy::{Context, Entity, EntityUid};
use serde_json::{Map, Value, json};

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) principal: EntityUid,
    pub(super) action: EntityUid,
    pub(super) resource: EntityUid,
    pub(super) context: Context,
    /// Entities of this request alone, beside or instead of the generation's own.
    pub(super) own: Vec<Entity>,
}

impl Question {
    /// Asks it.
    pub(super) fn ask(&self, snapshot: &Snapshot) -> Answer {
        if self.own.is_empty() {
            return snapshot.ask(self, &snapshot.entities);
        }
        match snapshot.entities.clone().upsert_entities(self.own.clone(), Some(&snapshot.schema)) {
            Ok(entities) => snapshot.ask(self, &entities),
            Err(_) => Answer::error(),
        }
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

    /// Its own entities as JSON.
    pub(super) fn own_json(&self) -> Result<Vec<Value>, String> {
        self.own.iter().map(|entity| entity.to_json_value().map_err(|e| e.to_string())).collect()
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
