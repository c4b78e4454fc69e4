//! The answers that make one decision, collected and closed.

use super::{
    Determining, Facts, Refused, Snapshot, Verdict,
    ask::Answer,
    asked::{Asked, Keeping, Part, Step},
    context::{Base, context, datetime, text},
    entities::uid,
    question::Question,
    verdict::DenyKind,
};
use crate::{
    caller::Caller,
    config::Client,
    model::{DecisionId, Fault, ProofDemand, Reason, Scope, Terms, TokenBinding, Wall},
};
use cedar_policy::{Context, Entities, Entity, EntityUid, RestrictedExpression as Expr};
use std::{collections::BTreeSet, sync::Arc};

/// The action that is asked about before a refresh token is used.
pub(super) const REFRESH: &str = "refresh_token";

/// What asking about each scope alone has shown, where some are allowed and some are not.
pub(super) struct Narrowed {
    /// The scopes allowed.
    pub(super) granted: Vec<Scope>,
    refused: Vec<(Scope, String)>,
    errors: usize,
    steps: Vec<Step>,
}

/// Collects the answers that make one decision.
#[derive(Clone)]
pub(super) struct Panel<'a> {
    snapshot: &'a Snapshot,
    principal: Result<EntityUid, String>,
    client: Result<EntityUid, String>,
    /// The generation's entities and this decision's own; `None` for the generation's alone.
    entities: Option<Entities>,
    asked: Asked,
    id: DecisionId,
    gate: Option<Answer>,
    granted: Vec<Scope>,
    refused: Vec<(Scope, String)>,
    /// The types of the authorization details refused.
    refused_details: BTreeSet<String>,
    answers: Vec<Answer>,
    terms: Terms,
    unmet: Option<&'static str>,
    errors_before: usize,
}

