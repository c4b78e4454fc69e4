//! Token: find the grant, ask policy again, queue the record, reply. What is not held is refreshed.

use super::{Corridor, begin::usable_binding, refusal};
use crate::{
    audit::{Code, Event, Recorded},
    caller::Caller,
    config::Narrowing,
    grant::{By, Found, HandOut, Missing, Reply, Wanted},
    model::{Boot, Claimed, Fault, Handle, Reason},
    platform::trace,
    policy::Releasable,
};
use std::sync::Arc;

/// A request for the token of a grant.
#[derive(Clone)]
pub struct TokenInput {
    /// The grant's handle.
    pub grant: Handle,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// The caller's own words.
    pub claimed: Claimed,
    /// Until when its caller waits.
    pub until: Boot,
}

impl TokenInput {
    const fn operation(&self) -> &'static str {
        self.wanted.by.operation()
    }

    /// Whether it answers a repeated `RedeemCode`: with the first one's token or with nothing.
    fn is_recovery(&self) -> bool {
        self.wanted.by == By::Redeem
    }
}

/// Why a held token was not handed out.
pub(super) enum Unserved {
    /// The caller is told this.
    Refused(Fault),
    /// It ended on the way; this caller may have another.
    Ended(Caller),
}

impl Corridor {
    /// Hands out a token of a grant, if policy says so: the one that is held, or one fetched by its refresh token.
    ///
    /// # Errors
    /// What the caller is told; recorded.
    pub async fn token(self: &Arc<Self>, caller: Caller, input: TokenInput) -> Result<Recorded<Reply>, Fault> {
        let _underway = self.work.enter()?;
        self.plausible_clock()?;
        self.refuse_frozen(input.wanted.by.operation(), &caller).await?;
        self.hand_out(caller, input).await
    }

    pub(super) async fn hand_out(
        self: &Arc<Self>,
        mut caller: Caller,
        input: TokenInput,
    ) -> Result<Recorded<Reply>, Fault> {
        loop {
            match self.grants.look(caller, input.grant, &input.wanted) {
                Ok(Found::Held(hand_out)) => match self.serve(hand_out, &input).await {
                    Ok((recorded, caller)) => {
                        self.refresh_ahead(&recorded, caller, input);
                        return Ok(recorded);
                    }
                    Err(Unserved::Refused(fault)) => return Err(fault),
                    // It has just ended.
                    Err(Unserved::Ended(same)) => caller = same,
                },
                Ok(Found::Missing(missing)) => {
                    self.may_refresh(&missing, &input).await?;
                    let (turn, place) = match missing.turn().await {
                        Ok(turn) => turn,
                        Err(same) => {
                            caller = same;
                            continue;
                        }
                    };
                    if self.grants.is_settled(&place) {
                        // Someone else brought the token, or the grant's end, while this one waited.
                        caller = turn.give_up();
                        continue;
                    }
                    return self.refresh(turn, place, input.claimed, input.until).await;
                }
                Err(refused) => {
                    let (caller, fault) = *refused;
                    if let (Reason::NarrowingUnavailable, Some(scopes)) = (fault.reason, &input.wanted.scopes)
                        && self.narrows_by_exchange(&caller, input.grant)
                    {
                        return self.narrow(caller, input.grant, scopes.clone(), input.claimed).await;
                    }
                    let event = refusal(input.operation(), &caller)
                        .with("grant_ref", self.recorder.keyed().reference("grant", input.grant.bits()));
                    return Err(self.refuse(event, fault).await);
                }
            }
        }
    }

    fn narrows_by_exchange(&self, caller: &Caller, handle: Handle) -> bool {
        let grant = self.grants.find(caller, handle);
        grant.is_ok_and(|grant| grant.kept.begun.opening.issuer.narrowing == Narrowing::Exchange)
    }

