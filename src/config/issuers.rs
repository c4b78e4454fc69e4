//! `[[issuer]]` and `[[client]]`: the authorization servers we trust and our registrations at them.

use super::{
    pem::{CertificateAndKey, certificates},
    reader::Table,
    registry::{environment, team},
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
    /// Hosts besides the issuer's own that its metadata may name.
    pub allowed_hosts: Vec<String>,
    /// The whole time for one request to it.
    pub deadline: Duration,
    /// How long its metadata is believed.
    pub metadata_ttl: Duration,
    /// What a token without `expires_in` is taken to live.
    pub assumed_lifetime: Duration,
    /// Token requests to it under way at once; as many again may wait.
    pub requests_in_flight: usize,
    /// Whether it is left alone after several failures in a row.
    pub circuit_breaker: bool,
    /// For how long at first; it doubles each time.
    pub circuit_backoff: Duration,
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
/// Token requests to one issuer under way at once, unless configured.
const REQUESTS_IN_FLIGHT: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn issuer(table: &Table<'_>, daemon: Environment) -> Option<Issuer> {
    let alias = table.required("alias", |t| IssuerAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
    let url = table.required("issuer", issuer_url);
    let environment = own_environment(table, daemon);
    let roots =
        table.required_path("ca").and_then(|path| certificates(&path).map_err(|w| table.wrong_at("ca", w, None)).ok());
    let endpoints = table.table("endpoints", endpoints);
    let allowed_hosts = table.list("allowed_hosts", |t| {
        let host = url::Host::parse(t).map_err(|_| "must hold host names without scheme and port".to_owned())?;
        Ok(host.to_string())
    });
    // Everything is read before anything is given up, or the keys not reached would look unknown.
    let deadline = table.span("deadline", 10 * SECOND, SECOND / 10..=120 * SECOND);
    let metadata_ttl = table.span("metadata_ttl", 600 * SECOND, SECOND..=DAY);
    let assumed_lifetime = table.span("assumed_lifetime", 300 * SECOND, SECOND..=DAY);
    let requests_in_flight = table.integer("requests_in_flight", 1..=10_000).and_then(|n| usize::try_from(n).ok());
    let circuit_breaker = table.boolean("circuit_breaker", true);
    let circuit_backoff = table.span("circuit_backoff", 5 * SECOND, SECOND / 100..=60 * SECOND);
    Some(Issuer {
        alias: alias?,
        url: url?,
        environment: environment?,
        roots: roots?,
        endpoints: match endpoints {
            None => None,
            Some(read) => Some(read?),
        },
        allowed_hosts,
        deadline,
        metadata_ttl,
        assumed_lifetime,
        requests_in_flight: requests_in_flight.unwrap_or(REQUESTS_IN_FLIGHT),
        circuit_breaker,
        circuit_backoff,
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
    Ok(text.to_owned())
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
    let authorization = table.required("authorization", endpoint);
    let token = table.required("token", endpoint);
    let revocation = table.optional("revocation", endpoint);
    let iss_parameter = table.boolean("iss_parameter", true);
    Some(Endpoints { authorization: authorization?, token: token?, revocation, iss_parameter })
}

pub(super) fn client(table: &Table<'_>, daemon: Environment) -> Option<Client> {
    let alias = table.required("alias", |t| ClientAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
    let issuer = table.required("issuer", |t| IssuerAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
    let client_id = table.required("client_id", |t| {
        let vschar = !t.is_empty() && t.len() <= 512 && t.bytes().all(|b| (0x20..=0x7e).contains(&b));
        if vschar { Ok(t.to_owned()) } else { Err("must be 1*VSCHAR (RFC 6749 App. A.1)".to_owned()) }
    });
    let files = (table.required_path("certificate"), table.required_path("key"));
    let identity = match files {
        (Some(certificate), Some(key)) => {
            CertificateAndKey::load(&certificate, &key).map_err(|w| table.wrong_at("certificate", w, None)).ok()
        }
        _ => None,
    };
    let auth = client_auth(table, identity.as_ref());
    let redirects = table.list("redirect_uris", |t| PinnedRedirect::parse(t).map_err(str::to_owned));
    if redirects.is_empty() {
        table.wrong_at("redirect_uris", "must hold at least one valid URI", None);
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

fn client_auth(table: &Table<'_>, identity: Option<&CertificateAndKey>) -> Option<ClientAuth> {
    let method = table.required("auth", |t| match t {
        "tls_client_auth" | "self_signed_tls_client_auth" => Ok(t.to_owned()),
        _ => Err("must be \"tls_client_auth\" or \"self_signed_tls_client_auth\" (RFC 8705 §2)".to_owned()),
    });
    let subject = table.table("subject", subject).flatten();
    if method?.starts_with("self") {
        return Some(ClientAuth::SelfSignedTlsClientAuth);
    }
    let Some(subject) = subject else {
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
            None,
        );
        return None;
    }
    Some(ClientAuth::TlsClientAuth(subject))
}

fn subject(table: &Table<'_>) -> Option<SubjectValue> {
    let text = |t: &str| if t.is_empty() { Err("is empty".to_owned()) } else { Ok(t.to_owned()) };
    let values: Vec<SubjectValue> = [
        table.optional("dn", text).map(SubjectValue::Dn),
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
        SubjectValue::Dn(dn) => parsed.subject().to_string() == *dn,
        SubjectValue::SanDns(v) => names.any(|n| matches!(n, GeneralName::DNSName(x) if x == v)),
        SubjectValue::SanUri(v) => names.any(|n| matches!(n, GeneralName::URI(x) if x == v)),
        SubjectValue::SanEmail(v) => names.any(|n| matches!(n, GeneralName::RFC822Name(x) if x == v)),
        SubjectValue::SanIp(v) => names.any(|n| matches!(n, GeneralName::IPAddress(x) if *x == ip_bytes(v).as_slice())),
    }
}
