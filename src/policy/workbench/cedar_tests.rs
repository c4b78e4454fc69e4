//! Tests in the form of Cedar's own command line (`cedar run-tests`), read as it reads them.

use super::set::{Set, causes, read};
use crate::{
    config::{FILE_BYTES_MAX, Finding, about, position},
    policy::sources::Source,
};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicyId, Request, Response, ValidationMode, Validator,
};
use serde_json::Value;
use std::{collections::BTreeSet, path::Path, str::FromStr};

/// A test that was run.
pub(super) struct Ran {
    /// Its name, or number.
    pub(super) name: String,
    /// Line and column at which it begins.
    pub(super) position: (usize, usize),
    /// What was asked, if it could be.
    pub(super) asked: Option<(Request, Entities)>,
    /// What is otherwise than expected.
    pub(super) held: Result<(), String>,
}

/// Whether a set passes strict validation without a warning: Cedar's command line runs no test of one that does not.
pub(super) fn validity(set: &Set) -> Result<(), String> {
    let result = Validator::new(set.schema.clone()).validate(&set.policies, ValidationMode::Strict);
    let errors = result.validation_errors().map(ToString::to_string);
    let first = errors.chain(result.validation_warnings().map(ToString::to_string)).next();
    first.map_or(Ok(()), |first| Err(format!("the policies are not valid: {first}")))
}

/// Runs the tests of a text.
///
/// # Errors
/// A text that is no array of JSON.
pub(super) fn run(set: &Set, validity: &Result<(), String>, source: &Source) -> Result<Vec<Ran>, Finding> {
    let tests: Vec<Value> = serde_json::from_str(&source.text).map_err(|e| Finding {
        position: Some((e.line(), e.column().max(1))),
        ..about(&source.path, format!("is no JSON array of tests: {e}"))
    })?;
    let folder = source.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let places = elements(&source.text);
    let mut ran = Vec::new();
    for (nth, test) in tests.iter().enumerate() {
        let name = test.get("name").and_then(Value::as_str);
        let name = name.map_or_else(|| format!("test {}", nth + 1), str::to_owned);
        let position = position(&source.text, places.get(nth).copied().unwrap_or(0));
        let (asked, held) = match Test::read(test, set, folder) {
            Ok(test) => {
                let held = validity.clone().and_then(|()| test.hold(set));
                (Some((test.request, test.entities)), held)
            }
            Err(wrong) => (None, Err(wrong)),
        };
        ran.push(Ran { name, position, asked, held });
    }
    Ok(ran)
}

struct Test {
    request: Request,
    entities: Entities,
    allow: bool,
    reasons: Vec<String>,
    errors: u64,
}

impl Test {
    fn read(test: &Value, set: &Set, folder: &Path) -> Result<Self, String> {
        let missing = |name: &str| format!("`{name}` is missing");
        let field = |name: &'static str| test.get(name).ok_or_else(|| missing(name));
        let request = field("request")?;
        let uid = |name: &'static str| -> Result<EntityUid, String> {
            let text = request.get(name).and_then(Value::as_str).ok_or_else(|| missing(&format!("request.{name}")))?;
            EntityUid::from_str(text).map_err(|e| format!("`request.{name}` {text:?}: {}", causes(&e)))
        };
        let (principal, action, resource) = (uid("principal")?, uid("action")?, uid("resource")?);
        let context = request.get("context").ok_or_else(|| missing("request.context"))?;
        let context = Context::from_json_value(context.clone(), Some((&set.schema, &action)))
            .map_err(|e| format!("`request.context`: {}", causes(&e)))?;
        let request = Request::new(principal, action, resource, context, Some(&set.schema))
            .map_err(|e| format!("`request`: {}", causes(&e)))?;
        let entities = match field("entities")? {
            Value::String(name) => serde_json::from_str(&beside(folder, name)?).map_err(|e| format!("{name}: {e}"))?,
            value => value.clone(),
        };
        let entities = Entities::from_json_value(entities, Some(&set.schema))
            .map_err(|e| format!("`entities`: {}", causes(&e)))?;
        let allow = match field("decision")?.as_str() {
            Some("allow") => true,
            Some("deny") => false,
            _ => return Err("`decision` must be \"allow\" or \"deny\"".to_owned()),
        };
        let texts = |value: &Value| value.as_array()?.iter().map(|it| it.as_str().map(str::to_owned)).collect();
        let reasons: Option<Vec<String>> = texts(field("reason")?);
        let errors = field("num_errors")?.as_u64().ok_or("`num_errors` must be a whole number")?;
        Ok(Self { request, entities, allow, reasons: reasons.ok_or("`reason` must be a list of ids")?, errors })
    }

    fn hold(&self, set: &Set) -> Result<(), String> {
        let response = Authorizer::new().is_authorized(&self.request, &set.policies, &self.entities);
        let allowed = response.decision() == Decision::Allow;
        let word = |allow: bool| if allow { "allow" } else { "deny" };
        let by: BTreeSet<&str> = response.diagnostics().reason().map(AsRef::<str>::as_ref).collect();
        if allowed != self.allow {
            return Err(format!("expected {}, got {} by {by:?}{}", word(self.allow), word(allowed), told(&response)));
        }
        let missing: Vec<&str> = self.reasons.iter().map(|id| named(set, id)).filter(|id| !by.contains(id)).collect();
        if !missing.is_empty() {
            return Err(format!("expected the reasons {missing:?} among others, got {by:?}"));
        }
        let errors = response.diagnostics().errors().count();
        if errors as u64 != self.errors {
            return Err(format!("expected {} evaluation errors, got {errors}{}", self.errors, told(&response)));
        }
        Ok(())
    }
}

/// What went wrong in evaluation.
fn told(response: &Response) -> String {
    response.diagnostics().errors().map(|error| format!("; {}", causes(error))).collect()
}

/// A policy without an id of its own is called by its number in the official command line: `policy0`.
fn named<'s>(set: &'s Set, id: &'s str) -> &'s str {
    if set.policies.policy(&PolicyId::new(id)).is_some() {
        return id;
    }
    let number = id.strip_prefix("policy").and_then(|number| number.parse::<usize>().ok());
    let mut places: Vec<(&(usize, usize), &String)> = set.places.iter().map(|(id, place)| (place, id)).collect();
    places.sort_unstable();
    let nth = number.and_then(|number| places.get(number)).map(|(_, id)| id.as_str());
    let is_unnamed =
        |id: &&str| set.policies.policy(&PolicyId::new(*id)).is_some_and(|policy| policy.annotation("id").is_none());
    nth.filter(is_unnamed).unwrap_or(id)
}

/// A file of entities, which must lie in the folder of the tests or below it.
fn beside(folder: &Path, name: &str) -> Result<String, String> {
    let cannot = |e: std::io::Error| format!("`entities`: {name} cannot be read: {e}");
    let path = folder.join(name).canonicalize().map_err(cannot)?;
    if !path.starts_with(folder.canonicalize().map_err(cannot)?) {
        return Err(format!("`entities`: {name} is outside of the folder of the tests"));
    }
    read(&path, FILE_BYTES_MAX).map(|source| source.text).map_err(|finding| finding.to_string())
}

/// The bytes at which the elements of a JSON array begin.
fn elements(text: &str) -> Vec<usize> {
    let (mut found, mut depth, mut escaped, mut in_string) = (Vec::new(), 0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' | '[' => {
                if depth == 1 {
                    found.push(at);
                }
                depth += 1;
            }
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    found
}
