//! `[[issuer]]` and `[[client]]`: the authorization servers we trust and our registrations at them.

use super::{
    access_token::{self, AccessTokens, access_tokens},
    assertion::{ClientAssertions, client_assertions},
    authorization_details::types_supported,
    binding,
    client_auth::{ClientAuth, client_auth, not_this_flow},
    delegation::{Delegations, delegations},
    hosts::{self, AllowedHosts},
    id_token::{IdTokens, id_tokens},
    keeping::{Narrowing, narrowing},
    leniency::{self, Accept, Profile},
    par::{ParUse, par_use},
    pem::{self, CertificateAndKey},
    reader::Table,
    registry::{environment, team},
    request_object::signs_requests,
    share::{Share, share},
};
use crate::model::{ClientAlias, Environment, IssuerAlias, PinnedRedirect, TeamId, TokenBinding};
use rustls::pki_types::CertificateDer;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// An authorization server we trust.
#[derive(Debug)]
pub struct Issuer {
    /// Its alias. Agents never name it otherwise.
    pub alias: IssuerAlias,
    /// Its issuer identifier (RFC 8414 §2), compared byte for byte.
    pub url: String,
    /// Where it belongs.
    pub environment: Environment,
    /// The trust roots of its TLS certificates.
    pub roots: Vec<CertificateDer<'static>>,
    /// Endpoints from the configuration, instead of discovery.
    pub endpoints: Option<Endpoints>,
    /// The hosts and ports that its metadata may name.
    pub allowed_hosts: AllowedHosts,
    /// The whole time for one request to it.
    pub deadline: Duration,
    /// How long its metadata is believed.
    pub metadata_ttl: Duration,
    /// How long after that it is still used while no new one can be had.
    pub metadata_stale: Duration,
    /// Metadata that does not offer how a client authenticates is refused, not only warned of.
    pub strict_metadata: bool,
    /// The rules it is held to as a whole.
    pub profile: Profile,
    /// Where it may stray from the RFCs.
    pub accept: Accept,
    /// What a token without `expires_in` is taken to live.
    pub assumed_lifetime: Duration,
    /// What it does with fewer scopes on refresh.
    pub narrowing: Narrowing,
    /// What is demanded of its ID tokens.
    pub id_tokens: IdTokens,
    /// What is agreed on about its access tokens.
    pub access_tokens: AccessTokens,
    /// A stop revokes the tokens that are held, though agents may still use theirs.
    pub revoke_on_stop: bool,
    /// How much of narrowgate it may use up.
    pub share: Share,
    /// How client assertions for it are made.
    pub assertions: ClientAssertions,
    /// Whether authorization requests are pushed to it (RFC 9126).
    pub par: ParUse,
    /// Clients may prove themselves to it by a shared secret (RFC 6749 §2.3.1).
    pub allow_client_secret: bool,
}

/// Endpoints from the configuration.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Authorization endpoint (RFC 6749 §3.1).
    pub authorization: String,
    /// Token endpoint (RFC 6749 §3.2).
    pub token: String,
    /// Revocation endpoint (RFC 7009 §2).
    pub revocation: Option<String>,
    /// Introspection endpoint (RFC 7662 §2). Needed where the contract on access tokens is introspection.
    pub introspection: Option<String>,
    /// Pushed authorization request endpoint (RFC 9126 §2).
    pub pushed: Option<String>,
    /// The server takes no other authorization requests (RFC 9126 §5).
    pub push_required: bool,
    /// Where its keys are (RFC 7517 §5). Needed where ID tokens are asked for.
    pub jwks: Option<String>,
    /// Whether the server sends `iss` in authorization responses (RFC 9207).
    pub iss_parameter: bool,
    /// The types of authorization details that the server supports (RFC 9396 §10).
    pub details_types: BTreeSet<String>,
    /// What the metadata has beside its aliases for mutual TLS (RFC 8705 §5), for clients without a certificate.
    pub without_certificate: Option<WithoutCertificate>,
}

/// The direct endpoints at the top level of metadata that has aliases too.
#[derive(Debug, Clone)]
pub struct WithoutCertificate {
    /// Token endpoint; `None` if there is none that may be used.
    pub token: Option<String>,
    /// Revocation endpoint.
    pub revocation: Option<String>,
    /// Introspection endpoint.
    pub introspection: Option<String>,
    /// Pushed authorization request endpoint.
    pub pushed: Option<String>,
}

