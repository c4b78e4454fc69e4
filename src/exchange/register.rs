//! Register: a request that a front end began itself, to be redeemed here by the agent it names. Policy asked, the
//! decision recorded, the transaction kept.

use super::{
    Corridor, RegisteredReply,
    begin::{BeginInput, is_slip, provable},
    refusal,
};
use crate::{
    audit::{Code, Event},
    caller::Caller,
    model::{Agent, AgentId, Fault, LoginDemand, Reason},
    policy::BeginAsk,
    transaction::{Flow, Opening, Registration},
};
use std::sync::Arc;

const OPERATION: &str = "RegisterAuthorization";

/// A request to register, as it came.
pub struct RegisterInput {
    /// What was asked of the authorization server.
    pub request: BeginInput,
    /// The agent that is to redeem.
    pub for_agent: String,
    /// What identifies the answer.
    pub registration: Registration,
}

impl Corridor {
    /// Registers an authorization request that was begun elsewhere.
    ///
    /// # Errors
    /// What the caller is told; recorded unless it is a mere slip of form.
    pub async fn register(&self, caller: Caller, input: RegisterInput) -> Result<RegisteredReply, Fault> {
        let _underway = self.work.enter()?;
        self.plausible_clock()?;
        self.refuse_frozen(OPERATION, &caller).await?;
        let event = refusal(OPERATION, &caller);
        let RegisterInput { request, for_agent, registration } = input;
        let (ask, agent) = match self.resolve_registered(request, &for_agent, &registration) {
            Ok(resolved) => resolved,
            Err(fault) if is_slip(fault.reason) => return Err(fault),
            Err(fault) => return Err(self.refuse(event, fault).await),
        };
        let ask = BeginAsk { approvable: self.approvable(&agent.id, &ask), ..ask };
        let client = Arc::clone(&ask.client);
        let issuer = self.config.issuers.get(&client.issuer).map(Arc::clone).ok_or(Reason::IssuerUnknown)?;
        let requested = ask.scopes.to_strings();
        let permitted = match self.policies.register(caller, ask, agent, self.decision()?) {
            Ok(permitted) => permitted,
            Err(no) => {
                let (caller, refused) = *no;
                let mut event = Event::new(Code::AuthorizationDecided, OPERATION).by(&caller).through(&client, &issuer);
                event.requested = requested;
                return Err(self.deny(event.with("for_agent", for_agent), refused).await);
            }
        };
        let permitted = self.recorder.record(permitted).await.map_err(|unrecorded| unrecorded.1)?.into_inner();
        let (ask, verdict, front_end) = (permitted.ask(), permitted.verdict(), permitted.caller().agent());
        let endpoints = match self.servers.endpoints(&client, &front_end.id).await {
            Ok(endpoints) => endpoints,
            Err(fault) => return Err(self.refuse(event.of(verdict.id), fault).await),
        };
        if let Err(fault) = self.sufficient(&client, &endpoints, (&ask.scopes, &ask.details)) {
            return Err(self.refuse(event.of(verdict.id), fault).await);
        }
        // Whoever began it asked for what it asked; what the configuration demands is held against the ID token.
        let demands = LoginDemand::default().with(issuer.id_tokens.max_age, &issuer.id_tokens.acr_values);
        let login = demands.map_err(|_| Fault::new(Reason::Internal))?;
        let opening = Opening {
            login,
            flow: Flow::AuthorizationCode,
            agent: Arc::clone(permitted.agent()),
            told_by_redirect: !endpoints.iss_parameter && self.config.issuers.len() > 1,
            client,
            issuer,
            endpoints,
            redirect: ask.redirect.clone(),
            scopes: ask.scopes.clone(),
            details: ask.details.clone(),
            api: ask.api.clone(),
            offline_refused: false,
            agent_jkt: None,
            decision: verdict.id,
            registered_by: Some(front_end.id.clone()),
            approvable: ask.approvable.clone(),
        };
        let begun = match self.transactions.register(opening, registration) {
            Ok(begun) => begun,
            Err(fault) => return Err(self.refuse(event.of(verdict.id), fault).await),
        };
        tracing::debug!(agent = %begun.opening.agent.id, front_end = %front_end.id, decision = %verdict.id, "an authorization was registered");
        Ok(RegisteredReply { begun, decision: verdict.id })
    }

    fn resolve_registered(
        &self,
        request: BeginInput,
        for_agent: &str,
        registration: &Registration,
    ) -> Result<(BeginAsk, Arc<Agent>), Fault> {
        let unknown = || Fault::field(Reason::FieldInvalid, "for_agent", "names no registered agent");
        let agent = AgentId::parse(for_agent).and_then(|id| self.policies.estate().registry.agent(&id).map(Arc::clone));
        let agent = agent.ok_or_else(unknown)?;
        let ask = self.resolve(request)?;
        provable(&ask.client)?;
        if ask.scopes.asks_identity() && !registration.has_nonce() {
            return Err(Fault::field(Reason::FieldRequired, "nonce", "is needed where openid is asked for"));
        }
        Ok((ask, agent))
    }
}