impl<'a> Panel<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, caller: &Caller, client: &Client, id: DecisionId) -> Self {
        let principal = uid("Agent", caller.agent().id.as_str());
        Self::between(snapshot, principal, uid("Client", client.alias.as_str()), id)
    }

    /// A panel about this resource.
    pub(super) fn on(
        snapshot: &'a Snapshot,
        caller: &Caller,
        resource: Result<EntityUid, String>,
        id: DecisionId,
    ) -> Self {
        Self::between(snapshot, uid("Agent", caller.agent().id.as_str()), resource, id)
    }

    /// A panel that is given its questions.
    pub(super) fn again(snapshot: &'a Snapshot) -> Self {
        let nobody = || Err("the question is there already".to_owned());
        Self::between(snapshot, nobody(), nobody(), DecisionId(uuid::Uuid::nil()))
    }

    pub(super) fn between(
        snapshot: &'a Snapshot,
        principal: Result<EntityUid, String>,
        client: Result<EntityUid, String>,
        id: DecisionId,
    ) -> Self {
        Self {
            snapshot,
            principal,
            client,
            entities: None,
            asked: Asked::default(),
            id,
            gate: None,
            granted: Vec::new(),
            refused: Vec::new(),
            refused_details: BTreeSet::new(),
            answers: Vec::new(),
            terms: Terms::default(),
            unmet: None,
            errors_before: 0,
        }
    }

    /// Lets the questions know entities that are made for this decision alone. They go on record with it.
    ///
    /// # Errors
    /// What does not fit the schema; nothing may be asked then.
    pub(super) fn about(&mut self, own: Vec<Entity>) -> Result<(), String> {
        if !own.is_empty() {
            self.asked.own.extend(own);
            self.entities = Some(self.snapshot.entities_with(self.asked.own.clone())?);
        }
        Ok(())
    }

    /// Asks the question about the exchange as a whole.
    pub(super) fn gate(
        &mut self,
        action: &str,
        base: &Base<'_>,
        extra: impl IntoIterator<Item = (&'static str, Expr)>,
    ) {
        let base = base.expression().map(|base| ("base", base));
        let question =
            base.and_then(|base| self.question(action, self.client.clone(), [base].into_iter().chain(extra)));
        self.put(Step { part: Part::Gate, question: question.ok() });
    }

    /// Asks about each scope; a refused one is kept with its reason code.
    pub(super) fn scopes(&mut self, base: &Base<'_>, flow: &str) {
        // One context for all of them: they differ in their resource alone, and building it is most of a question.
        let shared = base.expression().and_then(|base| {
            let client = Expr::new_entity_uid(self.client.clone()?);
            context([("base", base), ("client", client), ("flow", text(flow))])
        });
        for scope in &base.scopes {
            let about = shared.clone();
            let question =
                about.and_then(|context| self.about_this("grant_scope", uid("Scope", scope.as_str()), context));
            self.put(Step { part: Part::Scope((*scope).clone()), question: question.ok() });
        }
    }

    /// What it is about: the client, but for questions of other kinds.
    pub(super) fn resource(&self) -> Result<EntityUid, String> {
        self.client.clone()
    }

    /// Asks a question and takes its answer for what it is for. What is asked is kept: the record says it.
    pub(super) fn put(&mut self, step: Step) {
        let entities = self.entities.as_ref().unwrap_or(&self.snapshot.entities);
        let answer = step.question.as_ref().map_or_else(Answer::error, |q| self.snapshot.ask(q, entities));
        if answer.allowed {
            self.terms = std::mem::take(&mut self.terms).strictest(answer.terms.clone());
        }
        match &step.part {
            Part::Gate => self.gate = Some(answer),
            Part::Scope(scope) | Part::Narrowing(scope) => {
                if answer.allowed {
                    self.granted.push(scope.clone());
                } else {
                    self.refused.push((scope.clone(), self.code_of(&answer)));
                }
                self.answers.push(answer);
            }
            Part::Detail(name) => {
                if !answer.allowed {
                    self.refused_details.insert(name.clone());
                }
                self.answers.push(answer);
            }
        }
        self.asked.steps.push(step);
    }

    /// The scopes allowed of those asked, and those refused, if some but not all are allowed.
    pub(super) fn narrow(mut self, base: &Base<'_>, flow: &str) -> Option<Narrowed> {
        self.scopes(base, flow);
        self.narrowed()
    }

    /// As [`Self::narrow`], of the questions already put.
    pub(super) fn narrowed(self) -> Option<Narrowed> {
        if self.granted.is_empty() || self.refused.is_empty() {
            return None;
        }
        let errors = self.answers.iter().map(|a| a.errors).sum();
        let mut steps = self.asked.steps;
        for step in &mut steps {
            if let Part::Scope(scope) = &step.part {
                step.part = Part::Narrowing(scope.clone());
            }
        }
        Some(Narrowed { granted: self.granted, refused: self.refused, errors, steps })
    }

    /// Keeps scopes that were refused before the question was narrowed, and the errors met on the way: an erring
    /// policy is no reason to ask for less.
    pub(super) fn also_refused(&mut self, narrowed: Narrowed) {
        self.refused.extend(narrowed.refused);
        self.errors_before += narrowed.errors;
        self.asked.steps.extend(narrowed.steps);
    }

    /// Checks that the merged terms can be kept.
    pub(super) fn keep_terms(&mut self, keeping: Keeping) {
        self.asked.keeping = Some(keeping);
        let proof_kept = match self.terms.proof {
            None => true,
            Some(ProofDemand::Any) => keeping.bound.is_bound(),
            Some(ProofDemand::Mtls) => keeping.bound == TokenBinding::Certificate,
            Some(ProofDemand::Dpop) => keeping.bound == TokenBinding::Dpop,
            Some(ProofDemand::Contradiction) => false,
        };
        if !proof_kept {
            self.unmet = Some("proof");
        } else if self.terms.single_audience && !keeping.audience {
            self.unmet = Some("single_audience");
        } else if self.terms.no_refresh && self.is_of_refresh() {
            self.unmet = Some("no_refresh");
        }
    }

    /// Whether it is decided about the use of a refresh token.
    fn is_of_refresh(&self) -> bool {
        let mut questions = self.asked.steps.iter().filter_map(|step| step.question.as_ref());
        questions.any(|question| question.action.id().unescaped() == REFRESH)
    }

    /// Asks a question that is not about an exchange.
    pub(super) fn bare_gate(&mut self, action: &str, now: Wall, caller: &Facts) {
        let question = super::context::caller(caller).and_then(|caller| {
            self.question(action, self.client.clone(), [("now", datetime(now)), ("caller", caller)])
        });
        self.put(Step { part: Part::Gate, question: question.ok() });
    }

    /// The decision of a gate that no scope hangs on.
    pub(super) fn close_gate(self) -> Result<Verdict, Box<Refused>> {
        self.decide(true, Reason::PolicyDenied).map(|(verdict, _)| verdict)
    }

    fn question(
        &self,
        action: &str,
        resource: Result<EntityUid, String>,
        fields: impl IntoIterator<Item = (&'static str, Expr)>,
    ) -> Result<Question, String> {
        self.about_this(action, resource, context(fields)?)
    }

    pub(super) fn about_this(
        &self,
        action: &str,
        resource: Result<EntityUid, String>,
        context: Context,
    ) -> Result<Question, String> {
        let (principal, action) = (self.principal.clone()?, uid("Action", action)?);
        Ok(Question { principal, action, resource: resource?, context })
    }

    /// The reason code of a no: that of the first forbid by id, or `no_permit`; `policy_expired` where a permit was there until
    /// its date.
    fn code_of(&self, answer: &Answer) -> String {
        let note = self.first_forbid(answer).and_then(|id| self.snapshot.note(id));
        match note.and_then(|n| n.code.clone()) {
            Some(code) => code,
            None if answer.errors > 0 => "evaluation_error".to_owned(),
            None if answer.expired => "policy_expired".to_owned(),
            None => "no_permit".to_owned(),
        }
    }

    fn first_forbid<'b>(&self, answer: &'b Answer) -> Option<&'b str> {
        answer.determining.iter().find(|d| d.forbids).map(|d| d.policy.as_str())
    }

    /// The decision. A yes needs a gate that allows, every scope allowed, no error anywhere and terms that can be kept.
    pub(super) fn close(self, when_scope_refused: Reason) -> Result<(Verdict, Terms), Box<Refused>> {
        let no_scope_refused = self.answers.iter().all(|a| a.allowed) && !self.granted.is_empty();
        self.decide(no_scope_refused, when_scope_refused)
    }

    fn decide(self, no_scope_refused: bool, when_scope_refused: Reason) -> Result<(Verdict, Terms), Box<Refused>> {
        let errors = self.errors_before + self.answers.iter().chain(&self.gate).map(|a| a.errors).sum::<usize>();
        let gate_allows = self.gate.as_ref().is_some_and(|gate| gate.allowed);
        let denied = match (errors, gate_allows, no_scope_refused, self.unmet) {
            (0, true, true, None) => None,
            (0, true, true, Some(_)) => Some(DenyKind::ObligationUnmet),
            (0, ..) => Some(self.kind_of_no()),
            _ => Some(DenyKind::EvalError),
        };
        let mut determining: Vec<Determining> =
            self.answers.iter().chain(&self.gate).flat_map(|a| a.determining.clone()).collect();
        determining.sort();
        determining.dedup();
        let fault = denied.map(|kind| self.fault(kind, gate_allows, when_scope_refused));
        let verdict = Verdict {
            id: self.id,
            policy_digest: self.snapshot.policy_digest.clone(),
            schema_digest: self.snapshot.schema_digest.clone(),
            entities_digest: self.snapshot.entities_digest.clone(),
            generation: self.snapshot.generation,
            determining,
            granted: self.granted,
            refused: self.refused,
            denied,
            errors,
            terms: self.terms.clone(),
            asked: Arc::new(self.asked),
        };
        match fault {
            None => Ok((verdict, self.terms)),
            Some(fault) => Err(Box::new(Refused { verdict: Some(verdict), fault })),
        }
    }

    fn kind_of_no(&self) -> DenyKind {
        let forbidden = self.answers.iter().chain(&self.gate).any(|a| !a.allowed && self.first_forbid(a).is_some());
        if forbidden { DenyKind::ForbidMatched } else { DenyKind::NoPermit }
    }

    fn fault(&self, kind: DenyKind, gate_allows: bool, when_scope_refused: Reason) -> Fault {
        let reason = match kind {
            DenyKind::EvalError => Reason::PolicyEvalError,
            DenyKind::ObligationUnmet => Reason::ObligationUnmet,
            _ if gate_allows => when_scope_refused,
            _ => Reason::PolicyDenied,
        };
        let fault = Fault::new(reason).with("decision_id", self.id.to_string());
        if let (DenyKind::ObligationUnmet, Some(term)) = (kind, self.unmet) {
            return fault.with("obligation", term);
        }
        let refusing = if gate_allows { self.answers.iter().find(|a| !a.allowed) } else { self.gate.as_ref() };
        let Some(answer) = refusing else { return fault };
        let mut fault = fault.with("policy_code", self.code_of(answer));
        let note = self.first_forbid(answer).and_then(|id| self.snapshot.note(id));
        if let Some(note) = note {
            for (key, value) in [("advice", &note.advice), ("message", &note.message)] {
                if let Some(value) = value {
                    fault = fault.with(key, value.clone());
                }
            }
        }
        if gate_allows {
            let names: Vec<&str> = self.refused.iter().map(|(scope, _)| scope.as_str()).collect();
            fault = fault.with("scopes", names.join(" "));
            if !self.refused_details.is_empty() {
                let types: Vec<&str> = self.refused_details.iter().map(String::as_str).collect();
                fault = fault.with("authorization_details_types", types.join(" "));
            }
        }
        fault
    }
}
