//! Exchange and obtain: names resolved, what is brought verified, then the request that they share.

use super::{
    Corridor,
    begin::{is_slip, provable, scope_set, usable_binding},
    refusal,
};
use crate::{
    audit::{Code, Event, Recorded},
    caller::Caller,
    config::{Api, Client, Subjects, TokenExchange},
    grant::{Grant, Lendable, Reply},
    model::{
        AgentId, ApprovalRecord, Claimed, ClientAlias, Fault, Handle, Reason, ScopeSet, SubjectToken, TokenBinding,
        TokenType, agent::Identity, scope::OFFLINE_ACCESS,
    },
    oauth::{PresentedSubject, Purpose, VerifiedSubject},
    transaction::{Actors, Delegation, Flow},
};
use std::sync::Arc;

/// A request to exchange a token, as it came.
pub struct ExchangeInput {
    /// The client's alias.
    pub client: String,
    /// The subject.
    pub subject: SubjectInput,
    /// Whether the caller brings an actor token, which nobody may.
    pub brings_actor: bool,
    /// The scopes.
    pub scopes: Vec<String>,
    /// The resources, by identifier.
    pub resources: Vec<String>,
    /// The audiences, by logical name.
    pub audiences: Vec<String>,
    /// The type of token wanted.
    pub wanted: TokenType,
    /// The caller's own words.
    pub claimed: Claimed,
    /// The record that a person approves of it.
    pub approval: Option<ApprovalRecord>,
}

/// Whose rights are handed on.
pub enum SubjectInput {
    /// Those of a token of this type.
    Token(SubjectToken, TokenType),
    /// Those of a grant of the caller.
    Grant(Handle),
}

/// A request for a token by client credentials or an assertion, as it came.
pub struct ObtainInput {
    /// The client's alias.
    pub client: String,
    /// The assertion; `None` for client credentials.
    pub assertion: Option<SubjectToken>,
    /// The scopes.
    pub scopes: Vec<String>,
    /// The resource, or nothing.
    pub resource: String,
    /// The caller's own words.
    pub claimed: Claimed,
    /// The record that a person approves of it.
    pub approval: Option<ApprovalRecord>,
}

/// A token request whose names are resolved.
pub(super) struct Draft {
    pub(super) client: Arc<Client>,
    pub(super) api: Option<Arc<Api>>,
    pub(super) scopes: ScopeSet,
    pub(super) flow: Flow,
    pub(super) subject: Option<VerifiedSubject>,
    pub(super) approval: Option<ApprovalRecord>,
}

/// Why there is no draft.
enum Undrafted {
    /// This is wrong with the request.
    Wrong(Fault),
    /// Policy says no to the subject, and that is on record.
    Denied(Fault),
}

impl From<Fault> for Undrafted {
    fn from(fault: Fault) -> Self {
        Self::Wrong(fault)
    }
}

impl Corridor {
    /// Exchanges a token (RFC 8693).
    ///
    /// # Errors
    /// What the caller is told; recorded unless it is a mere slip of form.
    pub async fn exchange(self: &Arc<Self>, caller: Caller, input: ExchangeInput) -> Result<Recorded<Reply>, Fault> {
        let underway = self.work.enter()?;
        self.plausible_clock()?;
        self.refuse_frozen("ExchangeToken", &caller).await?;
        let claimed = input.claimed.clone();
        match self.exchange_draft(&caller, input).await {
            Ok(draft) => self.request(caller, draft, (claimed, None), underway).await,
            Err(Undrafted::Denied(fault)) => Err(fault),
            Err(Undrafted::Wrong(fault)) if is_slip(fault.reason) => Err(fault),
            Err(Undrafted::Wrong(fault)) => Err(self.refuse(refusal("ExchangeToken", &caller), fault).await),
        }
    }

