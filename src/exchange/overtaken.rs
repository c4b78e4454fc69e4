//! What another policy set has overtaken is asked again: a permit before what it permits leaves the host, a release before
//! the token goes to the agent. Whatever was tightened meanwhile wins.

use super::Corridor;
use crate::{
    audit::{Auditable, Recorded},
    caller::Caller,
    grant::Reply,
    model::{Claimed, DecisionId, Fault, Reason},
    oauth::{TokenRequest, Turn},
    policy::{Permitted, Policies, RefreshPermitted, Refused, RequestPermitted, Verdict},
};

/// How often one permit is asked for. Sets that change faster than a decision can be recorded are nobody's.
const ROUNDS: usize = 64;

/// A permit that can be asked for again, under the same decision id: one exchange, with one end in the log.
pub(super) trait Permit: Auditable + Sized {
    /// The decision.
    fn verdict(&self) -> &Verdict;

    /// Asks for the same under the current set.
    fn again(self, policies: &Policies, claimed: &Claimed, id: DecisionId) -> Result<Self, Box<Refused>>;
}

impl Permit for Permitted {
    fn verdict(&self) -> &Verdict {
        Self::verdict(self)
    }

    fn again(self, policies: &Policies, claimed: &Claimed, id: DecisionId) -> Result<Self, Box<Refused>> {
        // A no ends the transaction and wipes the code, as it would have before.
        policies.permit(self.into_parts().0, claimed, id).map_err(|no| Box::new(no.1))
    }
}

impl Permit for RefreshPermitted<Turn> {
    fn verdict(&self) -> &Verdict {
        Self::verdict(self)
    }

    fn again(self, policies: &Policies, claimed: &Claimed, id: DecisionId) -> Result<Self, Box<Refused>> {
        policies.refresh(self.into_parts().0, claimed, id).map_err(|no| Box::new(no.1))
    }
}

impl Permit for RequestPermitted<TokenRequest> {
    fn verdict(&self) -> &Verdict {
        Self::verdict(self)
    }

    fn again(self, policies: &Policies, claimed: &Claimed, id: DecisionId) -> Result<Self, Box<Refused>> {
        policies.request(self.into_parts().0, claimed, id).map_err(|no| Box::new(no.1))
    }
}

/// Why nothing may leave.
pub(super) enum Held {
    /// Something failed.
    Failed(Fault),
    /// The current set says no.
    Denied(Box<Refused>),
}

impl From<Fault> for Held {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Corridor {
    /// The permit under the current set, on record. Nothing may be waited for between this and the first byte.
    pub(super) async fn current<P: Permit>(
        &self,
        mut recorded: Recorded<P>,
        claimed: &Claimed,
    ) -> Result<Recorded<P>, Held> {
        for _ in 0..ROUNDS {
            if self.policies.is_current(recorded.get().verdict()) {
                return Ok(recorded);
            }
            let permit = recorded.into_inner();
            let id = permit.verdict().id;
            tracing::debug!(decision = %id, "the policy set has changed since: asked again");
            let permit = permit.again(&self.policies, claimed, id).map_err(Held::Denied)?;
            recorded = self.recorder.record(permit).await.map_err(|unrecorded| unrecorded.1)?;
        }
        Err(Held::Failed(Reason::DeadlineExceeded.into()))
    }

    /// Whether a token may still go to its agent, where another set has come while its outcome was written.
    ///
    /// # Errors
    /// The current set's no.
    pub(super) fn still_released(&self, reply: &Reply, caller: &Caller, claimed: &Claimed) -> Result<(), Box<Refused>> {
        if self.policies.is_current(reply.verdict()) {
            return Ok(());
        }
        let id = self.decision().map_err(|fault| Box::new(fault.into()))?;
        let released = self.policies.release(reply.asked_again(caller, &*self.clock), claimed, id);
        // Allowed on stricter terms, it is handed out for as long as these say.
        released.map(|released| reply.shorten(&released.verdict().terms)).map_err(|no| Box::new(no.1))
    }
}
