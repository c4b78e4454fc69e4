//! What was denied of late, asked again of a set that would come next: what that one allows, it allows anew. The memory is
//! bounded and of this process, so it is a net, not a proof.

use super::{Asked, Snapshot, Verdict};
use crate::{
    model::{DecisionId, Scope, Wall},
    platform::digest::sha256,
    policy::Trigger,
};
use serde_json::Value;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Denials that are kept.
const KEPT_MAX: usize = 1_000;
/// Of them, those that are told one by one.
const TOLD_MAX: usize = 5;

/// A denied question. The whole of it was denied, or some of its scopes were.
struct Denial {
    /// SHA-256 of the questions, but for when they were asked.
    key: [u8; 32],
    principal: Arc<str>,
    verdict: Verdict,
}

/// What was denied of late.
#[derive(Default)]
pub struct Denials(Mutex<VecDeque<Denial>>);

/// A denied question that another set allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weakened {
    /// The decision that denied it.
    pub decision: DecisionId,
    /// The agent or operator who asked.
    pub principal: Arc<str>,
    /// The scopes that were denied and now are not.
    pub scopes: Vec<Scope>,
}

/// What a set allows of what was denied of late.
#[derive(Clone, Default, Debug)]
pub struct Weakening {
    /// Denied questions that were asked again.
    pub asked: usize,
    /// Those that are now allowed.
    pub allowed: usize,
    /// The first of them.
    pub first: Vec<Weakened>,
    /// Their keys: they are no longer denied once the set is active.
    keys: Vec<[u8; 32]>,
}

/// A set that is sound and not active: it waits for an operator's word.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Since when.
    pub at: Wall,
    /// What made the daemon look.
    pub trigger: Trigger,
    /// SHA-256 of all that it is made of, in hex.
    pub digest: String,
    /// SHA-256 of its policy files, in hex.
    pub policy_digest: Arc<str>,
    /// SHA-256 of its entities, in hex.
    pub entities_digest: Arc<str>,
    /// What it would allow.
    pub weakening: Weakening,
}

impl Denials {
    /// Keeps a decision if it denies anything. The same question is there once, as it was asked last. Room is made by
    /// whoever has most: one agent's noise does not drive out another's denials.
    pub(super) fn keep(&self, verdict: &Verdict) {
        if verdict.denied.is_none() && verdict.refused.is_empty() {
            return;
        }
        let Some(asked) = &verdict.asked else { return };
        let denial = Denial { key: key(asked), principal: principal(asked), verdict: verdict.clone() };
        let mut kept = self.kept();
        kept.retain(|other| other.key != denial.key);
        if kept.len() >= KEPT_MAX {
            let mut counts: HashMap<Arc<str>, usize> = HashMap::new();
            kept.iter().for_each(|other| *counts.entry(Arc::clone(&other.principal)).or_default() += 1);
            let most = counts.values().copied().max().unwrap_or_default();
            let oldest = kept.iter().position(|other| counts.get(&other.principal) == Some(&most));
            kept.remove(oldest.unwrap_or_default());
        }
        kept.push_back(denial);
    }

    /// Asks again what was denied. That takes time: not for the threads that serve calls.
    #[must_use]
    pub fn again(&self, next: &Snapshot) -> Weakening {
        let kept: Vec<_> = (self.kept().iter())
            .map(|denial| (denial.key, Arc::clone(&denial.principal), denial.verdict.clone()))
            .collect();
        let mut weakening = Weakening { asked: kept.len(), ..Weakening::default() };
        for (key, principal, before) in kept {
            // One that cannot be asked of it may be allowed.
            let scopes = match allowed_anew(&before, next) {
                Ok(None) => continue,
                Ok(Some(scopes)) => scopes,
                Err(_) => Vec::new(),
            };
            weakening.allowed += 1;
            weakening.keys.push(key);
            if weakening.first.len() < TOLD_MAX {
                weakening.first.push(Weakened { decision: before.id, principal, scopes });
            }
        }
        weakening
    }

