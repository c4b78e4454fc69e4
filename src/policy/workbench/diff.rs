//! What is another in one set than in the other, policy by policy. What that means is for a replay and a solver to say,
//! where they can; where they cannot, the text alone is judged, with care.

use super::{
    Set,
    diff_lines::unified,
    diff_terms::{self, AnnotationChange, Lean},
};
use cedar_policy::{Effect, Policy, PolicyId};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// What became of a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Became {
    /// NEW alone has it.
    Added,
    /// OLD alone has it.
    Removed,
    /// Both have it, and it is not the same.
    Changed,
}

/// A policy that is not in both sets as it is.
#[derive(Clone, Debug)]
pub struct PolicyChange {
    /// Its id; in NEW, where it is in both.
    pub id: String,
    /// Its id in OLD, where that is another.
    pub was: Option<String>,
    /// What became of it.
    pub became: Became,
    /// Whether it forbids; as it is in NEW, where it is in both.
    pub forbids: bool,
    /// File, line and column of it.
    pub place: (PathBuf, usize, usize),
    /// Whether it decides about other requests than it did: its effect, scope or condition is another.
    pub decides_otherwise: bool,
    /// Which way that goes, as far as the text tells.
    pub lean: Lean,
    /// What it says beside its condition, where both have it.
    pub annotations: Vec<AnnotationChange>,
    /// Its text, line by line, as `diff -u` writes it.
    pub diff: Vec<String>,
}

/// How two sets differ.
pub struct SetDiff {
    /// In order of id.
    pub changes: Vec<PolicyChange>,
    /// Policies that are in both as they are, but for white space, comments and the file they stand in.
    pub same: usize,
    /// Whether the agents, clients, APIs and scopes differ, or what may be known of them: no look at policies tells what that changes.
    pub entities_differ: bool,
    /// Whether a permit with terms is gone, or holds for other requests: where another permit holds as well, the terms of
    /// that one now count alone.
    pub terms_may_count_alone: bool,
}

/// Compares two sets, policy by policy. A policy is known again by its `@id`, else by what it says; one without an
/// `@id` that was changed, by its effect and scope.
#[must_use]
pub fn compare(old: &Set, new: &Set) -> SetDiff {
    let pairs = pair(&Side::of(old), &Side::of(new));
    let mut diff = SetDiff {
        changes: Vec::new(),
        same: 0,
        entities_differ: match (&old.own, &new.own) {
            (Some(old), Some(new)) => {
                let (old, new) = (&old.snapshot, &new.snapshot);
                old.entities_digest != new.entities_digest || old.schema_digest != new.schema_digest
            }
            _ => false,
        },
        terms_may_count_alone: false,
    };
    let is_own = old.own.is_some() && new.own.is_some();
    for (before, after) in pairs {
        let change = match (before, after) {
            (None, None) => None,
            (None, Some(id)) => alone(new, &id, Became::Added),
            (Some(id), None) => alone(old, &id, Became::Removed),
            (Some(before), Some(after)) => both((old, &before), (new, &after), is_own),
        };
        match change {
            Some(change) => diff.changes.push(change),
            None => diff.same += 1,
        }
    }
    diff.changes.sort_by(|a, b| a.id.cmp(&b.id));
    let of_old = |change: &PolicyChange| policy(old, change.was.as_deref().unwrap_or(&change.id)).map(has_terms);
    diff.terms_may_count_alone = is_own
        && diff.changes.iter().any(|change| {
            change.became != Became::Added && change.decides_otherwise && of_old(change).unwrap_or(false)
        });
    diff
}

fn has_terms(policy: &Policy) -> bool {
    let terms = ["max_lifetime", "proof", "no_refresh", "single_audience", "audit", "notify", "max_uses"];
    policy.effect() == Effect::Permit && policy.annotations().any(|(key, _)| terms.contains(&key))
}

fn policy<'s>(set: &'s Set, id: &str) -> Option<&'s Policy> {
    set.policies.policy(&PolicyId::new(id))
}

/// What a policy decides, without what it says beside: its effect, scope and conditions.
fn body(policy: &Policy) -> Value {
    let mut body = policy.to_json().unwrap_or_else(|_| Value::String(policy.to_string()));
    if let Some(body) = body.as_object_mut() {
        body.remove("annotations");
    }
    body
}

fn alone(set: &Set, id: &str, became: Became) -> Option<PolicyChange> {
    let policy = policy(set, id)?;
    let (file, (line, column), text) = set.excerpt(id)?;
    let forbids = policy.effect() == Effect::Forbid;
    let (before, after) = if became == Became::Added { ("", &*text) } else { (&*text, "") };
    Some(PolicyChange {
        id: id.to_owned(),
        was: None,
        became,
        forbids,
        place: (file.to_owned(), line, column),
        decides_otherwise: true,
        lean: if forbids == (became == Became::Added) { Lean::Tighter } else { Lean::Looser },
        annotations: Vec::new(),
        diff: unified(before, after),
    })
}

