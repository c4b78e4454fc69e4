//! The kill switch: freeze, unfreeze, and revocation by operators.

use super::{Corridor, REVOKED_AT_ONCE};
use crate::{
    audit::{Actor, Auditable, Code, Event, Severity},
    caller::AttestedOperator,
    grant::{Grant, GrantFilter},
    model::{DecisionId, Fault, FreezeTarget, Reason},
    oauth::Outcome,
    platform::trace,
    policy::{AdminAction, Freeze},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;

/// How long a reply waits for what servers say to revocations. What is not known by then is counted as queued, and the
/// log says what became of it.
pub(super) const REVOKED_WITHIN: Duration = Duration::from_secs(5);

/// What was taken away, and what became of it at the authorization servers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Toll {
    /// Grants that were ended.
    pub grants: usize,
    /// Open transactions that were ended.
    pub transactions: usize,
    /// Tokens whose revocation the server confirmed.
    pub revoked: usize,
    /// Tokens whose revocation is under way, or is tried again.
    pub queued: usize,
    /// Tokens that the server has no way to revoke: they live until they end.
    pub unsupported: usize,
    /// Tokens whose revocation was not confirmed and is not tried again.
    pub failed: usize,
}

/// The outcome of a freeze.
pub struct FrozenReply {
    /// The freeze that holds.
    pub freeze: Freeze,
    /// Whether it is new.
    pub is_new: bool,
    /// What was taken away.
    pub toll: Toll,
    /// The decision.
    pub decision: DecisionId,
}

impl Toll {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Absent => {}
            Outcome::Revoked => self.revoked += 1,
            Outcome::Queued => self.queued += 1,
            Outcome::Unsupported => self.unsupported += 1,
            Outcome::Failed => self.failed += 1,
        }
    }

    fn known(&self) -> usize {
        self.revoked + self.queued + self.unsupported + self.failed
    }

    pub(super) fn on(&self, event: Event) -> Event {
        event
            .with("grants", self.grants)
            .with("transactions", self.transactions)
            .with("tokens_revoked", self.revoked)
            .with("tokens_queued", self.queued)
            .with("tokens_unsupported", self.unsupported)
            .with("tokens_failed", self.failed)
    }
}

impl Corridor {
    /// Freezes an agent, a client or an issuer: no call about it is answered with a token from this moment on, what is
    /// held for it is dropped, and what can be revoked is revoked. What is frozen already is swept again.
    ///
    /// # Errors
    /// What the operator is told; recorded. After [`Reason::AuditUnavailable`], [`Reason::FreezeNotKept`] and
    /// [`Reason::GrantStoreUnavailable`] it is in force all the same.
    pub async fn freeze(
        self: &Arc<Self>,
        operator: AttestedOperator,
        target: FreezeTarget,
        ticket: Option<String>,
    ) -> Result<FrozenReply, Fault> {
        // A daemon that stops can be told too: the freeze is there when it starts again.
        let underway = self.work.enter_always();
        let permitted = self.admit(operator, "Freeze", AdminAction::Freeze).await?.about(target.to_string());
        self.refuse_unknown(&permitted, &target).await?;
        let (decision, by) = (permitted.verdict().id, permitted.operator().operator().id.clone());
        let freeze = Freeze { since: self.clock.wall(), by, ticket: ticket.clone(), decision };
        let (freeze, is_new) = self.policies.freezes().freeze(&target, freeze, self.clock.boot());
        let (ended, forgotten) = self.grants.end_where(&GrantFilter::Of(target.clone()));
        let toll = Toll { grants: ended.len(), transactions: self.transactions.end_of(&target), ..Toll::default() };
        tracing::warn!(%target, by = %freeze.by, "frozen by an operator");
        let actor = Actor::from(permitted.operator());
        let decided = permitted.event(self.recorder.keyed());
        let this = Arc::clone(self);
        // Whether the operator waits or not: a freeze is seen through.
        let rest = trace::spawn(async move {
            let revoking = this.revoke_all(ended, "frozen", decision);
            let recorded = this.recorder.durable(decided).await;
            let (kept, gone) = tokio::join!(this.keep_freezes(), this.grants.settle_end(forgotten));
            let kept = kept.and(gone);
            let toll = revoking.within(toll, REVOKED_WITHIN).await;
            let mut event = toll.on(Event::new(Code::Frozen, "Freeze").of(decision)).with("target", target.to_string());
            event = event.with("is_new", is_new).with("ticket", ticket);
            event.actor = Some(actor);
            event.severity = Severity::High;
            if let Err(fault) = &kept {
                event = event.with("kept", fault.reason.name());
            }
            let completed = this.recorder.durable(event).await;
            drop(underway);
            recorded.and(kept).and(completed).map(|()| FrozenReply { freeze, is_new, toll, decision })
        });
        rest.await.unwrap_or_else(|_| Err(Reason::Internal.into()))
    }

