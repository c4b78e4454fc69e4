//! Between the wire and the model, for reloads. Paths and policy texts are for operators to see.

use super::{proto, wire::timestamp};
use crate::{
    config::Finding,
    exchange::{ReloadReply, Reloaded},
    policy::{Failure, Pending, Shadow, Snapshot},
};
use proto::reload_response::Outcome;

/// Mistakes that are told one by one.
const MISTAKES_MAX: usize = 200;
/// Characters of a mistake, and of what to do about it.
const CHARACTERS_MAX: usize = 2000;

pub(super) fn set(set: &Snapshot) -> proto::PolicySet {
    proto::PolicySet {
        generation: set.generation,
        policy_digest: set.policy_digest.to_string(),
        schema_digest: set.schema_digest.to_string(),
        entities_digest: set.entities_digest.to_string(),
        policy_count: count(set.len()),
    }
}

pub(super) fn failure(failure: &Failure, stands: bool) -> proto::ReloadFailure {
    proto::ReloadFailure {
        time: Some(timestamp(failure.at)),
        trigger: failure.trigger.as_str().to_owned(),
        mistake_count: count(failure.mistakes),
        first: Some(mistake(&failure.first)),
        stands,
    }
}

pub(super) fn reloaded(reply: &ReloadReply) -> proto::ReloadResponse {
    let (outcome, current, findings) = match &reply.reloaded {
        Reloaded::Activated(now) => (Outcome::Activated, Some(now), [].as_slice()),
        Reloaded::Unchanged(now) => (Outcome::Unchanged, now.as_ref(), [].as_slice()),
        Reloaded::Pending(_, now) => (Outcome::Pending, now.as_ref(), [].as_slice()),
        Reloaded::Refused(findings, now) => (Outcome::Refused, now.as_ref(), findings.as_slice()),
    };
    proto::ReloadResponse {
        outcome: outcome.into(),
        policy: current.map(|now| set(now)),
        mistakes: findings.iter().take(MISTAKES_MAX).map(mistake).collect(),
        mistake_count: count(findings.len()),
        decision_id: reply.decision.to_string(),
        pending: match &reply.reloaded {
            Reloaded::Pending(waiting, _) => Some(pending(waiting)),
            _ => None,
        },
    }
}

pub(super) fn pending(pending: &Pending) -> proto::PendingSet {
    let first = pending.weakening.first.iter().map(|it| proto::Weakened {
        decision_id: it.decision.to_string(),
        agent: it.principal.to_string(),
        scopes: it.scopes.iter().map(ToString::to_string).collect(),
    });
    proto::PendingSet {
        time: Some(timestamp(pending.at)),
        trigger: pending.trigger.as_str().to_owned(),
        policy_digest: pending.policy_digest.to_string(),
        entities_digest: pending.entities_digest.to_string(),
        denials_asked: count(pending.weakening.asked),
        weakened: count(pending.weakening.allowed),
        first: first.collect(),
        digest: pending.digest.clone(),
    }
}

pub(super) fn shadow(shadow: &Shadow) -> proto::ShadowStatus {
    let (standing, counts) = (shadow.standing(), shadow.counts());
    let [would_allow, would_deny, other_terms, errors] = counts.differences;
    proto::ShadowStatus {
        policy: shadow.current().map(|now| set(&now)),
        time: standing.since.map(timestamp),
        failure: standing.failure.as_ref().map(|it| failure(it, true)),
        compared: counts.compared,
        would_allow,
        would_deny,
        other_terms,
        errors,
        dropped: counts.dropped,
        unrecorded: counts.unrecorded,
    }
}

fn mistake(finding: &Finding) -> proto::Mistake {
    let place = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let (line, column) = finding.position.unwrap_or_default();
    let short = |text: &str| text.chars().take(CHARACTERS_MAX).collect::<String>();
    proto::Mistake {
        file: finding.file.display().to_string(),
        line: place(line),
        column: place(column),
        message: short(&finding.message),
        hint: finding.hint.as_deref().map(short).unwrap_or_default(),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
