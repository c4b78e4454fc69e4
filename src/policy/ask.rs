//! One question to Cedar. Any error in the answer makes it no: Cedar itself would skip the erring policy, and a
//! skipped forbid is an open door.

use super::{
    Determining, Snapshot,
    annotations::Note,
    entities,
    index::Slice,
    question::{Own, Question},
    value::{Fields, Uid, Value, to_context},
};
use crate::model::Terms;
use cedar_policy::{Context, Decision, Effect, Entities, Entity, EntityUid, Request};
use std::{collections::HashMap, sync::Arc};

/// Cedar's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
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

    /// The first forbid by id that said no.
    pub(super) fn first_forbid(&self) -> Option<&str> {
        self.determining.iter().find(|determining| determining.forbids).map(|determining| &*determining.policy)
    }
}

/// What questions that share a context need not make twice.
#[derive(Default)]
pub(super) struct Prepared<'a> {
    /// The whole context, for questions that differ in their resource alone.
    whole: Option<(EntityUid, Context)>,
    /// The base, which most questions of a round have in common. Cedar parses each time in it anew.
    base: Option<(Value<'a>, Context)>,
}

impl<'a> Prepared<'a> {
    /// Another context follows.
    pub(super) fn turn(&mut self) {
        self.whole = None;
    }

    fn context(&mut self, fields: &Fields<'a>) -> Result<Context, String> {
        let Some((_, base)) = fields.iter().find(|(name, _)| name == "base") else { return to_context(fields) };
        let shared = match &self.base {
            Some((known, shared)) if known == base => shared.clone(),
            _ => {
                let shared = to_context(&[("base".into(), base.clone())].into())?;
                self.base = Some((base.clone(), shared.clone()));
                shared
            }
        };
        let rest = fields.iter().filter(|(name, _)| name != "base").cloned().collect();
        shared.merge(to_context(&rest)?).map_err(|e| e.to_string())
    }
}

impl Snapshot {
    /// The generation's entities, with some that stand beside or before them for one decision.
    pub(super) fn entities_with(&self, own: Vec<Entity>) -> Result<Entities, String> {
        self.entities.clone().upsert_entities(own, Some(&self.schema)).map_err(|e| e.to_string())
    }

    /// The entities that policies may look at for this question, and some that are its own: as level 1 has it, those that
    /// the question names, and all above them.
    pub(super) fn entities_of(&self, question: &Question<'_>, own: &[Own]) -> Result<Entities, String> {
        let mut named = Vec::new();
        name_all(&question.context, &mut named);
        let mut few: HashMap<EntityUid, Entity> = HashMap::new();
        let its_own = own.iter().flat_map(|own| own.parents.iter().chain([&own.uid]));
        let about = [&question.principal, &question.action, &question.resource];
        for uid in about.into_iter().chain(named).chain(its_own) {
            let uid = uid.to_cedar()?;
            let above = self.entities.ancestors(&uid).into_iter().flatten();
            for uid in above.chain([&uid]) {
                if let Some(entity) = self.entities.get(uid) {
                    few.entry(uid.clone()).or_insert_with(|| entity.clone());
                }
            }
        }
        for own in own {
            let entity = entities::own(own)?;
            few.insert(entity.uid(), entity);
        }
        Entities::from_entities(few.into_values(), None).map_err(|e| e.to_string())
    }

    /// Asks a question about these entities: of the policies whose scopes match.
    pub(super) fn ask(&self, question: &Question<'_>, entities: &Entities) -> Answer {
        let asked = || {
            let (principal, action, resource) = uids(question)?;
            let slice = self.index.slice((&principal, &action, &resource), entities);
            self.ask_slice(question, &slice, entities, &mut Prepared::default())
        };
        asked().unwrap_or_else(|_| Answer::error())
    }

