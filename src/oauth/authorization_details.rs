//! `authorization_details` as JSON (RFC 9396 §2): read strictly from a request and from an answer, and the one held
//! against the other (§7).

use super::{
    answer::{RULE, Success},
    redeem::{Failed, unkept},
    strict_json,
};
use crate::{
    config::Catalog,
    model::{
        Amount, ApiAlias, AuthorizationDetails, Comparator, Detail, DetailValue, DetailsType, Fault, Reason,
        fault::Detection,
    },
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const FIELD: &str = "authorization_details";

/// Reads what a caller asks for, each element of a type that is declared for this API. An empty text asks for nothing.
///
/// # Errors
/// [`Reason::AuthorizationDetailsInvalid`].
pub fn requested_details(text: &str, catalog: &Catalog, api: Option<&ApiAlias>) -> Result<AuthorizationDetails, Fault> {
    let invalid = |wrong: String| Fault::field(Reason::AuthorizationDetailsInvalid, FIELD, wrong);
    if text.is_empty() {
        return Ok(AuthorizationDetails::default());
    }
    if text.len() > AuthorizationDetails::BYTES_MAX {
        return Err(invalid(format!("must be at most {} bytes", AuthorizationDetails::BYTES_MAX)));
    }
    let value = strict_json::parse(text.as_bytes());
    let value = value.ok_or_else(|| invalid("must be JSON without repeated members (RFC 8259 §4)".to_owned()))?;
    if strict_json::depth(&value) > AuthorizationDetails::DEPTH_MAX {
        return Err(invalid(format!("must be nested at most {} deep", AuthorizationDetails::DEPTH_MAX)));
    }
    let most = AuthorizationDetails::ELEMENTS_MAX;
    let number = || invalid(format!("must be an array of 1 to {most} objects"));
    let elements = value.as_array().filter(|elements| !elements.is_empty() && elements.len() <= most);
    let mut details = Vec::new();
    for (at, element) in elements.ok_or_else(number)?.iter().enumerate() {
        let wrong = |what: &str| invalid(format!("element {} {what}", at + 1));
        let name = element.get("type").and_then(Value::as_str).ok_or_else(|| wrong("has no `type`"))?;
        let declared = catalog.details_types.get(name).filter(|declared| Some(&declared.api) == api);
        let declared = declared.ok_or_else(|| wrong("has a type that is not declared for the scopes' API"))?;
        details.push(read(element, declared, Side::Asked).map_err(wrong)?);
    }
    AuthorizationDetails::new(details).ok_or_else(number)
}

/// Reads what a file of ours holds, with types as they are declared now; `None` where they have changed.
pub(crate) fn kept_details(text: &str, catalog: &Catalog) -> Option<AuthorizationDetails> {
    if text.is_empty() {
        return Some(AuthorizationDetails::default());
    }
    let value = strict_json::parse(text.as_bytes())?;
    let read = |element: &Value| {
        let declared = catalog.details_types.get(element.get("type")?.as_str()?)?;
        read(element, declared, Side::Granted).ok()
    };
    AuthorizationDetails::new(value.as_array()?.iter().map(read).collect::<Option<_>>()?)
}

/// Whether the server lists every type that is asked for (RFC 9396 §10).
///
/// # Errors
/// [`Reason::AuthorizationDetailsUnsupported`].
pub fn supported_details(details: &AuthorizationDetails, supported: &BTreeSet<String>) -> Result<(), Fault> {
    match details.iter().find(|element| !supported.contains(&element.declared.name)) {
        None => Ok(()),
        Some(element) => {
            let fault = Fault::new(Reason::AuthorizationDetailsUnsupported);
            Err(fault.with("authorization_details_type", element.declared.name.as_str()))
        }
    }
}

/// What becomes of an answer that says nothing of details.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Silent {
    /// It is refused: a server says what it grants (RFC 9396 §7).
    Refused,
    /// It means what was granted before, as a refresh that names no scope does (RFC 6749 §6).
    Unchanged,
}

/// Holds an answer against what was asked, or granted before, and the token, where it can be read, against its answer. What
/// is granted is in it afterwards.
pub(super) fn hold_to(
    mut success: Success,
    asked: &AuthorizationDetails,
    silent: Silent,
) -> Result<Success, Box<Failed>> {
    let (answered, carried) = (success.details_answered.take(), success.details_carried.take());
    let held = granted(answered, asked, silent).and_then(|said| granted(carried, &said, Silent::Unchanged));
    match held {
        Ok(details) => {
            success.details = details;
            Ok(success)
        }
        Err(rule) => {
            let fault = Fault::new(Reason::RarUpgraded).with(RULE, rule).detected(Detection::ScopeEscalation);
            Err(unkept(fault, &success))
        }
    }
}

