//! Why a request was answered as it was: which policies determined each answer, and which nearly did.

use super::{
    Set,
    book::{Book, PolicyExcerpt, Reach, id_of},
    clauses::{self, Fact, Outcome},
    near::{Near, NearMiss, parts},
};
use crate::{
    config::Config,
    model::{ProofDemand, Terms, time::span_text},
    policy::{
        Snapshot, Verdict,
        ask::uids,
        asked::{Asked, Part, Step},
        entities,
        question::Question,
        value::to_context,
        verdict::DenyKind,
    },
};
use cedar_policy::{Authorizer, Context, Decision, Effect, Entities, PolicySet, Request};
use serde::Serialize;
use serde_json::Value as Json;

/// Why a request was answered as it was.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Explanation {
    /// Whether all of it was allowed.
    pub allowed: bool,
    /// The decisions, in order.
    pub decisions: Vec<ExplainedDecision>,
    /// What else is in the way, or was left out.
    pub notes: Vec<String>,
}

/// One decision: what was asked together.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ExplainedDecision {
    /// What was to be done: Cedar's action of the gate, or the code of the event.
    pub operation: String,
    /// The event it was read from.
    pub event: Option<String>,
    /// The id that the caller was told.
    pub decision_id: Option<String>,
    /// Whether it was allowed.
    pub allowed: bool,
    /// Why not, in the audit log's word.
    pub deny_kind: Option<String>,
    /// The term that cannot be kept, where that is why.
    pub unmet: Option<String>,
    /// The terms, the strictest of all permits that hold.
    pub terms: Vec<TermShown>,
    /// What the event says otherwise: it was decided under another set.
    pub differs: Vec<String>,
    /// The questions, in the order asked.
    pub questions: Vec<ExplainedQuestion>,
}

/// A term, and the permits that it is from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TermShown {
    /// The annotation.
    pub term: String,
    /// Its value; empty where it has none.
    pub value: String,
    /// The permits that have it so.
    pub by: Vec<String>,
}

/// One question, and why it was answered so.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ExplainedQuestion {
    /// What it is for: `gate`, `narrowing`, `scope`, `detail`, or `request` where it stands alone.
    pub part: String,
    /// The principal.
    pub principal: String,
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The answer.
    pub allowed: bool,
    /// The reason code of a no.
    pub code: Option<String>,
    /// The policies that determined it.
    pub determining: Vec<DeterminingPolicy>,
    /// What could not be evaluated.
    pub errors: Vec<String>,
    /// On a default deny, the permits that nearly held, the nearest first.
    pub near_misses: Vec<NearMiss>,
    /// How many permits about the action miss by more.
    pub farther: usize,
}

/// A policy that determined an answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DeterminingPolicy {
    /// The policy.
    #[serde(flatten)]
    pub policy: PolicyExcerpt,
    /// For a forbid with `unless`: what is missing so that it would not apply.
    pub missing: Vec<MissingCondition>,
}

/// What is missing so that a forbid would not apply.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MissingCondition {
    /// The first conjunct of the `unless` that does not hold, as it is written.
    pub clause: String,
    /// What it reads, and what that is in the request.
    pub facts: Vec<Fact>,
}

impl Set {
    /// Explains one request of Cedar's, whatever the set. The context must fit the schema.
    ///
    /// # Errors
    /// What cannot be asked.
    pub fn explain_request(
        &self,
        [principal, action, resource]: [&str; 3],
        context: Json,
    ) -> Result<Explanation, String> {
        let request = super::request::cedar_request(self, [principal, action, resource], Some(context))?;
        let book = self.book()?;
        let question = book.request(&request, &self.entities);
        let decision = ExplainedDecision {
            operation: request.action().map(ToString::to_string).unwrap_or_default(),
            allowed: question.allowed,
            questions: vec![question],
            ..ExplainedDecision::default()
        };
        Ok(Explanation::of(vec![decision]))
    }

    /// Explains a decision from the questions that its event holds.
    ///
    /// # Errors
    /// What is wrong with them, or that this set is not narrowgate's own.
    pub fn explain_asked(&self, asked: &Json) -> Result<ExplainedDecision, String> {
        self.of_narrowgate()?.snapshot.explained(&self.book()?, asked)
    }

