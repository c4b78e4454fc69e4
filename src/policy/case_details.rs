//! What a test case says of an element of authorization details.

use super::{
    cases::{owned, word},
    context::{record, text},
    details::{said, texts},
    value::{Uid, Value},
};
use crate::{config::Table, model::Amount};

/// The fields of RFC 9396 §2.2 that hold several texts.
const SETS: [&str; 4] = ["actions", "locations", "datatypes", "privileges"];

/// An element.
pub(super) struct AskedDetail {
    kind: Option<String>,
    sets: Vec<(&'static str, Vec<String>)>,
    identifier: Option<String>,
    amount: Option<Amount>,
    values: Vec<String>,
}

/// Reads `authorization_details_type` of a case, and the fields beside it.
pub(super) fn asked_detail(table: &Table<'_>) -> AskedDetail {
    let amount =
        |t: &str| Amount::parse(t).ok_or_else(|| "must be a plain decimal number, such as \"99.50\"".to_owned());
    AskedDetail {
        kind: word(table, "authorization_details_type"),
        sets: SETS.into_iter().map(|name| (name, table.list(name, owned))).collect(),
        identifier: word(table, "identifier"),
        amount: table.optional("amount", amount),
        values: table.list("values", owned),
    }
}

impl AskedDetail {
    /// What the question is about.
    pub(super) fn resource(&self) -> Result<Uid<'_>, String> {
        let kind = self.kind.as_deref().ok_or("`authorization_details_type` is missing")?;
        Ok(Uid::new("AuthorizationDetailsType", kind))
    }

    /// The element as policy is told of it.
    pub(super) fn value(&self) -> Value<'_> {
        let given = self.sets.iter().filter(|(_, items)| !items.is_empty());
        let mut fields: Vec<(&'static str, Value<'_>)> =
            given.clone().map(|(name, items)| (*name, texts(items))).collect();
        fields.extend(self.identifier.as_deref().map(|word| ("identifier", text(word))));
        fields.extend(self.amount.map(|amount| ("amount", Value::Decimal(amount))));
        // As a call would: every field that is compared is there too.
        let mut values: Vec<Value<'_>> = self.values.iter().map(|value| text(value)).collect();
        values.extend(given.flat_map(|(name, items)| items.iter().map(move |item| said(name, item))));
        values.extend(self.identifier.as_deref().map(|word| said("identifier", word)));
        fields.push(("values", Value::set(values)));
        record(fields)
    }
}
