//! Authorization server metadata (RFC 8414, OpenID Connect Discovery).

use super::{
    capabilities::Capabilities,
    http,
    names::Names,
    rejected::{Cause, rejected},
    strict_json,
};
use crate::{
    config::{Contract, Endpoints, Issuer, ParUse, Reach, WithoutCertificate, repeats_ours},
    model::{Fault, Reason},
};
use rustls::ClientConfig;
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc};
use url::Url;

/// Bytes of a metadata document.
const METADATA_BYTES_MAX: usize = 256 * 1024;
/// The member that names the endpoint of RFC 9126 §5.
pub(super) const PUSHED: &str = "pushed_authorization_request_endpoint";
/// Nesting of a metadata document.
const METADATA_DEPTH_MAX: usize = 32;

/// The well-known URLs of an issuer, in the order they are tried: RFC 8414 §3.1 path insertion, OIDC insertion,
/// OIDC appending.
fn well_known(issuer: &str) -> Option<Vec<Url>> {
    let url = Url::parse(issuer).ok()?;
    let origin = url.origin().ascii_serialization();
    let path = url.path().trim_end_matches('/');
    let mut urls: Vec<Url> = [
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
        format!("{origin}{path}/.well-known/openid-configuration"),
    ]
    .iter()
    .filter_map(|text| Url::parse(text).ok())
    .collect();
    urls.dedup();
    Some(urls)
}

/// A document that is well-formed and names only places that the configuration allows.
pub(super) struct Document {
    /// Its endpoints.
    pub(super) endpoints: Endpoints,
    /// What it promises.
    pub(super) capabilities: Capabilities,
}

/// Fetches and reads the metadata, over a connection without client certificate. No redirect is followed, and nothing
/// of what came is logged.
///
/// # Errors
/// [`Reason::MetadataUnavailable`], [`Reason::MetadataIssuerMismatch`], [`Reason::MetadataRejected`].
pub(super) async fn discover(issuer: &Issuer, tls: &Arc<ClientConfig>, names: &Names) -> Result<Document, Fault> {
    let unavailable = || Fault::new(Reason::MetadataUnavailable).with("issuer", issuer.alias.as_str());
    for url in well_known(&issuer.url).ok_or_else(unavailable)? {
        // The issuer's own host is written in the configuration.
        let line = http::connect(&url, tls, Reach::Anywhere, names).await.map_err(|_| unavailable())?;
        let Ok(answer) = http::get(line, METADATA_BYTES_MAX).await else { return Err(unavailable()) };
        if answer.status != 200 || !answer.is_json() {
            tracing::warn!(issuer = %issuer.alias, %url, status = answer.status.as_u16(), "no metadata here: the answer is not 200 with application/json");
            continue;
        }
        let document = strict_json::parse(&answer.body);
        if let Some(document) = document.filter(|d| strict_json::depth(d) <= METADATA_DEPTH_MAX) {
            return read(issuer, &document);
        }
        tracing::warn!(issuer = %issuer.alias, %url, "no metadata here: the body is not one JSON value without repeated members, or is nested too deep");
    }
    Err(unavailable())
}