    /// The configuration of narrowgate's own set, and the set as it would be served.
    ///
    /// # Errors
    /// It is another one.
    pub fn configured(&self) -> Result<(&Config, &Snapshot), String> {
        self.of_narrowgate().map(|own| (&own.config, &own.snapshot))
    }

    pub(super) fn of_narrowgate(&self) -> Result<&super::set::Own, String> {
        self.own.as_ref().ok_or_else(|| "only a set of narrowgate's own has agents and clients: --config".to_owned())
    }
}

impl Snapshot {
    /// Explains a decision from the questions that its event holds, of the set as it is served.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn explain_asked(&self, asked: &Json) -> Result<ExplainedDecision, String> {
        self.explained(&self.book()?, asked)
    }

    fn explained(&self, book: &Book<'_>, asked: &Json) -> Result<ExplainedDecision, String> {
        let verdict = self.replay(asked)?;
        let asked = Asked::from_json(asked, &self.schema)?;
        let own = asked.own.iter().map(entities::own).collect::<Result<Vec<_>, _>>()?;
        let entities = self.entities_with(own)?;
        Ok(book.decision(&asked.steps, &entities, &Closed::of(&verdict)))
    }
}

/// What a decision comes to.
pub(super) struct Closed {
    pub(super) denied: Option<DenyKind>,
    pub(super) unmet: Option<&'static str>,
    pub(super) terms: Terms,
}

impl Closed {
    fn of(verdict: &Verdict) -> Self {
        Self { denied: verdict.denied, unmet: None, terms: verdict.terms.clone() }
    }
}

impl Explanation {
    /// Of these decisions.
    #[must_use]
    pub fn of(decisions: Vec<ExplainedDecision>) -> Self {
        Self { allowed: decisions.iter().all(|decision| decision.allowed), decisions, notes: Vec::new() }
    }
}

