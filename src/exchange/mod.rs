//! THE CORRIDOR. Rooms never call each other; only here does a request walk from one to the next, each ticket handed
//! over where the next room asks for it.
//!
//! [`resolve_challenge`](Corridor::resolve_challenge), which only looks; [`begin`](Corridor::begin) or [`register`](Corridor::register), [`redeem`](Corridor::redeem),
//! [`token`](Corridor::token) with its refresh, [`watch`](Corridor::watch), [`exchange`](Corridor::exchange) and
//! [`obtain`](Corridor::obtain) with the request they share, [`sign_proof`](Corridor::sign_proof) and
//! [`revoke`](Corridor::revoke) each read top to bottom. So do those of operators, [`freeze`](Corridor::freeze) first.

mod admin;
mod approval;
mod begin;
mod bundles;
mod challenge;
mod delegate;
mod freeze;
mod keeping;
mod overtaken;
mod pending;
mod person;
mod proof;
mod redeem;
mod refresh;
mod register;
mod reload;
mod request;
mod revoke;
mod shadow;
mod token;
mod watch;

pub use admin::{GrantsReply, PAGE, PAGE_MAX, StatusReply};
pub use approval::{Approvals, request_digest};
pub use begin::{BeginInput, BegunReply};
pub use challenge::{AuthorizationOption, ChallengeInput, ResolvedReply};
pub use delegate::{ExchangeInput, ObtainInput, SubjectInput};
pub use freeze::{FrozenReply, Toll};
pub use proof::ProofInput;
pub use redeem::RedeemInput;
pub use register::RegisterInput;
pub use reload::{ReloadReply, Reloaded, first_set};
pub use revoke::RevokedReply;
pub use token::TokenInput;
pub use watch::{Due, Given, Watching};

