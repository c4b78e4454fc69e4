//! The clauses of a policy's condition: each must hold for the condition to hold. What they read, and what that is in a
//! request, so that a no can say which one it was and why.

use super::conditions::{self, Kind, Part};
use cedar_policy::{Entities, EntityUid, EvalResult, Expression, Policy, Request, eval_expression};
use serde::Serialize;
use serde_json::Value as Json;
use std::{collections::BTreeSet, str::FromStr};

/// The longest value that is shown of a fact, in characters.
const SHOWN_MAX: usize = 160;

/// One of the clauses that must all hold: a conjunct of a `when`, or an `unless` as a whole.
pub(super) struct Clause {
    /// As it is written, on one line.
    pub(super) text: String,
    /// The byte of the policy's text at which it begins.
    pub(super) at: usize,
    kind: Kind,
    /// One, or the conjuncts of an `unless`.
    parts: Vec<Part>,
    /// Variables with attributes below, as they are written.
    reads: BTreeSet<String>,
}

/// A fact that a clause reads, and what it is in the request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fact {
    /// Where it stands, such as `principal.trust`.
    pub name: String,
    /// What it is; `absent` where there is none.
    pub value: String,
}

/// How a clause came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Holds,
    Fails,
    /// Cedar cannot evaluate it.
    Errs,
}

/// The clauses of a policy, in the order written.
pub(super) fn of(policy: &Policy) -> Vec<Clause> {
    let mut clauses: Vec<Clause> = Vec::new();
    let mut before = None;
    for part in conditions::of(policy) {
        let same = part.kind == Kind::Unless && before == Some(part.clause);
        before = Some(part.clause);
        match clauses.last_mut() {
            Some(last) if same => last.take(part),
            _ => clauses.push(Clause::of(part)),
        }
    }
    clauses
}

impl Clause {
    fn of(part: Part) -> Self {
        let text = one_line(&part.text);
        let text = if part.kind == Kind::Unless { format!("unless {text}") } else { text };
        let mut reads = BTreeSet::new();
        read(&part.text, &mut reads);
        Self { text, at: part.at, kind: part.kind, parts: vec![part], reads }
    }

    fn take(&mut self, part: Part) {
        self.text = format!("{} && {}", self.text, one_line(&part.text));
        read(&part.text, &mut self.reads);
        self.parts.push(part);
    }

    /// Whether it holds of this request. An `unless` holds where what it says does not.
    pub(super) fn outcome(&self, request: &Request, entities: &Entities) -> Outcome {
        for part in &self.parts {
            match (part.holds(request, entities), self.kind) {
                (Ok(true), _) => {}
                (Ok(false), Kind::When) => return Outcome::Fails,
                (Ok(false), Kind::Unless) => return Outcome::Holds,
                (Err(_), _) => return Outcome::Errs,
            }
        }
        if self.kind == Kind::When { Outcome::Holds } else { Outcome::Fails }
    }

    /// What would have to hold so that an `unless` applies, and does not: the first such conjunct, on one line, and what
    /// it reads.
    pub(super) fn way_out(&self, request: &Request, entities: &Entities) -> Option<(String, Vec<Fact>)> {
        let mut parts = self.parts.iter().filter(|part| part.kind == Kind::Unless);
        let missing = parts.find(|part| part.holds(request, entities) != Ok(true))?;
        let mut reads = BTreeSet::new();
        read(&missing.text, &mut reads);
        Some((one_line(&missing.text), facts(&reads, request, entities)))
    }

    /// Whether it is an `unless`.
    pub(super) fn is_unless(&self) -> bool {
        self.kind == Kind::Unless
    }

    /// What it reads, and what that is in this request.
    pub(super) fn facts(&self, request: &Request, entities: &Entities) -> Vec<Fact> {
        facts(&self.reads, request, entities)
    }

    /// Whether it reads anything of the context but these.
    pub(super) fn reads_context_beside(&self, fixed: &[&str]) -> bool {
        let mut of_context = self.reads.iter().filter(|name| is_below(name, "context"));
        of_context.any(|name| !fixed.iter().any(|fixed| is_below(name, fixed)))
    }
}