impl Endpoints {
    /// The endpoints as they are for a client: without a certificate the aliases for mutual TLS are of no use to it.
    /// `None` if there is no token endpoint then.
    #[must_use]
    pub fn of(self: &Arc<Self>, client: &Client) -> Option<Arc<Self>> {
        let Some(direct) = self.without_certificate.as_ref().filter(|_| client.identity.is_none()) else {
            return Some(Arc::clone(self));
        };
        let WithoutCertificate { token, revocation, introspection, pushed } = direct.clone();
        let without_certificate = None;
        let same = Self::clone(self);
        Some(Arc::new(Self { token: token?, revocation, introspection, pushed, without_certificate, ..same }))
    }
}

/// A client registration.
#[derive(Debug)]
pub struct Client {
    /// Its alias: the entity in policy.
    pub alias: ClientAlias,
    /// Its issuer.
    pub issuer: IssuerAlias,
    /// Its `client_id` (RFC 6749 §2.2).
    pub client_id: String,
    /// How it proves itself.
    pub auth: ClientAuth,
    /// Its authorization requests are request objects (RFC 9101), signed with the key of its assertions.
    pub signs_requests: bool,
    /// The certificate it shows: to authenticate with, or only for tokens to be bound to (RFC 8705 §3).
    pub identity: Option<CertificateAndKey>,
    /// The redirect URIs registered for it.
    pub redirects: Vec<PinnedRedirect>,
    /// The team that answers for it.
    pub owner: TeamId,
    /// Where it belongs.
    pub environment: Environment,
    /// What the issuer binds its tokens to.
    pub bound_tokens: TokenBinding,
    /// The agents have the keys that its tokens are bound to, and make every proof themselves (RFC 9449).
    pub agent_holds_key: bool,
    /// The agents hold the same certificate, so bound tokens are of use to them.
    pub shared_certificate: bool,
    /// The longest token that may be issued to it.
    pub lifetime_ceiling: Duration,
    /// The grants that it may use besides authorization codes.
    pub delegations: Delegations,
}

impl Client {
    /// `x5t#S256` of its certificate, where it has one.
    #[must_use]
    pub fn thumbprint(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.thumbprint.as_str())
    }
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn issuer(table: &Table<'_>, daemon: Environment) -> Option<Issuer> {
    let alias = table.required("alias", |t| IssuerAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
    let url = table.required("issuer", issuer_url);
    let environment = own_environment(table, daemon);
    let roots = table
        .required_path("ca")
        .and_then(|path| pem::authorities(&path).map_err(|w| table.wrong_at("ca", w, None)).ok());
    let endpoints = table.table("endpoints", endpoints);
    let (more_hosts, more_ports) = hosts::entries(table);
    // Everything is read before anything is given up, or the keys not reached would look unknown.
    let deadline = table.span("deadline", 10 * SECOND, SECOND / 10..=120 * SECOND);
    let metadata_ttl = table.span("metadata_ttl", 600 * SECOND, SECOND / 10..=DAY);
    let metadata_stale = table.span("metadata_stale", 3600 * SECOND, SECOND / 1000..=7 * DAY);
    let strict_metadata = table.boolean("strict_metadata", false);
    let profile = leniency::profile(table);
    let accept = table.table("accept", leniency::accept).unwrap_or_default();
    if profile == Profile::Mcp && endpoints.is_some() {
        table.wrong_at(
            "profile",
            "\"mcp\" needs discovery: PKCE must be seen in the metadata",
            Some("take [issuer.endpoints] out"),
        );
    }
    let id_tokens = table.table("id_token", id_tokens).unwrap_or_default();
    let access_tokens = table.table("access_token", access_tokens).unwrap_or_default();
    let assumed_lifetime = table.span("assumed_lifetime", 300 * SECOND, SECOND..=DAY);
    let narrowing = narrowing(table);
    let revoke_on_stop = table.boolean("revoke_on_stop", false);
    let share = share(table);
    let assertions = table.table("client_assertion", client_assertions).unwrap_or_default();
    let par = par_use(table);
    let allow_client_secret = table.boolean("allow_client_secret", false);
    let (url, endpoints) = (
        url?,
        match endpoints {
            None => None,
            Some(read) => Some(read?),
        },
    );
    endpoints.iter().for_each(|endpoints| access_token::served(table, &access_tokens, endpoints));
    let mut allowed_hosts = AllowedHosts::of(&url, endpoints.as_ref());
    allowed_hosts.extend(more_hosts, more_ports);
    Some(Issuer {
        alias: alias?,
        url,
        environment: environment?,
        roots: roots?,
        endpoints,
        allowed_hosts,
        deadline,
        metadata_ttl,
        metadata_stale,
        strict_metadata,
        profile,
        accept,
        assumed_lifetime,
        narrowing,
        id_tokens,
        access_tokens,
        revoke_on_stop,
        share,
        assertions,
        par,
        allow_client_secret,
    })
}

fn own_environment(table: &Table<'_>, daemon: Environment) -> Option<Environment> {
    let own = table.optional("environment", environment).unwrap_or(daemon);
    if own != daemon {
        let message = format!("is {}, but this daemon is {}", own.as_str(), daemon.as_str());
        table.wrong_at("environment", message, Some("one environment's clients are never used in another"));
        return None;
    }
    Some(own)
}

fn issuer_url(text: &str) -> Result<String, String> {
    let url = https(text)?;
    if url.query().is_some() {
        return Err("must not have a query (RFC 8414 §2)".to_owned());
    }
    match hosts::any_tenant(text, &url) {
        Some(wrong) => Err(wrong.to_owned()),
        None => Ok(text.to_owned()),
    }
}

/// An absolute https URL without userinfo and fragment.
pub(crate) fn https(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|_| "must be an absolute https URL".to_owned())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() == "https" && url.has_host() && plain {
        Ok(url)
    } else {
        Err("must be an https URL without userinfo and fragment".to_owned())
    }
}

