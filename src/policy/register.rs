//! May this front end register a request that it began itself, for that agent? What the agent may have of it is asked
//! when the agent redeems.

use super::{
    BeginAsk, Facts, Policies, Refused, Verdict,
    context::{Base, entity, text},
    panel::Panel,
};
use crate::{
    caller::Caller,
    model::{Agent, DecisionId},
};
use std::sync::Arc;

/// Cedar allowed this front end to register exactly this request for this agent.
pub struct RegisterPermitted {
    caller: Caller,
    ask: BeginAsk,
    agent: Arc<Agent>,
    verdict: Verdict,
}

impl RegisterPermitted {
    /// The decision.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The front end.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What was asked for.
    #[must_use]
    pub const fn ask(&self) -> &BeginAsk {
        &self.ask
    }

    /// The agent that is to redeem.
    #[must_use]
    pub const fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }
}

impl Policies {
    /// Asks whether this caller may register this request for this agent.
    ///
    /// # Errors
    /// The decision and what to tell the caller.
    pub fn register(
        &self,
        caller: Caller,
        ask: BeginAsk,
        agent: Arc<Agent>,
        id: DecisionId,
    ) -> Result<RegisterPermitted, Box<(Caller, Refused)>> {
        let Some(snapshot) = self.current() else { return Err(Box::new((caller, Refused::not_loaded()))) };
        let at = (&ask.client.alias, &ask.client.issuer);
        let admitted =
            [&caller.agent().id, &agent.id].into_iter().try_for_each(|it| self.freezes().admit(it, at, None));
        if let Err(fault) = admitted {
            return Err(Box::new((caller, fault.into())));
        }
        let facts = Facts::from(&caller);
        let mut panel = Panel::new(&snapshot, &caller, &ask.client, id);
        let base = Base::asked(&ask, self.clock.wall(), &facts);
        let named = entity("Agent", agent.id.as_str());
        let gate = [("redirectUri", text(ask.redirect.as_str())), ("pkceMethod", text("S256")), ("forAgent", named)];
        panel.gate("register_authorization", &base, gate);
        match panel.close_gate() {
            Ok(verdict) => Ok(RegisterPermitted { caller, ask, agent, verdict }),
            Err(refused) => Err(Box::new((caller, *refused))),
        }
    }
}
