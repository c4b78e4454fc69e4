//! One question to Cedar, whole. What is asked is what is recorded: the log holds this very value, so nothing that
//! decided can be missing from it.

use super::value::{Fields, Found, Uid, Value, at, object, owned};
use crate::model::Wall;
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) principal: Uid<'a>,
    pub(super) action: Uid<'static>,
    pub(super) resource: Uid<'a>,
    pub(super) context: Fields<'a>,
}

impl Question<'_> {
    /// The time it is asked at, as the policies see it.
    pub(super) fn now(&self) -> Option<Wall> {
        let path = |path: &[&str]| path.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let found = match at(&self.context, &path(&["base", "now"])) {
            Found::Missing(_) => at(&self.context, &path(&["now"])),
            found => found,
        };
        let Found::Value(Value::Instant(now, _)) = found else { return None };
        Some(Wall(*now))
    }

    /// Its context as JSON.
    pub(super) fn context_json(&self) -> Map<String, Json> {
        object(&self.context)
    }

    pub(super) fn to_owned(&self) -> Question<'static> {
        Question {
            principal: self.principal.clone().into_owned(),
            action: self.action.clone(),
            resource: self.resource.clone().into_owned(),
            context: owned(&self.context),
        }
    }

    /// Whether the other one differs in its resource alone, for the very same context.
    pub(super) fn shares_context(&self, other: &Self) -> bool {
        self.action == other.action && Arc::ptr_eq(&self.context, &other.context)
    }
}

/// An entity that is made for one decision alone: a person, in the groups that their issuer vouches for. It has no
/// attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Own {
    pub(super) uid: Uid<'static>,
    pub(super) parents: Vec<Uid<'static>>,
}

impl Own {
    pub(super) fn to_json(&self) -> Json {
        let parents: Vec<Json> = self.parents.iter().map(Uid::to_json).collect();
        serde_json::json!({ "uid": self.uid.to_json(), "attrs": {}, "parents": parents })
    }

    /// # Errors
    /// What is wrong with it.
    pub(super) fn from_json(value: &Json) -> Result<Self, String> {
        let parents = value.get("parents").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        let uid = Uid::from_json(value.get("uid").ok_or("an entity has no uid")?)?;
        Ok(Self { uid, parents: parents.iter().map(Uid::from_json).collect::<Result<_, _>>()? })
    }
}
