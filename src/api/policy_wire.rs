//! Between the wire and explanations. What a message says is bounded here; what it means, the reader of test cases says.

use super::proto;
use crate::{
    exchange::{ExplainInput, ExplainReply},
    model::{AgentId, ClientAlias, Fault, Reason, fault::cut, scope::SCOPES_MAX},
    policy::workbench::{
        DeterminingPolicy, ExplainedDecision, ExplainedQuestion, Fact, Inquiry, Missed, MissingCondition, NearMiss,
    },
};
use proto::{explain_request::What, near_miss::Kind};

/// Facts of one request.
const FACTS_MAX: usize = 64;
/// Bytes of a text that is given back.
const TEXT_BYTES_MAX: usize = 4096;

pub(super) fn what(request: proto::ExplainRequest) -> Result<ExplainInput, Fault> {
    match request.what {
        Some(What::Decision(id)) => Ok(ExplainInput::Decision(id)),
        Some(What::Inquiry(asked)) => inquiry(asked, []),
        None => Err(Fault::field(Reason::FieldRequired, "what", "name a decision, or say a request")),
    }
}

pub(super) fn what_if(request: proto::WhatIfRequest) -> Result<ExplainInput, Fault> {
    if request.facts.len() > FACTS_MAX {
        return Err(Fault::field(Reason::FieldInvalid, "facts", "are too many"));
    }
    let missing = || Fault::field(Reason::FieldRequired, "inquiry", "say a request");
    let mut facts: Vec<(String, String)> = request.facts.into_iter().collect();
    facts.sort();
    inquiry(request.inquiry.ok_or_else(missing)?, facts)
}

fn inquiry(asked: proto::Inquiry, facts: impl IntoIterator<Item = (String, String)>) -> Result<ExplainInput, Fault> {
    let wrong = |wrong: &str| Fault::field(Reason::FieldInvalid, "inquiry", wrong);
    let agent = AgentId::parse(&asked.agent).ok_or_else(|| wrong("names no agent"))?;
    let client = ClientAlias::parse(&asked.client).ok_or_else(|| wrong("names no client"))?;
    if asked.scopes.len() > SCOPES_MAX {
        return Err(wrong("has too many scopes"));
    }
    let mut inquiry = Inquiry::default();
    let words = [("agent", asked.agent), ("client", asked.client), ("flow", asked.flow), ("action", asked.action)];
    let say = |inquiry: &mut Inquiry| -> Result<(), String> {
        for (key, word) in words.into_iter().filter(|(_, word)| !word.is_empty()) {
            inquiry.say_text(key, &word)?;
        }
        if !asked.scopes.is_empty() {
            inquiry.say_scopes(&asked.scopes);
        }
        facts.into_iter().try_for_each(|(key, value)| match key.as_str() {
            "agent" | "client" | "flow" | "action" | "scope" | "scopes" => {
                Err(format!("{key} is the request's to say"))
            }
            _ => inquiry.say(&key, &value),
        })
    };
    say(&mut inquiry).map_err(|e| Fault::field(Reason::FieldInvalid, "facts", e))?;
    Ok(ExplainInput::Inquiry(Box::new(inquiry), agent, client))
}

pub(super) fn explanation(reply: ExplainReply) -> proto::Explanation {
    let explained = reply.explanation;
    proto::Explanation {
        allowed: explained.allowed,
        decisions: explained.decisions.into_iter().map(decision).collect(),
        notes: explained.notes,
        policy_generation: reply.policy.generation,
        policy_digest: reply.policy.policy_digest.to_string(),
    }
}

fn decision(decision: ExplainedDecision) -> proto::ExplainedDecision {
    let terms = decision.terms.into_iter();
    proto::ExplainedDecision {
        operation: decision.operation,
        event_uid: decision.event.unwrap_or_default(),
        decision_id: decision.decision_id.unwrap_or_default(),
        allowed: decision.allowed,
        deny_kind: decision.deny_kind.unwrap_or_default(),
        unmet: decision.unmet.unwrap_or_default(),
        terms: terms.map(|it| proto::ExplainedTerm { term: it.term, value: it.value, policies: it.by }).collect(),
        differs: decision.differs,
        questions: decision.questions.into_iter().map(question).collect(),
    }
}

fn question(question: ExplainedQuestion) -> proto::ExplainedQuestion {
    proto::ExplainedQuestion {
        part: question.part,
        principal: question.principal,
        action: question.action,
        resource: question.resource,
        allowed: question.allowed,
        code: question.code.unwrap_or_default(),
        policies: question.determining.into_iter().map(policy).collect(),
        errors: question.errors.into_iter().map(|error| cut(error, TEXT_BYTES_MAX)).collect(),
        near_misses: question.near_misses.into_iter().map(near).collect(),
        farther_count: u32::try_from(question.farther).unwrap_or(u32::MAX),
    }
}

fn policy(it: DeterminingPolicy) -> proto::ExplainedPolicy {
    let missing = |MissingCondition { clause: text, facts }| clause(text, facts);
    proto::ExplainedPolicy {
        id: it.policy.id,
        forbids: it.policy.effect == "forbid",
        annotations: it.policy.annotations.into_iter().collect(),
        text: cut(it.policy.text, TEXT_BYTES_MAX),
        missing: it.missing.into_iter().map(missing).collect(),
    }
}

fn near(miss: NearMiss) -> proto::NearMiss {
    let kind = match miss.missed {
        Missed::Condition => Kind::Condition,
        Missed::Expired => Kind::Expired,
        Missed::Principal => Kind::Principal,
        Missed::Resource => Kind::Resource,
    };
    proto::NearMiss {
        policy: miss.policy,
        kind: kind.into(),
        clause: Some(clause(miss.clause, miss.facts)),
        also: miss.also.into_iter().map(|text| cut(text, TEXT_BYTES_MAX)).collect(),
    }
}

fn clause(text: String, facts: Vec<Fact>) -> proto::ExplainedClause {
    let facts = facts.into_iter().map(|Fact { name, value }| proto::ExplainedFact { name, value });
    proto::ExplainedClause { text: cut(text, TEXT_BYTES_MAX), facts: facts.collect() }
}
