//! The questions about authorization details (RFC 9396): one for each element, wherever each scope is asked about.

use super::{
    asked::{Part, Step},
    context::{Base, context, record, text},
    entities::uid,
    panel::Panel,
};
use crate::model::{Amount, AuthorizationDetails, Detail, DetailValue};
use cedar_policy::RestrictedExpression as Expr;

impl Panel<'_> {
    /// Asks about each element. One that is refused refuses all: no other than the person is shown may be granted.
    pub(super) fn details(&mut self, base: &Base<'_>, flow: &str, details: &AuthorizationDetails) {
        for element in details.iter() {
            let question = self.resource().and_then(|client| {
                let asked = context([
                    ("base", base.expression()?),
                    ("client", Expr::new_entity_uid(client)),
                    ("flow", text(flow)),
                    ("detail", detail(element)?),
                ])?;
                let kind = uid("AuthorizationDetailsType", &element.declared.name);
                self.about_this("grant_detail", kind, asked)
            });
            self.put(Step { part: Part::Detail(element.declared.name.clone()), question: question.ok() });
        }
    }
}

/// What policy is told of an element: the common fields of RFC 9396 §2.2 by name, and whatever else is compared.
fn detail(element: &Detail) -> Result<Expr, String> {
    let (mut fields, mut values) = (Vec::new(), Vec::new());
    for (path, value) in &element.values {
        match value {
            DetailValue::Set(items) => {
                values.extend(items.iter().map(|item| format!("{path}={item}")));
                let name = ["actions", "locations", "datatypes", "privileges"].into_iter().find(|name| name == path);
                fields.extend(name.map(|name| (name, texts(items))));
            }
            DetailValue::Text(word) => {
                values.push(format!("{path}={word}"));
                fields.extend((path == "identifier").then(|| ("identifier", text(word))));
            }
            DetailValue::Json(json) => values.push(format!("{path}={json}")),
            DetailValue::AtMost(amount) => fields.push(("amount", decimal(*amount))),
        }
    }
    fields.push(("values", texts(&values)));
    record(fields)
}

pub(super) fn texts<'a>(items: impl IntoIterator<Item = &'a String>) -> Expr {
    Expr::new_set(items.into_iter().map(|item| text(item)))
}

pub(super) fn decimal(amount: Amount) -> Expr {
    Expr::new_decimal(amount.to_string())
}
