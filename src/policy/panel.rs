//! The answers that make one decision, collected and closed.

use super::{
    Determining, Facts, Refused, Snapshot, Verdict,
    advice::advised,
    ask::Answer,
    asked::{Asked, Keeping, Part, Step},
    context::{Base, context, now, text},
    engine::Round,
    question::{Own, Question},
    value::{Fields, Uid, Value},
    verdict::DenyKind,
};
use crate::{
    caller::Caller,
    config::Client,
    model::{Advice, Approvable, DecisionId, Fault, ProofDemand, Reason, Scope, Terms, TokenBinding, Wall},
};
use std::{collections::BTreeSet, sync::Arc};

/// The action that is asked about before a refresh token is used.
pub(super) const REFRESH: &str = "refresh_token";

/// What asking about each scope alone has shown, where some are allowed and some are not.
pub(super) struct Narrowed {
    /// The scopes allowed.
    pub(super) granted: Vec<Scope>,
    refused: Vec<(Scope, String)>,
    errors: usize,
    steps: Vec<Step<'static>>,
}

/// Collects the questions that make one decision, has them answered, and closes it.
pub(super) struct Panel<'a> {
    snapshot: &'a Snapshot,
    principal: Uid<'a>,
    resource: Uid<'a>,
    own: Vec<Own>,
    id: DecisionId,
    steps: Vec<Step<'a>>,
    keeping: Option<Keeping>,
    narrowed: Option<Narrowed>,
    /// Whether earlier answers count.
    cached: bool,
    /// As [`Round::recorded`].
    recorded: bool,
    /// What an approver could approve of it.
    approvable: Option<&'a Approvable>,
}

impl<'a> Panel<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, caller: &'a Caller, client: &'a Client, id: DecisionId) -> Self {
        Self::on(snapshot, caller, Uid::new("Client", client.alias.as_str()), id)
    }

    /// A panel about this resource.
    pub(super) fn on(snapshot: &'a Snapshot, caller: &'a Caller, resource: Uid<'a>, id: DecisionId) -> Self {
        Self::between(snapshot, Uid::new("Agent", caller.agent().id.as_str()), resource, id)
    }

    pub(super) fn between(snapshot: &'a Snapshot, principal: Uid<'a>, resource: Uid<'a>, id: DecisionId) -> Self {
        Self {
            snapshot,
            principal,
            resource,
            own: Vec::new(),
            id,
            steps: Vec::new(),
            keeping: None,
            narrowed: None,
            cached: true,
            recorded: true,
            approvable: None,
        }
    }

    /// A panel that is given its questions, and asks each of them.
    pub(super) fn again(snapshot: &'a Snapshot, own: Vec<Own>) -> Self {
        let nobody = || Uid::new("Agent", "");
        Self { own, cached: false, ..Self::between(snapshot, nobody(), nobody(), DecisionId(uuid::Uuid::nil())) }
    }

    /// The same, with nothing asked yet.
    pub(super) fn anew(&self) -> Self {
        let (principal, resource) = (self.principal.clone(), self.resource.clone());
        let cached = self.cached;
        // What narrows a decision comes before it, under the same id.
        Self {
            own: self.own.clone(),
            cached,
            recorded: false,
            approvable: self.approvable,
            ..Self::between(self.snapshot, principal, resource, self.id)
        }
    }

    /// The same questions as a look before another decision of the same id, which alone goes on record.
    pub(super) fn beforehand(self) -> Self {
        Self { recorded: false, ..self }
    }

    /// A no may be lifted by an approval of this.
    pub(super) fn approvable(self, approvable: &'a Approvable) -> Self {
        Self { approvable: Some(approvable), ..self }
    }

    /// Lets the questions know a person. What is known of them goes on record with the decision.
    pub(super) fn about(&mut self, person: Own) {
        self.own.push(person);
    }

    /// Asks the question about the exchange as a whole.
    pub(super) fn gate(
        &mut self,
        action: &'static str,
        base: &Base<'a>,
        extra: impl IntoIterator<Item = (&'static str, Value<'a>)>,
    ) {
        let context = context([("base", base.value())].into_iter().chain(extra));
        self.ask(Part::Gate, action, self.resource.clone(), context);
    }

    /// Asks about each scope; a refused one is kept with its reason code.
    pub(super) fn scopes(&mut self, base: &Base<'a>, flow: &'a str) {
        // One context for all of them: they differ in their resource alone.
        let client = Value::Entity(self.resource.clone());
        let shared = context([("base", base.value()), ("client", client), ("flow", text(flow))]);
        for scope in &base.scopes {
            let part = Part::Scope((*scope).clone());
            self.ask(part, "grant_scope", Uid::new("Scope", scope.as_str()), Arc::clone(&shared));
        }
    }

    /// What it is about: the client, but for questions of other kinds.
    pub(super) fn resource(&self) -> Uid<'a> {
        self.resource.clone()
    }

    /// Asks about this resource.
    pub(super) fn ask(&mut self, part: Part, action: &'static str, resource: Uid<'a>, context: Fields<'a>) {
        let (principal, action) = (self.principal.clone(), Uid::new("Action", action));
        self.put(Step { part, question: Some(Question { principal, action, resource, context }) });
    }

    /// Takes a question up.
    pub(super) fn put(&mut self, step: Step<'a>) {
        self.steps.push(step);
    }

    /// The scopes allowed of those asked, and those refused, if some but not all are allowed.
    pub(super) fn narrow(mut self, base: &Base<'a>, flow: &'a str) -> Option<Narrowed> {
        self.scopes(base, flow);
        self.narrowed()
    }

    /// As [`Self::narrow`], of the questions already put.
    pub(super) fn narrowed(self) -> Option<Narrowed> {
        let sitting = Sitting::of(&self);
        if sitting.granted.is_empty() || sitting.refused.is_empty() {
            return None;
        }
        let errors = sitting.answers.iter().map(|a| a.errors).sum();
        let mut steps: Vec<Step<'static>> = self.steps.iter().map(Step::to_owned).collect();
        for step in &mut steps {
            if let Part::Scope(scope) = &step.part {
                step.part = Part::Narrowing(scope.clone());
            }
        }
        Some(Narrowed { granted: sitting.granted, refused: sitting.refused, errors, steps })
    }

    /// Keeps scopes that were refused before the question was narrowed, and the errors met on the way: an erring
    /// policy is no reason to ask for less.
    pub(super) fn also_refused(&mut self, narrowed: Narrowed) {
        self.narrowed = Some(narrowed);
    }

    /// Has it checked that the merged terms can be kept.
    pub(super) const fn keep_terms(&mut self, keeping: Keeping) {
        self.keeping = Some(keeping);
    }

    /// Asks a question that is not about an exchange.
    pub(super) fn bare_gate(&mut self, action: &'static str, at: Wall, caller: &'a Facts) {
        let context = context([("now", now(at)), ("caller", super::context::caller(caller))]);
        self.ask(Part::Gate, action, self.resource.clone(), context);
    }

    /// The decision of a gate that no scope hangs on.
    pub(super) fn close_gate(self) -> Result<Verdict, Box<Refused>> {
        Sitting::of(&self).decide(self, true, Reason::PolicyDenied).map(|(verdict, _)| verdict)
    }

    /// The decision. A yes needs a gate that allows, every scope allowed, no error anywhere and terms that can be kept.
    pub(super) fn close(self, when_scope_refused: Reason) -> Result<(Verdict, Terms), Box<Refused>> {
        let sitting = Sitting::of(&self);
        let no_scope_refused = sitting.answers.iter().all(|a| a.allowed) && !sitting.granted.is_empty();
        sitting.decide(self, no_scope_refused, when_scope_refused)
    }

    /// Whether it is decided about the use of a refresh token.
    fn is_of_refresh(&self) -> bool {
        let mut questions = self.steps.iter().filter_map(|step| step.question.as_ref());
        questions.any(|question| question.action.id == REFRESH)
    }
}

