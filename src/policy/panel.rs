//! The answers that make one decision, collected and closed.

use super::{
    Determining, Facts, Refused, Snapshot, Verdict,
    ask::Answer,
    context::{Base, context, datetime, text},
    entities::uid,
    verdict::DenyKind,
};
use crate::{
    caller::Caller,
    config::Client,
    model::{DecisionId, Fault, ProofDemand, Reason, Scope, Terms, Wall},
};
use cedar_policy::{EntityUid, RestrictedExpression as Expr};

/// Scopes allowed, scopes refused with their reason codes, and evaluation errors.
type Narrowed = (Vec<Scope>, Vec<(Scope, String)>, usize);

/// Collects the answers that make one decision.
#[derive(Clone)]
pub(super) struct Panel<'a> {
    snapshot: &'a Snapshot,
    principal: Result<EntityUid, String>,
    client: Result<EntityUid, String>,
    id: DecisionId,
    gate: Option<Answer>,
    granted: Vec<Scope>,
    refused: Vec<(Scope, String)>,
    answers: Vec<Answer>,
    terms: Terms,
    unmet: Option<&'static str>,
    errors_before: usize,
}

impl<'a> Panel<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, caller: &Caller, client: &Client, id: DecisionId) -> Self {
        Self::about(snapshot, caller, uid("Client", client.alias.as_str()), id)
    }

    /// A panel about this resource.
    pub(super) fn about(
        snapshot: &'a Snapshot,
        caller: &Caller,
        resource: Result<EntityUid, String>,
        id: DecisionId,
    ) -> Self {
        Self {
            snapshot,
            principal: uid("Agent", caller.agent().id.as_str()),
            client: resource,
            id,
            gate: None,
            granted: Vec::new(),
            refused: Vec::new(),
            answers: Vec::new(),
            terms: Terms::default(),
            unmet: None,
            errors_before: 0,
        }
    }

    /// Asks the question about the exchange as a whole.
    pub(super) fn gate<const N: usize>(&mut self, action: &str, base: &Base<'_>, extra: [(&'static str, Expr); N]) {
        let resource = self.client.clone();
        let answer = self.question(action, resource, base, extra.into());
        if answer.allowed {
            self.terms = std::mem::take(&mut self.terms).strictest(answer.terms.clone());
        }
        self.gate = Some(answer);
    }

    /// Asks about each scope; a refused one is kept with its reason code.
    pub(super) fn scopes(&mut self, base: &Base<'_>, flow: &str) {
        for scope in &base.scopes {
            let client = self.client.clone().map(Expr::new_entity_uid);
            let answer = match client {
                Ok(client) => self.question(
                    "grant_scope",
                    uid("Scope", scope.as_str()),
                    base,
                    vec![("client", client), ("flow", text(flow))],
                ),
                Err(_) => continue,
            };
            if answer.allowed {
                self.granted.push((*scope).clone());
                self.terms = std::mem::take(&mut self.terms).strictest(answer.terms.clone());
            } else {
                let code = self.code_of(&answer);
                self.refused.push(((*scope).clone(), code));
            }
            self.answers.push(answer);
        }
    }

    /// The scopes allowed of those asked, and those refused, if some but not all are allowed.
    pub(super) fn narrow(mut self, base: &Base<'_>, flow: &str) -> Option<Narrowed> {
        self.scopes(base, flow);
        let errors = self.answers.iter().map(|a| a.errors).sum();
        (!self.granted.is_empty() && !self.refused.is_empty()).then_some((self.granted, self.refused, errors))
    }

    /// Keeps scopes that were refused before the question was narrowed, and the errors met on the way: an erring
    /// policy is no reason to ask for less.
    pub(super) fn also_refused(&mut self, refused: Vec<(Scope, String)>, errors: usize) {
        self.refused.extend(refused);
        self.errors_before += errors;
    }

    /// Checks that the merged terms can be kept.
    pub(super) fn keep_terms(&mut self, client: &Client, has_audience: bool) {
        let proof_kept = match self.terms.proof {
            None => true,
            Some(ProofDemand::Any | ProofDemand::Mtls) => client.bound_tokens,
            Some(ProofDemand::Dpop | ProofDemand::Contradiction) => false,
        };
        if !proof_kept {
            self.unmet = Some("proof");
        } else if self.terms.single_audience && !has_audience {
            self.unmet = Some("single_audience");
        }
    }

    /// Asks a question that is not about an exchange.
    pub(super) fn bare_gate(&mut self, action: &str, now: Wall, caller: &Facts) {
        let ask = || -> Result<Answer, String> {
            let fields = context([("now", datetime(now)), ("caller", super::context::caller(caller)?)])?;
            Ok(self.snapshot.ask(self.principal.clone()?, uid("Action", action)?, self.client.clone()?, fields))
        };
        self.gate = Some(ask().unwrap_or_else(|_| Answer::error()));
    }

    /// The decision of a gate that no scope hangs on.
    pub(super) fn close_gate(self) -> Result<Verdict, Box<Refused>> {
        self.decide(true, Reason::PolicyDenied).map(|(verdict, _)| verdict)
    }

    fn question(
        &self,
        action: &str,
        resource: Result<EntityUid, String>,
        base: &Base<'_>,
        extra: Vec<(&'static str, Expr)>,
    ) -> Answer {
        let ask = || -> Result<Answer, String> {
            let mut fields = vec![("base", base.expression()?)];
            fields.extend(extra);
            Ok(self.snapshot.ask(self.principal.clone()?, uid("Action", action)?, resource?, context(fields)?))
        };
        ask().unwrap_or_else(|_| Answer::error())
    }

    /// The reason code of a no: that of the first forbid by id, or `no_permit`.
    fn code_of(&self, answer: &Answer) -> String {
        let note = self.first_forbid(answer).and_then(|id| self.snapshot.note(id));
        match note.and_then(|n| n.code.clone()) {
            Some(code) => code,
            None if answer.errors > 0 => "evaluation_error".to_owned(),
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
            generation: self.snapshot.generation,
            determining,
            granted: self.granted,
            refused: self.refused,
            denied,
            errors,
            audit_high: self.terms.audit_high,
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
        }
        fault
    }
}
