//! Which policies, and which of their conditions, a run of cases has seen hold and not hold.

use super::{
    conditions::{self, Kind, Part},
    set::{Set, causes},
};
use crate::config::position;
use cedar_policy::{Authorizer, Effect, Entities, Policy, PolicyId, PolicySet, Request};
use std::path::PathBuf;

/// What was seen of a set.
pub struct Coverage {
    /// Every policy, in the order of the files.
    pub policies: Vec<Covered>,
    /// A permit for the scope of each, whatever its conditions.
    scopes: PolicySet,
}

/// What was seen of a policy.
pub struct Covered {
    /// Its id.
    pub policy: String,
    /// Whether it forbids.
    pub forbids: bool,
    /// Where it stands.
    pub file: PathBuf,
    /// Line and column there, from 1.
    pub position: (usize, usize),
    /// How often its scope matched.
    pub asked: usize,
    /// How often all of it held: it permitted, or forbade.
    pub held: usize,
    /// Its conditions, conjunct by conjunct.
    pub conditions: Vec<CoveredCondition>,
    parts: Vec<Part>,
}

/// What was seen of one conjunct of a `when` or an `unless`. It is looked at where those before it let Cedar come to it.
pub struct CoveredCondition {
    /// `when` or `unless`.
    pub clause: &'static str,
    /// As it is written.
    pub text: String,
    /// Line and column, from 1.
    pub position: (usize, usize),
    /// How often it was true.
    pub seen_true: usize,
    /// How often it was false.
    pub seen_false: usize,
    /// How often it could not be evaluated.
    pub erred: usize,
}

impl Coverage {
    /// Of a set that nothing was asked of yet.
    ///
    /// # Errors
    /// A policy that Cedar cannot take apart.
    pub(super) fn new(set: &Set) -> Result<Self, String> {
        let mut policies = Vec::new();
        let mut scopes = PolicySet::new();
        for policy in set.policies.policies() {
            let id: &str = policy.id().as_ref();
            scopes.add(scope_of(policy)?).map_err(|e| causes(&e))?;
            let (number, at) = set.places.get(id).copied().unwrap_or_default();
            let Some(source) = set.sources.get(number) else { continue };
            let parts = conditions::of(policy);
            let condition = |part: &Part| CoveredCondition {
                clause: match part.kind {
                    Kind::When => "when",
                    Kind::Unless => "unless",
                },
                text: part.text.split_whitespace().collect::<Vec<_>>().join(" "),
                position: position(&source.text, at + part.at),
                seen_true: 0,
                seen_false: 0,
                erred: 0,
            };
            let covered = Covered {
                policy: id.to_owned(),
                forbids: policy.effect() == Effect::Forbid,
                file: source.path.clone(),
                position: position(&source.text, at),
                asked: 0,
                held: 0,
                conditions: parts.iter().map(condition).collect(),
                parts,
            };
            policies.push(((number, at), covered));
        }
        policies.sort_by_key(|(place, _)| *place);
        Ok(Self { policies: policies.into_iter().map(|(_, covered)| covered).collect(), scopes })
    }

    /// Counts what one request shows.
    pub(super) fn count(&mut self, request: &Request, entities: &Entities) {
        let response = Authorizer::new().is_authorized(request, &self.scopes, entities);
        let matching: Vec<&PolicyId> = response.diagnostics().reason().collect();
        for covered in &mut self.policies {
            if matching.iter().any(|id| AsRef::<str>::as_ref(*id) == covered.policy) {
                covered.count(request, entities);
            }
        }
    }

    /// What there is to be seen: of each policy that it holds, and of each condition that it is true and that it is false.
    #[must_use]
    pub fn of(&self) -> usize {
        self.policies.iter().map(|covered| 1 + 2 * covered.conditions.len()).sum()
    }

    /// What of that was seen.
    #[must_use]
    pub fn seen(&self) -> usize {
        let of_condition = |it: &CoveredCondition| usize::from(it.seen_true > 0) + usize::from(it.seen_false > 0);
        let of_policy = |it: &Covered| usize::from(it.held > 0) + it.conditions.iter().map(of_condition).sum::<usize>();
        self.policies.iter().map(of_policy).sum()
    }

    /// The same in percent, rounded down.
    #[must_use]
    pub fn percent(&self) -> usize {
        (100 * self.seen()).checked_div(self.of()).unwrap_or(100)
    }
}

impl Covered {
    /// As Cedar does: from left to right, and no further than the first that decides.
    fn count(&mut self, request: &Request, entities: &Entities) {
        self.asked += 1;
        let mut parts = self.parts.iter().zip(&mut self.conditions).peekable();
        while let Some((part, seen)) = parts.next() {
            let is_last = parts.peek().is_none_or(|(next, _)| next.clause != part.clause);
            let Ok(holds) = part.holds(request, entities) else {
                seen.erred += 1;
                return;
            };
            *(if holds { &mut seen.seen_true } else { &mut seen.seen_false }) += 1;
            match (part.kind, holds) {
                (Kind::When, true) => {}
                // An `unless` that holds whole.
                (Kind::Unless, true) if !is_last => {}
                (Kind::When, false) | (Kind::Unless, true) => return,
                // The rest of its clause is not looked at.
                (Kind::Unless, false) => while parts.next_if(|(next, _)| next.clause == part.clause).is_some() {},
            }
        }
        self.held += 1;
    }
}

/// A permit with a policy's scope, and no condition.
fn scope_of(policy: &Policy) -> Result<Policy, String> {
    let mut json = policy.to_json().map_err(|e| causes(&e))?;
    if let Some(fields) = json.as_object_mut() {
        fields.insert("effect".to_owned(), "permit".into());
        fields.insert("conditions".to_owned(), serde_json::Value::Array(Vec::new()));
    }
    Policy::from_json(Some(policy.id().clone()), json).map_err(|e| causes(&e))
}
