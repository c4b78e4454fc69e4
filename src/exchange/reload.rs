//! Reload: policies, agents and APIs taken anew from their files while calls go on. Read until they hold still, held
//! against themselves, swapped whole; what has a mistake changes nothing. Whoever is not registered any more loses what
//! is held for it.

use super::{Corridor, Toll, freeze::REVOKED_WITHIN};
use crate::{
    audit::{Actor, Code, Event, Severity},
    caller::AttestedOperator,
    config::{Finding, about},
    grant::GrantFilter,
    model::{AgentId, DecisionId, Fault, FreezeTarget, Reason},
    platform::trace,
    policy::{self, AdminAction, Look, Snapshot, Sources, Trigger},
};
use std::sync::Arc;

/// Looks at the files' metadata until their texts are read all the same: a net for file systems that tell nothing.
const READ_EVERY: u32 = 30;
/// Bytes of a mistake in the log.
const MISTAKE_BYTES_MAX: usize = 512;

/// What a look at the files came to.
#[derive(Clone)]
pub enum Reloaded {
    /// Another set is current.
    Activated(Arc<Snapshot>),
    /// Nothing is new; the set that is current, if one is.
    Unchanged(Option<Arc<Snapshot>>),
    /// Every mistake. The set that is current goes on, if one is.
    Refused(Vec<Finding>, Option<Arc<Snapshot>>),
}

/// The outcome of an operator's reload.
pub struct ReloadReply {
    /// What came of it.
    pub reloaded: Reloaded,
    /// The decision.
    pub decision: DecisionId,
}

/// The event of a set that becomes current, after this one.
#[must_use]
pub fn activated(set: &Snapshot, before: Option<&Snapshot>, trigger: Trigger) -> Event {
    let sha256 = |hex: &str| format!("sha256:{hex}");
    let mut event = Event::new(Code::PolicyActivated, "policy")
        .with("trigger", trigger.as_str())
        .with("generation", set.generation)
        .with("policy_count", set.len())
        .with("policy_digest", sha256(&set.policy_digest))
        .with("schema_digest", sha256(&set.schema_digest))
        .with("entities_digest", sha256(&set.entities_digest));
    if let Some(before) = before {
        event = event
            .with("previous_generation", before.generation)
            .with("previous_policy_digest", sha256(&before.policy_digest))
            .with("previous_entities_digest", sha256(&before.entities_digest));
    }
    match set.first_expiry() {
        Some((day, id)) => event.with("first_expiry", format!("{day} {id}")),
        None => event,
    }
}

/// The event of a set that was not taken; without one that is current every call is refused.
#[must_use]
pub fn rejected(findings: &[Finding], current: Option<&Snapshot>, trigger: Trigger) -> Event {
    for finding in findings {
        tracing::error!("{finding}");
    }
    let mut event = Event::new(Code::PolicyRejected, "policy")
        .with("trigger", trigger.as_str())
        .with("mistakes", findings.len())
        .with("first_mistake", findings.first().map(|finding| short(&finding.to_string())))
        .with("generation", current.map(|set| set.generation));
    event.severity = if current.is_some() { Severity::High } else { Severity::Critical };
    event.reason = current.is_none().then_some(Reason::PolicyNotLoaded);
    event
}

