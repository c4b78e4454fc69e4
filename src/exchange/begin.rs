//! Begin: names resolved, policy asked, the decision recorded, the transaction minted.

use super::{Corridor, refusal};
use crate::{
    audit::{Code, Event},
    caller::{Attestation, Caller},
    config::{Api, Client, Endpoints, Estate, Issuer, ParUse, ScopeHome},
    model::{
        Approvable, ApprovalRecord, AuthorizationDetails, Claimed, DecisionId, DpopProof, Fault, Handle, LoginDemand,
        Reason, RedirectUri, Scope, ScopeSet, TokenBinding, Wall,
        scope::{OFFLINE_ACCESS, SCOPES_MAX},
    },
    oauth::{possession, requested_details, supported_details},
    policy::{BeginAsk, BeginPermitted},
    transaction::{Flow, Opening},
};
use std::sync::Arc;

/// A request to begin, as it came.
pub struct BeginInput {
    /// The client's alias.
    pub client: String,
    /// The issuer's alias, or nothing.
    pub issuer: String,
    /// The scopes.
    pub scopes: Vec<String>,
    /// The resource, or nothing.
    pub resource: String,
    /// The authorization details (RFC 9396 §2) as JSON, or nothing.
    pub authorization_details: String,
    /// The redirect URI, or nothing.
    pub redirect_uri: String,
    /// Whether fewer scopes will do.
    pub allow_partial: bool,
    /// The caller's own words.
    pub claimed: Claimed,
    /// The proof that the agent has a key, where it is to have it.
    pub proof: Option<DpopProof>,
    /// How the person is to log in.
    pub login: LoginDemand,
    /// The record that a person approves of it.
    pub approval: Option<ApprovalRecord>,
}

/// An authorization that was begun.
pub struct BegunReply {
    /// The transaction's handle.
    pub transaction: Handle,
    /// The URL to open.
    pub url: String,
    /// The scopes asked for.
    pub scopes: ScopeSet,
    /// The scopes refused, each with its reason code.
    pub refused: Vec<(Scope, String)>,
    /// The resource.
    pub resource: Option<String>,
    /// Where and with which nonce the agent has to prove next, where it has the key itself.
    pub to_be_proven: Option<(String, String)>,
    /// When the URL is of no use any more: the transaction has ended then, or the pushed request (RFC 9126 §2.2).
    pub ends: Wall,
    /// The decision.
    pub decision: DecisionId,
}

impl Corridor {
    /// Begins an authorization.
    ///
    /// # Errors
    /// What the caller is told; recorded unless it is a mere slip of form.
    pub async fn begin(&self, caller: Caller, mut input: BeginInput) -> Result<BegunReply, Fault> {
        let _underway = self.work.enter()?;
        self.plausible_clock()?;
        self.refuse_frozen("BeginAuthorization", &caller).await?;
        let event = refusal("BeginAuthorization", &caller);
        let (proof, record) = (input.proof.take(), input.approval.take());
        let resolved = self.resolve(input).and_then(|ask| usable_binding(&caller, &ask.client).map(|()| ask));
        let proven = resolved.and_then(|mut ask| {
            let jkt = possession(&ask.client, proof.as_ref(), self.clock.wall())?;
            ask.approvable = self.approvable(&caller.agent().id, &ask);
            let taken = self.take_approval(&mut ask.approvable, &ask.scopes, record.as_ref())?;
            Ok((jkt, taken, ask))
        });
        let (agent_jkt, taken, ask) = match proven {
            Ok(proven) => proven,
            Err(fault) if is_slip(fault.reason) => return Err(fault),
            Err(fault) => return Err(self.refuse(event, fault).await),
        };
        let client = Arc::clone(&ask.client);
        let issuer = self.config.issuers.get(&client.issuer).map(Arc::clone).ok_or(Reason::IssuerUnknown)?;
        let requested = ask.scopes.to_strings();
        let permitted = match self.policies.begin(caller, ask, self.decision()?) {
            Ok(permitted) => permitted,
            Err(no) => {
                let (caller, refused) = *no;
                let mut event =
                    Event::new(Code::AuthorizationDecided, "BeginAuthorization").by(&caller).through(&client, &issuer);
                event.requested = requested;
                return Err(self.deny(event, refused).await);
            }
        };
        let permitted = self.recorder.record(permitted).await.map_err(|unrecorded| unrecorded.1)?.into_inner();
        match self.open(&permitted, (client, issuer), agent_jkt).await {
            Ok(reply) => {
                if let Some(taken) = taken {
                    taken.keep();
                }
                Ok(reply)
            }
            Err(fault) => Err(self.refuse(event.of(permitted.verdict().id), fault).await),
        }
    }

