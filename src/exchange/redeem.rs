//! Redeem: settle, decide, record, redeem, judge, release, record, reply.

use super::{Corridor, begin::usable_binding, overtaken::Held, refusal, token::TokenInput};
use crate::{
    audit::{Code, Event, Recorded, Severity},
    caller::Caller,
    grant::{By, EndedBy, Grant, Reply, Wanted},
    model::{Boot, Claimed, CodeVerifier, DecisionId, DpopProof, Fault, Handle, Reason, ScopeSet},
    oauth::{Disposal, Line, NotIssued, Passage},
    platform::trace,
    policy::{Permitted, Refused},
    transaction::{Begun, Callback, Claim, Presented, Settled},
};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use uuid::Uuid;

const OPERATION: &str = "RedeemCode";

/// A request to redeem, as it came.
pub struct RedeemInput {
    /// The transaction's handle.
    pub transaction: String,
    /// What came back.
    pub callback: Callback,
    /// The caller's id for this request.
    pub request_id: Option<Uuid>,
    /// The redirect URI, where the caller names it.
    pub redirect_uri: Option<String>,
    /// Scopes the caller cannot do without.
    pub required: Option<ScopeSet>,
    /// The caller's own words.
    pub claimed: Claimed,
    /// The PKCE verifier, where the request was begun elsewhere.
    pub code_verifier: Option<CodeVerifier>,
    /// The proof for the token request, where the agent has the key.
    pub proof: Option<DpopProof>,
    /// When it came.
    pub received: Boot,
}

/// What a claim needs on its way out.
struct Way {
    passage: Passage,
    /// The agent's own proof, judged.
    proof: Option<DpopProof>,
}

impl Corridor {
    /// Redeems a code.
    ///
    /// # Errors
    /// What the caller is told; recorded.
    pub async fn redeem(self: &Arc<Self>, caller: Caller, input: RedeemInput) -> Result<Recorded<Reply>, Fault> {
        let underway = self.work.enter()?;
        self.plausible_clock()?;
        self.refuse_frozen(OPERATION, &caller).await?;
        let RedeemInput { transaction, callback, request_id, redirect_uri, required, .. } = input;
        let (claimed, code_verifier, proof, received) =
            (input.claimed, input.code_verifier, input.proof, input.received);
        let presented = Presented {
            transaction: &transaction,
            callback,
            request_id,
            redirect_uri: redirect_uri.as_deref(),
            required,
            code_verifier,
            received,
        };
        let claim = match self.transactions.settle(caller, presented) {
            Ok(Settled::Claimed(claim)) => *claim,
            Ok(Settled::Repeated(caller, grant)) => return self.again(caller, grant, claimed).await,
            Ok(Settled::InFlight(caller, waiting)) => {
                let grant = match waiting.grant().await {
                    Ok(grant) => grant,
                    Err(fault) => return Err(self.refuse(refusal(OPERATION, &caller), fault).await),
                };
                return self.again(caller, grant, claimed).await;
            }
            Err(refused) => {
                let (caller, fault) = *refused;
                return Err(self.refuse(refusal(OPERATION, &caller), fault).await);
            }
        };
        let way = match self.preconditions(&claim, proof).await {
            Ok(way) => way,
            Err(fault) => {
                let event = refusal(OPERATION, claim.caller());
                drop(claim);
                return Err(self.refuse(event, fault).await);
            }
        };
        let begun = Arc::clone(claim.begun());
        let event = self.event(Code::ExchangeDecided, &begun).by(claim.caller());
        let permitted = match self.policies.permit(claim, &claimed, self.decision()?) {
            Ok(permitted) => permitted,
            Err(no) => return Err(self.deny(event, no.1).await),
        };
        tracing::debug!(agent = %permitted.claim().caller().agent().id, decision = %permitted.verdict().id, "policy lets a code go");
        // A spent code always gets its closing line, whoever hangs up: the rest does not belong to the call any more.
        let (this, caller_waits) = (Arc::clone(self), Arc::new(()));
        let waits = Arc::downgrade(&caller_waits);
        let rest = trace::spawn(async move {
            let result = this.spend(permitted, &claimed, received, &waits, way).await;
            drop(underway);
            result
        });
        let result = rest.await.unwrap_or_else(|_| Err(Reason::Internal.into()));
        drop(caller_waits);
        result
    }