    /// Lifts a freeze. What it ended stays ended. Returns the freeze that was lifted, if there was one, and the decision.
    ///
    /// # Errors
    /// What the operator is told; recorded. It is frozen still then.
    pub async fn unfreeze(
        self: &Arc<Self>,
        operator: AttestedOperator,
        target: FreezeTarget,
    ) -> Result<(Option<Freeze>, DecisionId), Fault> {
        let underway = self.work.enter()?;
        let permitted = self.admit(operator, "Unfreeze", AdminAction::Unfreeze).await?.about(target.to_string());
        // What a freeze ended may be in the file still: unfrozen, a crash would bring it back.
        if let Err(fault) = self.grants.storable() {
            return Err(self.refuse(permitted.event(self.recorder.keyed()), fault).await);
        }
        let permitted = self.recorder.record(permitted).await.map_err(|unrecorded| unrecorded.1)?.into_inner();
        let decision = permitted.verdict().id;
        let mut event = Event::new(Code::Unfrozen, "Unfreeze").of(decision).with("target", target.to_string());
        event = event.by_operator(permitted.operator());
        event.severity = Severity::High;
        let this = Arc::clone(self);
        // Whether the operator waits or not: what was lifted is on record.
        let rest = trace::spawn(async move {
            let that = Arc::clone(&this);
            let lifting = tokio::task::spawn_blocking(move || that.policies.freezes().unfreeze(&target));
            let lifted = lifting.await.unwrap_or_else(|_| Err(Reason::Internal.into()));
            let event = match &lifted {
                Ok(Some(freeze)) => event.with("was_frozen", true).with("frozen_by", freeze.by.as_str()),
                Ok(None) => event.with("was_frozen", false),
                Err(fault) => event.failed(fault, Severity::High),
            };
            let recorded = this.recorder.durable(event).await;
            drop(underway);
            let lifted = lifted?;
            recorded.map(|()| (lifted, decision))
        });
        rest.await.unwrap_or_else(|_| Err(Reason::Internal.into()))
    }

    /// Ends grants and revokes what is left of them. Agents may begin anew: freeze those that must not.
    ///
    /// # Errors
    /// What the operator is told; recorded. After [`Reason::AuditUnavailable`] the grants are gone all the same; after
    /// [`Reason::GrantStoreUnavailable`] too, but a crash before the file can be written brings them back.
    pub async fn revoke_grants(
        self: &Arc<Self>,
        operator: AttestedOperator,
        filter: GrantFilter,
    ) -> Result<(Toll, DecisionId), Fault> {
        let underway = self.work.enter_always();
        let meant = match &filter {
            GrantFilter::All => "all".to_owned(),
            GrantFilter::Fingerprint(fingerprint) => format!("grant {fingerprint}"),
            GrantFilter::Api(api) => format!("api {}", api.alias),
            GrantFilter::Of(target) => target.to_string(),
        };
        let permitted = self.admit(operator, "RevokeGrants", AdminAction::Revoke).await?.about(meant.clone());
        if let GrantFilter::Of(target) = &filter {
            self.refuse_unknown(&permitted, target).await?;
        }
        let decision = permitted.verdict().id;
        let (ended, forgotten) = self.grants.end_where(&filter);
        let toll = Toll { grants: ended.len(), ..Toll::default() };
        let done = Self::completed(&permitted).with("target", meant);
        let decided = permitted.event(self.recorder.keyed());
        let this = Arc::clone(self);
        let rest = trace::spawn(async move {
            let revoking = this.revoke_all(ended, "asked_by_operator", decision);
            // An operator that was told so must not find them again after a crash.
            let (recorded, kept) = tokio::join!(this.recorder.durable(decided), this.grants.settle_end(forgotten));
            let toll = revoking.within(toll, REVOKED_WITHIN).await;
            let done = toll.on(done).with("kept", kept.as_ref().err().map(|fault| fault.reason.name()));
            let completed = this.recorder.durable(done).await;
            drop(underway);
            recorded.and(kept).and(completed).map(|()| (toll, decision))
        });
        rest.await.unwrap_or_else(|_| Err(Reason::Internal.into()))
    }