    /// What is refused before a turn is waited for.
    async fn may_refresh(&self, missing: &Missing, input: &TokenInput) -> Result<(), Fault> {
        let begun = &missing.grant().kept.begun;
        let checked = if input.is_recovery() {
            // A repeated reply is the first one's token or nothing.
            Err(Reason::TokenExpired.into())
        } else {
            usable_binding(missing.caller(), &begun.opening.client)
        };
        let Err(fault) = checked else { return Ok(()) };
        let event = refusal(input.operation(), missing.caller()).on(begun, self.recorder.keyed());
        Err(self.refuse(event, fault).await)
    }

    /// Hands out a held token.
    async fn serve(&self, hand_out: HandOut, input: &TokenInput) -> Result<(Recorded<Reply>, Caller), Unserved> {
        let operation = input.operation();
        let grant = Arc::clone(hand_out.grant());
        self.recorder.room().await;
        // The same agent may come back with another certificate than the token is bound to.
        if let Err(fault) = usable_binding(hand_out.caller(), &grant.kept.begun.opening.client) {
            let event = refusal(operation, hand_out.caller()).on(&grant.kept.begun, self.recorder.keyed());
            return Err(Unserved::Refused(self.refuse(event, fault).await));
        }
        let hand_out = self.still_vouched(hand_out, operation).await?;
        let released =
            match self.policies.release(hand_out, &input.claimed, self.decision().map_err(Unserved::Refused)?) {
                Ok(released) => released,
                Err(no) => {
                    let (hand_out, refused) = *no;
                    let event = Event::new(Code::TokenWithheld, operation).on(&grant.kept.begun, self.recorder.keyed());
                    let event =
                        event.by(hand_out.caller()).acting_for(grant.kept.subject.as_ref(), self.recorder.keyed());
                    return Err(Unserved::Refused(self.deny(event, refused).await));
                }
            };
        let withheld = Event::new(Code::TokenWithheld, operation)
            .on(&grant.kept.begun, self.recorder.keyed())
            .acting_for(grant.kept.subject.as_ref(), self.recorder.keyed())
            .decided(released.verdict());
        let (reply, caller) = match self.grants.reply(released, &input.wanted) {
            Ok(reply) => reply,
            Err(unserved) => {
                return Err(match *unserved {
                    (_, Some(fault)) => Unserved::Refused(self.refuse(withheld, fault).await),
                    (caller, None) => Unserved::Ended(caller),
                });
            }
        };
        let recorded = self.recorder.record_queued(reply).map_err(|unrecorded| Unserved::Refused(unrecorded.1))?;
        Ok((recorded, caller))
    }

    /// A held token that its issuer still stands by, where the issuer is asked.
    pub(super) async fn still_vouched(&self, hand_out: HandOut, operation: &'static str) -> Result<HandOut, Unserved> {
        let stands = self.servers.stands_by(hand_out.kept()).await;
        if matches!(stands, Ok(true)) {
            return Ok(hand_out);
        }
        let event = refusal(operation, hand_out.caller()).on(&hand_out.grant().kept.begun, self.recorder.keyed());
        match stands {
            Err(fault) => Err(Unserved::Refused(self.refuse(event, fault).await)),
            Ok(_) => {
                // Recorded here; what the caller is told depends on whether another token can be had.
                let event = event.with("introspection", "inactive");
                let _ = self.refuse(event, Reason::TokenExpired.into()).await;
                Err(Unserved::Ended(self.grants.set_aside(hand_out)))
            }
        }
    }

    /// Fetches the successor of a token that ages, behind the back of the call that found it so. It is that caller's
    /// refresh: a grant that nobody asks for is not kept fresh.
    fn refresh_ahead(self: &Arc<Self>, reply: &Recorded<Reply>, caller: Caller, input: TokenInput) {
        if input.is_recovery() || self.work.is_stopping() {
            return;
        }
        let Some((turn, place)) = self.grants.ahead_of(reply.get(), caller, &input.wanted) else { return };
        let until = self.clock.boot().plus(self.config.limits.call_deadline);
        let (this, underway) = (Arc::clone(self), self.work.enter_always());
        trace::spawn(async move {
            // What becomes of it is in the log, and the held token is served for as long as it lives.
            let _ = this.refresh(turn, place, input.claimed, until).await;
            drop(underway);
        });
    }
}