fn facts(reads: &BTreeSet<String>, request: &Request, entities: &Entities) -> Vec<Fact> {
    reads.iter().map(|name| Fact { name: name.clone(), value: value(name, request, entities) }).collect()
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Adds what an expression reads.
fn read(source: &str, into: &mut BTreeSet<String>) {
    let probe = Policy::parse(None, format!("permit (principal, action, resource) when {{\n{source}\n}};"));
    let json = probe.ok().and_then(|probe| probe.to_json().ok());
    if let Some(conditions) = json.as_ref().and_then(|json| json.get("conditions")) {
        collect(conditions, into);
    }
}

fn value(name: &str, request: &Request, entities: &Entities) -> String {
    let found = Expression::from_str(name).ok().and_then(|it| eval_expression(request, entities, &it).ok());
    match found {
        None => "absent".to_owned(),
        Some(EvalResult::EntityUid(uid)) => shortened(&placed(&uid, entities)),
        Some(found) => shortened(&found.to_string()),
    }
}

/// An entity, and what it is in.
pub(super) fn placed(uid: &EntityUid, entities: &Entities) -> String {
    let mut above: Vec<String> = entities.ancestors(uid).into_iter().flatten().map(ToString::to_string).collect();
    above.sort();
    if above.is_empty() { uid.to_string() } else { format!("{uid}, in {}", above.join(", ")) }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN_MAX {
        return text.to_owned();
    }
    let head: String = text.chars().take(SHOWN_MAX).collect();
    format!("{head}…")
}

/// The variables and the attributes below them that an expression reads, the longest chains alone.
fn collect(expression: &Json, into: &mut BTreeSet<String>) {
    if let Some(name) = chain(expression) {
        into.insert(name);
        return;
    }
    match expression {
        Json::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Json::Object(map) => {
            for (operator, operands) in map {
                match operator.as_str() {
                    "Value" => {}
                    "Record" => operands.as_object().into_iter().flatten().for_each(|(_, it)| collect(it, into)),
                    "has" => match (operands.get("left").and_then(chain), attributes(operands.get("attr"))) {
                        (Some(left), Some(below)) => drop(into.insert(format!("{left}{below}"))),
                        _ => collect(operands, into),
                    },
                    _ => collect(operands, into),
                }
            }
        }
        _ => {}
    }
}

fn attributes(named: Option<&Json>) -> Option<String> {
    match named? {
        Json::Array(names) => names.iter().map(|name| name.as_str().map(attribute)).collect(),
        name => name.as_str().map(attribute),
    }
}

/// `context.base.scopes`, where an expression is such a thing.
fn chain(expression: &Json) -> Option<String> {
    let map = expression.as_object().filter(|map| map.len() == 1)?;
    if let Some(variable) = map.get("Var") {
        return variable.as_str().map(str::to_owned);
    }
    let access = map.get(".")?;
    Some(format!("{}{}", chain(access.get("left")?)?, attribute(access.get("attr")?.as_str()?)))
}

fn attribute(name: &str) -> String {
    let is_word = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_word { format!(".{name}") } else { format!("[\"{}\"]", name.escape_debug()) }
}

/// A text on one line, without its comments.
pub(super) fn one_line(text: &str) -> String {
    let (mut line, mut end) = (String::new(), None);
    for token in conditions::tokens(text) {
        if end.is_some_and(|end| end < token.at) {
            line.push(' ');
        }
        line.push_str(token.text);
        end = Some(token.end());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clauses(condition: &str) -> Vec<Clause> {
        of(&Policy::parse(None, format!("permit (principal, action, resource) {condition};")).unwrap())
    }

    #[test]
    fn an_unless_is_one_clause_however_many_conjuncts_it_has() {
        let texts = |condition: &str| clauses(condition).into_iter().map(|clause| clause.text).collect::<Vec<_>>();
        assert_eq!(
            texts(
                "when { principal.a && // why\n  principal.b } unless { principal.c\n&& principal.d } unless { principal.e }"
            ),
            ["principal.a", "principal.b", "unless principal.c && principal.d", "unless principal.e"]
        );
        assert_eq!(texts(""), Vec::<String>::new());
    }

    #[test]
    fn what_a_clause_reads() {
        let clauses = clauses(
            "when { context.base has \"a b\" && context.base.x.contains(principal.y.z) && resource in principal }",
        );
        let reads: Vec<Vec<&str>> = clauses.iter().map(|c| c.reads.iter().map(String::as_str).collect()).collect();
        let expected =
            [vec!["context.base[\"a b\"]"], vec!["context.base.x", "principal.y.z"], vec!["principal", "resource"]];
        assert_eq!(reads, expected);
        let beside: Vec<bool> = clauses.iter().map(|c| c.reads_context_beside(&["context.base.x"])).collect();
        assert_eq!(beside, [true, false, false]);
    }
}