    /// Ends what came back from an earlier run although it is frozen.
    pub fn purge_frozen(&self) {
        for (target, freeze) in self.policies.freezes().list() {
            let (ended, forgotten) = self.grants.end_where(&GrantFilter::Of(target));
            drop((self.revoke_all(ended, "frozen", freeze.decision), forgotten));
        }
    }

    async fn keep_freezes(self: &Arc<Self>) -> Result<(), Fault> {
        let this = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || this.policies.freezes().keep());
        kept.await.unwrap_or_else(|_| Err(Reason::Internal.into()))
    }

    /// Writes the list of freezes if that failed. Nobody waits for it: a disk may hang.
    pub(super) fn keep_freezes_again(self: &Arc<Self>) {
        if self.policies.freezes().is_dirty() {
            let this = Arc::clone(self);
            drop(tokio::task::spawn_blocking(move || this.policies.freezes().keep_again()));
        }
    }

    /// Revokes what is left of grants, not all at once. It goes on whether anyone waits or not.
    pub(super) fn revoke_all(&self, ended: Vec<Arc<Grant>>, why: &'static str, decision: DecisionId) -> Revoking {
        let revoking = Revoking { toll: Arc::default(), all: Arc::new(Semaphore::new(0)), tokens: 0, grants: 0 };
        let turns = Arc::new(Semaphore::new(REVOKED_AT_ONCE));
        ended.into_iter().fold(revoking, |revoking, grant| {
            let Some(disposal) = grant.remains() else { return revoking };
            let tokens = disposal.count();
            let (servers, turns) = (Arc::clone(&self.servers), Arc::clone(&turns));
            let (toll, all) = (Arc::clone(&revoking.toll), Arc::clone(&revoking.all));
            let underway = self.work.enter_always();
            trace::spawn(async move {
                // It is never closed.
                let turn = turns.acquire().await;
                let outcomes = servers.revoke(disposal, why, decision).await;
                outcomes.each().for_each(|it| toll.lock().unwrap_or_else(PoisonError::into_inner).count(it));
                all.add_permits(1);
                drop((turn, underway));
            });
            Revoking { tokens: revoking.tokens + tokens, grants: revoking.grants + 1, ..revoking }
        })
    }
}

/// Revocations under way.
pub(super) struct Revoking {
    toll: Arc<Mutex<Toll>>,
    /// A permit for each grant that is done.
    all: Arc<Semaphore>,
    tokens: usize,
    grants: u32,
}

impl Revoking {
    /// Waits for all of them, but not for longer than this, and adds what is known then; the rest is queued.
    pub(super) async fn within(self, begun: Toll, span: Duration) -> Toll {
        let _ = tokio::time::timeout(span, self.all.acquire_many(self.grants)).await;
        let known = *self.toll.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = self.tokens.saturating_sub(known.known());
        Toll { grants: begun.grants, transactions: begun.transactions, queued: known.queued + unknown, ..known }
    }
}