    /// Forgets what is allowed now: the next set is not to be told of it.
    pub fn forget(&self, weakening: &Weakening) {
        self.kept().retain(|denial| !weakening.keys.contains(&denial.key));
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Denial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The scopes that this set allows of a denied question, if it allows the question.
fn allowed_anew(before: &Verdict, next: &Snapshot) -> Result<Option<Vec<Scope>>, String> {
    let Some(asked) = before.asked.as_ref() else { return Ok(None) };
    let after = next.ask_again(asked)?;
    if after.denied.is_some() {
        return Ok(None);
    }
    let is_new =
        |scope: &&Scope| before.denied.is_some() || before.refused.iter().any(|(refused, _)| refused == *scope);
    let scopes: Vec<Scope> = after.granted.iter().filter(is_new).cloned().collect();
    Ok((before.denied.is_some() || !scopes.is_empty()).then_some(scopes))
}

/// Who asked.
pub(super) fn principal(asked: &Asked) -> Arc<str> {
    asked.steps.iter().find_map(|step| step.question.as_ref()).map_or("none", |q| &*q.principal.id).into()
}

/// What tells a question from others, whenever it is asked.
fn key(asked: &Asked) -> [u8; 32] {
    let mut record = asked.to_json(None);
    without_time(&mut record);
    let people: Vec<&str> = asked.own.iter().map(|own| &*own.uid.id).collect();
    sha256(format!("{record}\n{people:?}").as_bytes())
}

fn without_time(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("now");
            map.values_mut().for_each(without_time);
        }
        Value::Array(items) => items.iter_mut().for_each(without_time),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        asked::{Part, Step},
        context::{context, now},
        load::of_texts,
        question::Question,
        value::Uid,
    };

    const ENTITIES: &str = r#"[]"#;

    fn denied(snapshot: &Snapshot, principal: &'static str, resource: &str, at: i64) -> Verdict {
        let question = Question {
            principal: Uid::new("Agent", principal),
            action: Uid::new("Action", "revoke_token"),
            resource: Uid::new("Client", resource.to_owned()),
            context: context([("now", now(Wall(at)))]),
        };
        let asked = Asked::new(Vec::new(), vec![Step { part: Part::Gate, question: Some(question) }], None);
        let mut verdict = snapshot.ask_again(&asked).unwrap();
        assert!(verdict.denied.is_some());
        verdict.asked = Some(Arc::new(asked));
        verdict
    }

    // rows: POL-09
    #[test]
    fn the_memory_is_bounded_and_nobodys_noise_drives_out_another_ones_denials() {
        let text = "@id(\"none\") permit (principal, action == Narrowgate::Action::\"revoke_token\", resource);";
        let (snapshot, _) = of_texts([text], ENTITIES);
        let denials = Denials::default();
        denials.keep(&denied(&snapshot, "quiet", "one", 1));
        // The same question at another time is no other one.
        denials.keep(&denied(&snapshot, "quiet", "one", 2));
        assert_eq!(denials.kept().len(), 1);
        for n in 0..2 * KEPT_MAX {
            denials.keep(&denied(&snapshot, "loud", &n.to_string(), 3));
        }
        assert_eq!(denials.kept().len(), KEPT_MAX);
        assert!(denials.kept().iter().any(|denial| &*denial.principal == "quiet"));
        assert_eq!(denials.again(&snapshot).asked, KEPT_MAX);
    }

    // rows: POL-08
    #[test]
    fn what_a_shadow_has_no_room_for_is_dropped_and_counted() {
        let text = "@id(\"none\") permit (principal, action == Narrowgate::Action::\"revoke_token\", resource);";
        let (snapshot, _) = of_texts([text], ENTITIES);
        let verdict = denied(&snapshot, "quiet", "one", 1);
        let witness = crate::policy::Witness::new(true);
        // Nothing is compared yet.
        witness.saw("RevokeGrant", verdict.clone());
        witness.shadow.replace(snapshot, Wall(0));
        for _ in 0..600 {
            witness.saw("RevokeGrant", verdict.clone());
        }
        assert_eq!(witness.shadow.counts().dropped, 600 - 512);
        assert_eq!(witness.shadow.waiting().unwrap().try_iter().count(), 512);
    }
}