    /// Asks a question of these policies.
    ///
    /// # Errors
    /// Why it cannot be put to Cedar.
    pub(super) fn ask_slice<'a>(
        &self,
        question: &Question<'a>,
        slice: &Slice<'_>,
        entities: &Entities,
        prepared: &mut Prepared<'a>,
    ) -> Result<Answer, String> {
        let (principal, action, resource) = uids(question)?;
        if entities.get(&principal).is_none() || entities.get(&resource).is_none() {
            return Err("an entity is missing".to_owned());
        }
        // A context that was found to fit once fits again, and looking costs more than the answer.
        let (context, schema) = match prepared.whole.take() {
            Some((of, context)) if of == action => (context, None),
            _ => (prepared.context(&question.context)?, Some(&self.schema)),
        };
        let request =
            Request::new(principal, action.clone(), resource, context.clone(), schema).map_err(|e| e.to_string())?;
        prepared.whole = Some((action, context));
        let response = self.authorizer.is_authorized(&request, &slice.set()?, entities);
        let errors = response.diagnostics().errors().count();
        let reasons = response.diagnostics().reason().map(AsRef::<str>::as_ref);
        Ok(self.answer(response.decision(), reasons, errors, question))
    }

    fn answer<'r>(
        &self,
        decision: Decision,
        reasons: impl Iterator<Item = &'r str>,
        errors: usize,
        question: &Question<'_>,
    ) -> Answer {
        let (mut determining, mut terms, mut expired) = (Vec::new(), Terms::default(), false);
        for id in reasons {
            // A policy without a note cannot be in the set; if it were, it must not allow anything.
            let Some(note) = self.note(id) else { return Answer::error() };
            // A permit past its date is as if it were gone. A forbid goes on: to drop it would open a door.
            if note.expires.is_some()
                && note.effect == Effect::Permit
                && question.now().is_none_or(|now| note.is_over(now))
            {
                expired = true;
                continue;
            }
            terms = terms.strictest(note.terms.clone());
            determining.push(Determining { forbids: note.effect == Effect::Forbid, policy: Arc::clone(&note.id) });
        }
        determining.sort();
        let allowed = decision == Decision::Allow && errors == 0 && !determining.is_empty();
        Answer { allowed, determining, errors, terms, expired: expired && !allowed }
    }

    /// The reason code of a no: that of the first forbid by id, or `no_permit`; `policy_expired` where a permit was there until
    /// its date.
    pub(super) fn code_of(&self, answer: &Answer) -> String {
        let note = answer.first_forbid().and_then(|id| self.note(id));
        match note.and_then(|note| note.code.clone()) {
            Some(code) => code,
            None if answer.errors > 0 => "evaluation_error".to_owned(),
            None if answer.expired => "policy_expired".to_owned(),
            None => "no_permit".to_owned(),
        }
    }

    /// Whether a question that these forbids denied would be allowed if they were not there: a no of Cedar's names the forbids
    /// alone, whether anything permits it or not.
    pub(super) fn allows_without(&self, question: &Question<'_>, own: &[Own], denied: &Answer) -> bool {
        let asked = || {
            let entities = self.entities_of(question, own)?;
            let (principal, action, resource) = uids(question)?;
            let slice = self.index.slice((&principal, &action, &resource), &self.entities);
            self.ask_slice(question, &slice.without(&denied.determining), &entities, &mut Prepared::default())
        };
        asked().is_ok_and(|answer| answer.allowed)
    }

    pub(super) fn note(&self, id: &str) -> Option<&Note> {
        self.notes.get(id)
    }

    /// Asks a question of every policy of the set, for tests that hold the index against it.
    #[cfg(test)]
    pub(super) fn ask_all(&self, question: &Question<'_>, entities: &Entities) -> Answer {
        let asked = || {
            let (principal, action, resource) = uids(question)?;
            if entities.get(&principal).is_none() || entities.get(&resource).is_none() {
                return Err("an entity is missing".to_owned());
            }
            let context = to_context(&question.context)?;
            let request = Request::new(principal, action, resource, context, Some(&self.schema));
            let response =
                self.authorizer.is_authorized(&request.map_err(|e| e.to_string())?, &self.policies, entities);
            let errors = response.diagnostics().errors().count();
            let reasons = response.diagnostics().reason().map(AsRef::<str>::as_ref);
            Ok(self.answer(response.decision(), reasons, errors, question))
        };
        asked().unwrap_or_else(|_: String| Answer::error())
    }
}

/// Principal, action and resource, as Cedar names them.
pub(super) fn uids(question: &Question<'_>) -> Result<(EntityUid, EntityUid, EntityUid), String> {
    Ok((question.principal.to_cedar()?, question.action.to_cedar()?, question.resource.to_cedar()?))
}

/// Every entity that stands in a context.
fn name_all<'q, 'a>(fields: &'q Fields<'a>, into: &mut Vec<&'q Uid<'a>>) {
    fn of_value<'q, 'a>(value: &'q Value<'a>, into: &mut Vec<&'q Uid<'a>>) {
        match value {
            Value::Entity(uid) => into.push(uid),
            Value::Set(members) => members.iter().for_each(|member| of_value(member, into)),
            Value::Record(fields) => name_all(fields, into),
            _ => {}
        }
    }
    fields.iter().for_each(|(_, value)| of_value(value, into));
}