    /// Opens the transaction of a recorded permit, and makes its request.
    async fn open(
        &self,
        permitted: &BeginPermitted,
        (client, issuer): (Arc<Client>, Arc<Issuer>),
        agent_jkt: Option<String>,
    ) -> Result<BegunReply, Fault> {
        let (ask, verdict, agent) = (permitted.ask(), permitted.verdict(), permitted.caller().agent());
        let endpoints = self.servers.endpoints(&client, &agent.id).await?;
        self.sufficient(&client, &endpoints, (permitted.scopes(), &ask.details))?;
        let login = demanded(permitted, &issuer)?;
        let iss_parameter = endpoints.iss_parameter;
        let minted = self.transactions.open(Opening {
            flow: Flow::AuthorizationCode,
            agent: Arc::clone(agent),
            client,
            issuer,
            endpoints,
            redirect: ask.redirect.clone(),
            told_by_redirect: !iss_parameter && self.config.issuers.len() > 1,
            scopes: permitted.scopes().clone(),
            details: ask.details.clone(),
            api: ask.api.clone(),
            login,
            offline_refused: verdict.refused.iter().any(|(scope, _)| scope.as_str() == OFFLINE_ACCESS),
            agent_jkt,
            decision: verdict.id,
            registered_by: None,
            approvable: ask.approvable.clone(),
        })?;
        let provisional = self.transactions.provisional(&minted);
        let request = self.servers.authorization_request(&minted).await?;
        provisional.keep();
        tracing::debug!(agent = %agent.id, decision = %verdict.id, "an authorization was begun");
        Ok(BegunReply {
            transaction: minted.begun.handle,
            url: request.url,
            scopes: permitted.scopes().clone(),
            refused: verdict.refused.clone(),
            resource: minted.begun.opening.resource().map(str::to_owned),
            to_be_proven: self.servers.to_be_proven(&minted.begun)?,
            ends: request.ends,
            decision: verdict.id,
        })
    }

    /// Whether the issuer, as its metadata or the configuration describes it, can be asked for this.
    pub(super) fn sufficient(
        &self,
        client: &Client,
        endpoints: &Endpoints,
        (scopes, details): (&ScopeSet, &AuthorizationDetails),
    ) -> Result<(), Fault> {
        supported_details(details, &endpoints.details_types)?;
        if !endpoints.iss_parameter && self.config.shares_redirect(client).is_some() {
            tracing::error!(client = %client.alias, "its issuer sends no iss and it shares a redirect URI with another issuer's client: give it its own");
            let field = "authorization_response_iss_parameter_supported";
            let fault = Fault::new(Reason::MetadataRejected).with("field", field).with("cure", "redirect_uris");
            return Err(fault.in_detail(
                "It promises no iss (RFC 9207), and the client shares a redirect URI with another issuer's: give it its own.",
            ));
        }
        if scopes.asks_identity() && endpoints.jwks.is_none() {
            tracing::error!(issuer = %client.issuer, "it has no jwks_uri on an allowed host: add the host to allowed_hosts, or jwks = \"https://...\" to [issuer.endpoints]");
            return Err(Fault::new(Reason::OpenidUnsupported).with("issuer", client.issuer.as_str()));
        }
        Ok(())
    }

    /// Turns names into what they stand for. Nothing is fetched: an unknown name costs its sender an error.
    pub(super) fn resolve(&self, input: BeginInput) -> Result<BeginAsk, Fault> {
        let scopes = scope_set(&input.scopes)?;
        let client = crate::model::ClientAlias::parse(&input.client).and_then(|alias| self.config.clients.get(&alias));
        let client = Arc::clone(
            client.ok_or_else(|| Fault::field(Reason::ClientUnknown, "client", "names no client registration"))?,
        );
        if !input.issuer.is_empty() && input.issuer != client.issuer.as_str() {
            return Err(Fault::field(Reason::IssuerUnknown, "issuer", "is not the client's issuer"));
        }
        let estate = self.policies.estate();
        let api = Self::api(&estate, &client, &scopes, &input.resource)?;
        let alias = api.as_ref().map(|api| &api.alias);
        let details = requested_details(&input.authorization_details, &estate.catalog, alias)?;
        let redirect = redirect(&client, &input.redirect_uri)?;
        let BeginInput { allow_partial, claimed, login, .. } = input;
        let approvable = Approvable::default();
        if login.needs_proof() && !scopes.asks_identity() {
            let field = if login.max_age.is_some() { "max_age" } else { "acr_values" };
            return Err(Fault::field(Reason::FieldInvalid, field, "needs the scope openid, or nobody could check it"));
        }
        let issuer = self.config.issuers.get(&client.issuer).ok_or(Reason::IssuerUnknown)?;
        let pushed = issuer.par == ParUse::Required;
        Ok(BeginAsk { client, api, scopes, details, redirect, allow_partial, claimed, login, pushed, approvable })
    }