/// The term that cannot be kept, if one cannot.
pub(super) fn unmet(terms: &Terms, keeping: Keeping, is_of_refresh: bool) -> Option<&'static str> {
    let proof_kept = match terms.proof {
        None => true,
        Some(ProofDemand::Any) => keeping.bound.is_bound(),
        Some(ProofDemand::Mtls) => keeping.bound == TokenBinding::Certificate,
        Some(ProofDemand::Dpop) => keeping.bound == TokenBinding::Dpop,
        Some(ProofDemand::Contradiction) => false,
    };
    match () {
        () if !proof_kept => Some("proof"),
        () if terms.single_audience && !keeping.audience => Some("single_audience"),
        () if terms.no_refresh && is_of_refresh => Some("no_refresh"),
        () => None,
    }
}

/// The answers, each taken for what it is for.
struct Sitting<'a> {
    snapshot: &'a Snapshot,
    id: DecisionId,
    gate: Option<Answer>,
    granted: Vec<Scope>,
    refused: Vec<(Scope, String)>,
    /// The types of the authorization details refused.
    refused_details: BTreeSet<String>,
    answers: Vec<Answer>,
    terms: Terms,
    unmet: Option<&'static str>,
    asked: Option<Arc<Asked>>,
    by: Option<DecisionId>,
}

impl<'a> Sitting<'a> {
    fn of(panel: &Panel<'a>) -> Self {
        let (steps, own) = (panel.steps.as_slice(), panel.own.as_slice());
        let recorded = panel.recorded && panel.narrowed.is_none();
        let round = Round { steps, own, keeping: panel.keeping, id: panel.id, recorded };
        let answered = if panel.cached { panel.snapshot.answers(&round) } else { panel.snapshot.evaluate(&round) };
        let mut sitting = Self {
            snapshot: panel.snapshot,
            id: panel.id,
            gate: None,
            granted: Vec::new(),
            refused: Vec::new(),
            refused_details: BTreeSet::new(),
            answers: Vec::with_capacity(steps.len()),
            terms: Terms::default(),
            unmet: None,
            asked: answered.asked,
            by: answered.by,
        };
        for (step, answer) in steps.iter().zip(answered.answers.iter()) {
            sitting.take(&step.part, answer.clone());
        }
        sitting.unmet = panel.keeping.and_then(|keeping| unmet(&sitting.terms, keeping, panel.is_of_refresh()));
        sitting
    }