    /// Obtains a token by client credentials (RFC 6749 §4.4) or an assertion (RFC 7523 §2.1).
    ///
    /// # Errors
    /// What the caller is told; recorded unless it is a mere slip of form.
    pub async fn obtain(self: &Arc<Self>, caller: Caller, input: ObtainInput) -> Result<Recorded<Reply>, Fault> {
        let underway = self.work.enter()?;
        self.plausible_clock()?;
        self.refuse_frozen("ObtainToken", &caller).await?;
        let claimed = input.claimed.clone();
        match self.obtain_draft(&caller, input).await {
            Ok(draft) => self.request(caller, draft, (claimed, None), underway).await,
            Err(fault) if is_slip(fault.reason) => Err(fault),
            Err(fault) => Err(self.refuse(refusal("ObtainToken", &caller), fault).await),
        }
    }

    async fn exchange_draft(self: &Arc<Self>, caller: &Caller, input: ExchangeInput) -> Result<Draft, Undrafted> {
        if input.brings_actor {
            return Err(Fault::from(Reason::ActorTokenForbidden).into());
        }
        let scopes = plain_scopes(&input.scopes)?;
        let client = self.client(&input.client)?;
        let exchange = client.delegations.exchange.as_ref().ok_or_else(|| disabled(&client))?;
        let api = Self::api(&self.policies.estate(), &client, &scopes, "")?;
        let audiences = self.targets(&client, exchange, api.as_deref(), (&input.resources, &input.audiences))?;
        usable_binding(caller, &client)?;
        provable(&client)?;
        let subjects = &exchange.subjects;
        let subject = match input.subject {
            SubjectInput::Token(token, token_type) => {
                let purpose = Purpose::Exchange;
                let presented = PresentedSubject { caller, client: &client, subjects, purpose, token_type };
                self.servers.verify_subject(&self.config, token, &presented).await?
            }
            SubjectInput::Grant(handle) => self.of_grant(caller, handle, &input.claimed).await?,
        };
        if !subjects.trusts(subject.issuer(), &client.issuer) {
            return Err(Fault::new(Reason::SubjectTokenInvalid).with("rule", "iss").into());
        }
        // A token that does not say what it carries proves none of it.
        carried(&scopes, subject.scopes())?;
        let delegation = self.delegation(caller, subjects, &subject, exchange.actor_key.is_some(), audiences)?;
        let flow = Flow::TokenExchange(delegation, input.wanted);
        let approval = input.approval;
        Ok(Draft { api, scopes, flow, subject: Some(subject), approval, client: Arc::clone(&client) })
    }

    async fn obtain_draft(self: &Arc<Self>, caller: &Caller, input: ObtainInput) -> Result<Draft, Fault> {
        let scopes = plain_scopes(&input.scopes)?;
        let client = self.client(&input.client)?;
        let api = Self::api(&self.policies.estate(), &client, &scopes, &input.resource)?;
        usable_binding(caller, &client)?;
        provable(&client)?;
        let (flow, subject) = match input.assertion {
            None if client.delegations.client_credentials => (Flow::ClientCredentials, None),
            None => return Err(disabled(&client)),
            Some(token) => {
                let subjects = client.delegations.jwt_bearer.as_ref().ok_or_else(|| disabled(&client))?;
                let (purpose, token_type) = (Purpose::Assertion, TokenType::Jwt);
                let presented = PresentedSubject { caller, client: &client, subjects, purpose, token_type };
                let subject = self.servers.verify_subject(&self.config, token, &presented).await?;
                // An assertion need not speak of scopes (RFC 7523 §3); where it does, they bound the request.
                if let Some(scopes_of_subject) = subject.scopes() {
                    carried(&scopes, Some(scopes_of_subject))?;
                }
                let delegation = self.delegation(caller, subjects, &subject, false, Vec::new())?;
                (Flow::JwtBearer(delegation), Some(subject))
            }
        };
        Ok(Draft { api, scopes, flow, subject, approval: input.approval, client: Arc::clone(&client) })
    }

