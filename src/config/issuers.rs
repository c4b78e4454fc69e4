//! `[[issuer]]` and `[[client]]`: the authorization servers we trust and our registrations at them.

use super::{
    distinguished_name::DistinguishedName,
    hosts::{self, AllowedHosts},
    id_token::{IdTokens, id_tokens},
    keeping::{Narrowing, narrowing},
    leniency::{self, Accept, Profile},
    pem::{self, CertificateAndKey},
    published,
    reader::Table,
    registry::{environment, team},
    share::{Share, share},
};
use crate::model::{ClientAlias, Environment, IssuerAlias, PinnedRedirect, TeamId};
use rustls::pki_types::CertificateDer;
use std::{net::IpAddr, time::Duration};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

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
    /// A stop revokes the tokens that are held, though agents may still use theirs.
    pub revoke_on_stop: bool,
    /// How much of narrowgate it may use up.
    pub share: Share,
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
    /// Where its keys are (RFC 7517 §5). Needed where ID tokens are asked for.
    pub jwks: Option<String>,
    /// Whether the server sends `iss` in authorization responses (RFC 9207).
    pub iss_parameter: bool,
}

/// How a client proves itself to the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// PKI mutual TLS (RFC 8705 §2.1), with the one subject value that the issuer expects.
    TlsClientAuth(SubjectValue),
    /// Self-signed certificate mutual TLS (RFC 8705 §2.2).
    SelfSignedTlsClientAuth,
}

impl ClientAuth {
    /// The registered name of the method.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::TlsClientAuth(_) => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }
}

/// The subject value registered at the issuer (RFC 8705 §2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectValue {
    /// `tls_client_auth_subject_dn`
    Dn(String),
    /// `tls_client_auth_san_dns`
    SanDns(String),
    /// `tls_client_auth_san_uri`
    SanUri(String),
    /// `tls_client_auth_san_ip`
    SanIp(IpAddr),
    /// `tls_client_auth_san_email`
    SanEmail(String),
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
    /// With which certificate.
    pub identity: CertificateAndKey,
    /// The redirect URIs registered for it.
    pub redirects: Vec<PinnedRedirect>,
    /// The team that answers for it.
    pub owner: TeamId,
    /// Where it belongs.
    pub environment: Environment,
    /// The issuer binds its tokens to the certificate (RFC 8705 §3).
    pub bound_tokens: bool,
    /// The agents hold the same certificate, so bound tokens are of use to them.
    pub shared_certificate: bool,
    /// The longest token that may be issued to it.
    pub lifetime_ceiling: Duration,
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
    let assumed_lifetime = table.span("assumed_lifetime", 300 * SECOND, SECOND..=DAY);
    let narrowing = narrowing(table);
    let revoke_on_stop = table.boolean("revoke_on_stop", false);
    let share = share(table);
    let (url, endpoints) = (
        url?,
        match endpoints {
            None => None,
            Some(read) => Some(read?),
        },
    );
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
        revoke_on_stop,
        share,
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
    let jwks = table.optional("jwks", endpoint);
    let iss_parameter = table.boolean("iss_parameter", true);
    Some(Endpoints { authorization: authorization?, token: token?, revocation, jwks, iss_parameter })
}

