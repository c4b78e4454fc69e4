//! Decisions at cache speed, never stale. An answer is kept under exactly what it hangs on: the generation, principal,
//! action and resource of each question, and what the policies that can match read of its context (see [`super::reads`]).
//! Both caches belong to one [`Snapshot`]: another set, or other entities, begin with empty ones.

use super::{
    Asked, Snapshot,
    annotations::Note,
    ask::{Answer, Prepared, uids},
    asked::{Keeping, Part, Step},
    outcome::{Looked, put_text, put_uid, put_value},
    question::{Own, Question},
    reads::{Path, Reads},
    value::{Found, at},
};
use crate::model::{DecisionId, Wall};
use moka::sync::Cache;
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Bytes, keys and answers together.
const DECISIONS_BYTES_MAX: u64 = 32 << 20;
/// Bytes of the kinds of decision: an agent, its client, and the scopes asked for. An agent that asks for ever other
/// selections of its scopes makes ever more of them.
const PLANS_BYTES_MAX: u64 = 32 << 20;
/// An allowed decision is made anew after this time, so that its questions are never far back in the log.
const ALLOWED_FOR: Duration = Duration::from_secs(600);
/// A denied one is kept for moments: whoever corrects what was wrong outside of policy should not have to wait.
const DENIED_FOR: Duration = Duration::from_secs(3);

/// What is asked, written so that no two things are written alike.
type Key = Box<[u8]>;

/// The caches of one generation.
pub(super) struct Engine {
    plans: Cache<Key, Arc<Plan>>,
    decided: Cache<Key, Arc<Decided>>,
    /// Where the caller's own words stand.
    claimed: Path,
    /// Where an approval stands.
    approval: Path,
    /// Where an element of authorization details stands.
    detail: Path,
}

/// What the answers to a list of questions hang on, whatever is in their contexts.
struct Plan {
    /// For each context: the number of questions that share it, and what is read of it. `None` if no answer is kept.
    groups: Option<Vec<Group>>,
}

struct Group {
    questions: usize,
    looked: Looked,
    /// Permits with a last day, of which it counts whether it is over.
    expiring: Vec<Note>,
}

/// Answers that were given.
struct Decided {
    answers: Arc<[Answer]>,
    by: DecisionId,
    at: Wall,
    /// The questions, until they are on record.
    asked: Weak<Asked>,
    recorded: Arc<AtomicBool>,
}

/// All questions of one decision.
pub(super) struct Round<'r, 'a> {
    pub(super) steps: &'r [Step<'a>],
    pub(super) own: &'r [Own],
    pub(super) keeping: Option<Keeping>,
    pub(super) id: DecisionId,
    /// Whether its questions go on record under this id: those of a look that comes before another decision of the same
    /// id do not, and nothing may be referred to them.
    pub(super) recorded: bool,
}

/// The answers to a round, in its order.
pub(super) struct Answered {
    pub(super) answers: Arc<[Answer]>,
    /// The questions; `None` if the log has them already.
    pub(super) asked: Option<Arc<Asked>>,
    /// The decision whose answers these are, if it was another one.
    pub(super) by: Option<DecisionId>,
}

impl Engine {
    pub(super) fn new() -> Self {
        Self {
            plans: Cache::builder()
                .max_capacity(PLANS_BYTES_MAX)
                .weigher(|key: &Key, plan: &Arc<Plan>| plan.weight(key))
                .build(),
            decided: Cache::builder()
                .max_capacity(DECISIONS_BYTES_MAX)
                .weigher(|key: &Key, decided: &Arc<Decided>| decided.weight(key))
                .build(),
            claimed: ["base", "claimed"].map(str::to_owned).into(),
            approval: ["base", "approval"].map(str::to_owned).into(),
            detail: vec!["detail".to_owned()],
        }
    }
}

impl Snapshot {
    /// Has every question asked anew.
    pub fn forget_answers(&self) {
        self.engine.decided.invalidate_all();
    }

