//! Request: what exchange and obtain share. Decide, record, POST, judge, release, record, reply.

use super::{Corridor, approval::Taken, delegate::Draft, refusal};
use crate::{
    audit::{Code, Event, Recorded, Severity},
    caller::Caller,
    grant::{Grant, Reply},
    model::{
        AuthorizationDetails, Claimed, DecisionId, Fault, Handle, LoginDemand, Reason, RedirectUri, fault::Detection,
    },
    oauth::{Disposal, NotObtained, Passage, TokenRequest, VerifiedSubject},
    platform::{Underway, trace},
    policy::{RequestPermitted, Requestable},
    transaction::{Begun, Opening},
};
use std::sync::Arc;

impl Corridor {
    /// Makes a token request, if policy lets this caller. The token is a grant of its own, or goes home to one.
    pub(super) async fn request(
        self: &Arc<Self>,
        caller: Caller,
        draft: Draft,
        (claimed, home): (Claimed, Option<Arc<Grant>>),
        underway: Underway,
    ) -> Result<Recorded<Reply>, Fault> {
        let event = refusal(draft.flow.operation(), &caller);
        let (request, passage, taken) = match self.ready_to_ask(caller, draft, home.as_ref()).await {
            Ok(ready) => ready,
            Err(fault) => return Err(self.refuse(event, fault).await),
        };
        let event = self.asking(Code::ExchangeDecided, &request);
        let permitted = match self.policies.request(request, &claimed, self.decision()?) {
            Ok(permitted) => permitted,
            Err(no) => return Err(self.deny(event, no.1).await),
        };
        // Nobody can tell later whether it left.
        if let Some(taken) = taken {
            taken.keep();
        }
        // A request that has left always gets its closing line, whoever hangs up.
        let this = Arc::clone(self);
        let rest = trace::spawn(async move {
            let result = this.ask(permitted, &claimed, passage, home).await;
            drop(underway);
            result
        });
        rest.await.unwrap_or_else(|_| Err(Reason::Internal.into()))
    }

    /// What can be known to fail before policy is asked, and what the question is about.
    async fn ready_to_ask(
        self: &Arc<Self>,
        caller: Caller,
        draft: Draft,
        home: Option<&Arc<Grant>>,
    ) -> Result<(TokenRequest, Passage, Option<Taken>), Fault> {
        let agent = Arc::clone(caller.agent());
        if home.is_none() {
            self.grants.room_for(&agent.id)?;
        }
        let Draft { client, api, scopes, flow, subject, approval } = draft;
        let issuer = self.config.issuers.get(&client.issuer).map(Arc::clone).ok_or(Reason::IssuerUnknown)?;
        let endpoints = self.servers.endpoints(&client, &agent.id).await?;
        let mut bits = [0; 16];
        self.entropy.fill(&mut bits)?;
        let (now, deadline) = ((self.clock.boot(), self.clock.wall()), issuer.deadline);
        let passage = self.servers.enter(&client.issuer, &agent.id).await?;
        // What comes of a registered grant is the front end's doing too.
        let ground = subject.as_ref().and_then(VerifiedSubject::begun);
        let registered_by = ground.and_then(|begun| begun.opening.registered_by.clone());
        let asked = ((&*client, api.as_deref()), (&scopes, &flow));
        let mut approvable = self.approvable_request(&caller, asked.0, asked.1, subject.as_ref());
        let taken = self.take_approval(&mut approvable, &scopes, approval.as_ref())?;
        let opening = Opening {
            approvable,
            flow,
            agent,
            client,
            issuer,
            endpoints,
            redirect: RedirectUri::none(),
            told_by_redirect: false,
            scopes,
            details: AuthorizationDetails::default(),
            api,
            // A refresh token that comes all the same is never used.
            offline_refused: true,
            decision: self.decision()?,
            registered_by,
            login: LoginDemand::default(),
            agent_jkt: None,
        };
        // Begun and ended in one call: nothing comes back to it.
        let begun = Begun::new(opening, Handle::new(bits), now, deadline)?;
        Ok((TokenRequest::new(caller, Arc::new(begun), subject), passage, taken))
    }

