//! One question to Cedar. Any error in the answer makes it no: Cedar itself would skip the erring policy, and a
//! skipped forbid is an open door.

use super::{Determining, Snapshot, annotations::Note, question::Question};
use crate::model::Terms;
use cedar_policy::{Decision, Effect, Entities, Entity, Request};

/// Cedar's answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// Sorted, each once. Empty on a default deny.
    pub(super) determining: Vec<Determining>,
    pub(super) errors: usize,
    /// The determining permits' terms, merged.
    pub(super) terms: Terms,
    /// Whether nothing but permits past their dates would have allowed it.
    pub(super) expired: bool,
}

impl Answer {
    /// A question that could not be asked: as good as an evaluation error.
    pub(super) fn error() -> Self {
        Self { allowed: false, determining: Vec::new(), errors: 1, terms: Terms::default(), expired: false }
    }
}

impl Snapshot {
    /// The generation's entities, with some that stand beside or before them for one decision.
    pub(super) fn entities_with(&self, own: Vec<Entity>) -> Result<Entities, String> {
        self.entities.clone().upsert_entities(own, Some(&self.schema)).map_err(|e| e.to_string())
    }

    /// Asks a question about these entities.
    pub(super) fn ask(&self, question: &Question, entities: &Entities) -> Answer {
        let Question { principal, action, resource, context } = question.clone();
        if entities.get(&principal).is_none() || entities.get(&resource).is_none() {
            return Answer::error();
        }
        let Ok(request) = Request::new(principal, action, resource, context, Some(&self.schema)) else {
            return Answer::error();
        };
        let response = self.authorizer.is_authorized(&request, &self.policies, entities);
        let errors = response.diagnostics().errors().count();
        let mut determining: Vec<Determining> = Vec::new();
        let mut terms = Terms::default();
        let mut expired = false;
        for id in response.diagnostics().reason() {
            let id = AsRef::<str>::as_ref(id).to_owned();
            // A policy without a note cannot be in the set; if it were, it must not allow anything.
            let Some(note) = self.note(&id) else { return Answer::error() };
            // A permit past its date is as if it were gone. A forbid goes on: to drop it would open a door.
            if note.expires.is_some()
                && note.effect == Effect::Permit
                && question.now().is_none_or(|now| note.is_over(now))
            {
                expired = true;
                continue;
            }
            terms = terms.strictest(note.terms.clone());
            determining.push(Determining { forbids: note.effect == Effect::Forbid, policy: id });
        }
        determining.sort();
        let allowed = response.decision() == Decision::Allow && errors == 0 && !determining.is_empty();
        Answer { allowed, determining, errors, terms, expired: expired && !allowed }
    }

    pub(super) fn note(&self, id: &str) -> Option<&Note> {
        self.notes.get(id)
    }
}