/// `None` where it is the same.
fn both((old, before): (&Set, &str), (new, after): (&Set, &str), is_own: bool) -> Option<PolicyChange> {
    let (of_old, of_new) = (policy(old, before)?, policy(new, after)?);
    let decides_otherwise = body(of_old) != body(of_new);
    let annotations = diff_terms::annotations(of_old, of_new, is_own);
    let is_named = of_old.annotation("id").is_some() || of_new.annotation("id").is_some();
    let was = (is_named && before != after).then(|| before.to_owned());
    if !decides_otherwise && annotations.is_empty() && was.is_none() {
        return None;
    }
    let (_, _, text) = old.excerpt(before)?;
    let (file, (line, column), new_text) = new.excerpt(after)?;
    let forbids = of_new.effect() == Effect::Forbid;
    Some(PolicyChange {
        id: after.to_owned(),
        was: if decides_otherwise || !annotations.is_empty() {
            (before != after).then(|| before.to_owned())
        } else {
            was
        },
        became: Became::Changed,
        forbids,
        place: (file.to_owned(), line, column),
        decides_otherwise,
        lean: match (decides_otherwise, of_old.effect() == of_new.effect()) {
            (false, _) => Lean::Neither,
            (true, true) => Lean::Untold,
            (true, false) if forbids => Lean::Tighter,
            (true, false) => Lean::Looser,
        },
        annotations,
        diff: unified(&text, &new_text),
    })
}

/// The policies of a set, to be known again in another.
struct Side<'s> {
    set: &'s Set,
    /// In the order in which they stand.
    ids: Vec<&'s str>,
}

impl<'s> Side<'s> {
    fn of(set: &'s Set) -> Self {
        let mut placed: Vec<(&(usize, usize), &str)> =
            set.places.iter().map(|(id, place)| (place, id.as_str())).collect();
        placed.sort_unstable();
        Self { set, ids: placed.into_iter().map(|(_, id)| id).collect() }
    }

    fn named(&self) -> BTreeMap<&'s str, &'s str> {
        let name = |id: &&'s str| Some((policy(self.set, id)?.annotation("id")?, *id));
        self.ids.iter().filter_map(name).collect()
    }
}

/// Which policy of the one is which of the other, by their ids there. Each is in one pair.
fn pair(old: &Side<'_>, new: &Side<'_>) -> Vec<(Option<String>, Option<String>)> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let (mut old_left, mut new_left): (BTreeSet<&str>, BTreeSet<&str>) =
        (old.ids.iter().copied().collect(), new.ids.iter().copied().collect());
    let named = new.named();
    for (name, id) in old.named() {
        if let Some(other) = named.get(name) {
            pairs.push((id, other));
        }
    }
    for (id, other) in &pairs {
        old_left.remove(id);
        new_left.remove(other);
    }
    // What says the same, then what is about the same.
    let whole = |policy: &Policy| Some((body(policy).to_string(), all_annotations(policy)));
    let decides = |policy: &Policy| Some((body(policy).to_string(), String::new()));
    let about = |policy: &Policy| {
        let mut body = body(policy);
        body.as_object_mut().map(|body| body.remove("conditions"));
        // Two that both have a name, and not the same one, are two.
        policy.annotation("id").is_none().then(|| (body.to_string(), String::new()))
    };
    type Key = Option<(String, String)>;
    let keys: [&dyn Fn(&Policy) -> Key; 3] = [&whole, &decides, &about];
    for key in keys {
        let mut known: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
        for id in new.ids.iter().rev().filter(|id| new_left.contains(*id)) {
            if let Some(key) = policy(new.set, id).and_then(key) {
                known.entry(key).or_default().push(id);
            }
        }
        for id in old.ids.iter().filter(|id| old_left.contains(*id)).copied().collect::<Vec<_>>() {
            let key = policy(old.set, id).and_then(key);
            if let Some(other) = key.and_then(|key| known.get_mut(&key)).and_then(Vec::pop) {
                pairs.push((id, other));
                old_left.remove(id);
                new_left.remove(other);
            }
        }
    }
    let owned = |id: &str| Some(id.to_owned());
    let pairs = pairs.into_iter().map(|(id, other)| (owned(id), owned(other)));
    let gone = old_left.into_iter().map(|id| (owned(id), None));
    pairs.chain(gone).chain(new_left.into_iter().map(|id| (None, owned(id)))).collect()
}

fn all_annotations(policy: &Policy) -> String {
    let mut all: Vec<(&str, &str)> = policy.annotations().filter(|(key, _)| *key != "id").collect();
    all.sort_unstable();
    format!("{all:?}")
}
