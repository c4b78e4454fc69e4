//! A fact as policies see it, in a form of our own: it is made without Cedar's parsers, so that what was decided before
//! costs none of them, it is what the decision cache looks at, and it goes on record as it was asked.

use super::entities::type_name;
use crate::model::{Amount, Wall};
use cedar_policy::{Context, EntityId, EntityUid, RestrictedExpression as Expr};
use serde_json::{Map, Value as Json, json};
use std::{borrow::Cow, net::IpAddr, sync::Arc};

/// An entity by name: its type with namespace, and its id. Ids are data: nothing in them is parsed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Uid<'a> {
    pub(super) kind: Cow<'static, str>,
    pub(super) id: Cow<'a, str>,
}

/// Whether a time moves with the clock. What moves is in no cache key: see [`super::reads`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Pace {
    Still,
    Moving,
}

/// The fields of a record.
pub(super) type Fields<'a> = Arc<[(Cow<'static, str>, Value<'a>)]>;

/// A fact.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Long(i64),
    Text(Cow<'a, str>),
    Entity(Uid<'a>),
    Ip(IpAddr),
    /// Milliseconds since 1970.
    Instant(i64, Pace),
    /// Milliseconds.
    Span(i64, Pace),
    /// At most four digits after the point, as Cedar has it.
    Decimal(Amount),
    /// Sorted, each once.
    Set(Arc<[Value<'a>]>),
    Record(Fields<'a>),
}

impl<'a> Uid<'a> {
    /// The entity of a type of ours.
    pub(super) fn new(kind: &'static str, id: impl Into<Cow<'a, str>>) -> Self {
        Self { kind: namespaced(kind), id: id.into() }
    }

    pub(super) fn into_owned(self) -> Uid<'static> {
        Uid { kind: self.kind, id: Cow::Owned(self.id.into_owned()) }
    }

    pub(super) fn to_json(&self) -> Json {
        json!({ "type": self.kind, "id": self.id })
    }

    pub(super) fn from_json(value: &Json) -> Result<Uid<'static>, String> {
        let text = |key: &str| {
            let text = value.get(key).and_then(Json::as_str).ok_or_else(|| format!("an entity has no {key}"));
            text.map(str::to_owned)
        };
        Ok(Uid { kind: text("type")?.into(), id: text("id")?.into() })
    }

    /// # Errors
    /// A type whose name is none.
    pub(super) fn to_cedar(&self) -> Result<EntityUid, String> {
        Ok(EntityUid::from_type_name_and_id(type_name(&self.kind)?, EntityId::new(&*self.id)))
    }
}

/// The name of a type of ours with its namespace: without a copy for all that are asked about often.
fn namespaced(kind: &'static str) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        "Agent" => "Narrowgate::Agent",
        "Client" => "Narrowgate::Client",
        "Scope" => "Narrowgate::Scope",
        "Api" => "Narrowgate::Api",
        "Action" => "Narrowgate::Action",
        "User" => "Narrowgate::User",
        "UserGroup" => "Narrowgate::UserGroup",
        "Issuer" => "Narrowgate::Issuer",
        "Operator" => "Narrowgate::Operator",
        "Daemon" => "Narrowgate::Daemon",
        "AuthorizationDetailsType" => "Narrowgate::AuthorizationDetailsType",
        other => return Cow::Owned(format!("Narrowgate::{other}")),
    })
}