use crate::{
    audit::{Code, Event, Recorder, Severity},
    caller::Caller,
    config::Config,
    grant::{Ended, Grants},
    model::{DecisionId, Fault, Reason, Wall, fault::Detection},
    oauth::{AuthorizationServers, BundleSource, ProtectedResources},
    platform::{Clock, Entropy, Work, entropy::uuid_v7},
    policy::{Policies, Refused},
    transaction::{Begun, Transactions},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Every room a request walks through.
pub struct Corridor {
    /// The configuration.
    pub config: Arc<Config>,
    /// Policy.
    pub policies: Arc<Policies>,
    /// Transactions.
    pub transactions: Arc<Transactions>,
    /// Authorization servers.
    pub servers: Arc<AuthorizationServers>,
    /// APIs' own metadata.
    pub resources: Arc<ProtectedResources>,
    /// The server of policy bundles, if they come from one.
    pub bundles: Option<BundleSource>,
    /// Grants.
    pub grants: Arc<Grants>,
    /// The audit log.
    pub recorder: Recorder,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Entropy.
    pub entropy: Arc<dyn Entropy>,
    /// What is under way.
    pub work: Arc<Work>,
    /// Approvals that were taken.
    pub approvals: Arc<Approvals>,
}

/// A request that was registered.
pub struct RegisteredReply {
    /// Its facts.
    pub begun: Arc<Begun>,
    /// The decision.
    pub decision: DecisionId,
}

/// Grants whose tokens are revoked at once at a stop.
const REVOKED_AT_ONCE: usize = 16;

/// What a stop leaves behind.
#[derive(Default, Clone, Copy, Debug)]
pub struct Left {
    /// Grants whose tokens agents hold.
    pub grants: usize,
    /// Refresh tokens that nobody holds any more, and that live at their server until they end there.
    pub refresh_tokens: usize,
    /// Grants that the next run holds again.
    pub stored: usize,
}

/// When this program was built, in milliseconds: a clock before that is wrong.
const BUILT: Wall = Wall(include!(concat!(env!("OUT_DIR"), "/built_millis")));

/// Whether a clock may be right: it is not before this program was built.
#[must_use]
pub fn is_plausible(wall: Wall) -> bool {
    wall >= BUILT
}

impl Corridor {
    /// A fresh decision id.
    fn decision(&self) -> Result<DecisionId, Fault> {
        uuid_v7(&*self.entropy, self.clock.wall().0).map(DecisionId)
    }

    /// Refuses to issue anything on a clock that cannot be right.
    fn plausible_clock(&self) -> Result<(), Fault> {
        if self.clock_is_plausible() { Ok(()) } else { Err(Reason::ClockImplausible.into()) }
    }

    /// Whether the clock is later than this program.
    #[must_use]
    pub fn clock_is_plausible(&self) -> bool {
        is_plausible(self.clock.wall())
    }

    /// Refuses a frozen agent at once, whatever it asks for.
    async fn refuse_frozen(&self, operation: &'static str, caller: &Caller) -> Result<(), Fault> {
        match self.policies.freezes().admit_agent(&caller.agent().id) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.refuse(refusal(operation, caller), fault).await),
        }
    }

    /// Records a refusal before it is told, and what the SOC should know of it.
    async fn refuse(&self, event: Event, fault: Fault) -> Fault {
        tracing::debug!(operation = event.operation, reason = fault.reason.name(), "refused");
        let event = event.failed(&fault, Severity::Low);
        if let Some(detection) = event.detection(&fault) {
            self.recorder.report(detection);
        }
        match self.recorder.durable(event).await {
            Ok(()) => fault,
            Err(unavailable) => unavailable,
        }
    }

    /// Records a no of policy before it is told.
    async fn deny(&self, event: Event, refused: Refused) -> Fault {
        tracing::debug!(operation = event.operation, reason = refused.fault.reason.name(), "policy says no");
        // A freeze says no before any policy is asked.
        let before = refused.verdict.is_none() && refused.fault.reason == Reason::Frozen;
        let event = if before { Event { code: Code::ExchangeRefused, ..event } } else { event };
        match self.recorder.durable(event.refused(&refused)).await {
            Ok(()) => refused.fault,
            Err(unavailable) => unavailable,
        }
    }

    /// Tells the SOC of something in a call that goes on all the same.
    pub fn alert(&self, operation: &'static str, caller: &Caller, detection: Detection, evidence: &'static str) {
        let mut event = Event::new(Code::Detected(detection), operation).by(caller).with("evidence", evidence);
        event.severity = Severity::High;
        self.recorder.report(event);
    }

    /// Records that a peer was turned away at the door.
    pub async fn reject(&self, operation: &'static str, evidence: String, fault: Fault) -> Fault {
        let event = Event::new(Code::AgentRejected, operation).with("peer", evidence);
        let event = event.failed(&fault, Severity::Medium);
        if let Some(detection) = event.detection(&fault) {
            self.recorder.report(detection);
        }
        match self.recorder.durable(event).await {
            Ok(()) => fault,
            Err(unavailable) => unavailable,
        }
    }

    /// Lets go of every grant at a stop. Revoked is what never reached its agent, for nobody can ask for it again, and
    /// what its issuer's `revoke_on_stop` says; the rest lives until it ends by itself.
    pub fn let_go(&self) -> Left {
        let mut left = Left::default();
        let turns = Arc::new(Semaphore::new(REVOKED_AT_ONCE));
        for grant in self.grants.take_all() {
            let why = match () {
                () if !grant.is_delivered() => "stopped_undelivered",
                () if grant.kept.begun.opening.issuer.revoke_on_stop => "stopped",
                () => {
                    let stored = self.grants.save_last(&grant);
                    left.grants += 1;
                    left.stored += usize::from(stored);
                    left.refresh_tokens += usize::from(grant.is_refreshable() && !stored);
                    continue;
                }
            };
            drop(self.grants.forget(&grant));
            let (servers, turns) = (Arc::clone(&self.servers), Arc::clone(&turns));
            let underway = self.work.enter_always();
            tokio::spawn(async move {
                // It is never closed; with many grants the servers are not asked all at once.
                let _turn = turns.acquire().await;
                if let Some(disposal) = grant.remains() {
                    servers.revoke(disposal, why, grant.kept.decided.id).await;
                }
                drop(underway);
            });
        }
        left
    }

    /// Revokes and forgets what has ended by itself, every so often, until the end of the process. With very many grants
    /// less often: a twentieth of one processor's time at most goes into it.
    pub async fn keep_tidy(self: Arc<Self>, every: Duration) {
        let mut took = Duration::ZERO;
        loop {
            tokio::time::sleep(every.max(took.saturating_mul(20))).await;
            let began = self.clock.boot();
            self.keep_freezes_again();
            self.grants.save_uses();
            for (grant, why) in self.grants.sweep() {
                if let Some(disposal) = grant.remains() {
                    let word = if why == Ended::Expired { "token_ended" } else { "reply_lost" };
                    self.servers.dispose(disposal, word, grant.kept.decided.id);
                }
            }
            took = self.clock.boot().since(began);
        }
    }
}

/// An event of a refusal that has a caller and nothing more.
fn refusal(operation: &'static str, caller: &Caller) -> Event {
    Event::new(Code::ExchangeRefused, operation).by(caller)
}
