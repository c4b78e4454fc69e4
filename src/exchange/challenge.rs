//! Resolve a challenge: which API answered, what of the configuration leads to a token for it, and what is demanded.
//!
//! Policy is not asked. Nothing is begun, held or handed out: the answer is aliases, identifiers and scope names of the
//! operators' own catalogue, each of which an agent may name to BeginAuthorization and is judged there, scope by scope.
//! A question here could only be asked about scopes that an untrusted header makes up, and would let whoever writes that
//! header fill the log with decisions. What holds all the same: the caller is attested and metered, a frozen one is
//! refused, what is refused is on record, and nothing is fetched but what the catalogue has trust roots for.

use super::{Corridor, begin::usable_binding, refusal};
use crate::{
    audit::{Code, Event, Severity},
    caller::Caller,
    config::{Api, ScopeHome},
    model::{ApiAlias, ClientAlias, Fault, IssuerAlias, LoginDemand, Reason, Scope, fault::Detection},
    oauth::{Demand, Found, ProtectedResources, RequestedUrl, place},
};
use std::sync::Arc;

const OPERATION: &str = "ResolveChallenge";

/// A challenge, as it came.
pub struct ChallengeInput {
    /// What was requested.
    pub requested: RequestedUrl,
    /// What the answer demands.
    pub demand: Demand,
}

/// One way to a token.
pub struct AuthorizationOption {
    /// The API.
    pub api: ApiAlias,
    /// Its identifier.
    pub resource: String,
    /// Its issuer.
    pub issuer: IssuerAlias,
    /// Clients of that issuer whose tokens the caller can use.
    pub clients: Vec<ClientAlias>,
    /// The scopes demanded that are declared for the API.
    pub scopes: Vec<Scope>,
    /// Those that are not.
    pub unknown: Vec<Scope>,
    /// The declared ones that the API's metadata lists.
    pub supported: Vec<Scope>,
}

/// What to begin.
pub struct ResolvedReply {
    /// The ways, the preferred one first.
    pub options: Vec<AuthorizationOption>,
    /// The schemes that the API offers.
    pub schemes: Vec<String>,
    /// The challenge's error code.
    pub error: Option<&'static str>,
    /// Whether more scope is demanded than a good token had.
    pub step_up: bool,
    /// How the person must have logged in.
    pub login: LoginDemand,
    /// Whether the API's metadata was read.
    pub from_metadata: bool,
}

impl Corridor {
    /// Says what to begin after an API has answered with these challenges.
    ///
    /// # Errors
    /// What the caller is told; recorded.
    pub async fn resolve_challenge(&self, caller: &Caller, input: &ChallengeInput) -> Result<ResolvedReply, Fault> {
        let _underway = self.work.enter()?;
        self.refuse_frozen(OPERATION, caller).await?;
        let estate = self.policies.estate();
        let apis = estate.catalog.apis_at(&input.requested.url);
        let mut event = refusal(OPERATION, caller);
        event.resource = apis.first().map(|api| api.identifier.clone());
        match self.resolved(caller, input, &apis).await {
            Ok(reply) => Ok(reply),
            Err(fault) => {
                let rule = fault.metadata.get("rule").map(String::as_str);
                let event = rule.into_iter().fold(event, |event, rule| event.with("rule", rule));
                Err(self.refuse(event, fault).await)
            }
        }
    }

    async fn resolved(
        &self,
        caller: &Caller,
        input: &ChallengeInput,
        apis: &[&Arc<Api>],
    ) -> Result<ResolvedReply, Fault> {
        let ChallengeInput { requested, demand } = input;
        if apis.is_empty() {
            return Err(Reason::ApiUndeclared.into());
        }
        // Looked at where nothing is fetched too: a place elsewhere says that the challenge is not the API's.
        let named = demand.metadata.as_deref().map(|named| place(requested, named)).transpose()?;
        let found = match apis.iter().find(|api| ProtectedResources::reads(api)) {
            None => None,
            Some(api) => Some(self.resources.metadata(&caller.agent().id, api, requested, named.as_ref()).await?),
        };
        let trusted = self.trusted(caller, apis, found.as_ref())?;
        let listed = found.as_ref().map(|found| found.document.scopes_supported.as_slice()).unwrap_or_default();
        Ok(ResolvedReply {
            options: trusted.into_iter().map(|api| self.option(caller, api, demand, listed)).collect(),
            schemes: demand.schemes.clone(),
            error: demand.error,
            step_up: demand.is_step_up(),
            login: demand.login.clone(),
            from_metadata: found.is_some(),
        })
    }

    /// The declared APIs by the order in which the API's own metadata names their issuers. A name that is not exactly one
    /// of theirs is nobody.
    fn trusted<'a>(
        &self,
        caller: &Caller,
        apis: &[&'a Arc<Api>],
        found: Option<&Found>,
    ) -> Result<Vec<&'a Arc<Api>>, Fault> {
        let Some(found) = found else { return Ok(apis.to_vec()) };
        let Some(names) = &found.document.authorization_servers else { return Ok(apis.to_vec()) };
        let (mut trusted, mut ignored): (Vec<&Arc<Api>>, usize) = (Vec::new(), 0);
        for name in names {
            let is_its = |api: &&&Arc<Api>| self.config.issuers.get(&api.issuer).is_some_and(|i| i.url == *name);
            match apis.iter().find(is_its) {
                None => ignored += 1,
                Some(api) if trusted.iter().any(|known| known.alias == api.alias) => {}
                Some(api) => trusted.push(api),
            }
        }
        let alias = apis.first().map_or("none", |api| api.alias.as_str());
        if trusted.is_empty() {
            tracing::error!(api = alias, "its metadata names no issuer that is configured for it");
            let fault = Fault::new(Reason::NoTrustedIssuer).with("api", alias);
            return Err(if found.is_news { fault.detected(Detection::UntrustedIssuer) } else { fault });
        }
        if ignored > 0 && found.is_news {
            tracing::warn!(
                api = alias,
                ignored,
                "its metadata names issuers that are not configured for it; they are ignored"
            );
            let mut event = Event::new(Code::Detected(Detection::UntrustedIssuer), OPERATION).by(caller);
            event.severity = Severity::Medium;
            self.recorder.report(event.with("api", alias).with("ignored", ignored));
        }
        Ok(trusted)
    }

    fn option(&self, caller: &Caller, api: &Api, demand: &Demand, listed: &[String]) -> AuthorizationOption {
        let clients = self.config.clients.values().filter(|client| client.issuer == api.issuer);
        let clients = clients.filter(|client| usable_binding(caller, client).is_ok());
        let estate = self.policies.estate();
        let home = |scope: &Scope| estate.catalog.scopes.get(scope).map(|declared| &declared.home);
        let (scopes, unknown) = demand.scopes.iter().cloned().partition(|scope| match home(scope) {
            Some(ScopeHome::Api(alias)) => *alias == api.alias,
            Some(ScopeHome::Issuers(issuers)) => issuers.contains(&api.issuer),
            None => false,
        });
        let listed = listed.iter().filter_map(|text| Scope::parse(text));
        let supported =
            listed.filter(|scope| matches!(home(scope), Some(ScopeHome::Api(alias)) if *alias == api.alias));
        AuthorizationOption {
            api: api.alias.clone(),
            resource: api.identifier.clone(),
            issuer: api.issuer.clone(),
            clients: clients.map(|client| client.alias.clone()).collect(),
            scopes,
            unknown,
            supported: supported.collect(),
        }
    }
}
