//! Token: find the grant, ask policy again, queue the record, reply.

use super::{Corridor, begin::usable_binding, refusal};
use crate::{
    audit::{Code, Event, Recorded},
    caller::Caller,
    grant::{Reply, Wanted},
    model::{Claimed, Fault, Handle},
    policy::Releasable,
};

/// A request for the token of a grant.
pub struct TokenInput {
    /// The grant's handle.
    pub grant: Handle,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// The caller's own words.
    pub claimed: Claimed,
    /// Whether it answers a repeated `RedeemCode`.
    pub recovered: bool,
}

impl Corridor {
    /// Hands a held token out again, if policy still says so.
    ///
    /// # Errors
    /// What the caller is told; recorded.
    pub async fn token(&self, caller: Caller, input: TokenInput) -> Result<Recorded<Reply>, Fault> {
        let _underway = self.work.enter()?;
        self.plausible_clock()?;
        self.hand_out(caller, input).await
    }

    pub(super) async fn hand_out(&self, caller: Caller, input: TokenInput) -> Result<Recorded<Reply>, Fault> {
        let operation = if input.recovered { "RedeemCode" } else { "GetToken" };
        let hand_out = match self.grants.hand_out(caller, input.grant, &input.wanted) {
            Ok(hand_out) => hand_out,
            Err(refused) => {
                let (caller, fault) = *refused;
                let event = refusal(operation, &caller)
                    .with("grant_ref", self.recorder.keyed().reference("grant", input.grant.bits()));
                return Err(self.refuse(event, fault).await);
            }
        };
        let grant = std::sync::Arc::clone(hand_out.grant());
        // The same agent may come back with another certificate than the token is bound to.
        if let Err(fault) = usable_binding(hand_out.caller(), &grant.kept.begun.opening.client) {
            let event = refusal(operation, hand_out.caller()).on(&grant.kept.begun, self.recorder.keyed());
            return Err(self.refuse(event, fault).await);
        }
        let released = match self.policies.release(hand_out, &input.claimed, self.decision()?) {
            Ok(released) => released,
            Err(no) => {
                let (hand_out, refused) = *no;
                let event = Event::new(Code::TokenWithheld, operation).on(&grant.kept.begun, self.recorder.keyed());
                let event = event.by(hand_out.caller()).acting_for(grant.kept.subject.as_ref(), self.recorder.keyed());
                return Err(self.deny(event, refused).await);
            }
        };
        let withheld = Event::new(Code::TokenWithheld, operation)
            .on(&grant.kept.begun, self.recorder.keyed())
            .acting_for(grant.kept.subject.as_ref(), self.recorder.keyed())
            .decided(released.verdict());
        let reply = match self.grants.reply(released, input.wanted.min_ttl, input.recovered) {
            Ok(reply) => reply,
            Err(fault) => return Err(self.refuse(withheld, fault).await),
        };
        self.recorder.record_queued(reply).map_err(|unrecorded| unrecorded.1)
    }
}