    /// Records the decision, asks, and sees the outcome through to its record.
    async fn ask(
        self: &Arc<Self>,
        permitted: RequestPermitted<TokenRequest>,
        claimed: &Claimed,
        passage: Passage,
        home: Option<Arc<Grant>>,
    ) -> Result<Recorded<Reply>, Fault> {
        let (begun, decision) = (Arc::clone(permitted.request().begun()), permitted.verdict().id);
        let ground = permitted.request().ground().map(Arc::clone);
        let stands = || self.policies.stands_on(&begun, ground.as_deref());
        let failed = self.asking(Code::ExchangeFailed, permitted.request()).of(decision);
        let release_decision = self.decision()?;
        let (line, recorded) =
            tokio::join!(self.servers.request_line(&begun, passage), self.recorder.record(permitted));
        let recorded = match recorded {
            Ok(recorded) => recorded,
            // The decision may be in the log already, so its end is too.
            Err(unrecorded) => return Err(self.fail(failed, unrecorded.1, decision).await),
        };
        let recorded = match self.current(recorded, claimed).await {
            Ok(recorded) => recorded,
            Err(held) => return Err(self.held(failed, held, decision).await),
        };
        // The last look before the request leaves: an operator may have frozen it since the decision.
        if let Err(fault) = stands() {
            return Err(self.fail(failed, fault, decision).await);
        }
        let mut obtained = match self.servers.request(recorded, line, &*self.entropy).await {
            Ok(obtained) => obtained,
            Err(not_obtained) => return Err(self.not_obtained(*not_obtained, failed).await),
        };
        if let Some(disposal) = obtained.unexpected() {
            let code = Code::Detected(Detection::UnexpectedRefreshToken);
            self.recorder.report(Event { code, severity: Severity::Medium, ..failed.clone() });
            self.servers.dispose(disposal, "unexpected_refresh_token", decision);
        }
        let released = match self.policies.release(obtained, claimed, release_decision) {
            Ok(released) => released,
            Err(no) => {
                let (obtained, refused) = *no;
                let (kept, _) = obtained.into_parts();
                self.servers.dispose(Disposal::of_kept(&kept), "not_released", decision);
                let event = Event { exchange: Some(decision), ..failed.refused(&refused) };
                return Err(self.fail(event, refused.fault, decision).await);
            }
        };
        let kept = match &home {
            None => self.grants.keep_obtained(released),
            Some(home) => self.grants.keep_home(home, released),
        };
        let (reply, caller) = match kept {
            Ok(kept) => kept,
            Err(lost) => {
                let (kept, fault) = *lost;
                self.servers.dispose(Disposal::of_kept(&kept), "not_kept", decision);
                return Err(self.fail(failed, fault, decision).await);
            }
        };
        match self.recorder.record_outcome(reply).await {
            Ok(recorded) => {
                if let Err(refused) = self.still_released(recorded.get(), &caller, claimed) {
                    // Nothing else of the grant that it was to go home to.
                    self.servers.dispose(Disposal::of_kept(&recorded.get().held().kept), "not_released", decision);
                    let event =
                        Event { exchange: Some(decision), code: Code::TokenWithheld, ..failed.refused(&refused) };
                    return Err(self.fail(event, refused.fault, decision).await);
                }
                self.found(recorded, home.is_some(), ground.as_deref(), (failed, decision)).await
            }
            Err(unrecorded) => {
                let (reply, fault) = *unrecorded;
                // Nothing else of the grant that it was to go home to: that lives on without it.
                self.servers.dispose(Disposal::of_kept(&reply.held().kept), "not_recorded", decision);
                self.recorder.report(failed.failed(&fault, Severity::High));
                Err(fault)
            }
        }
    }

    /// Has a token found from here on, unless it is frozen or its home has ended.
    async fn found(
        self: &Arc<Self>,
        recorded: Recorded<Reply>,
        goes_home: bool,
        ground: Option<&Begun>,
        (failed, decision): (Event, DecisionId),
    ) -> Result<Recorded<Reply>, Fault> {
        let (grant, held) = (recorded.get().grant(), recorded.get().held());
        let entered = if goes_home {
            self.grants.take_home(&recorded)
        } else {
            self.grants.admit(&recorded);
            Ok(())
        };
        // Either a freeze finds the token in its grant, or the freeze is found here.
        if let Err(fault) = self.policies.stands_on(&held.kept.begun, ground) {
            return Err(self.withhold(grant, failed, fault.into(), decision).await);
        }
        if let Err(fault) = entered {
            self.servers.dispose(Disposal::of_kept(&held.kept), "grant_ended", decision);
            return Err(fault);
        }
        Ok(recorded)
    }

    /// Closes a request that the server did not end in a token that may be kept.
    async fn not_obtained(self: &Arc<Self>, failed: NotObtained, event: Event) -> Fault {
        let NotObtained { fault, caller: _, decided, status, disposal } = failed;
        let event = event.answered(status, &fault);
        if let Some(disposal) = disposal {
            self.servers.dispose(disposal, fault.reason.name(), decided.id);
        }
        self.fail(event, fault, decided.id).await
    }

    fn asking(&self, code: Code, request: &TokenRequest) -> Event {
        let (begun, keyed) = (request.begun(), self.recorder.keyed());
        Event::new(code, begun.opening.flow.operation())
            .on(begun, keyed)
            .by(request.caller())
            .representing(request, keyed)
    }
}