/// What was granted, or the rule that the answer breaks.
fn granted(
    answered: Option<Value>,
    asked: &AuthorizationDetails,
    silent: Silent,
) -> Result<AuthorizationDetails, &'static str> {
    let Some(answered) = answered else {
        let unsaid = asked.is_empty() || silent == Silent::Unchanged;
        return if unsaid { Ok(asked.clone()) } else { Err("authorization_details_absent") };
    };
    if strict_json::depth(&answered) > AuthorizationDetails::DEPTH_MAX {
        return Err("authorization_details_malformed");
    }
    let elements = answered.as_array().ok_or("authorization_details_malformed")?;
    if elements.is_empty() && !asked.is_empty() {
        return Err("authorization_details_absent");
    }
    let mut types: BTreeMap<&str, &Arc<DetailsType>> = BTreeMap::new();
    types.extend(asked.iter().map(|element| (element.declared.name.as_str(), &element.declared)));
    let mut details = Vec::new();
    for element in elements {
        let name = element.get("type").and_then(Value::as_str).ok_or("authorization_details_malformed")?;
        // Of a type that was not asked for nothing can be no wider.
        let declared = types.get(name).ok_or("authorization_details_wider")?;
        details.push(read(element, declared, Side::Granted).map_err(|_| "authorization_details_wider")?);
    }
    let details = AuthorizationDetails::new(details).ok_or("authorization_details_wider")?;
    if details.to_json().len() > AuthorizationDetails::BYTES_MAX {
        return Err("authorization_details_malformed");
    }
    if details.are_within(asked) { Ok(details) } else { Err("authorization_details_wider") }
}

/// Whose word an element is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Asked,
    Granted,
}

fn read(element: &Value, declared: &Arc<DetailsType>, side: Side) -> Result<Detail, &'static str> {
    let mut members = element.as_object().cloned().ok_or("is no object")?;
    members.remove("type");
    let mut values = BTreeMap::new();
    fields(&members, "", (declared, side), &mut values)?;
    Ok(Detail { declared: Arc::clone(declared), values, json: element.to_string() })
}

/// Reads the fields of an object by their paths. One that is not declared is taken apart if it is an object.
fn fields(
    members: &Map<String, Value>,
    above: &str,
    (declared, side): (&DetailsType, Side),
    into: &mut BTreeMap<String, DetailValue>,
) -> Result<(), &'static str> {
    for (name, value) in members {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        // A name with a dot would be the path of another field.
        let comparator = declared.fields.get(&path).filter(|_| !name.contains('.'));
        match (comparator, value) {
            (Some(Comparator::Ignore), _) if side == Side::Granted => {}
            (Some(Comparator::Ignore), _) => return Err("has a field that only the server may add"),
            (Some(comparator), value) => drop(into.insert(path, field(*comparator, value)?)),
            (None, Value::Object(inner)) if !inner.is_empty() && !name.contains('.') => {
                fields(inner, &path, (declared, side), into)?;
            }
            (None, _) => return Err("has a field that its type does not declare"),
        }
    }
    Ok(())
}

fn field(comparator: Comparator, value: &Value) -> Result<DetailValue, &'static str> {
    match (comparator, value) {
        (Comparator::Set, Value::Array(items)) if !items.is_empty() => {
            let texts: Option<BTreeSet<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            texts.map(DetailValue::Set).ok_or("has a set that holds more than texts")
        }
        (Comparator::Set, _) => Err("has a set that is no array of texts, or an empty one"),
        (Comparator::AtMost, value) => {
            let amount = match value {
                Value::String(text) => Amount::parse(text),
                Value::Number(number) => Amount::parse(&number.to_string()),
                _ => None,
            };
            amount.map(DetailValue::AtMost).ok_or("has an amount that is no plain decimal number")
        }
        (Comparator::Equal | Comparator::Ignore, Value::String(text)) => Ok(DetailValue::Text(text.clone())),
        (Comparator::Equal | Comparator::Ignore, value) => Ok(DetailValue::Json(value.to_string())),
    }
}