pub(super) fn client(table: &Table<'_>, daemon: Environment) -> Option<Client> {
    let alias = table.required("alias", |t| ClientAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
    let issuer = table.required("issuer", |t| IssuerAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
    let client_id = table.required("client_id", |t| {
        let vschar = !t.is_empty() && t.len() <= 512 && t.bytes().all(|b| (0x20..=0x7e).contains(&b));
        if vschar { Ok(t.to_owned()) } else { Err("must be 1*VSCHAR (RFC 6749 App. A.1)".to_owned()) }
    });
    let identity = pem::identity(table);
    not_this_flow(table);
    let auth = client_auth(table, identity.as_ref());
    let redirects = table.list("redirect_uris", |t| PinnedRedirect::parse(t).map_err(str::to_owned));
    if table.is_bare("redirect_uris") {
        table.wrong_at("redirect_uris", "must hold at least one URI", None);
    }
    let owner = table.required("owner", team);
    let environment = own_environment(table, daemon);
    let bound_tokens = table.boolean("bound_tokens", false);
    let shared_certificate = table.boolean("shared_certificate", false);
    let lifetime_ceiling = table.span("max_token_lifetime", 3600 * SECOND, SECOND..=30 * DAY);
    Some(Client {
        alias: alias?,
        issuer: issuer?,
        client_id: client_id?,
        auth: auth?,
        identity: identity?,
        redirects,
        owner: owner?,
        environment: environment?,
        bound_tokens,
        shared_certificate,
        lifetime_ceiling,
    })
}

/// Grants and methods that people write and that narrowgate does not speak.
fn not_this_flow(table: &Table<'_>) {
    for key in ["grants", "grant_types", "grant_type", "response_types", "response_type"] {
        table.refuse(
            key,
            "cannot be chosen: narrowgate speaks the authorization code flow alone",
            "take the line out; the password and implicit grants are not to be used (RFC 9700 §2.1.2, §2.4)",
        );
    }
    for key in ["client_secret", "username", "password"] {
        table.refuse(
            key,
            "is a shared secret, and narrowgate authenticates by certificate (RFC 8705 §2)",
            "take the line out; deploy/issuers.md says what that means for servers without mutual TLS",
        );
    }
}

fn client_auth(table: &Table<'_>, identity: Option<&CertificateAndKey>) -> Option<ClientAuth> {
    let method = table.required("auth", |t| match t {
        "tls_client_auth" | "self_signed_tls_client_auth" => Ok(t.to_owned()),
        _ => Err("must be \"tls_client_auth\" or \"self_signed_tls_client_auth\" (RFC 8705 §2)".to_owned()),
    });
    let subject = table.table("subject", subject).flatten();
    let jwks = table.path("published_jwks");
    if method?.starts_with("self") {
        published::check(table, jwks.as_deref(), identity?)?;
        return Some(ClientAuth::SelfSignedTlsClientAuth);
    }
    if jwks.is_some() {
        table.wrong_at("published_jwks", "belongs to self_signed_tls_client_auth (RFC 8705 §2.2)", None);
    }
    let Some(subject) = subject else {
        if table.holds("subject") {
            return None;
        }
        table.wrong(
            "tls_client_auth needs `subject` with exactly one of dn, san_dns, san_uri, san_ip, san_email (RFC 8705 §2.1.2)",
            Some("write for example: subject = { san_uri = \"spiffe://example.org/narrowgate\" }"),
        );
        return None;
    };
    let leaf = identity?.chain.first()?;
    if !carries(leaf, &subject) {
        table.wrong_at(
            "subject",
            "is not in the certificate, so the issuer would refuse it (CLIENT_CERT_SUBJECT_MISMATCH)",
            matches!(subject, SubjectValue::Dn(_))
                .then(|| format!("the certificate's subject is {:?}", subject_of(leaf)))
                .as_deref(),
        );
        return None;
    }
    Some(ClientAuth::TlsClientAuth(subject))
}

fn subject(table: &Table<'_>) -> Option<SubjectValue> {
    let text = |t: &str| if t.is_empty() { Err("is empty".to_owned()) } else { Ok(t.to_owned()) };
    let values: Vec<SubjectValue> = [
        table.optional("dn", |t| DistinguishedName::parse(t).map(|_| t.to_owned())).map(SubjectValue::Dn),
        table.optional("san_dns", text).map(SubjectValue::SanDns),
        table.optional("san_uri", text).map(SubjectValue::SanUri),
        table.optional("san_ip", |t| t.parse().map_err(|_| "is not an IP address".to_owned())).map(SubjectValue::SanIp),
        table.optional("san_email", text).map(SubjectValue::SanEmail),
    ]
    .into_iter()
    .flatten()
    .collect();
    match values.len() {
        1 => values.into_iter().next(),
        _ => {
            table.wrong("exactly one subject value is allowed (RFC 8705 §2.1)", None);
            None
        }
    }
}

/// Whether a certificate carries a subject value.
fn carries(certificate: &[u8], wanted: &SubjectValue) -> bool {
    let Ok((_, parsed)) = x509_parser::certificate::X509Certificate::from_der(certificate) else { return false };
    let ip_bytes = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let names = parsed.subject_alternative_name().ok().flatten();
    let mut names = names.iter().flat_map(|san| san.value.general_names.iter());
    match wanted {
        SubjectValue::Dn(dn) => {
            DistinguishedName::parse(dn).is_ok_and(|wanted| wanted == DistinguishedName::of(parsed.subject()))
        }
        SubjectValue::SanDns(v) => names.any(|n| matches!(n, GeneralName::DNSName(x) if x == v)),
        SubjectValue::SanUri(v) => names.any(|n| matches!(n, GeneralName::URI(x) if x == v)),
        SubjectValue::SanEmail(v) => names.any(|n| matches!(n, GeneralName::RFC822Name(x) if x == v)),
        SubjectValue::SanIp(v) => names.any(|n| matches!(n, GeneralName::IPAddress(x) if *x == ip_bytes(v).as_slice())),
    }
}

/// The subject of a certificate in the form that `subject = { dn = ... }` has.
fn subject_of(certificate: &[u8]) -> String {
    let parsed = x509_parser::certificate::X509Certificate::from_der(certificate);
    parsed.map(|(_, leaf)| DistinguishedName::of(leaf.subject()).to_string()).unwrap_or_default()
}
