//! `[[authorization_details_type]]` of `apis.toml`: what may be asked for beyond scopes (RFC 9396), and how an answer is
//! compared with it.

use super::{named::Named, reader::Table};
use crate::model::{ApiAlias, Comparator, DetailsType};
use std::collections::{BTreeMap, BTreeSet};

/// Fields of one type.
const FIELDS_MAX: usize = 64;

/// The types that the endpoints of a configured issuer are said to support (RFC 9396 §10).
pub(super) fn types_supported(table: &Table<'_>) -> BTreeSet<String> {
    table.list("authorization_details_types_supported", type_name).into_iter().collect()
}

/// A name that is printed and compared as it is.
fn type_name(text: &str) -> Result<String, String> {
    let plain = (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    plain.then(|| text.to_owned()).ok_or_else(|| "must be 1 to 256 visible ASCII characters".to_owned())
}

pub(super) fn details_type(table: &Table<'_>, named: &Named<ApiAlias>) -> Option<DetailsType> {
    let name = table.required("type", type_name);
    let api = table.required("api", |text| match ApiAlias::parse(text) {
        Some(alias) if named.may_be(&alias) => Ok(alias),
        _ => Err(format!("names no declared API: {text:?}")),
    });
    let fields: BTreeMap<String, Comparator> = table.pairs("fields", field).into_iter().collect();
    if fields.values().all(|comparator| *comparator == Comparator::Ignore) {
        table.wrong_at(
            "fields",
            "compares nothing, so nobody could tell more from less",
            Some("write fields = { actions = \"set\" }: each field as set, equal, at_most, or ignore (added by the server)"),
        );
    }
    if fields.len() > FIELDS_MAX {
        table.wrong_at("fields", format!("must be at most {FIELDS_MAX}"), None);
    }
    if fields.values().filter(|comparator| **comparator == Comparator::AtMost).count() > 1 {
        table.wrong_at("fields", "has more than one at_most: policies are told of one `amount`", None);
    }
    let below = |path: &str, other: &str| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    if fields.keys().any(|path| fields.keys().any(|other| below(path, other))) {
        table.wrong_at("fields", "names a field and one inside it: name either", None);
    }
    Some(DetailsType { name: name?, api: api?, fields })
}

/// A path of a field, and its comparator.
fn field(path: &str, word: &str) -> Result<(String, Comparator), String> {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-$:".contains(&b));
    if path.len() > 128 || !path.split('.').all(part) || path == "type" {
        return Err(format!("has a name that is no path of a field: {path:?}"));
    }
    let comparator = Comparator::parse(word);
    let comparator = comparator.ok_or("must say \"set\", \"equal\", \"at_most\" or \"ignore\" of each field")?;
    Ok((path.to_owned(), comparator))
}