/// The beginning of a text.
fn short(text: &str) -> String {
    let end = (0..=MISTAKE_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

impl Corridor {
    /// Takes policies, agents and APIs anew, if there is anything new. One at a time; it is seen through whether anyone
    /// waits for it or not.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger) -> Reloaded {
        self.reload_by(trigger, None).await
    }

    async fn reload_by(self: &Arc<Self>, trigger: Trigger, by: Option<(Actor, DecisionId)>) -> Reloaded {
        let (this, underway) = (Arc::clone(self), self.work.enter_always());
        let seen_through = trace::spawn(async move {
            let _turn = this.policies.turn().await;
            let sources = Sources::settled(&this.config).await;
            let look = match sources {
                Ok(sources) => this.look(sources).await,
                Err(findings) => Look::Refused(findings),
            };
            let reloaded = this.settle_look(look, trigger, by);
            drop(underway);
            reloaded
        });
        seen_through.await.unwrap_or_else(|_| Reloaded::Refused(Vec::new(), self.policies.current()))
    }

    /// Parses away from the threads that serve calls.
    async fn look(self: &Arc<Self>, sources: Sources) -> Look {
        let (config, running) = (Arc::clone(&self.config), self.policies.current());
        let next = (self.policies.next_generation(), self.clock.wall());
        let looking = tokio::task::spawn_blocking(move || policy::look(&config, &sources, running.as_deref(), next));
        looking.await.unwrap_or_else(|_| {
            let fault = "could not be looked at: a fault in narrowgate";
            Look::Refused(vec![about(&self.config.policies, fault)])
        })
    }

    fn settle_look(self: &Arc<Self>, look: Look, trigger: Trigger, by: Option<(Actor, DecisionId)>) -> Reloaded {
        let current = self.policies.current();
        let attributed = |event: Event| match &by {
            Some((actor, decision)) => Event { actor: Some(actor.clone()), ..event.of(*decision) },
            None => event,
        };
        match look {
            Look::Unchanged => {
                self.policies.was_unchanged();
                Reloaded::Unchanged(current)
            }
            Look::Refused(findings) => {
                let is_new = self.policies.was_refused(&findings, trigger);
                if self.config.reloading.fail_closed {
                    self.policies.withdraw();
                }
                let current = self.policies.current();
                if is_new || trigger != Trigger::Watch {
                    self.recorder.report(attributed(rejected(&findings, current.as_deref(), trigger)));
                }
                Reloaded::Refused(findings, current)
            }
            Look::Changed(prepared) => {
                let set = prepared.snapshot;
                let left = self.unregistered(&set);
                let event = activated(&set, current.as_deref(), trigger).with("cases_passed", prepared.cases_passed);
                // Before it counts: what is decided under it comes after it in the log.
                self.recorder.report(attributed(event.with("agents_removed", left.len())));
                let generation = set.generation;
                tracing::info!(
                    generation,
                    policies = set.len(),
                    trigger = trigger.as_str(),
                    "another policy set is active"
                );
                self.policies.replace(set);
                self.policies.was_activated(generation, trigger);
                left.into_iter().for_each(|agent| self.deregister(agent));
                self.policies.current().map_or(Reloaded::Unchanged(None), Reloaded::Activated)
            }
        }
    }

    /// The agents that the estate of now has, and that of this set has not.
    fn unregistered(&self, next: &Snapshot) -> Vec<AgentId> {
        let estate = self.policies.estate();
        let gone = estate.registry.agents().filter(|agent| next.estate.registry.agent(&agent.id).is_none());
        gone.map(|agent| agent.id.clone()).collect()
    }

    /// Ends and revokes what is held for an agent that is not registered any more, as a freeze does.
    fn deregister(self: &Arc<Self>, agent: AgentId) {
        let Ok(decision) = self.decision() else { return };
        let target = FreezeTarget::Agent(agent);
        let (ended, forgotten) = self.grants.end_where(&GrantFilter::Of(target.clone()));
        let transactions = self.transactions.end_of(&target);
        tracing::warn!(%target, grants = ended.len(), transactions, "not registered any more");
        let (this, underway) = (Arc::clone(self), self.work.enter_always());
        drop(trace::spawn(async move {
            let toll = Toll { grants: ended.len(), transactions, ..Toll::default() };
            let revoking = this.revoke_all(ended, "agent_removed", decision);
            let kept = this.grants.settle_end(forgotten).await;
            let toll = revoking.within(toll, REVOKED_WITHIN).await;
            let event = Event::new(Code::AgentRemoved, "policy").of(decision).with("target", target.to_string());
            let event = toll.on(event).with("kept", kept.err().map(|fault| fault.reason.name()));
            this.recorder.report(Event { severity: Severity::Medium, ..event });
            drop(underway);
            this.sweep_again(&target).await;
        }));
    }

    /// A call that was permitted before the swap may have kept a grant after it. By now its record is there or it came to
    /// nothing; nobody can ask for that grant any more.
    async fn sweep_again(self: &Arc<Self>, target: &FreezeTarget) {
        let audit = &self.config.audit;
        self.work.pause(audit.commit_timeout + audit.outcome_hold).await;
        let FreezeTarget::Agent(agent) = target else { return };
        if self.policies.estate().registry.agent(agent).is_some() {
            return;
        }
        let Ok(decision) = self.decision() else { return };
        let (ended, forgotten) = self.grants.end_where(&GrantFilter::Of(target.clone()));
        drop((self.revoke_all(ended, "agent_removed", decision), forgotten));
    }

    /// Takes policies, agents and APIs anew, because an operator says so.
    ///
    /// # Errors
    /// What the operator is told; recorded. A set with mistakes is none of them: the reply says what they are.
    pub async fn admin_reload(self: &Arc<Self>, operator: AttestedOperator) -> Result<ReloadReply, Fault> {
        let _underway = self.work.enter()?;
        let permitted = self.admit_recorded(operator, "Reload", AdminAction::Reload).await?;
        let decision = permitted.verdict().id;
        let by = (Actor::from(permitted.operator()), decision);
        let reloaded = self.reload_by(Trigger::Operator, Some(by)).await;
        let (word, mistakes) = match &reloaded {
            Reloaded::Activated(_) => ("activated", 0),
            Reloaded::Unchanged(_) => ("unchanged", 0),
            Reloaded::Refused(findings, _) => ("refused", findings.len()),
        };
        let generation = self.policies.current().map(|set| set.generation);
        let done = Self::completed(&permitted).with("outcome", word).with("mistakes", mistakes);
        self.recorder.durable(done.with("generation", generation)).await?;
        Ok(ReloadReply { reloaded, decision })
    }

    /// Looks at the files every so often, and takes them anew when they no longer look as they did when the set was read
    /// that the daemon started with, until the end of the process.
    pub async fn keep_current(self: Arc<Self>, at_start: [u8; 32]) {
        let every = self.config.reloading.check_every;
        let mut seen = Some(at_start);
        let mut looks: u32 = 0;
        loop {
            tokio::time::sleep(every).await;
            let config = Arc::clone(&self.config);
            let now = tokio::task::spawn_blocking(move || Sources::glance(&config)).await.ok();
            if now == seen && looks < READ_EVERY {
                self.policies.is_as_it_was();
                looks += 1;
            } else {
                // What is written from here on is seen at the next look.
                (seen, looks) = (now, 0);
                self.reload(Trigger::Watch).await;
            }
        }
    }
}