    /// What can be known to fail before anything is spent, a server that is busy or gone included. The claim goes back.
    async fn preconditions(&self, claim: &Claim, proof: Option<DpopProof>) -> Result<Way, Fault> {
        let (opening, agent) = (&claim.begun().opening, &claim.caller().agent().id);
        usable_binding(claim.caller(), &opening.client)?;
        let proof = self.servers.passable(claim.begun(), proof)?;
        self.grants.room_for(agent)?;
        self.grants.storable()?;
        let passage = self.servers.enter(&opening.issuer.alias, agent).await?;
        Ok(Way { passage, proof })
    }

    /// Records the decision, redeems, and sees the outcome through to its record.
    async fn spend(
        self: &Arc<Self>,
        permitted: Permitted,
        claimed: &Claimed,
        received: Boot,
        caller_waits: &Weak<()>,
        Way { passage, proof }: Way,
    ) -> Result<Recorded<Reply>, Fault> {
        let begun = Arc::clone(permitted.claim().begun());
        let decision = permitted.verdict().id;
        let caller_event = self.event(Code::ExchangeFailed, &begun).by(permitted.claim().caller()).of(decision);
        // Minted before anything is spent: without entropy the claim goes back.
        let release_decision = self.decision()?;
        let ready = self.ready((permitted, claimed), &begun, received, caller_waits, passage).await;
        let (recorded, line) = match ready {
            Ok(ready) => ready,
            // The decision may be in the log already, so its end is too.
            Err(held) => return Err(self.held(caller_event, held, decision).await),
        };
        let issued = match self.servers.redeem(recorded, line.carrying(proof)).await {
            Ok(issued) => issued,
            Err(not_issued) => return Err(self.not_issued(*not_issued).await),
        };
        let released = match self.policies.release(issued, claimed, release_decision) {
            Ok(released) => released,
            Err(no) => {
                let (issued, refused) = *no;
                let (kept, _, _) = issued.into_parts();
                let caller_event = caller_event.acting_for(kept.subject.as_ref(), self.recorder.keyed());
                self.servers.dispose(Disposal::of_kept(&kept), "not_released", decision);
                let event = Event { exchange: Some(decision), ..caller_event.refused(&refused) };
                return Err(self.fail(event, refused.fault, decision).await);
            }
        };
        let (reply, caller, closing) = self.grants.keep(released).map_err(|lost| {
            let (kept, fault) = *lost;
            self.servers.dispose(Disposal::of_kept(&kept), "not_kept", decision);
            self.recorder.report(caller_event.clone().failed(&fault, Severity::High));
            fault
        })?;
        // First on disk, then on record: an outcome that is on record is of a grant that a crash leaves. Of one that is
        // not, the next start revokes what it finds.
        // What the disk refuses is kept in memory: see `grant::durable`.
        let _ = self.grants.settle(self.grants.save(reply.grant())).await;
        match self.recorder.record_outcome(reply).await {
            Ok(recorded) => {
                if let Err(refused) = self.still_released(recorded.get(), &caller, claimed) {
                    return Err(self.withhold(recorded.get().grant(), caller_event, *refused, decision).await);
                }
                self.grants.admit(&recorded);
                // Either a freeze found the grant, or the freeze is found here.
                if let Err(fault) = self.policies.stands(&begun) {
                    return Err(self.withhold(recorded.get().grant(), caller_event, fault.into(), decision).await);
                }
                closing.granted(recorded.get().grant().handle);
                Ok(recorded)
            }
            Err(unrecorded) => {
                let (reply, fault) = *unrecorded;
                drop(self.grants.forget(reply.grant()));
                if let Some(disposal) = reply.grant().remains() {
                    self.servers.dispose(disposal, "not_recorded", decision);
                }
                self.recorder.report(caller_event.failed(&fault, Severity::High));
                Err(fault)
            }
        }
    }