impl<'a> Value<'a> {
    pub(super) fn set(members: impl IntoIterator<Item = Self>) -> Self {
        let mut members: Vec<Self> = members.into_iter().collect();
        members.sort();
        members.dedup();
        Self::Set(members.into())
    }

    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Bool(it) => Value::Bool(it),
            Self::Long(it) => Value::Long(it),
            Self::Text(it) => Value::Text(Cow::Owned(it.into_owned())),
            Self::Entity(uid) => Value::Entity(uid.into_owned()),
            Self::Ip(it) => Value::Ip(it),
            Self::Instant(at, pace) => Value::Instant(at, pace),
            Self::Span(span, pace) => Value::Span(span, pace),
            Self::Decimal(it) => Value::Decimal(it),
            Self::Set(members) => Value::Set(members.iter().map(|it| it.clone().into_owned()).collect()),
            Self::Record(fields) => Value::Record(owned(&fields)),
        }
    }

    /// # Errors
    /// What Cedar has no value for, such as a time beyond its calendar.
    pub(super) fn to_cedar(&self) -> Result<Expr, String> {
        Ok(match self {
            Self::Bool(it) => Expr::new_bool(*it),
            Self::Long(it) => Expr::new_long(*it),
            Self::Text(it) => Expr::new_string((**it).to_owned()),
            Self::Entity(uid) => Expr::new_entity_uid(uid.to_cedar()?),
            Self::Ip(it) => Expr::new_ip(it.to_string()),
            Self::Instant(at, _) => Expr::new_datetime(Wall(*at).rfc3339()),
            Self::Span(span, _) => Expr::new_duration(format!("{span}ms")),
            Self::Decimal(it) => Expr::new_decimal(it.to_string()),
            Self::Set(members) => Expr::new_set(members.iter().map(Self::to_cedar).collect::<Result<Vec<_>, _>>()?),
            Self::Record(fields) => {
                let pairs = fields.iter().map(|(name, value)| Ok((name.to_string(), value.to_cedar()?)));
                Expr::new_record(pairs.collect::<Result<Vec<_>, String>>()?).map_err(|e| e.to_string())?
            }
        })
    }

    /// As it stands in the log: the schema, which the log names by digest, says which text is a time and which is a text.
    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Bool(it) => json!(it),
            Self::Long(it) => json!(it),
            Self::Text(it) => json!(it),
            Self::Entity(uid) => uid.to_json(),
            Self::Ip(it) => json!(it.to_string()),
            Self::Instant(at, _) => json!(Wall(*at).rfc3339()),
            Self::Span(span, _) => json!(format!("{span}ms")),
            Self::Decimal(it) => json!(it.to_string()),
            Self::Set(members) => Json::Array(members.iter().map(Self::to_json).collect()),
            Self::Record(fields) => Json::Object(object(fields)),
        }
    }

    /// From Cedar's own JSON, which says of each value what it is.
    ///
    /// # Errors
    /// A value that no question of ours has.
    pub(super) fn from_cedar(value: Json) -> Result<Value<'static>, String> {
        Ok(match value {
            Json::Bool(it) => Value::Bool(it),
            Json::Number(it) => Value::Long(it.as_i64().ok_or("a number is no whole number")?),
            Json::String(it) => Value::Text(it.into()),
            Json::Array(items) => Value::set(items.into_iter().map(Self::from_cedar).collect::<Result<Vec<_>, _>>()?),
            Json::Object(map) => match (map.get("__entity"), map.get("__extn")) {
                (Some(uid), _) => Value::Entity(Uid::from_json(uid)?),
                (_, Some(call)) => extension(call)?,
                _ => {
                    let pairs = map.into_iter().map(|(name, value)| Ok((name.into(), Self::from_cedar(value)?)));
                    Value::Record(pairs.collect::<Result<Vec<_>, String>>()?.into())
                }
            },
            Json::Null => return Err("null is no fact".to_owned()),
        })
    }
}

fn extension(call: &Json) -> Result<Value<'static>, String> {
    let text = |key: &str| call.get(key).and_then(Json::as_str).ok_or("an extension value is of an unknown form");
    let argument = text("arg")?;
    let wrong = || format!("{argument:?} is no value of its type");
    Ok(match text("fn")? {
        "datetime" => {
            let instant: jiff::Timestamp = argument.parse().map_err(|_| wrong())?;
            Value::Instant(instant.as_millisecond(), Pace::Still)
        }
        "duration" => {
            let span = argument.strip_suffix("ms").and_then(|span| span.parse().ok());
            Value::Span(span.ok_or_else(wrong)?, Pace::Still)
        }
        "decimal" => Value::Decimal(Amount::parse(argument).ok_or_else(wrong)?),
        "ip" => Value::Ip(argument.parse().map_err(|_| wrong())?),
        other => return Err(format!("{other} is no function that questions use")),
    })
}

/// Fields as JSON.
pub(super) fn object(fields: &Fields<'_>) -> Map<String, Json> {
    fields.iter().map(|(name, value)| (name.to_string(), value.to_json())).collect()
}

/// Fields that own what they say.
pub(super) fn owned(fields: &Fields<'_>) -> Fields<'static> {
    fields.iter().map(|(name, value)| (name.clone(), value.clone().into_owned())).collect()
}

/// Fields as a context.
///
/// # Errors
/// As [`Value::to_cedar`].
pub(super) fn to_context(fields: &Fields<'_>) -> Result<Context, String> {
    let pairs = fields.iter().map(|(name, value)| Ok((name.to_string(), value.to_cedar()?)));
    Context::from_pairs(pairs.collect::<Result<Vec<_>, String>>()?).map_err(|e| e.to_string())
}

/// What stands at the end of a path through records.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Found<'v, 'a> {
    Value(&'v Value<'a>),
    /// The path goes on through the attributes of this entity, which are the generation's.
    Through(&'v Uid<'a>),
    /// There is nothing at this step of the path.
    Missing(usize),
}

/// Follows a path.
pub(super) fn at<'v, 'a>(fields: &'v Fields<'a>, path: &[String]) -> Found<'v, 'a> {
    let mut here = fields;
    for (depth, name) in path.iter().enumerate() {
        let Some((_, value)) = here.iter().find(|(field, _)| field == name) else { return Found::Missing(depth) };
        match value {
            _ if depth + 1 == path.len() => return Found::Value(value),
            Value::Record(fields) => here = fields,
            Value::Entity(uid) => return Found::Through(uid),
            // Of a value without attributes policy can read none.
            _ => return Found::Missing(depth + 1),
        }
    }
    Found::Missing(0)
}
