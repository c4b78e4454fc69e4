//! Reload: policies, agents and APIs taken anew from their files while calls go on. Read until they hold still, held
//! against themselves, swapped whole; what has a mistake changes nothing. What is not registered any more loses what
//! is held for it.

use super::{
    Corridor, Toll,
    bundles::{First, Read, from_bundle, prepare_first},
    freeze::REVOKED_WITHIN,
    pending,
};
use crate::{
    audit::{Actor, Code, Event, Recorder, Severity},
    caller::AttestedOperator,
    config::{Api, Config, Estate, Finding, about},
    grant::GrantFilter,
    model::{AgentId, DecisionId, Fault, FreezeTarget, Reason},
    platform::{Clock, bundle::Signed, trace},
    policy::{self, AdminAction, Freezes, Look, Pending, Policies, Prepared, Snapshot, Sources, Trigger, Witness},
    transaction::Opening,
};
use std::{fmt, sync::Arc};

/// Looks at the files' metadata until their texts are read all the same: a net for file systems that tell nothing.
const READ_EVERY: u32 = 30;
/// Why a token is revoked.
const REMOVED: &str = "registration_removed";
/// Mistakes that are logged one by one.
pub(super) const LOGGED_MAX: usize = 200;
/// Bytes of a mistake in the audit log.
const MISTAKE_BYTES_MAX: usize = 512;

/// What a look at the files came to.
#[derive(Clone)]
pub enum Reloaded {
    /// Another set is current.
    Activated(Arc<Snapshot>),
    /// Nothing is new; the set that is current, if one is.
    Unchanged(Option<Arc<Snapshot>>),
    /// A sound set that waits for an operator's word. The set that is current goes on, if one is.
    Pending(Arc<Pending>, Option<Arc<Snapshot>>),
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

/// What is not registered any more.
enum Departed {
    /// An agent.
    Agent(AgentId),
    /// An API: it is gone, or another one has its alias.
    Api(Arc<Api>),
}

impl Departed {
    fn is_gone_from(&self, estate: &Estate) -> bool {
        match self {
            Self::Agent(id) => estate.registry.agent(id).is_none(),
            Self::Api(api) => estate.catalog.apis.get(&api.alias).is_none_or(|now| !now.is_the_same(api)),
        }
    }

    fn filter(&self) -> GrantFilter {
        match self {
            Self::Agent(id) => GrantFilter::Of(FreezeTarget::Agent(id.clone())),
            Self::Api(api) => GrantFilter::Api(Arc::clone(api)),
        }
    }
}

impl fmt::Display for Departed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => write!(f, "agent {id}"),
            Self::Api(api) => write!(f, "api {}", api.alias),
        }
    }
}

/// The set that a daemon starts with, on record: or none and every mistake, and then every call is refused until there is
/// one. A start takes the same sets as a reload, their own cases included, or a restart would let in what a reload has
/// refused.
#[must_use]
pub fn first_set(
    config: &Config,
    clock: Arc<dyn Clock>,
    freezes: Freezes,
    recorder: &Recorder,
    witness: Arc<Witness>,
) -> (Arc<Policies>, Vec<Finding>) {
    let prepared = prepare_first(config, |sources| policy::prepare(config, sources, 1, Some(clock.wall())));
    let policies =
        |first| Arc::new(Policies::new(first, Arc::clone(&config.estate), clock).under(freezes).seen_by(witness));
    match prepared {
        Ok(First { prepared: Prepared { snapshot, cases_passed, digest, .. }, signed, wrong }) => {
            let event = activated(&snapshot, None, Trigger::Start).with("cases_passed", cases_passed);
            recorder.report(from_bundle(event, signed.as_deref()));
            if !wrong.is_empty() {
                tracing::error!("the bundle that was taken last is in force: what is there now is not sound");
                recorder.report(rejected(&wrong, Some(&snapshot), Trigger::Start));
            }
            let policies = policies(Some(snapshot));
            policies.was_activated(1, Trigger::Start, digest);
            if !wrong.is_empty() {
                policies.was_refused(&wrong, Trigger::Start);
            }
            (policies, wrong)
        }
        Err(findings) => {
            recorder.report(rejected(&findings, None, Trigger::Start));
            tracing::error!("no valid policy set: every call is refused");
            let policies = policies(None);
            policies.was_refused(&findings, Trigger::Start);
            (policies, findings)
        }
    }
}