    /// A token with fewer scopes than a grant's, by exchange of the one that is held, where that is how the issuer narrows.
    /// It becomes a token of the same grant.
    pub(super) async fn narrow(
        self: &Arc<Self>,
        caller: Caller,
        handle: Handle,
        scopes: ScopeSet,
        claimed: Claimed,
    ) -> Result<Recorded<Reply>, Fault> {
        match self.narrowing_draft(&caller, handle, scopes).await {
            Ok((draft, grant)) => self.request(caller, draft, (claimed, Some(grant)), self.work.enter_always()).await,
            Err(fault) => Err(self.refuse(refusal("GetToken", &caller), fault).await),
        }
    }

    async fn narrowing_draft(
        &self,
        caller: &Caller,
        handle: Handle,
        scopes: ScopeSet,
    ) -> Result<(Draft, Arc<Grant>), Fault> {
        let grant = self.grants.find(caller, handle)?;
        let opening = &grant.kept.begun.opening;
        let client = Arc::clone(&opening.client);
        let exchange = client.delegations.exchange.as_ref().ok_or(Reason::NarrowingUnavailable)?;
        // What comes of an exchange is bound to a key of its own, and a grant has one key.
        let has_key = opening.client.bound_tokens == TokenBinding::Dpop;
        // An exchange names scopes alone: what became of the details nobody could tell.
        if has_key || !grant.kept.details.is_empty() || !exchange.subjects.trusts(&opening.issuer.alias, &client.issuer)
        {
            return Err(Reason::NarrowingUnavailable.into());
        }
        usable_binding(caller, &client)?;
        let audiences = self.targets(&client, exchange, opening.api.as_deref(), (&[], &[]))?;
        // Policy is asked about the narrow token alone: the broad one is handed to nobody.
        let lendable = self.grants.lendable(caller, handle)?;
        self.vouched(&lendable).await?;
        let subject = self.grants.lend_at_home(&lendable)?;
        carried(&scopes, subject.scopes())?;
        let delegation =
            self.delegation(caller, &exchange.subjects, &subject, exchange.actor_key.is_some(), audiences)?;
        let flow = Flow::TokenExchange(delegation, TokenType::AccessToken);
        let api = opening.api.clone();
        let subject = Some(subject);
        Ok((Draft { api, scopes, flow, subject, approval: None, client: Arc::clone(&client) }, grant))
    }

    fn client(&self, alias: &str) -> Result<Arc<Client>, Fault> {
        let client = ClientAlias::parse(alias).and_then(|alias| self.config.clients.get(&alias));
        client
            .map(Arc::clone)
            .ok_or_else(|| Fault::field(Reason::ClientUnknown, "client", "names no client registration"))
    }

    /// The audiences to name; none where the resource says it. One that may not be asked for refuses all.
    fn targets(
        &self,
        client: &Client,
        exchange: &TokenExchange,
        api: Option<&Api>,
        (resources, audiences): (&[String], &[String]),
    ) -> Result<Vec<String>, Fault> {
        let estate = self.policies.estate();
        let apis = || estate.catalog.apis.values().filter(|api| api.issuer == client.issuer);
        let mut named = Vec::new();
        for resource in resources {
            named.extend([apis().find(|api| api.identifier == *resource).map(|api| &api.alias)]);
        }
        for audience in audiences {
            named.extend([exchange.audiences.iter().find(|(name, _)| name == audience).map(|(_, api)| api)]);
        }
        let Some(named) = named.into_iter().collect::<Option<Vec<_>>>() else {
            return Err(Reason::TargetNotAllowed.into());
        };
        if named.iter().any(|alias| api.is_none_or(|api| api.alias != **alias)) {
            let others = "are not of the scopes' API; exchange once for each";
            return Err(Fault::field(Reason::FieldInvalid, "resources", others));
        }
        if !audiences.is_empty() {
            return Ok(audiences.to_vec());
        }
        let configured = exchange.audiences.iter().find(|(_, alias)| api.is_some_and(|api| api.alias == *alias));
        Ok(configured.map(|(name, _)| name.clone()).into_iter().collect())
    }