    fn take(&mut self, part: &Part, answer: Answer) {
        if answer.allowed {
            self.terms = std::mem::take(&mut self.terms).strictest(answer.terms.clone());
        }
        match part {
            Part::Gate => self.gate = Some(answer),
            Part::Scope(scope) | Part::Narrowing(scope) => {
                if answer.allowed {
                    self.granted.push(scope.clone());
                } else {
                    self.refused.push((scope.clone(), self.snapshot.code_of(&answer)));
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
    }

    fn decide(
        mut self,
        mut panel: Panel<'_>,
        no_scope_refused: bool,
        when_scope_refused: Reason,
    ) -> Result<(Verdict, Terms), Box<Refused>> {
        let mut errors = self.answers.iter().chain(&self.gate).map(|a| a.errors).sum::<usize>();
        if let Some(narrowed) = panel.narrowed.take() {
            self.refused.extend(narrowed.refused);
            errors += narrowed.errors;
            // No event but this one has both.
            let steps = panel.steps.iter().map(Step::to_owned).chain(narrowed.steps).collect();
            self.asked = Some(Arc::new(Asked::new(panel.own.clone(), steps, panel.keeping)));
            self.by = None;
        }
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
        let advised = denied.filter(|kind| *kind == DenyKind::ForbidMatched).and_then(|_| self.advised(&panel));
        let fault = denied.map(|kind| self.fault(kind, gate_allows, when_scope_refused, advised));
        let verdict = Verdict {
            id: self.id,
            policy_digest: Arc::clone(&self.snapshot.policy_digest),
            schema_digest: Arc::clone(&self.snapshot.schema_digest),
            entities_digest: Arc::clone(&self.snapshot.entities_digest),
            generation: self.snapshot.generation,
            determining,
            granted: self.granted,
            refused: self.refused,
            denied,
            errors,
            terms: self.terms.clone(),
            asked: self.asked,
            answered_by: self.by,
        };
        match fault {
            None => Ok((verdict, self.terms)),
            Some(fault) => Err(Box::new(Refused { verdict: Some(verdict), fault })),
        }
    }

    fn kind_of_no(&self) -> DenyKind {
        let forbidden = self.answers.iter().chain(&self.gate).any(|a| !a.allowed && a.first_forbid().is_some());
        if forbidden { DenyKind::ForbidMatched } else { DenyKind::NoPermit }
    }

    /// What would lift the no, where every part of it says so, and nothing else stands in the way.
    fn advised(&self, panel: &Panel<'_>) -> Option<(Reason, Advice)> {
        let mut others = self.answers.iter();
        let answers = panel.steps.iter().map(|step| match step.part {
            Part::Gate => (step, self.gate.as_ref()),
            _ => (step, others.next()),
        });
        let refusing: Vec<(&Step<'_>, &Answer)> =
            answers.filter_map(|(step, answer)| Some((step, answer?))).filter(|(_, answer)| !answer.allowed).collect();
        let advised = advised(self.snapshot, refusing.iter().map(|(_, answer)| *answer), panel.approvable)?;
        let lifts = |(step, answer): &(&Step<'_>, &Answer)| {
            step.question.as_ref().is_some_and(|question| self.snapshot.allows_without(question, &panel.own, answer))
        };
        refusing.iter().all(lifts).then_some(advised)
    }

    fn fault(
        &self,
        kind: DenyKind,
        gate_allows: bool,
        when_scope_refused: Reason,
        advised: Option<(Reason, Advice)>,
    ) -> Fault {
        let reason = match kind {
            DenyKind::EvalError => Reason::PolicyEvalError,
            DenyKind::ObligationUnmet => Reason::ObligationUnmet,
            _ if gate_allows => when_scope_refused,
            _ => Reason::PolicyDenied,
        };
        let (reason, advice) = advised.map_or((reason, None), |(reason, advice)| (reason, Some(Box::new(advice))));
        let fault = Fault { advice, ..Fault::new(reason) }.with("decision_id", self.id.to_string());
        if let (DenyKind::ObligationUnmet, Some(term)) = (kind, self.unmet) {
            return fault.with("obligation", term);
        }
        let refusing = if gate_allows { self.answers.iter().find(|a| !a.allowed) } else { self.gate.as_ref() };
        let Some(answer) = refusing else { return fault };
        let mut fault = fault.with("policy_code", self.snapshot.code_of(answer));
        let note = answer.first_forbid().and_then(|id| self.snapshot.note(id));
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
