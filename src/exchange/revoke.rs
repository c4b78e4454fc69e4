//! Revoke: find the grant, ask policy, drop it, tell the server.

use super::{Corridor, refusal};
use crate::{
    audit::{Code, Event, Severity},
    caller::Caller,
    grant::EndedBy,
    model::{DecisionId, Fault, Handle},
    oauth::Outcome,
    platform::trace,
};
use std::sync::Arc;

/// What became of a grant's tokens at the authorization server.
pub struct RevokedReply {
    /// The access token.
    pub access: Outcome,
    /// The refresh token.
    pub refresh: Outcome,
    /// The decision.
    pub decision: DecisionId,
}

impl Corridor {
    /// Ends a grant. It is never handed out again, also where the server cannot be told.
    ///
    /// # Errors
    /// What the caller is told; recorded. After [`Reason::GrantStoreUnavailable`](crate::model::Reason) it is ended all
    /// the same, but a crash before the file can be written brings it back.
    pub async fn revoke(self: &Arc<Self>, caller: Caller, handle: Handle) -> Result<RevokedReply, Fault> {
        let underway = self.work.enter()?;
        let grant = match self.grants.find(&caller, handle) {
            Ok(grant) => grant,
            Err(fault) => return Err(self.refuse(refusal("RevokeGrant", &caller), fault).await),
        };
        let event =
            Event::new(Code::RevocationDecided, "RevokeGrant").on(&grant.kept.begun, self.recorder.keyed()).by(&caller);
        let event = event.with("grant_ref", self.recorder.keyed().reference("grant", handle.bits()));
        let event = event.acting_for(grant.kept.subject.as_ref(), self.recorder.keyed());
        let verdict = match self.policies.revoke(&caller, &grant.kept.begun.opening.client, self.decision()?) {
            Ok(verdict) => verdict,
            Err(refused) => return Err(self.deny(event, *refused).await),
        };
        // Dropping it makes things safer, so it does not wait for the log.
        let forgotten = self.grants.end(&grant, EndedBy::Agent).1;
        let unkept = event.clone().of(verdict.id);
        self.recorder.report(event.decided(&verdict));
        let (this, decision) = (Arc::clone(self), verdict.id);
        let told = trace::spawn(async move {
            let revoked = async {
                match grant.remains() {
                    Some(disposal) => this.servers.revoke(disposal, "asked_by_agent", decision).await.worst(),
                    None => (Outcome::Absent, Outcome::Absent),
                }
            };
            // An agent that was told so must not find it again after a crash.
            let (outcomes, kept) = tokio::join!(revoked, this.grants.settle_end(forgotten));
            if let Err(fault) = &kept {
                // On record before it is told, as far as the log can be written.
                let _ = this.recorder.durable(unkept.failed(fault, Severity::High)).await;
            }
            drop(underway);
            kept.map(|()| outcomes)
        });
        let (access, refresh) = told.await.unwrap_or(Ok((Outcome::Failed, Outcome::Failed)))?;
        Ok(RevokedReply { access, refresh, decision })
    }
}