    /// Answers a round: as it was answered before, if nothing that it hangs on is otherwise.
    pub(super) fn answers(&self, round: &Round<'_, '_>) -> Answered {
        let Some(now) = round.steps.first().and_then(|step| step.question.as_ref()).and_then(Question::now) else {
            return self.evaluate(round);
        };
        let Some(key) = self.key(round, now) else { return self.evaluate(round) };
        if let Some(known) = self.engine.decided.get(&*key).and_then(|decided| decided.known(now)) {
            return known;
        }
        let answered = self.evaluate(round);
        // An error may be gone with the next look, and no decision may outlive what caused it.
        if let Some(asked) =
            answered.asked.as_ref().filter(|_| round.recorded && answered.answers.iter().all(|a| a.errors == 0))
        {
            let decided = Decided {
                answers: Arc::clone(&answered.answers),
                by: round.id,
                at: now,
                asked: Arc::downgrade(asked),
                recorded: asked.record(),
            };
            self.engine.decided.insert(key.into(), Arc::new(decided));
        }
        answered
    }

    /// Asks every question.
    pub(super) fn evaluate(&self, round: &Round<'_, '_>) -> Answered {
        let mut answers = Vec::with_capacity(round.steps.len());
        let (mut before, mut prepared): (Option<&Question<'_>>, Prepared<'_>) = (None, Prepared::default());
        for step in round.steps {
            let Some(question) = &step.question else {
                answers.push(Answer::error());
                continue;
            };
            if before.is_none_or(|before| !before.shares_context(question)) {
                prepared.turn();
            }
            before = Some(question);
            answers.push(self.one(question, round.own, &mut prepared).unwrap_or_else(|_| Answer::error()));
        }
        let mut steps: Vec<Step<'static>> = Vec::with_capacity(round.steps.len());
        for (step, before) in round.steps.iter().zip([None].into_iter().chain(round.steps.iter().map(Some))) {
            let owned = step.to_owned_after(before, steps.last());
            steps.push(owned);
        }
        let asked = Asked::new(round.own.to_vec(), steps, round.keeping);
        Answered { answers: answers.into(), asked: Some(Arc::new(asked)), by: None }
    }

