//! What a policy's answer hangs on beside principal, action, resource and the entities of its generation: derived from
//! its text when it is loaded, so that a cached decision is found under exactly these facts and no others.
//!
//! The clock is never in a key. Instead, each comparison that a policy makes with a time, a span or a number is itself
//! part of the key, by its outcome: an answer is found again while every such comparison comes out as it did. That needs
//! no date of expiry, holds when the clock steps back, and is shared by all tokens on the same side of a bound. A policy
//! that uses a moving time in any other way is opaque: what it has a say in is decided anew each time.

use super::outcome::{self, Quantity};
use cedar_policy::Policy;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// Attributes, one below the other, of the context.
pub(super) type Path = Vec<String>;

/// The facts of the context that move with the clock.
const MOVING: [&[&str]; 7] = [
    &["now"],
    &["base", "now"],
    &["base", "lifetime"],
    &["token", "lifetime"],
    &["codeAge"],
    &["transactionAge"],
    &["grantAge"],
];

/// What a policy reads of a question's context.
#[derive(Clone, Default, Debug)]
pub(super) struct Reads {
    /// Facts whose value it uses.
    pub(super) values: BTreeSet<Path>,
    /// Facts of which it asks whether they are there.
    pub(super) presence: BTreeSet<Path>,
    /// Comparisons, of which only the outcome counts.
    pub(super) comparisons: BTreeSet<(Term, Term)>,
    /// Why its answers cannot be kept, if they cannot.
    pub(super) opaque: Option<String>,
}

/// One side of a comparison.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Term {
    /// A fact of the context.
    Context(Path),
    /// An attribute of the principal.
    Principal(String),
    /// An attribute of the resource.
    Resource(String),
    /// A number that is written in the policy.
    Long(i64),
    /// `datetime("...")` or `duration("...")`.
    Written(Quantity),
    /// A method of a time, with its arguments.
    Method(&'static str, Vec<Term>),
}

/// The methods of times and spans (Cedar's datetime extension).
pub(super) const METHODS: [&str; 9] =
    ["toTime", "toDate", "durationSince", "offset", "toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"];

impl Reads {
    /// # Errors
    /// A policy that has no JSON form.
    pub(super) fn of(policy: &Policy) -> Result<Self, String> {
        let json = policy.to_json().map_err(|e| e.to_string())?;
        let mut reads = Self::default();
        // The scope of a policy cannot look at the context.
        if let Some(conditions) = json.get("conditions") {
            reads.walk(conditions);
        }
        let moving = reads.values.iter().find(|path| MOVING.iter().any(|moving| covers(path, moving)));
        reads.opaque = moving.map(|path| {
            format!(
                "uses `context.{}`, which moves with the clock, other than in a comparison with a time, a span or a number",
                path.join(".")
            )
        });
        Ok(reads)
    }

    /// Adds what another one reads.
    pub(super) fn extend(&mut self, other: &Self) {
        self.values.extend(other.values.iter().cloned());
        self.presence.extend(other.presence.iter().cloned());
        self.comparisons.extend(other.comparisons.iter().cloned());
        self.opaque = self.opaque.take().or_else(|| other.opaque.clone());
    }

    fn walk(&mut self, expression: &Json) {
        match expression {
            Json::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Json::Object(map) => self.walk_object(expression, map),
            _ => {}
        }
    }

    fn walk_object(&mut self, expression: &Json, map: &Map<String, Json>) {
        if let Some(path) = of_context(expression) {
            self.values.insert(path);
            return;
        }
        for (operator, operands) in map {
            match operator.as_str() {
                // A literal reads nothing.
                "Value" => {}
                // The names of its fields are the policy's own, and may be those of operators.
                "Record" => operands.as_object().into_iter().flat_map(Map::values).for_each(|it| self.walk(it)),
                "has" => {
                    // One attribute, or several, one below the other (`has a.b`).
                    let attributes: Option<Vec<&str>> = match operands.get("attr") {
                        Some(Json::Array(names)) => names.iter().map(Json::as_str).collect(),
                        name => name.and_then(Json::as_str).map(|name| vec![name]),
                    };
                    match (operands.get("left").and_then(of_context), attributes) {
                        (Some(mut path), Some(attributes)) => {
                            path.extend(attributes.into_iter().map(str::to_owned));
                            self.presence.insert(path);
                        }
                        _ => self.walk(operands),
                    }
                }
                "<" | "<=" | ">" | ">=" | "==" | "!=" => {
                    let ordered = !matches!(operator.as_str(), "==" | "!=");
                    match comparison(operands, ordered) {
                        Some(sides) => drop(self.comparisons.insert(sides)),
                        None => self.walk(operands),
                    }
                }
                _ => self.walk(operands),
            }
        }
    }
}

/// Whether a read of `path` takes in what stands at `moving`.
fn covers(path: &[String], moving: &[&str]) -> bool {
    path.len() <= moving.len() && path.iter().zip(moving).all(|(a, b)| a == b)
}

/// The path of `context.a.b`, if it is one; the context as a whole has the empty one.
fn of_context(expression: &Json) -> Option<Path> {
    chain(expression).and_then(|(variable, path)| (variable == "context").then_some(path))
}

/// A variable, and the attributes taken of it.
fn chain(expression: &Json) -> Option<(&str, Path)> {
    let map = expression.as_object().filter(|map| map.len() == 1)?;
    if let Some(variable) = map.get("Var") {
        return Some((variable.as_str()?, Path::new()));
    }
    let access = map.get(".")?;
    let (variable, mut path) = chain(access.get("left")?)?;
    path.push(access.get("attr")?.as_str()?.to_owned());
    Some((variable, path))
}

/// A comparison of which the outcome can be told without Cedar. Equality is one only where a side is surely a time, a
/// span or a number: anything can be equal.
fn comparison(operands: &Json, ordered: bool) -> Option<(Term, Term)> {
    let (left, right) = (term(operands.get("left")?)?, term(operands.get("right")?)?);
    let sure = |term: &Term| matches!(term, Term::Long(_) | Term::Written(..) | Term::Method(..));
    (ordered || sure(&left) || sure(&right)).then_some((left, right))
}

fn term(expression: &Json) -> Option<Term> {
    if let Some((variable, mut path)) = chain(expression) {
        return match (variable, path.len()) {
            ("context", 1..) => Some(Term::Context(path)),
            ("principal", 1) => path.pop().map(Term::Principal),
            ("resource", 1) => path.pop().map(Term::Resource),
            _ => None,
        };
    }
    let map = expression.as_object().filter(|map| map.len() == 1)?;
    let (function, operands) = map.iter().next()?;
    match function.as_str() {
        "Value" => operands.as_i64().map(Term::Long),
        "datetime" | "duration" => {
            outcome::written(&format!("{function}({:?})", written(operands)?)).map(Term::Written)
        }
        method => {
            let method = METHODS.into_iter().find(|known| *known == method)?;
            let arguments: Option<Vec<Term>> = operands.as_array()?.iter().map(term).collect();
            Some(Term::Method(method, arguments?))
        }
    }
}

/// The text of a literal's one argument.
fn written(arguments: &Json) -> Option<String> {
    match arguments.as_array()?.as_slice() {
        [argument] => argument.get("Value")?.as_str().map(str::to_owned),
        _ => None,
    }
}
