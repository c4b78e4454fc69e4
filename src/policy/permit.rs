//! Where permits are minted: Cedar allowed exactly what they own.

use super::{
    Facts, Policies, Refused, Verdict,
    advice::approved,
    asked::Keeping,
    context::{Base, boolean, entity, login, moving, text},
    panel::Panel,
};
use crate::{
    caller::Caller,
    config::{Api, Client},
    model::{
        Approvable, AuthorizationDetails, Claimed, DecisionId, Fault, LoginDemand, Reason, RedirectUri, ScopeSet, Terms,
    },
    transaction::{Begun, Claim},
};
use std::sync::Arc;

/// A request to begin, its names already resolved.
pub struct BeginAsk {
    /// The client.
    pub client: Arc<Client>,
    /// The API, where the scopes belong to one.
    pub api: Option<Arc<Api>>,
    /// The scopes asked for.
    pub scopes: ScopeSet,
    /// The authorization details asked for.
    pub details: AuthorizationDetails,
    /// The redirect URI, pinned.
    pub redirect: RedirectUri,
    /// Whether fewer scopes will do.
    pub allow_partial: bool,
    /// The caller's own words.
    pub claimed: Claimed,
    /// What is asked of the person's login.
    pub login: LoginDemand,
    /// The configuration has every request pushed (RFC 9126).
    pub pushed: bool,
    /// What can be approved of it, and the approval that came with it.
    pub approvable: Approvable,
}

/// Cedar allowed this caller to ask for exactly these scopes.
pub struct BeginPermitted {
    caller: Caller,
    ask: BeginAsk,
    scopes: ScopeSet,
    verdict: Verdict,
}

impl BeginPermitted {
    /// The decision.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The caller.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What was asked.
    #[must_use]
    pub const fn ask(&self) -> &BeginAsk {
        &self.ask
    }

    /// The scopes allowed.
    #[must_use]
    pub const fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }
}

/// Cedar allowed exactly this claim, with these scopes and terms.
pub struct Permitted {
    claim: Claim,
    verdict: Verdict,
    terms: Terms,
}

impl Permitted {
    /// The decision.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The claim.
    #[must_use]
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Takes the permit apart to spend it. For `oauth/` alone.
    pub(crate) fn into_parts(self) -> (Claim, Verdict, Terms) {
        (self.claim, self.verdict.concluded(), self.terms)
    }
}

impl Policies {
    /// Asks whether this caller may begin, and with which scopes.
    ///
    /// # Errors
    /// The decision and what to tell the caller.
    pub fn begin(
        &self,
        caller: Caller,
        ask: BeginAsk,
        id: DecisionId,
    ) -> Result<BeginPermitted, Box<(Caller, Refused)>> {
        let Some(snapshot) = self.current() else { return Err(Box::new((caller, Refused::not_loaded()))) };
        let at = (&ask.client.alias, &ask.client.issuer);
        if let Err(fault) = self.freezes.admit(&caller.agent().id, at, None) {
            return Err(Box::new((caller, fault.into())));
        }
        let facts = Facts::from(&caller);
        let mut panel = Panel::new(&snapshot, &caller, &ask.client, id).approvable(&ask.approvable);
        let now = self.clock.wall();
        let approval = approved(&ask.approvable, &snapshot, &*self.clock);
        let base = Base { approval, ..Base::asked(&ask, now, &facts) };
        let narrowed = ask.allow_partial.then(|| panel.anew().narrow(&base, "begin")).flatten();
        let scopes = narrowed.as_ref().and_then(|narrowed| ScopeSet::new(narrowed.granted.clone()));
        let scopes = scopes.unwrap_or_else(|| ask.scopes.clone());
        let base = Base { scopes: scopes.iter().collect(), ..base };
        let gate =
            [("redirectUri", text(ask.redirect.as_str())), ("pkceMethod", text("S256")), ("par", boolean(ask.pushed))];
        let gate = gate.into_iter().chain((!ask.login.is_empty()).then(|| ("login", login(&ask.login))));
        panel.gate("begin_authorization", &base, gate);
        panel.scopes(&base, "begin");
        panel.details(&base, "begin", &ask.details);
        panel.keep_terms(Keeping { bound: ask.client.bound_tokens, audience: ask.api.is_some() });
        if let Some(narrowed) = narrowed {
            panel.also_refused(narrowed);
        }
        match panel.close(Reason::PolicyDenied) {
            Ok((verdict, _)) => Ok(BeginPermitted { caller, ask, scopes, verdict }),
            Err(refused) => Err(Box::new((caller, *refused))),
        }
    }

    /// Whether no freeze has come over what a transaction began.
    ///
    /// # Errors
    /// [`Reason::Frozen`].
    pub fn stands(&self, begun: &Begun) -> Result<(), Fault> {
        let opening = &begun.opening;
        // Whoever registered it is frozen with what it registered.
        for agent in [&opening.agent.id].into_iter().chain(&opening.registered_by) {
            self.freezes.admit(agent, (&opening.client.alias, &opening.issuer.alias), Some(begun.at))?;
        }
        Ok(())
    }

    /// Asks whether this claim may be redeemed. A no ends the transaction and wipes the code.
    ///
    /// # Errors
    /// The decision and what to tell the caller.
    pub fn permit(&self, claim: Claim, claimed: &Claimed, id: DecisionId) -> Result<Permitted, Box<(Caller, Refused)>> {
        let Some(snapshot) = self.current() else { return Err(Box::new((claim.end(), Refused::not_loaded()))) };
        let begun = Arc::clone(claim.begun());
        if let Err(fault) = self.stands(&begun) {
            return Err(Box::new((claim.end(), fault.into())));
        }
        let (opening, now) = (&begun.opening, self.clock.boot());
        let facts = Facts::from(claim.caller());
        let mut panel = Panel::new(&snapshot, claim.caller(), &opening.client, id).approvable(&opening.approvable);
        let wall = self.clock.wall();
        let approval = approved(&opening.approvable, &snapshot, &*self.clock);
        let base = Base { approval, ..Base::of(opening, wall, &facts, claimed) };
        // What a claim proves: policies can see it, and none can waive it. Whoever registered a request began it, and no
        // agent that is to redeem it: only the agent that was named may.
        let mut gate = vec![
            ("redirectUri", text(opening.redirect.as_str())),
            ("pkceMethod", text("S256")),
            ("codeAge", moving(now.since(claim.received()))),
            ("transactionAge", moving(now.since(begun.at))),
            ("issVerified", boolean(true)),
            ("stateVerified", boolean(true)),
            ("sameCaller", boolean(opening.registered_by.is_none())),
        ];
        if let Some(front_end) = &opening.registered_by {
            gate.push(("registeredBy", entity("Agent", front_end.as_str())));
        }
        panel.gate("redeem_code", &base, gate);
        panel.scopes(&base, "code");
        panel.details(&base, "code", &opening.details);
        panel.keep_terms(Keeping { bound: opening.client.bound_tokens, audience: opening.api.is_some() });
        match panel.close(Reason::ScopeNoLongerAllowed) {
            Ok((verdict, terms)) => Ok(Permitted { claim, verdict, terms }),
            Err(refused) => Err(Box::new((claim.end(), *refused))),
        }
    }
}
