//! `narrowgate admin explain` and `narrowgate admin what-if`: a running daemon asked why.

use super::{
    Exit,
    output::Output,
    policy::explain::{AskedArgs, tell},
};
use crate::{
    api::proto::{
        self, ExplainRequest, Inquiry, WhatIfRequest, explain_request::What, near_miss::Kind,
        policy_service_client::PolicyServiceClient,
    },
    policy::workbench::{
        DeterminingPolicy, ExplainedDecision, ExplainedQuestion, Explanation, Fact, Missed, MissingCondition, NearMiss,
        PolicyExcerpt, TermShown,
    },
};
use clap::Args;
use std::collections::HashMap;
use tonic::{Code, Status, transport::Channel};

/// Bytes of an explanation: policies are long.
const REPLY_BYTES_MAX: usize = 16 << 20;

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// A decision of the daemon's recent audit log: the decision_id that the caller was told, or an event's uid.
    #[arg(long, value_name = "ID", conflicts_with = "agent")]
    event: Option<String>,
    #[command(flatten)]
    asked: AskedArgs,
}

pub(super) async fn explain(channel: Channel, args: ExplainArgs, output: &Output) -> Result<Exit, Status> {
    let asked = args.asked;
    if !asked.fact.is_empty() || asked.now.is_some() {
        return Ok(output.fail(Exit::Usage, "what is otherwise than it is, is for `narrowgate admin what-if` to say"));
    }
    let what = match (args.event, inquiry(&asked)) {
        (Some(id), _) => What::Decision(id),
        (None, Some(inquiry)) => What::Inquiry(inquiry),
        (None, None) => {
            return Ok(output.fail(Exit::Usage, "what is to be explained? --event, or --agent and --client"));
        }
    };
    let mut service = PolicyServiceClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
    let reply = service.explain(ExplainRequest { what: Some(what) }).await?.into_inner();
    told(reply.explanation, output)
}

pub(super) async fn what_if(channel: Channel, asked: AskedArgs, output: &Output) -> Result<Exit, Status> {
    let Some(inquiry) = inquiry(&asked) else {
        return Ok(output.fail(Exit::Usage, "what is asked? --agent and --client"));
    };
    let mut facts: HashMap<String, String> = asked.fact.into_iter().collect();
    facts.extend(asked.now.map(|now| ("now".to_owned(), now)));
    let mut service = PolicyServiceClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
    let request = WhatIfRequest { inquiry: Some(inquiry), facts };
    told(service.what_if(request).await?.into_inner().explanation, output)
}

fn inquiry(asked: &AskedArgs) -> Option<Inquiry> {
    Some(Inquiry {
        agent: asked.agent.clone()?,
        client: asked.client.clone()?,
        scopes: asked.scope.clone(),
        flow: asked.flow.clone().unwrap_or_default(),
        action: asked.action.clone().unwrap_or_default(),
    })
}

fn told(explanation: Option<proto::Explanation>, output: &Output) -> Result<Exit, Status> {
    let explanation = explanation.ok_or_else(|| Status::new(Code::Internal, "the reply has no explanation"))?;
    let explanation = Explanation {
        allowed: explanation.allowed,
        decisions: explanation.decisions.into_iter().map(decision).collect(),
        notes: explanation.notes,
    };
    Ok(tell(&explanation, output))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn decision(decision: proto::ExplainedDecision) -> ExplainedDecision {
    let terms = decision.terms.into_iter();
    ExplainedDecision {
        operation: decision.operation,
        event: some(decision.event_uid),
        decision_id: some(decision.decision_id),
        allowed: decision.allowed,
        deny_kind: some(decision.deny_kind),
        unmet: some(decision.unmet),
        terms: terms.map(|it| TermShown { term: it.term, value: it.value, by: it.policies }).collect(),
        differs: decision.differs,
        questions: decision.questions.into_iter().map(question).collect(),
    }
}

fn question(question: proto::ExplainedQuestion) -> ExplainedQuestion {
    ExplainedQuestion {
        part: question.part,
        principal: question.principal,
        action: question.action,
        resource: question.resource,
        allowed: question.allowed,
        code: some(question.code),
        determining: question.policies.into_iter().map(policy).collect(),
        errors: question.errors,
        near_misses: question.near_misses.into_iter().map(near).collect(),
        farther: usize::try_from(question.farther_count).unwrap_or(usize::MAX),
    }
}

fn policy(policy: proto::ExplainedPolicy) -> DeterminingPolicy {
    let missing = policy.missing.into_iter().map(|clause| {
        let facts = facts(&clause);
        MissingCondition { clause: clause.text, facts }
    });
    DeterminingPolicy {
        missing: missing.collect(),
        policy: PolicyExcerpt {
            id: policy.id,
            effect: if policy.forbids { "forbid" } else { "permit" }.to_owned(),
            place: None,
            annotations: policy.annotations.into_iter().collect(),
            text: policy.text,
        },
    }
}

fn near(miss: proto::NearMiss) -> NearMiss {
    let missed = match miss.kind() {
        Kind::Expired => Missed::Expired,
        Kind::Principal => Missed::Principal,
        Kind::Resource => Missed::Resource,
        Kind::Condition | Kind::Unspecified => Missed::Condition,
    };
    let clause = miss.clause.unwrap_or_default();
    let facts = facts(&clause);
    NearMiss { policy: miss.policy, missed, clause: clause.text, place: None, facts, also: miss.also }
}

fn facts(clause: &proto::ExplainedClause) -> Vec<Fact> {
    clause.facts.iter().map(|it| Fact { name: it.name.clone(), value: it.value.clone() }).collect()
}