/// The event of a set that becomes current, after this one.
fn activated(set: &Snapshot, before: Option<&Snapshot>, trigger: Trigger) -> Event {
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
fn rejected(findings: &[Finding], current: Option<&Snapshot>, trigger: Trigger) -> Event {
    for finding in findings.iter().take(LOGGED_MAX) {
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
pub(super) fn short(text: &str) -> String {
    let end = (0..=MISTAKE_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

impl Corridor {
    /// Takes policies, agents and APIs anew, if there is anything new. One at a time; it is seen through whether anyone
    /// waits for it or not.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger) -> Reloaded {
        self.reload_by(trigger, None, None).await
    }

    async fn reload_by(
        self: &Arc<Self>,
        trigger: Trigger,
        by: Option<(Actor, DecisionId)>,
        accepted: Option<String>,
    ) -> Reloaded {
        let (this, underway) = (Arc::clone(self), self.work.enter_always());
        let seen_through = trace::spawn(async move {
            let _turn = this.policies.turn().await;
            let (look, signed) = match this.read_sources(trigger).await {
                Read::AsItWas => {
                    this.policies.is_as_it_was();
                    this.reload_shadow(trigger).await;
                    return Reloaded::Unchanged(this.policies.current());
                }
                Read::Not(look) => (look, None),
                Read::Texts(sources) => {
                    let signed = sources.bundle().cloned();
                    let look = this.look(sources).await;
                    // What waits for an operator was not taken.
                    let waits =
                        matches!(&look, Look::Changed(it) if this.waits(it, trigger, accepted.as_deref()).is_some());
                    (if waits { look } else { this.keep_bundle(signed.clone(), look).await }, signed)
                }
            };
            let reloaded = this.settle_look(look, (trigger, by), accepted.as_deref(), signed.as_deref());
            // Its estate is that of the active set.
            this.reload_shadow(trigger).await;
            drop(underway);
            reloaded
        });
        seen_through.await.unwrap_or_else(|_| Reloaded::Refused(Vec::new(), self.policies.current()))
    }

    /// Parses away from the threads that serve calls.
    async fn look(self: &Arc<Self>, sources: Sources) -> Look {
        let (config, running) = (Arc::clone(&self.config), self.policies.current());
        let policies = Arc::clone(&self.policies);
        let (next, sound) = ((self.policies.next_generation(), self.clock.wall()), self.policies.standing().sound);
        let looking = tokio::task::spawn_blocking(move || {
            let mut look = policy::look(&config, &sources, (running.as_deref(), sound), next);
            if let Look::Changed(prepared) = &mut look {
                prepared.weakening = policies.witness().denials.again(&prepared.snapshot);
            }
            look
        });
        looking.await.unwrap_or_else(|_| {
            let fault = "could not be looked at: a fault in narrowgate";
            Look::Refused(vec![about(&self.config.policies, fault)])
        })
    }

    fn settle_look(
        self: &Arc<Self>,
        look: Look,
        (trigger, by): (Trigger, Option<(Actor, DecisionId)>),
        accepted: Option<&str>,
        signed: Option<&Signed>,
    ) -> Reloaded {
        let withdraws = self.config.reloading.fail_closed && matches!(look, Look::Refused(_));
        let current = self.policies.current();
        let attributed = |event: Event| match &by {
            Some((actor, decision)) => Event { actor: Some(actor.clone()), ..event.of(*decision) },
            None => event,
        };
        match look {
            Look::Unchanged(digest) => {
                self.policies.was_unchanged(digest);
                Reloaded::Unchanged(current)
            }
            Look::Refused(findings) | Look::Unfetched(findings) => {
                let is_new = self.policies.was_refused(&findings, trigger);
                if withdraws {
                    self.policies.withdraw();
                }
                let current = self.policies.current();
                if is_new || trigger != Trigger::Watch {
                    self.recorder.report(attributed(rejected(&findings, current.as_deref(), trigger)));
                }
                Reloaded::Refused(findings, current)
            }
            Look::Changed(prepared) => {
                if let Some(pending) = self.waits(&prepared, trigger, accepted) {
                    let known = self.policies.was_kept_waiting(Arc::clone(&pending));
                    if !known || trigger != Trigger::Watch {
                        self.recorder.report(attributed(pending::activation_refused(&pending, current.as_deref())));
                    }
                    return Reloaded::Pending(pending, current);
                }
                let Prepared { snapshot: set, cases_passed, digest, weakening } = *prepared;
                let gone = self.departed(&set);
                let event = activated(&set, current.as_deref(), trigger).with("cases_passed", cases_passed);
                let event = pending::weakening(event, &weakening);
                let event =
                    event.with("weakening_accepted", (accepted.is_some() && weakening.allowed > 0).then_some(true));
                // Before it counts: what is decided under it comes after it in the log.
                let event = from_bundle(event.with("registrations_removed", gone.len()), signed);
                self.recorder.report(attributed(event));
                let (generation, policies) = (set.generation, set.len());
                tracing::info!(generation, policies, trigger = trigger.as_str(), "another policy set is active");
                self.policies.replace(set);
                self.policies.was_activated(generation, trigger, digest);
                self.policies.was_weakened(&weakening);
                gone.into_iter().for_each(|it| self.deregister(it));
                // A large set takes time to be taken apart.
                drop(tokio::task::spawn_blocking(move || drop(current)));
                self.policies.current().map_or(Reloaded::Unchanged(None), Reloaded::Activated)
            }
        }
    }

    /// What the estate of now has, and that of this set has not.
    fn departed(&self, next: &Snapshot) -> Vec<Departed> {
        let (estate, next) = (self.policies.estate(), &next.estate);
        let agents = estate.registry.agents().map(|agent| Departed::Agent(agent.id.clone()));
        let all = agents.chain(estate.catalog.apis.values().map(|api| Departed::Api(Arc::clone(api))));
        all.filter(|it| it.is_gone_from(next)).collect()
    }

    /// Ends and revokes what is held for it, as a freeze does.
    fn deregister(self: &Arc<Self>, gone: Departed) {
        let Ok(decision) = self.decision() else { return };
        let (ended, forgotten) = self.grants.end_where(&gone.filter());
        let transactions = match &gone {
            Departed::Agent(agent) => self.transactions.end_of(&FreezeTarget::Agent(agent.clone())),
            Departed::Api(gone) => {
                let of_it = |opening: &Opening| opening.api.as_ref().is_some_and(|api| api.is_the_same(gone));
                self.transactions.end_where(of_it)
            }
        };
        tracing::warn!(target = %gone, grants = ended.len(), transactions, "not registered any more");
        let (this, underway) = (Arc::clone(self), self.work.enter_always());
        drop(trace::spawn(async move {
            let toll = Toll { grants: ended.len(), transactions, ..Toll::default() };
            let revoking = this.revoke_all(ended, REMOVED, decision);
            let kept = this.grants.settle_end(forgotten).await;
            let toll = revoking.within(toll, REVOKED_WITHIN).await;
            let event = Event::new(Code::RegistrationRemoved, "policy").of(decision).with("target", gone.to_string());
            let event = toll.on(event).with("kept", kept.err().map(|fault| fault.reason.name()));
            this.recorder.report(Event { severity: Severity::Medium, ..event });
            drop(underway);
            this.sweep_again(&gone).await;
        }));
    }

    /// A call that was permitted before the swap may have kept a grant after it. By now its record is there or it came to
    /// nothing; nobody can ask for that grant any more.
    async fn sweep_again(self: &Arc<Self>, gone: &Departed) {
        let audit = &self.config.audit;
        self.work.pause(audit.commit_timeout + audit.outcome_hold).await;
        if !gone.is_gone_from(&self.policies.estate()) {
            return;
        }
        let Ok(decision) = self.decision() else { return };
        let (ended, forgotten) = self.grants.end_where(&gone.filter());
        drop((self.revoke_all(ended, REMOVED, decision), forgotten));
    }

    /// Takes policies, agents and APIs anew, because an operator says so; where they name its digest, also a set that allows
    /// what was denied of late.
    ///
    /// # Errors
    /// What the operator is told; recorded. A set with mistakes is none of them: the reply says what they are.
    pub async fn admin_reload(
        self: &Arc<Self>,
        operator: AttestedOperator,
        accept_weakening: Option<String>,
    ) -> Result<ReloadReply, Fault> {
        let _underway = self.work.enter()?;
        let permitted = self.admit_recorded(operator, "Reload", AdminAction::Reload).await?;
        let decision = permitted.verdict().id;
        let by = (Actor::from(permitted.operator()), decision);
        let reloaded = self.reload_by(Trigger::Operator, Some(by), accept_weakening).await;
        let (word, mistakes) = match &reloaded {
            Reloaded::Activated(_) => ("activated", 0),
            Reloaded::Unchanged(_) => ("unchanged", 0),
            Reloaded::Pending(..) => ("pending", 0),
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
        if self.bundles.is_some() && (self.policies.current().is_none() || self.policies.has_failed()) {
            self.reload(Trigger::Watch).await;
        }
        loop {
            tokio::time::sleep(every).await;
            if self.bundles.is_some() {
                self.reload(Trigger::Watch).await;
                continue;
            }
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
