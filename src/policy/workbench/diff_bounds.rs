//! Terms compared for every request there can be. A solver sees no annotations, but it can be asked: is there a request
//! that OLD allows with a lifetime of at most ten minutes, and NEW allows with none of its permits saying so?

use super::{
    diff_solver::{Asked, Decided, PlainAnswer, Proof, RequestKind, SolverFailure, permits, request},
    diff_terms::{Lean, of_terms},
};
use crate::{
    model::{ProofDemand, Terms, time::span_text},
    policy::annotations::Note,
};
use cedar_policy::{Policy, PolicyId, PolicySet, RequestEnv};
use cedar_policy_symcc::err::Error;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Something that a permit may demand.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Demand {
    Lifetime(Duration),
    Uses(u64),
    Proof(ProofDemand),
    NoRefresh,
    SingleAudience,
    AuditHigh,
    Notify,
}

impl Demand {
    fn of(terms: &Terms) -> Vec<Self> {
        let flag = |said: bool, demand: Self| said.then_some(demand);
        [
            terms.max_lifetime.map(Self::Lifetime),
            terms.max_uses.map(Self::Uses),
            terms.proof.map(Self::Proof),
            flag(terms.no_refresh, Self::NoRefresh),
            flag(terms.single_audience, Self::SingleAudience),
            flag(terms.audit_high, Self::AuditHigh),
            flag(terms.notify, Self::Notify),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether a permit with these terms demands at least this.
    fn is_met(&self, terms: &Terms) -> bool {
        match self {
            Self::Lifetime(longest) => terms.max_lifetime.is_some_and(|lifetime| lifetime <= *longest),
            Self::Uses(most) => terms.max_uses.is_some_and(|uses| uses <= *most),
            Self::Proof(ProofDemand::Any) => terms.proof.is_some(),
            Self::Proof(proof) => terms.proof == Some(*proof),
            Self::NoRefresh => terms.no_refresh,
            Self::SingleAudience => terms.single_audience,
            Self::AuditHigh => terms.audit_high,
            Self::Notify => terms.notify,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Lifetime(span) => format!("@max_lifetime(\"{}\")", span_text(*span)),
            Self::Uses(uses) => format!("@max_uses(\"{uses}\")"),
            Self::Proof(proof) => format!("@proof(\"{}\")", proof.as_str()),
            Self::NoRefresh => "@no_refresh".to_owned(),
            Self::SingleAudience => "@single_audience".to_owned(),
            Self::AuditHigh => "@audit(\"high\")".to_owned(),
            Self::Notify => "@notify".to_owned(),
        }
    }
}

/// A term that one set demands of a request and the other does not, both allowing it.
#[derive(Debug)]
pub struct LooseTerms {
    /// What kind of request it is.
    pub kind: RequestKind,
    /// The term, as the annotation says it.
    pub demand: String,
    /// Such a request, as Cedar's own tools read it.
    pub request: Value,
    /// The entities that it is about, in Cedar's JSON.
    pub entities: Value,
    /// What OLD says, and on what merged terms.
    pub old: (PlainAnswer, Terms),
    /// What NEW says, and on what merged terms.
    pub new: (PlainAnswer, Terms),
}

/// Everything that permits of either set demand.
pub(super) struct Bounds {
    notes: [BTreeMap<String, Terms>; 2],
    /// What OLD demands, and what NEW demands.
    demands: [Vec<Demand>; 2],
}

impl Bounds {
    pub(super) fn of(asked: &Asked<'_>) -> Self {
        let notes = [asked.old, asked.new].map(|set| match &set.own {
            // In another set annotations are not narrowgate's.
            None => BTreeMap::new(),
            Some(_) => permits(&set.policies)
                .into_iter()
                .filter_map(|id| {
                    let note = Note::read(set.policies.policy(&PolicyId::new(&id))?).ok()?;
                    Some((id, note.terms))
                })
                .collect(),
        });
        let demands = [0, 1].map(|side| {
            let mut all: Vec<Demand> = Vec::new();
            for demand in notes.get(side).into_iter().flat_map(BTreeMap::values).flat_map(Demand::of) {
                if !all.contains(&demand) {
                    all.push(demand);
                }
            }
            all
        });
        Self { notes, demands }
    }

    /// Looks for requests of one kind that NEW allows on looser terms, and for those that it allows on tighter ones.
    pub(super) async fn compare(
        &self,
        proof: &mut Proof<'_>,
        kind: &RequestKind,
        env: &RequestEnv,
    ) -> Result<(), SolverFailure> {
        let [of_old, of_new] = &self.notes;
        let [old_demands, new_demands] = &self.demands;
        for (is_looser, demands) in [(true, old_demands), (false, new_demands)] {
            let (demanding, free) = if is_looser { (of_old, of_new) } else { (of_new, of_old) };
            for demand in demands {
                let (strict, loose) = if is_looser {
                    (&proof.asked.old.policies, &proof.asked.new.policies)
                } else {
                    (&proof.asked.new.policies, &proof.asked.old.policies)
                };
                // Where no permit of this kind demands it there is nothing to ask.
                let met = |terms: &BTreeMap<String, Terms>, id: &str| terms.get(id).is_some_and(|t| demand.is_met(t));
                let mut of_kind = strict.policies().filter(|policy| proof.asked.is_about(policy, env));
                if !of_kind.any(|policy| met(demanding, AsRef::<str>::as_ref(policy.id()))) {
                    continue;
                }
                let kept = only(strict, |id| met(demanding, id));
                let without = flipped(loose, |id| met(free, id));
                let (kept, without) = match kept.and_then(|kept| Ok((kept, without?))) {
                    Ok(sets) => sets,
                    Err(wrong) => return Err(SolverFailure::Broken(wrong)),
                };
                let compiled =
                    proof.asked.compile(&kept, env).and_then(|kept| Ok((kept, proof.asked.compile(&without, env)?)));
                let found = match compiled {
                    Ok((kept, without)) => {
                        let found = proof.compiler.check_disjoint_with_counterexample_opt(&kept, &without).await;
                        found.map_err(Box::new)
                    }
                    Err(e) => Err(e),
                };
                self.keep(proof, (kind, demand, is_looser), found)?;
            }
        }
        Ok(())
    }

    fn keep(
        &self,
        proof: &mut Proof<'_>,
        (kind, demand, is_looser): (&RequestKind, &Demand, bool),
        found: Result<Option<cedar_policy_symcc::Env>, Box<Error>>,
    ) -> Result<(), SolverFailure> {
        let found = match found {
            Ok(None) => return Ok(()),
            Ok(Some(found)) => found,
            Err(e) => return proof.untold(kind, *e),
        };
        let Decided { old, new } = proof.asked.decide(&found).map_err(SolverFailure::Broken)?;
        let [of_old, of_new] = &self.notes;
        let (old_terms, new_terms) = (merged(&old, of_old), merged(&new, of_new));
        let (strict, loose) = if is_looser { (&old_terms, &new_terms) } else { (&new_terms, &old_terms) };
        let loosened = of_terms(strict, loose).iter().any(|(_, lean)| matches!(lean, Lean::Looser | Lean::Untold));
        if !(old.allowed && new.allowed && demand.is_met(strict) && loosened) {
            let wrong = format!("its example of terms for {kind} is none, really decided");
            return Err(SolverFailure::Broken(wrong));
        }
        let example = LooseTerms {
            kind: kind.clone(),
            demand: demand.text(),
            request: request(&found.request),
            entities: found.entities.to_json_value().unwrap_or_default(),
            old: (old, old_terms),
            new: (new, new_terms),
        };
        if is_looser {
            proof.proved.looser_terms.push(example)
        } else {
            proof.proved.tighter_terms.push(example)
        }
        Ok(())
    }
}

/// The terms of an answer: the strictest of the permits that hold.
fn merged(answer: &PlainAnswer, notes: &BTreeMap<String, Terms>) -> Terms {
    let held = answer.policies.iter().filter_map(|id| notes.get(id)).cloned();
    held.fold(Terms::default(), Terms::strictest)
}

/// The forbids of a set, and of its permits these.
fn only(set: &PolicySet, keep: impl Fn(&str) -> bool) -> Result<PolicySet, String> {
    let permits = permits(set);
    let kept = set.policies().filter(|policy| {
        let id = AsRef::<str>::as_ref(policy.id());
        !permits.contains(id) || keep(id)
    });
    PolicySet::from_policies(kept.cloned()).map_err(|e| e.to_string())
}

/// A set in which these permits forbid: it allows what it did with none of them holding.
fn flipped(set: &PolicySet, flip: impl Fn(&str) -> bool) -> Result<PolicySet, String> {
    let mut all = set.clone();
    for id in permits(set).into_iter().filter(|id| flip(id)) {
        let Some(policy) = set.policy(&PolicyId::new(&id)) else { continue };
        let mut text = policy.to_json().map_err(|e| e.to_string())?;
        if let Some(policy) = text.as_object_mut() {
            policy.insert("effect".to_owned(), Value::from("forbid"));
        }
        let forbid = Policy::from_json(Some(PolicyId::new(format!("not {id}"))), text).map_err(|e| e.to_string())?;
        all.add(forbid).map_err(|e| e.to_string())?;
    }
    Ok(all)
}