fn endpoints(table: &Table<'_>) -> Option<Endpoints> {
    let endpoint = |text: &str| https(text).map(|_| text.to_owned());
    let authorization = table.required("authorization", |text| match hosts::repeats_ours(&https(text)?) {
        Some(name) => Err(format!("must not bring `{name}` in its query: narrowgate sets it")),
        None => Ok(text.to_owned()),
    });
    let token = table.required("token", endpoint);
    let revocation = table.optional("revocation", endpoint);
    let introspection = table.optional("introspection", endpoint);
    let pushed = table.optional("pushed_authorization_request", endpoint);
    let jwks = table.optional("jwks", endpoint);
    let iss_parameter = table.boolean("iss_parameter", true);
    Some(Endpoints {
        authorization: authorization?,
        token: token?,
        revocation,
        introspection,
        pushed,
        push_required: false,
        jwks,
        iss_parameter,
        details_types: types_supported(table),
        without_certificate: None,
    })
}

pub(super) fn client(table: &Table<'_>, daemon: Environment) -> Option<Client> {
    let alias = table.required("alias", |t| ClientAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
    let issuer = table.required("issuer", |t| IssuerAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
    let client_id = table.required("client_id", |t| {
        let vschar = !t.is_empty() && t.len() <= 512 && t.bytes().all(|b| (0x20..=0x7e).contains(&b));
        if vschar { Ok(t.to_owned()) } else { Err("must be 1*VSCHAR (RFC 6749 App. A.1)".to_owned()) }
    });
    not_this_flow(table);
    let identity = pem::identity(table);
    let auth = client_auth(table, identity.as_ref());
    let signs_requests = signs_requests(table, auth.as_ref());
    let redirects = table.list("redirect_uris", |t| PinnedRedirect::parse(t).map_err(str::to_owned));
    let delegations = delegations(table);
    if table.is_bare("redirect_uris") && !delegations.any() {
        table.wrong_at("redirect_uris", "must hold at least one URI", None);
    }
    let owner = table.required("owner", team);
    let environment = own_environment(table, daemon);
    let (bound_tokens, agent_holds_key) = binding::token_binding(table);
    let shared_certificate = table.boolean("shared_certificate", false);
    let by_certificate = bound_tokens == TokenBinding::Certificate;
    if identity.is_none() && (by_certificate || shared_certificate) {
        let bound = if table.holds("token_binding") { "token_binding" } else { "bound_tokens" };
        let key = if by_certificate { bound } else { "shared_certificate" };
        table.wrong_at(key, "needs a certificate (RFC 8705 §3)", Some("add `certificate` and `key`"));
    }
    let lifetime_ceiling = table.span("max_token_lifetime", 3600 * SECOND, SECOND..=30 * DAY);
    Some(Client {
        alias: alias?,
        issuer: issuer?,
        client_id: client_id?,
        auth: auth?,
        signs_requests,
        identity,
        redirects,
        owner: owner?,
        environment: environment?,
        bound_tokens,
        agent_holds_key,
        shared_certificate,
        lifetime_ceiling,
        delegations,
    })
}
