//! Who may have what: every request that could be made, asked as an orderly one. Where the answer hangs on facts of the
//! request, the conditions are told instead of guessed.

use super::{
    book::{Book, Reach, id_of, principal_words, resource_words},
    clauses::{Clause, Outcome},
};
use crate::model::Wall;
use cedar_policy::{Effect, Entities, Policy, Request};
use serde::Serialize;

/// The most that is told of why something may not be had.
const REASONS_MAX: usize = 3;

/// Whether something may be had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Entitlement {
    /// By an orderly request.
    Yes,
    /// If the conditions hold, which are about the request.
    If,
    /// Whatever the request says.
    No,
}

/// Something that access hangs on, or fails by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Condition {
    /// The policy; empty where it is none.
    pub policy: String,
    /// What must hold, or what fails, as it is written.
    pub clause: String,
}

/// How one request stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct StandingAccess {
    pub(super) access: Entitlement,
    /// The permits that hold, or could.
    pub(super) by: Vec<String>,
    /// What must hold, where it is [`Entitlement::If`]; what fails, where it is [`Entitlement::No`].
    pub(super) conditions: Vec<Condition>,
}

impl StandingAccess {
    pub(super) fn no(policy: &str, clause: String) -> Self {
        Self {
            access: Entitlement::No,
            by: Vec::new(),
            conditions: vec![Condition { policy: policy.to_owned(), clause }],
        }
    }

    /// Both must hold.
    pub(super) fn and(mut self, other: Self) -> Self {
        if self.access != other.access {
            // Why not is not told beside what would have to hold.
            let worse = if self.access > other.access { &self } else { &other };
            let (access, conditions) = (worse.access, worse.conditions.clone());
            (self.access, self.conditions) = (access, conditions);
        } else {
            self.conditions.extend(other.conditions);
        }
        self.by.extend(other.by);
        self.conditions.sort();
        self.conditions.dedup();
        self.by.sort();
        self.by.dedup();
        self
    }
}

impl Book<'_> {
    /// How a request stands: what it may have as it is, and what it could have if the facts of its context, but for these,
    /// were others.
    pub(super) fn standing(
        &self,
        request: &Request,
        entities: &Entities,
        (fixed, now): (&[&str], Option<Wall>),
    ) -> StandingAccess {
        let Some(about) = super::near::parts(request) else {
            return StandingAccess::no("", "is no request".to_owned());
        };
        let (mut holding, mut possible, mut guards) = (Vec::new(), Vec::<Vec<Condition>>::new(), Vec::new());
        let mut failing = Vec::new();
        for (entry, reach) in self.about(about, entities) {
            let policy = entry.policy;
            let asked = Asked { clauses: entry.clauses(), request, entities, fixed };
            match (policy.effect(), reach) {
                (Effect::Permit, Reach::Fits) if self.is_over(policy, now) => {
                    failing.push((1, condition(policy, "its last day is over".to_owned())));
                }
                (Effect::Permit, Reach::Fits) => match asked.permit(policy) {
                    Ok(conditions) if conditions.is_empty() => holding.push(id_of(policy)),
                    Ok(conditions) => possible.push(conditions),
                    Err(fails) => failing.push((0, fails)),
                },
                (Effect::Permit, Reach::OtherPrincipal) => {
                    failing.push((2, condition(policy, principal_words(policy))));
                }
                (Effect::Permit, Reach::OtherResource) => failing.push((3, condition(policy, resource_words(policy)))),
                (Effect::Forbid, Reach::Fits) => match asked.forbid(policy) {
                    Ok(condition) => guards.extend(condition),
                    Err(applies) => {
                        return StandingAccess { access: Entitlement::No, by: Vec::new(), conditions: vec![applies] };
                    }
                },
                _ => {}
            }
        }
        if holding.is_empty() && possible.is_empty() {
            failing.sort();
            let mut conditions: Vec<Condition> = failing.into_iter().map(|(_, it)| it).take(REASONS_MAX).collect();
            if conditions.is_empty() {
                conditions.push(Condition { policy: String::new(), clause: "no permit is about this".to_owned() });
            }
            return StandingAccess { access: Entitlement::No, by: Vec::new(), conditions };
        }
        if holding.is_empty() {
            // The one that asks for least.
            possible.sort_by_key(Vec::len);
            let least = possible.into_iter().next().unwrap_or_default();
            holding.extend(least.first().map(|it| it.policy.clone()));
            guards.extend(least);
        }
        let access = if guards.is_empty() { Entitlement::Yes } else { Entitlement::If };
        StandingAccess { access, by: holding, conditions: guards }
    }

    fn is_over(&self, policy: &Policy, now: Option<Wall>) -> bool {
        let note = self.own.and_then(|own| own.note(&id_of(policy)));
        note.is_some_and(|note| now.is_some_and(|now| note.is_over(now)))
    }
}

fn condition(policy: &Policy, clause: String) -> Condition {
    Condition { policy: id_of(policy), clause }
}

/// A policy's clauses, and the request that they are asked of.
struct Asked<'a> {
    clauses: &'a [Clause],
    request: &'a Request,
    entities: &'a Entities,
    fixed: &'a [&'a str],
}

impl Asked<'_> {
    fn outcome(&self, clause: &Clause) -> Outcome {
        clause.outcome(self.request, self.entities)
    }

    /// What must hold so that a permit does, of the facts that may be otherwise; else the first clause that never will.
    fn permit(&self, policy: &Policy) -> Result<Vec<Condition>, Condition> {
        let mut conditions = Vec::new();
        for clause in self.clauses.iter().filter(|clause| self.outcome(clause) != Outcome::Holds) {
            let it = condition(policy, clause.text.clone());
            if !clause.reads_context_beside(self.fixed) {
                return Err(it);
            }
            conditions.push(it);
        }
        Ok(conditions)
    }

    /// What must hold so that a forbid does not apply; nothing where it does not anyway. Else what makes it apply.
    fn forbid(&self, policy: &Policy) -> Result<Option<Condition>, Condition> {
        let outcomes: Vec<Outcome> = self.clauses.iter().map(|clause| self.outcome(clause)).collect();
        if outcomes.contains(&Outcome::Fails) {
            return Ok(None);
        }
        let mut could = self.clauses.iter().filter(|clause| clause.reads_context_beside(self.fixed));
        // What its writer says lifts it comes before what does not make it apply.
        let exit = could.clone().find(|clause| clause.is_unless()).or_else(|| could.next());
        match exit {
            Some(clause) => {
                let lifted = clause.text.strip_prefix("unless ").map(str::to_owned);
                Ok(Some(condition(policy, lifted.unwrap_or_else(|| format!("not ({})", clause.text)))))
            }
            None => {
                let clause = self.clauses.iter().map(|clause| clause.text.as_str()).collect::<Vec<_>>().join(" && ");
                let clause = if clause.is_empty() { "always".to_owned() } else { clause };
                Err(condition(policy, format!("forbidden: {clause}")))
            }
        }
    }
}
