//! The questions about authorization details (RFC 9396): one for each element, wherever each scope is asked about.

use super::{
    asked::Part,
    context::{Base, context, record, text},
    panel::Panel,
    value::{Uid, Value},
};
use crate::model::{AuthorizationDetails, Detail, DetailValue};
use std::borrow::Cow;

impl<'a> Panel<'a> {
    /// Asks about each element. One that is refused refuses all: no other than the person is shown may be granted.
    pub(super) fn details(&mut self, base: &Base<'a>, flow: &'a str, details: &'a AuthorizationDetails) {
        for element in details.iter() {
            let asked = context([
                ("base", base.value()),
                ("client", Value::Entity(self.resource())),
                ("flow", text(flow)),
                ("detail", detail(element)),
            ]);
            let name = element.declared.name.as_str();
            let kind = Uid::new("AuthorizationDetailsType", name);
            self.ask(Part::Detail(name.to_owned()), "grant_detail", kind, asked);
        }
    }
}

/// What policy is told of an element: the common fields of RFC 9396 §2.2 by name, and whatever else is compared.
fn detail(element: &Detail) -> Value<'_> {
    let (mut fields, mut values) = (Vec::new(), Vec::new());
    for (path, value) in &element.values {
        match value {
            DetailValue::Set(items) => {
                values.extend(items.iter().map(|item| said(path, item)));
                let name = ["actions", "locations", "datatypes", "privileges"].into_iter().find(|name| name == path);
                fields.extend(name.map(|name| (name, texts(items))));
            }
            DetailValue::Text(word) => {
                values.push(said(path, word));
                fields.extend((path == "identifier").then(|| ("identifier", text(word))));
            }
            DetailValue::Json(json) => values.push(said(path, json)),
            DetailValue::AtMost(amount) => fields.push(("amount", Value::Decimal(*amount))),
        }
    }
    fields.push(("values", Value::set(values)));
    record(fields)
}

/// A field's value, with its path.
pub(super) fn said(path: &str, value: &str) -> Value<'static> {
    Value::Text(Cow::Owned(format!("{path}={value}")))
}

pub(super) fn texts<'a>(items: impl IntoIterator<Item = &'a String>) -> Value<'a> {
    Value::set(items.into_iter().map(|item| text(item)))
}