fn read(issuer: &Issuer, document: &Value) -> Result<Document, Fault> {
    if document.get("issuer").and_then(Value::as_str) != Some(issuer.url.as_str()) {
        tracing::error!(issuer = %issuer.alias, "the metadata names another issuer than the configuration; nothing of it is used");
        return Err(Fault::new(Reason::MetadataIssuerMismatch).with("issuer", issuer.alias.as_str()));
    }
    let aliases = document.get("mtls_endpoint_aliases");
    // A direct endpoint's alias wins where there is one (RFC 8705 §5).
    let direct = |name: &'static str| match aliases.and_then(|a| a.get(name)) {
        Some(alias) => endpoint(issuer, name, Some(alias)),
        None => endpoint(issuer, name, document.get(name)),
    };
    let required = |found: Option<String>, name| found.ok_or_else(|| rejected(&issuer.alias, name, &Cause::Missing));
    let capabilities = Capabilities::of(document);
    // Of no use to most: what is wrong with it is told to those alone who need it.
    let top_level = |name| usable(issuer, document.get(name)?.as_str()?);
    let without_certificate = aliases.is_some().then(|| WithoutCertificate {
        token: top_level("token_endpoint"),
        revocation: top_level("revocation_endpoint"),
        introspection: top_level("introspection_endpoint"),
        pushed: top_level(PUSHED),
    });
    let endpoints = Endpoints {
        authorization: required(
            endpoint(issuer, "authorization_endpoint", document.get("authorization_endpoint"))?,
            "authorization_endpoint",
        )?,
        token: required(direct("token_endpoint")?, "token_endpoint")?,
        revocation: direct("revocation_endpoint")?,
        introspection: match issuer.access_tokens.contract {
            Contract::Introspection => Some(required(direct("introspection_endpoint")?, "introspection_endpoint")?),
            Contract::Opaque | Contract::Jwt => None,
        },
        pushed: if issuer.par == ParUse::Off { None } else { direct(PUSHED)? },
        push_required: document.get("require_pushed_authorization_requests") == Some(&Value::Bool(true)),
        // Needed for ID tokens alone: where it may not be used, those are what cannot be asked for.
        jwks: endpoint(issuer, "jwks_uri", document.get("jwks_uri")).unwrap_or_default(),
        iss_parameter: document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        details_types: details_types(document),
        without_certificate,
    };
    if issuer.access_tokens.contract == Contract::Jwt && endpoints.jwks.is_none() {
        // Why one that is there may not be used is told as well: it is read once more.
        endpoint(issuer, "jwks_uri", document.get("jwks_uri"))?;
        return Err(rejected(&issuer.alias, "jwks_uri", &Cause::Missing));
    }
    Ok(Document { endpoints, capabilities })
}

/// The types of authorization details that the server lists (RFC 9396 §10); one that is no text is none.
fn details_types(document: &Value) -> BTreeSet<String> {
    let listed = document.get("authorization_details_types_supported").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// An endpoint that may be used, without a word on one that may not.
fn usable(issuer: &Issuer, text: &str) -> Option<String> {
    let url = crate::config::https(text).ok()?;
    issuer.allowed_hosts.reach(&url).ok().map(|_| text.to_owned())
}

/// An endpoint that is https, on a host and a port the configuration names, without parameters that are ours to set.
fn endpoint(issuer: &Issuer, name: &'static str, value: Option<&Value>) -> Result<Option<String>, Fault> {
    let Some(value) = value else { return Ok(None) };
    let rejected = |cause| rejected(&issuer.alias, name, &cause);
    let text = value.as_str().ok_or_else(|| rejected(Cause::NoHttps))?;
    let url = crate::config::https(text).map_err(|_| rejected(Cause::NoHttps))?;
    issuer.allowed_hosts.reach(&url).map_err(|why| rejected(Cause::NotAllowed(why)))?;
    match repeats_ours(&url).filter(|_| name == "authorization_endpoint") {
        Some(parameter) => Err(rejected(Cause::OurParameter(parameter))),
        None => Ok(Some(text.to_owned())),
    }
}

/// Reads a document as if an issuer had sent it, for the fuzzer: it must never panic.
pub fn fuzz_metadata(issuer: &Issuer, bytes: &[u8]) -> bool {
    strict_json::parse(bytes).is_some_and(|document| read(issuer, &document).is_ok())
}

#[cfg(test)]
mod tests {
    use super::well_known;

    // rows: DISC-03
    #[test]
    fn well_known_urls_come_in_order() {
        let urls = |issuer| well_known(issuer).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            urls("https://h/t1"),
            [
                "https://h/.well-known/oauth-authorization-server/t1",
                "https://h/.well-known/openid-configuration/t1",
                "https://h/t1/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            urls("https://h:8443"),
            [
                "https://h:8443/.well-known/oauth-authorization-server",
                "https://h:8443/.well-known/openid-configuration"
            ]
        );
    }
}