    /// The one API that all scopes belong to, but for capabilities of its issuer; `None` where there are only those.
    pub(super) fn api(
        estate: &Estate,
        client: &Client,
        scopes: &ScopeSet,
        resource: &str,
    ) -> Result<Option<Arc<Api>>, Fault> {
        let catalog = &estate.catalog;
        let mut alias = None;
        for scope in scopes.iter() {
            let undeclared = || Fault::new(Reason::ScopeUndeclared).with("scopes", scope.as_str());
            match &catalog.scopes.get(scope).ok_or_else(undeclared)?.home {
                ScopeHome::Issuers(issuers) if issuers.contains(&client.issuer) => {}
                ScopeHome::Issuers(_) => return Err(undeclared()),
                ScopeHome::Api(api) if *alias.get_or_insert(api) == api => {}
                ScopeHome::Api(_) => {
                    let several = "belong to more than one API; begin once for each";
                    return Err(Fault::field(Reason::FieldInvalid, "scopes", several));
                }
            }
        }
        let elsewhere = || Fault::field(Reason::ScopeUndeclared, "scopes", "belong to no API of the client's issuer");
        let found = |alias| catalog.apis.get(alias).filter(|api| api.issuer == client.issuer).ok_or_else(elsewhere);
        let api = alias.map(found).transpose()?;
        if !resource.is_empty() && api.is_none_or(|api| resource != api.identifier) {
            let absolute = url::Url::parse(resource).is_ok_and(|u| u.fragment().is_none());
            let reason = if absolute { Reason::ResourceUnknown } else { Reason::ResourceSyntax };
            return Err(Fault::field(reason, "resource", "is not the identifier of the scopes' API"));
        }
        Ok(api.map(Arc::clone))
    }
}

/// What is demanded of the login: what the agent asked and policy allowed, and what the issuer's configuration demands.
fn demanded(permitted: &BeginPermitted, issuer: &Issuer) -> Result<LoginDemand, Fault> {
    let (asked, settings) = (permitted.ask().login.clone(), &issuer.id_tokens);
    if asked.needs_proof() && !permitted.scopes().asks_identity() {
        return Err(Fault::new(Reason::PolicyDenied).with("scopes", "openid"));
    }
    let strictest = asked.with(settings.max_age, &settings.acr_values);
    strictest.map_err(|(field, wrong)| Fault::field(Reason::FieldInvalid, field, wrong))
}

/// Reads scopes from a request.
pub(super) fn scope_set(texts: &[String]) -> Result<ScopeSet, Fault> {
    if texts.is_empty() {
        return Err(Fault::field(Reason::FieldRequired, "scopes", "name at least one scope"));
    }
    let syntax = || {
        Fault::field(
            Reason::ScopeSyntax,
            "scopes",
            "each must be a scope-token (RFC 6749 §3.3), at most 64 of at most 256 bytes",
        )
    };
    if texts.len() > SCOPES_MAX {
        return Err(syntax());
    }
    let scopes: Option<Vec<Scope>> = texts.iter().map(|text| Scope::parse(text)).collect();
    scopes.and_then(ScopeSet::new).ok_or_else(syntax)
}

fn redirect(client: &Client, named: &str) -> Result<RedirectUri, Fault> {
    let mismatch = |wrong: &str| Fault::field(Reason::RedirectUriMismatch, "redirect_uri", wrong);
    let named = match (named, client.redirects.as_slice()) {
        ("", [only]) => only.as_str(),
        ("", _) => return Err(Fault::field(Reason::FieldRequired, "redirect_uri", "the client has several: name one")),
        (named, _) => named,
    };
    client
        .redirects
        .iter()
        .find_map(|pinned| pinned.admit(named))
        .ok_or_else(|| mismatch("is not pinned for this client"))
}

/// A certificate-bound token is of use only to a caller that can present the same certificate (RFC 8705 §3).
pub(super) fn usable_binding(caller: &Caller, client: &Client) -> Result<(), Fault> {
    // A key of the grant's own needs nothing of the caller: narrowgate signs for it.
    if client.bound_tokens != TokenBinding::Certificate {
        return Ok(());
    }
    let shares = client.shared_certificate
        && match caller.attestation() {
            Attestation::UnixPeer(_) => true,
            Attestation::SpiffeX509 { svid, .. } => client.thumbprint() == Some(svid.thumbprint.as_str()),
        };
    if shares { Ok(()) } else { Err(Fault::new(Reason::BindingUnusable).with("client", client.alias.as_str())) }
}

/// Whether narrowgate can prove the key of a client's tokens by itself (RFC 9449 §5): not one that its agents have.
pub(super) fn provable(client: &Client) -> Result<(), Fault> {
    if !client.agent_holds_key {
        return Ok(());
    }
    let wrong = "has keys that its agents have: one of them must begin itself, for nobody can prove its key for it";
    Err(Fault::field(Reason::FieldInvalid, "client", wrong))
}

/// Whether a fault is of form alone: told to the sender, of no interest to anyone else.
pub(super) const fn is_slip(reason: Reason) -> bool {
    matches!(reason, Reason::FieldRequired | Reason::FieldInvalid | Reason::ScopeSyntax | Reason::ResourceSyntax)
}