    /// The token that is held of a grant of this caller, if it might be handed to them now.
    async fn of_grant(&self, caller: &Caller, handle: Handle, claimed: &Claimed) -> Result<VerifiedSubject, Undrafted> {
        let lendable = self.grants.lendable(caller, handle)?;
        let grant = Arc::clone(lendable.grant());
        usable_binding(caller, &grant.kept.begun.opening.client)?;
        self.vouched(&lendable).await?;
        let released = match self.policies.release(lendable, claimed, self.decision()?) {
            Ok(released) => released,
            Err(no) => {
                let keyed = self.recorder.keyed();
                let event = Event::new(Code::TokenWithheld, "ExchangeToken").on(&grant.kept.begun, keyed).by(caller);
                let event = event.acting_for(grant.kept.subject.as_ref(), keyed);
                return Err(Undrafted::Denied(self.deny(event, no.1).await));
            }
        };
        Ok(self.grants.lend(released)?)
    }

    /// Whether its issuer still stands by a held token, where the issuer is asked.
    async fn vouched(&self, lendable: &Lendable<'_>) -> Result<(), Fault> {
        if self.servers.stands_by(lendable.kept()).await? {
            return Ok(());
        }
        self.grants.withdraw(lendable);
        Err(Fault::new(Reason::TokenExpired).with("introspection", "inactive"))
    }

    /// Who acts in the result, until when, and by what names its target is asked for.
    fn delegation(
        &self,
        caller: &Caller,
        subjects: &Subjects,
        subject: &VerifiedSubject,
        names_actor: bool,
        audiences: Vec<String>,
    ) -> Result<Delegation, Fault> {
        let agent = caller.agent();
        let own = subjects.names_of(agent).next().unwrap_or(agent.id.as_str()).to_owned();
        let actor = names_actor.then_some(own);
        let chain: Vec<String> = actor.into_iter().chain(subject.actors().iter().cloned()).collect();
        if chain.len() > subjects.max_actors {
            return Err(Reason::ActTooDeep.into());
        }
        let ours = names_actor.then(|| agent.id.clone());
        let others = subject.actors().iter().filter_map(|name| self.agent_of(subjects, name));
        let agents = ours.into_iter().chain(others).collect();
        Ok(Delegation { actors: Actors { chain, agents }, ends: subject.ends(), audiences })
    }

    /// The agent of the registry that a name in a token stands for.
    fn agent_of(&self, subjects: &Subjects, name: &str) -> Option<AgentId> {
        let named = subjects.names.iter().find(|(known, _)| known == name).map(|(_, agent)| agent.clone());
        named.or_else(|| {
            let estate = self.policies.estate();
            let mut agents = estate.registry.agents();
            agents.find(|a| matches!(&a.identity, Identity::Spiffe(id) if id == name)).map(|a| a.id.clone())
        })
    }
}

/// Scopes of an API: there is no person to identify, and nothing to refresh.
fn plain_scopes(texts: &[String]) -> Result<ScopeSet, Fault> {
    let scopes = scope_set(texts)?;
    if scopes.asks_identity() || scopes.iter().any(|scope| scope.as_str() == OFFLINE_ACCESS) {
        let wrong = "openid and offline_access need an authorization code";
        return Err(Fault::field(Reason::FieldInvalid, "scopes", wrong));
    }
    Ok(scopes)
}

/// Whether all of these are in the subject token.
fn carried(scopes: &ScopeSet, subject: Option<&ScopeSet>) -> Result<(), Fault> {
    let beyond = subject.map_or_else(
        || scopes.to_strings(),
        |subject| scopes.beyond(subject).iter().map(ToString::to_string).collect(),
    );
    if beyond.is_empty() { Ok(()) } else { Err(Fault::new(Reason::ScopeNotInSubject).with("scopes", beyond.join(" "))) }
}

fn disabled(client: &Client) -> Fault {
    Fault::new(Reason::GrantTypeDisabled).with("client", client.alias.as_str())
}
