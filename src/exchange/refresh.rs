//! Refresh: the corridor for a token that is not held. Decide, record, refresh, judge, release, record, keep.

use super::Corridor;
use crate::{
    audit::{Code, Event, Recorded, Severity},
    grant::{Place, Reply},
    model::{Boot, Claimed, DecisionId, Fault, Reason},
    oauth::{Disposal, NotRefreshed, Passage, Turn},
    platform::trace,
    policy::{RefreshPermitted, Refreshable, Releasable},
    transaction::Begun,
};
use std::sync::Arc;

impl Corridor {
    /// Fetches a token with a grant's refresh token, if policy lets this caller. The caller may hang up: whoever comes
    /// next finds the token.
    ///
    /// # Errors
    /// What the caller is told; recorded.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        turn: Turn,
        place: Place,
        claimed: Claimed,
        until: Boot,
    ) -> Result<Recorded<Reply>, Fault> {
        let event = self.refresh_event(Code::ExchangeDecided, turn.begun(), &place).by(turn.caller());
        let event = self.asked(event, &turn);
        let permitted = match self.policies.refresh(turn, &claimed, self.decision()?) {
            Ok(permitted) => permitted,
            Err(no) => {
                let (turn, refused) = *no;
                if place.is_ahead() {
                    // Nobody waits for it: it is asked again later, not at each hand-out.
                    turn.put_off(self.clock.boot());
                }
                return Err(self.deny(event, refused).await);
            }
        };
        let turn = permitted.subject();
        if let Some(fault) = turn.family().remembered(turn.wish(), self.clock.boot()) {
            let event = Event { code: Code::ExchangeRefused, ..event.decided(permitted.verdict()) };
            return Err(self.refuse(event, fault).await);
        }
        let opening = &turn.begun().opening;
        // A refresh token that could not be kept is not fetched: the old one is dead then.
        let entered = match self.grants.storable() {
            Ok(()) => self.servers.enter(&opening.issuer.alias, &opening.agent.id).await,
            Err(fault) => Err(fault),
        };
        let passage = match entered {
            Ok(passage) => passage,
            Err(fault) => {
                let event = Event { code: Code::ExchangeRefused, ..event.decided(permitted.verdict()) };
                return Err(self.refuse(event, fault).await);
            }
        };
        let (this, underway) = (Arc::clone(self), self.work.enter_always());
        let rest = trace::spawn(async move {
            let result = this.use_refresh_token(permitted, place, &claimed, (until, passage)).await;
            drop(underway);
            result
        });
        rest.await.unwrap_or_else(|_| Err(Reason::Internal.into()))
    }

    /// Records the decision, refreshes, and sees the outcome through to its record.
    async fn use_refresh_token(
        self: &Arc<Self>,
        permitted: RefreshPermitted<Turn>,
        place: Place,
        claimed: &Claimed,
        (until, passage): (Boot, Passage),
    ) -> Result<Recorded<Reply>, Fault> {
        let (begun, decision) = (Arc::clone(permitted.subject().begun()), permitted.verdict().id);
        let failed = self.refresh_event(Code::ExchangeFailed, &begun, &place).by(permitted.subject().caller());
        let failed = self.asked(failed.of(decision), permitted.subject());
        let release_decision = self.decision()?;
        let (line, recorded) =
            tokio::join!(self.servers.refresh_line(&begun, passage), self.recorder.record(permitted));
        let recorded = match recorded {
            Ok(recorded) => recorded,
            // The decision may be in the log already, so its end is too.
            Err(unrecorded) => return Err(self.fail(failed, unrecorded.1, decision).await),
        };
        let recorded = match self.current(recorded, claimed).await {
            Ok(recorded) => recorded,
            Err(held) => return Err(self.held(failed, held, decision).await),
        };
        // The last look before the refresh token leaves: an operator may have frozen it since the decision.
        if let Err(fault) = self.policies.stands(&begun) {
            return Err(self.fail(failed, fault, decision).await);
        }
        // Another try is a request of its own: under another set, whoever asks next is judged by it.
        let verdict = recorded.get().verdict().clone();
        let refreshed = self.servers.refresh(recorded, line, (until, &|| self.policies.is_current(&verdict))).await;
        // First of all, whatever becomes of the access token: the new refresh token is on its way to the disk.
        let saving = self.grants.save(place.grant());
        let refreshed = match refreshed {
            Ok(refreshed) => refreshed,
            Err(not_refreshed) => return Err(self.not_refreshed(*not_refreshed, &place, failed).await),
        };
        let released = match self.policies.release(refreshed, claimed, release_decision) {
            Ok(released) => released,
            Err(no) => {
                let (refreshed, refused) = *no;
                let (kept, _turn) = refreshed.into_parts();
                self.servers.dispose(Disposal::of_kept(&kept), "not_released", decision);
                let event = Event { exchange: Some(decision), ..failed.refused(&refused) };
                return Err(self.fail(event, refused.fault, decision).await);
            }
        };
        let (reply, turn) = match self.grants.hold(&place, released) {
            Ok(held) => held,
            Err(lost) => {
                let (kept, fault) = *lost;
                self.servers.dispose(Disposal::of_kept(&kept), "not_kept", decision);
                return Err(self.fail(failed, fault, decision).await);
            }
        };
        let counted = self.grants.save_count(place.grant(), &reply.held().kept.terms);
        let _ = tokio::join!(self.grants.settle(saving), self.grants.settle(counted));
        let recorded = match self.recorder.record_outcome(reply).await {
            Ok(recorded) => recorded,
            Err(unrecorded) => {
                let (reply, fault) = *unrecorded;
                self.servers.dispose(Disposal::of_kept(&reply.held().kept), "not_recorded", decision);
                self.recorder.report(failed.failed(&fault, Severity::High));
                return Err(fault);
            }
        };
        if let Err(refused) = self.still_released(recorded.get(), turn.caller(), claimed) {
            self.servers.dispose(Disposal::of_kept(&recorded.get().held().kept), "not_released", decision);
            let event = Event { exchange: Some(decision), code: Code::TokenWithheld, ..failed.refused(&refused) };
            return Err(self.fail(event, refused.fault, decision).await);
        }
        let shelved = self.grants.shelve(&place, &recorded);
        // Either a freeze finds the token in its grant, or the freeze is found here.
        if let Err(fault) = self.policies.stands(&begun) {
            return Err(self.withhold(place.grant(), failed, fault.into(), decision).await);
        }
        shelved.inspect_err(|fault| {
            if fault.reason == Reason::GrantUnknown {
                self.dispose_rest(&place, "grant_ended", decision);
            }
        })?;
        Ok(recorded)
    }

    /// Closes a refresh that the server did not end in a token that may be kept.
    async fn not_refreshed(self: &Arc<Self>, failed: NotRefreshed, place: &Place, event: Event) -> Fault {
        let NotRefreshed { fault, turn, decided, status, tries, disposal, fatal } = failed;
        let event = event.with("tries", tries).answered(status, &fault);
        if let Some(disposal) = disposal {
            self.servers.dispose(disposal, fault.reason.name(), decided.id);
        }
        if fatal {
            if fault.reason == Reason::ReauthRequired {
                // The server refuses it already: nothing is to be gained by revoking it.
                drop(turn.family().end());
            }
            if let Some(rest) = self.grants.bury(place.grant()) {
                self.servers.dispose(rest, fault.reason.name(), decided.id);
            }
        }
        // The next in line sees what became of this one.
        drop(turn);
        self.fail(event, fault, decided.id).await
    }

    fn dispose_rest(&self, place: &Place, why: &'static str, decision: DecisionId) {
        if let Some(rest) = place.grant().remains() {
            self.servers.dispose(rest, why, decision);
        }
    }

    fn refresh_event(&self, code: Code, begun: &Begun, place: &Place) -> Event {
        let keyed = self.recorder.keyed();
        Event::new(code, place.operation())
            .on(begun, keyed)
            .with("grant_type", "refresh_token")
            .with("grant_ref", keyed.reference("grant", place.grant().handle.bits()))
            .with("ahead", place.is_ahead())
    }

    fn asked(&self, mut event: Event, turn: &Turn) -> Event {
        event.requested = turn.wish().scopes.to_strings();
        event.acting_for(turn.origin().subject.as_ref(), self.recorder.keyed())
    }
}
