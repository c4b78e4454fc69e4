//! Cases of a set that is not narrowgate's: `[[case]]` with the principal, action and resource as Cedar writes them.

use super::{
    cedar_tests::Ran,
    set::{Set, causes},
};
use crate::{
    config::{Document, Finding, Table},
    policy::sources::Source,
};
use cedar_policy::{Authorizer, Context, Decision, EntityUid, Request};
use serde_json::Value;
use std::{collections::BTreeSet, str::FromStr};

/// Runs the cases of a text, about the entities of the set. Mistakes in the text come back.
pub(super) fn run(set: &Set, source: &Source) -> (Vec<Ran>, Vec<Finding>) {
    let document = Document::of(&source.path, source.text.clone());
    let mut names = BTreeSet::new();
    let (ran, findings) = document.read(|root| {
        Some(root.tables("case", |table| {
            let case = PlainCase::read(table)?;
            if !names.insert(case.name.clone()) {
                table.wrong(format!("case \"{}\" is there twice", case.name), None);
            }
            Some(case.run(set, table.position()))
        }))
    });
    (ran.unwrap_or_default(), findings)
}

struct PlainCase {
    name: String,
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    context: Value,
    allow: bool,
    reasons: Vec<String>,
}

impl PlainCase {
    fn read(table: &Table<'_>) -> Option<Self> {
        let owned = |text: &str| Ok(text.to_owned());
        let uid = |text: &str| {
            EntityUid::from_str(text).map_err(|e| format!("is no entity such as 'User::\"alice\"': {}", causes(&e)))
        };
        let name = table.required("name", owned);
        let (principal, action) = (table.required("principal", uid), table.required("action", uid));
        let resource = table.required("resource", uid);
        let context = table.optional("context", |text| {
            serde_json::from_str(text).map_err(|e| format!("is no JSON object such as '{{\"mfa\": true}}': {e}"))
        });
        let allow = table.required("expect", |text| match text {
            "allow" => Ok(true),
            "deny" => Ok(false),
            _ => Err("must be \"allow\" or \"deny\"".to_owned()),
        });
        let reasons = table.list("reasons", owned);
        Some(Self {
            name: name?,
            principal: principal?,
            action: action?,
            resource: resource?,
            context: context.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            allow: allow?,
            reasons,
        })
    }

    fn run(self, set: &Set, position: (usize, usize)) -> Ran {
        let name = self.name.clone();
        let (allow, expected) = (self.allow, self.reasons.clone());
        match self.request(set) {
            Err(wrong) => Ran { name, position, asked: None, held: Err(wrong) },
            Ok(request) => {
                let held = hold(set, &request, allow, &expected);
                Ran { name, position, asked: Some((request, set.entities.clone())), held }
            }
        }
    }

    fn request(self, set: &Set) -> Result<Request, String> {
        let context = Context::from_json_value(self.context, Some((&set.schema, &self.action)))
            .map_err(|e| format!("`context`: {}", causes(&e)))?;
        let request = Request::new(self.principal, self.action, self.resource, context, Some(&set.schema));
        request.map_err(|e| causes(&e))
    }
}

/// As for the cases of an own set: the reasons are exact, and nothing may err.
fn hold(set: &Set, request: &Request, allow: bool, reasons: &[String]) -> Result<(), String> {
    let response = Authorizer::new().is_authorized(request, &set.policies, &set.entities);
    if let Some(error) = response.diagnostics().errors().next() {
        return Err(format!("a policy failed to evaluate: {}", causes(error)));
    }
    let word = |allow: bool| if allow { "allow" } else { "deny" };
    let allowed = response.decision() == Decision::Allow;
    let by: BTreeSet<&str> = response.diagnostics().reason().map(AsRef::<str>::as_ref).collect();
    if allowed != allow {
        return Err(format!("expected {}, got {} by {by:?}", word(allow), word(allowed)));
    }
    let expected: BTreeSet<&str> = reasons.iter().map(String::as_str).collect();
    if expected == by { Ok(()) } else { Err(format!("expected the reasons {expected:?}, got {by:?}")) }
}
