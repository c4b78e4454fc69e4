//! A sound set that would allow what was denied of late, and waits for an operator's word.

use super::Corridor;
use crate::{
    audit::{CandidateCode, Event, Severity},
    policy::{Pending, Prepared, Snapshot, Trigger, Weakening},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Puts on an event what a set allows of what was denied.
pub(super) fn weakening(event: Event, found: &Weakening) -> Event {
    let first: Vec<Value> = (found.first.iter())
        .map(|it| {
            let scopes: Vec<&str> = it.scopes.iter().map(crate::model::Scope::as_str).collect();
            json!({ "decision": it.decision.to_string(), "agent": &*it.principal, "scopes": scopes })
        })
        .collect();
    event.with("denials_asked", found.asked).with("weakened", found.allowed).with("weakened_first", first)
}

impl Corridor {
    /// Has a set wait, if it must.
    pub(super) fn waits(&self, prepared: &Prepared, trigger: Trigger, accepted: Option<&str>) -> Option<Arc<Pending>> {
        let Prepared { snapshot, weakening, .. } = prepared;
        let digest = snapshot.set_digest();
        let weakens = weakening.allowed > 0 || self.policies.is_kept_waiting(&digest);
        let is_accepted = accepted == Some(digest.as_str());
        (self.config.reloading.require_ack_for_weakening && weakens && !is_accepted).then(|| {
            Arc::new(Pending {
                at: self.clock.wall(),
                trigger,
                digest,
                policy_digest: Arc::clone(&snapshot.policy_digest),
                entities_digest: Arc::clone(&snapshot.entities_digest),
                weakening: weakening.clone(),
            })
        })
    }
}

/// The event of a set that waits.
pub(super) fn activation_refused(pending: &Pending, current: Option<&Snapshot>) -> Event {
    let allowed = pending.weakening.allowed;
    tracing::error!(
        weakened = allowed,
        digest = %pending.digest,
        "a policy set allows what was denied of late and is not active: `narrowgate admin reload --accept-weakening <digest>`"
    );
    let event = Event::new(CandidateCode::ActivationRefused.into(), "policy")
        .with("trigger", pending.trigger.as_str())
        .with("generation", current.map(|set| set.generation))
        .with("policy_digest", format!("sha256:{}", pending.policy_digest))
        .with("entities_digest", format!("sha256:{}", pending.entities_digest));
    Event { severity: Severity::High, ..weakening(event, &pending.weakening) }
}
