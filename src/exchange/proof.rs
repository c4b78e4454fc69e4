//! Proof: find the grant and its token, ask policy, sign, queue the record, reply.

use super::{Corridor, refusal, token::Unserved};
use crate::{
    audit::{Code, Event, Recorded},
    caller::Caller,
    grant::{Found, HandOut, Signed, Wanted},
    model::{Claimed, Fault, Handle, Reason},
    oauth::DpopNonce,
    policy::{ProofAsk, Releasable},
};
use std::sync::Arc;

const OPERATION: &str = "SignProof";

/// A request for a proof.
pub struct ProofInput {
    /// The grant's handle.
    pub grant: Handle,
    /// Which of its tokens.
    pub wanted: Wanted,
    /// The request that the proof is for.
    pub ask: ProofAsk,
    /// The nonce that the resource server gave, if the caller was told one.
    pub nonce: Option<DpopNonce>,
    /// The caller's own words.
    pub claimed: Claimed,
}

impl Corridor {
    /// Signs a DPoP proof (RFC 9449 §7) for the token that `GetToken` would serve from what is held, if policy says so
    /// and its issuer stands by it. Nothing is fetched: a proof without its token is of no use to anyone. A token that was
    /// handed out for the last time is proven all the same, for as long as it is served.
    ///
    /// # Errors
    /// What the caller is told; recorded.
    pub async fn sign_proof(&self, caller: Caller, input: ProofInput) -> Result<Recorded<Signed>, Fault> {
        let _underway = self.work.enter()?;
        self.plausible_clock()?;
        let ProofInput { grant: handle, wanted, ask, nonce, claimed } = input;
        let hand_out = match self.provable(caller, handle, &wanted, &ask.origin) {
            Ok(hand_out) => hand_out,
            Err(refused) => {
                let (event, fault) = *refused;
                let reference = self.recorder.keyed().reference("grant", handle.bits());
                return Err(self.refuse(event.with("grant_ref", reference), fault).await);
            }
        };
        let hand_out = match self.still_vouched(hand_out, OPERATION).await {
            Ok(hand_out) => hand_out,
            // Recorded there. Another token has another proof: there is none to look for here.
            Err(Unserved::Refused(fault)) => return Err(fault),
            Err(Unserved::Ended(_)) => return Err(Reason::TokenExpired.into()),
        };
        let grant = Arc::clone(hand_out.grant());
        let event = Event::new(Code::TokenWithheld, OPERATION).on(&grant.kept.begun, self.recorder.keyed());
        let event = event.by(hand_out.caller()).acting_for(grant.kept.subject.as_ref(), self.recorder.keyed());
        let permitted = match self.policies.sign_proof(hand_out, ask, &claimed, self.decision()?) {
            Ok(permitted) => permitted,
            Err(no) => return Err(self.deny(event, no.1).await),
        };
        let event = event.decided(permitted.verdict());
        let signed = match self.grants.sign(permitted, nonce) {
            Ok(signed) => signed,
            Err(fault) => return Err(self.refuse(event, fault).await),
        };
        self.recorder.record_queued(signed).map_err(|unrecorded| unrecorded.1)
    }

    /// The caller's own token, of a grant that has a key, for a request to an origin of its API.
    fn provable(
        &self,
        caller: Caller,
        handle: Handle,
        wanted: &Wanted,
        origin: &str,
    ) -> Result<HandOut, Box<(Event, Fault)>> {
        let event = refusal(OPERATION, &caller);
        let found = self.grants.find(&caller, handle).and_then(|grant| {
            grant.proves_to(origin)?;
            // Where its API is now counts too.
            let (estate, api) = (self.policies.estate(), grant.kept.begun.opening.api.as_ref());
            let now = api.and_then(|api| estate.catalog.apis.get(&api.alias));
            let elsewhere = || Fault::field(Reason::ScopeNotGranted, "http_uri", "is at no origin of the grant's API");
            now.filter(|api| api.origins.iter().any(|own| own == origin)).map(|_| ()).ok_or_else(elsewhere)
        });
        if let Err(fault) = found {
            return Err(Box::new((event, fault)));
        }
        match self.grants.look(caller, handle, wanted) {
            Ok(Found::Held(hand_out)) => Ok(hand_out),
            Ok(Found::Missing(_)) => Err(Box::new((event, Reason::TokenExpired.into()))),
            Err(refused) => Err(Box::new((event, refused.1))),
        }
    }
}