    /// Takes back a grant that was frozen, or that another policy set refuses, while the outcome of this decision was
    /// written.
    pub(super) async fn withhold(
        self: &Arc<Self>,
        grant: &Grant,
        event: Event,
        refused: Refused,
        decision: DecisionId,
    ) -> Fault {
        let forgotten = self.grants.end(grant, EndedBy::Operator).1;
        let why = if refused.fault.reason == Reason::Frozen { "frozen" } else { "not_released" };
        if let Some(disposal) = grant.remains() {
            self.servers.dispose(disposal, why, decision);
        }
        let kept = self.grants.settle_end(forgotten).await.err();
        let event = Event { exchange: Some(decision), code: Code::TokenWithheld, ..event.refused(&refused) };
        let event = event.with("kept", kept.map(|fault| fault.reason.name()));
        self.fail(event, refused.fault, decision).await
    }

    /// Closes an exchange of which nothing was sent, because the current policy set says no or because something failed.
    pub(super) async fn held(&self, event: Event, held: Held, decision: DecisionId) -> Fault {
        match held {
            Held::Failed(fault) => self.fail(event, fault, decision).await,
            Held::Denied(refused) => {
                let event = Event { exchange: Some(decision), ..event.refused(&refused) };
                self.fail(event, refused.fault, decision).await
            }
        }
    }

    /// Makes the decision durable and opens the connection, side by side. Whatever fails here, no byte has left and the
    /// claim goes back; only a code that was held too long ends.
    async fn ready(
        &self,
        (permitted, claimed): (Permitted, &Claimed),
        begun: &Begun,
        received: Boot,
        caller_waits: &Weak<()>,
        passage: Passage,
    ) -> Result<(Recorded<Permitted>, Line), Held> {
        let (line, recorded) = tokio::join!(self.servers.connect(begun, passage), self.recorder.record(permitted));
        let recorded = recorded.map_err(|unrecorded| unrecorded.1)?;
        let mut line = line?;
        if !line.stands().await {
            return Err(Fault::from(Reason::AsUnreachable).into());
        }
        let recorded = self.current(recorded, claimed).await?;
        if caller_waits.strong_count() == 0 {
            return Err(Fault::from(Reason::DeadlineExceeded).into());
        }
        if self.clock.boot().since(received) > self.config.limits.code_hold {
            recorded.into_inner().into_parts().0.end();
            return Err(Fault::from(Reason::CodeExpiredLocally).into());
        }
        // The last look before the code leaves: an operator may have frozen it since the decision.
        if let Err(fault) = self.policies.stands(begun) {
            recorded.into_inner().into_parts().0.end();
            return Err(fault.into());
        }
        Ok((recorded, line))
    }

    /// Closes an exchange that the server did not end in a token that may be kept.
    async fn not_issued(self: &Arc<Self>, failed: NotIssued) -> Fault {
        let NotIssued { fault, begun, caller, decided, status, disposal } = failed;
        let event = self.event(Code::ExchangeFailed, &begun).by(&caller).of(decided.id).answered(status, &fault);
        if let Some(disposal) = disposal {
            self.servers.dispose(disposal, fault.reason.name(), decided.id);
        }
        self.fail(event, fault, decided.id).await
    }

    /// Records a failure and tells it. The exchange is over either way, so the record is kept until it can be written.
    pub(super) async fn fail(&self, event: Event, fault: Fault, decision: DecisionId) -> Fault {
        // Our own certificate refused: every exchange of this client fails until someone looks.
        let alarming = fault.reason == Reason::AsClientAuthFailed;
        let event = event.failed(&fault, if alarming { Severity::High } else { Severity::Medium });
        if let Some(detection) = event.detection(&fault) {
            self.recorder.report(detection);
        }
        // What cannot be written now is kept and written when it can be.
        let _ = self.recorder.durable(event).await;
        fault.with("decision_id", decision.to_string())
    }

    /// A lost reply asked for again: the first outcome's grant, no POST, release asked again (decisions 5).
    async fn again(
        self: &Arc<Self>,
        caller: Caller,
        grant: Handle,
        claimed: Claimed,
    ) -> Result<Recorded<Reply>, Fault> {
        let wanted = Wanted { scopes: None, resource: None, min_ttl: Duration::ZERO, by: By::Redeem };
        self.hand_out(caller, TokenInput { grant, wanted, claimed, until: self.clock.boot() }).await
    }

    fn event(&self, code: Code, begun: &Begun) -> Event {
        Event::new(code, OPERATION).on(begun, self.recorder.keyed())
    }
}
