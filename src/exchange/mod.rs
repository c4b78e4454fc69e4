//! THE CORRIDOR. Rooms never call each other; only here does a request walk from one to the next, each ticket handed
//! over where the next room asks for it.
//!
//! [`begin`](Corridor::begin), [`redeem`](Corridor::redeem), [`token`](Corridor::token) with its refresh, and
//! [`revoke`](Corridor::revoke) each read top to bottom.

mod begin;
mod redeem;
mod refresh;
mod revoke;
mod token;

pub use begin::{BeginInput, BegunReply};
pub use redeem::RedeemInput;
pub use revoke::RevokedReply;
pub use token::TokenInput;

use crate::{
    audit::{Code, Event, Recorder, Severity},
    caller::Caller,
    config::Config,
    grant::{Ended, Grants},
    model::{DecisionId, Fault, Reason, Wall},
    oauth::AuthorizationServers,
    platform::{Clock, Entropy, Work, entropy::uuid_v7},
    policy::{Policies, Refused},
    transaction::Transactions,
};
use std::{sync::Arc, time::Duration};

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
}

/// When this program was built, in milliseconds: a clock before that is wrong.
const BUILT: Wall = Wall(include!(concat!(env!("OUT_DIR"), "/built_millis")));

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
        self.clock.wall() >= BUILT
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
        match self.recorder.durable(event.refused(&refused)).await {
            Ok(()) => refused.fault,
            Err(unavailable) => unavailable,
        }
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

    /// Revokes what was issued and never reached its agent: after a stop nobody can ask for it again.
    pub fn revoke_undelivered(&self) {
        for grant in self.grants.undelivered() {
            self.grants.end(&grant);
            if let Some(disposal) = grant.remains() {
                self.servers.dispose(disposal, "stopped_undelivered", grant.kept.decided.id);
            }
        }
    }

    /// Revokes and forgets what has ended by itself, every so often, until the end of the process.
    pub async fn keep_tidy(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            for (grant, why) in self.grants.sweep() {
                if let Some(disposal) = grant.remains() {
                    let word = if why == Ended::Expired { "token_ended" } else { "reply_lost" };
                    self.servers.dispose(disposal, word, grant.kept.decided.id);
                }
            }
        }
    }
}

/// An event of a refusal that has a caller and nothing more.
fn refusal(operation: &'static str, caller: &Caller) -> Event {
    Event::new(Code::ExchangeRefused, operation).by(caller)
}