    fn one<'a>(&self, question: &Question<'a>, own: &[Own], prepared: &mut Prepared<'a>) -> Result<Answer, String> {
        let few = if own.is_empty() { None } else { Some(self.entities_of(question, own)?) };
        let entities = few.as_ref().unwrap_or(&self.entities);
        let (principal, action, resource) = uids(question)?;
        let slice = self.index.slice((&principal, &action, &resource), &self.entities);
        self.ask_slice(question, &slice, entities, prepared)
    }

    /// The key of a round: what its answers hang on, and nothing else. `None` if they may not be kept.
    pub(super) fn key(&self, round: &Round<'_, '_>, now: Wall) -> Option<Vec<u8>> {
        let mut key = Vec::with_capacity(512);
        key.extend_from_slice(&self.generation.to_be_bytes());
        let mut before: Option<&Question<'_>> = None;
        for step in round.steps {
            let question = step.question.as_ref()?;
            match before {
                Some(before) if before.shares_context(question) && before.principal == question.principal => {
                    key.push(b'&');
                }
                _ => {
                    key.push(b'|');
                    put_uid(&question.principal, &mut key);
                    put_text(&question.action.id, &mut key);
                }
            }
            put_uid(&question.resource, &mut key);
            before = Some(question);
        }
        let plan = match self.engine.plans.get(&*key) {
            Some(plan) => plan,
            None => {
                let plan = Arc::new(Plan { groups: self.groups(round) });
                self.engine.plans.insert(key.clone().into(), Arc::clone(&plan));
                plan
            }
        };
        let mut first = 0;
        for group in plan.groups.as_ref()? {
            let question = round.steps.get(first)?.question.as_ref()?;
            group.looked.key(&question.context, &mut key)?;
            key.extend(group.expiring.iter().map(|note| if note.is_over(now) { b'o' } else { b'n' }));
            first += group.questions;
        }
        // Whoever it is about, and what the caller says of itself, is in the key whether policies read it or not: the
        // questions that the log is referred to must be those of this person, and in these words.
        for own in round.own {
            put_uid(&own.uid, &mut key);
            own.parents.iter().for_each(|parent| put_uid(parent, &mut key));
        }
        // So is what tells whether terms can be kept: it is asked with them.
        if let Some(keeping) = round.keeping {
            put_text(keeping.bound.proof(), &mut key);
            key.push(u8::from(keeping.audience));
        }
        let context = &round.steps.first()?.question.as_ref()?.context;
        if let Found::Value(claimed) = at(context, &self.engine.claimed) {
            put_value(claimed, &mut key)?;
        }
        // So is an approval: whose word it was, and where it was talked about.
        if let Found::Value(approval) = at(context, &self.engine.approval) {
            key.push(b'a');
            put_value(approval, &mut key)?;
        }
        // So is each element of authorization details: it says what for.
        for step in round.steps.iter().filter(|step| matches!(step.part, Part::Detail(_))) {
            if let Found::Value(detail) = at(&step.question.as_ref()?.context, &self.engine.detail) {
                put_value(detail, &mut key)?;
            }
        }
        Some(key)
    }

    /// Finds the policies that can match, and what they read.
    fn groups(&self, round: &Round<'_, '_>) -> Option<Vec<Group>> {
        let mut groups: Vec<Group> = Vec::new();
        let mut before: Option<&Question<'_>> = None;
        for step in round.steps {
            let question = step.question.as_ref()?;
            let (principal, action, resource) = uids(question).ok()?;
            let slice = self.index.slice((&principal, &action, &resource), &self.entities);
            let mut reads = Reads::default();
            slice.policies.iter().for_each(|indexed| reads.extend(&indexed.reads));
            let looked = Looked::up(&reads, (&principal, &resource), &self.entities)?;
            let expiring = slice.policies.iter().filter_map(|indexed| indexed.expiring.clone()).collect();
            match (groups.last_mut(), before) {
                (Some(group), Some(before))
                    if before.shares_context(question) && before.principal == question.principal =>
                {
                    group.questions += 1;
                    group.looked.extend(looked);
                    group.expiring.extend(expiring);
                }
                _ => groups.push(Group { questions: 1, looked, expiring }),
            }
            before = Some(question);
        }
        Some(groups)
    }
}

impl Plan {
    /// Bytes, about.
    fn weight(&self, key: &[u8]) -> u32 {
        let groups = self.groups.iter().flatten();
        let bytes: usize = groups.map(|group| group.looked.weight() + 256 * group.expiring.len() + 128).sum();
        u32::try_from(key.len() + bytes + 256).unwrap_or(u32::MAX)
    }
}

impl Decided {
    /// Bytes, about.
    fn weight(&self, key: &[u8]) -> u32 {
        let answers: usize = self.answers.iter().map(|answer| 96 + 24 * answer.determining.len()).sum();
        u32::try_from(key.len() + answers + 256).unwrap_or(u32::MAX)
    }

    /// The answers, if they still count now. A clock that stepped back before them knows nothing of them.
    fn known(&self, now: Wall) -> Option<Answered> {
        let kept = if self.answers.iter().all(|answer| answer.allowed) { ALLOWED_FOR } else { DENIED_FOR };
        if now < self.at || now >= self.at.plus(kept) {
            return None;
        }
        // Questions that never reached the log cannot be named by another event.
        let asked = if self.recorded.load(Ordering::Acquire) { None } else { Some(self.asked.upgrade()?) };
        Some(Answered { answers: Arc::clone(&self.answers), asked, by: Some(self.by) })
    }
}