impl Book<'_> {
    pub(super) fn decision(&self, steps: &[Step<'_>], entities: &Entities, closed: &Closed) -> ExplainedDecision {
        let questions: Vec<ExplainedQuestion> = steps.iter().map(|step| self.step(step, entities)).collect();
        let gate = steps.iter().find(|step| step.part == Part::Gate).or(steps.first());
        let operation = gate.and_then(|step| step.question.as_ref()).map(|question| question.action.id.to_string());
        ExplainedDecision {
            operation: operation.unwrap_or_default(),
            allowed: closed.denied.is_none(),
            deny_kind: closed.denied.map(|kind| kind.as_str().to_owned()),
            unmet: closed.unmet.map(str::to_owned),
            terms: self.terms(&closed.terms, &questions),
            questions,
            ..ExplainedDecision::default()
        }
    }

    fn step(&self, step: &Step<'_>, entities: &Entities) -> ExplainedQuestion {
        let part = step.part.word().to_owned();
        let Some(question) = &step.question else {
            let errors = vec!["the question does not fit the schema".to_owned()];
            return ExplainedQuestion { part, code: Some("evaluation_error".to_owned()), errors, ..Default::default() };
        };
        ExplainedQuestion { part, ..self.question(question, entities) }
    }

    /// Explains a question of narrowgate's own.
    pub(super) fn question(&self, question: &Question<'_>, entities: &Entities) -> ExplainedQuestion {
        let request = match own_request(question, self) {
            Ok(request) => request,
            Err(wrong) => {
                let errors = vec![wrong];
                return ExplainedQuestion { code: Some("evaluation_error".to_owned()), errors, ..Default::default() };
            }
        };
        let mut explained = self.asked(&request, entities);
        if let Some((snapshot, answer)) = self.own.map(|snapshot| (snapshot, snapshot.ask(question, entities))) {
            explained.allowed = answer.allowed;
            explained.code = (!answer.allowed).then(|| snapshot.code_of(&answer));
            // A permit past its date is among Cedar's reasons, and is none of ours.
            explained.determining.retain(|it| answer.determining.iter().any(|d| *d.policy == *it.policy.id));
            if answer.errors > 0 && explained.errors.is_empty() {
                explained.errors.push("an entity is missing".to_owned());
            }
        }
        if !explained.allowed {
            self.put_near(&mut explained, self.near_misses(&request, entities, question.now()));
        }
        explained
    }

    /// Explains a request of Cedar's, as Cedar decides: a policy that errs is skipped.
    fn request(&self, request: &Request, entities: &Entities) -> ExplainedQuestion {
        let mut explained = ExplainedQuestion { part: "request".to_owned(), ..self.asked(request, entities) };
        if !explained.allowed {
            self.put_near(&mut explained, self.near_misses(request, entities, None));
        }
        explained
    }

    fn put_near(&self, explained: &mut ExplainedQuestion, near: Near) {
        explained.near_misses = near.misses;
        explained.farther = near.farther;
    }

    fn asked(&self, request: &Request, entities: &Entities) -> ExplainedQuestion {
        let Some(about) = parts(request) else { return ExplainedQuestion::default() };
        let fitting = self.about(about, entities).filter(|(_, reach)| *reach == Reach::Fits);
        let mut explained = ExplainedQuestion {
            principal: about.0.to_string(),
            action: about.1.to_string(),
            resource: about.2.to_string(),
            ..ExplainedQuestion::default()
        };
        let set = match PolicySet::from_policies(fitting.map(|(entry, _)| entry.policy.clone())) {
            Ok(set) => set,
            Err(wrong) => {
                explained.errors.push(wrong.to_string());
                return explained;
            }
        };
        let response = Authorizer::new().is_authorized(request, &set, entities);
        explained.allowed = response.decision() == Decision::Allow;
        explained.errors = response.diagnostics().errors().map(|error| super::set::causes(error)).collect();
        explained.errors.sort();
        let mut reasons: Vec<_> = response.diagnostics().reason().filter_map(|id| set.policy(id)).collect();
        reasons.sort_by_cached_key(|policy| id_of(policy));
        let determining = reasons.into_iter().map(|policy| {
            let missing =
                if policy.effect() == Effect::Forbid { missing(policy, request, entities) } else { Vec::new() };
            DeterminingPolicy { policy: self.excerpt(policy), missing }
        });
        explained.determining = determining.collect();
        explained
    }

    /// The merged terms, each with the permits that it is from.
    fn terms(&self, merged: &Terms, questions: &[ExplainedQuestion]) -> Vec<TermShown> {
        let permits = questions.iter().flat_map(|question| &question.determining);
        let mut permits: Vec<&str> =
            permits.filter(|it| it.policy.effect == "permit").map(|it| it.policy.id.as_str()).collect();
        permits.sort_unstable();
        permits.dedup();
        let has = |id: &str, pair: &(&'static str, String)| {
            self.own.and_then(|own| own.note(id)).is_some_and(|note| words(&note.terms).contains(pair))
        };
        let shown = |pair: (&'static str, String)| {
            let by = permits.iter().filter(|id| has(id, &pair)).map(|id| (*id).to_owned()).collect();
            TermShown { term: pair.0.to_owned(), value: pair.1, by }
        };
        words(merged).into_iter().map(shown).collect()
    }
}

/// A question as Cedar takes it.
pub(super) fn own_request(question: &Question<'_>, book: &Book<'_>) -> Result<Request, String> {
    let (principal, action, resource) = uids(question)?;
    let context: Context = to_context(&question.context)?;
    Request::new(principal, action, resource, context, Some(book.schema)).map_err(|e| super::set::causes(&e))
}

/// What is missing so that a forbid that applies would not.
fn missing(policy: &cedar_policy::Policy, request: &Request, entities: &Entities) -> Vec<MissingCondition> {
    let unless = clauses::of(policy).into_iter().filter(clauses::Clause::is_unless);
    let holding = unless.filter(|clause| clause.outcome(request, entities) == Outcome::Holds);
    let missing = holding.filter_map(|clause| {
        let (clause, facts) = clause.way_out(request, entities)?;
        Some(MissingCondition { clause, facts })
    });
    missing.collect()
}

/// Terms by their annotations.
pub(super) fn words(terms: &Terms) -> Vec<(&'static str, String)> {
    let flag = |name, set: bool| set.then(|| (name, String::new()));
    let all = [
        terms.max_lifetime.map(|span| ("max_lifetime", span_text(span))),
        terms.proof.map(|proof: ProofDemand| ("proof", proof.as_str().to_owned())),
        flag("no_refresh", terms.no_refresh),
        flag("single_audience", terms.single_audience),
        terms.audit_high.then(|| ("audit", "high".to_owned())),
        flag("notify", terms.notify),
        terms.max_uses.map(|uses| ("max_uses", uses.to_string())),
    ];
    all.into_iter().flatten().collect()
}
