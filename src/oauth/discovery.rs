//! Authorization server metadata (RFC 8414, OpenID Connect Discovery).

use super::{http, names::Names, strict_json};
use crate::{
    config::{Endpoints, Issuer},
    model::{Fault, Reason},
};
use rustls::ClientConfig;
use serde_json::Value;
use std::sync::Arc;
use url::Url;

/// Bytes of a metadata document.
const METADATA_BYTES_MAX: usize = 256 * 1024;
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

/// Fetches and checks the metadata, over a connection without client certificate.
///
/// # Errors
/// [`Reason::MetadataUnavailable`], [`Reason::MetadataIssuerMismatch`], [`Reason::MetadataRejected`],
/// [`Reason::PkceUnsupported`].
pub(super) async fn discover(issuer: &Issuer, tls: &Arc<ClientConfig>, names: &Names) -> Result<Endpoints, Fault> {
    let unavailable = || Fault::new(Reason::MetadataUnavailable).with("issuer", issuer.alias.as_str());
    for url in well_known(&issuer.url).ok_or_else(unavailable)? {
        let line = http::connect(&url, tls, names).await.map_err(|_| unavailable())?;
        let Ok(answer) = http::get(line, METADATA_BYTES_MAX).await else { return Err(unavailable()) };
        if answer.status != 200 || !answer.is_json() {
            tracing::warn!(issuer = %issuer.alias, %url, status = answer.status.as_u16(), "no metadata here: the answer is not 200 with application/json");
            continue;
        }
        let document = strict_json::parse(&answer.body);
        if let Some(document) = document.filter(|d| strict_json::depth(d) <= METADATA_DEPTH_MAX) {
            return read(issuer, &document);
        }
    }
    Err(unavailable())
}

fn read(issuer: &Issuer, document: &Value) -> Result<Endpoints, Fault> {
    if document.get("issuer").and_then(Value::as_str) != Some(issuer.url.as_str()) {
        tracing::error!(issuer = %issuer.alias, "the metadata names another issuer than the configuration; nothing of it is used");
        return Err(Fault::new(Reason::MetadataIssuerMismatch).with("issuer", issuer.alias.as_str()));
    }
    let methods = document.get("code_challenge_methods_supported").and_then(Value::as_array);
    if !methods.is_some_and(|m| m.iter().any(|method| method.as_str() == Some("S256"))) {
        tracing::error!(issuer = %issuer.alias, "the metadata does not offer PKCE with S256");
        return Err(Fault::new(Reason::PkceUnsupported).with("issuer", issuer.alias.as_str()));
    }
    if document.get("require_pushed_authorization_requests") == Some(&Value::Bool(true)) {
        return Err(rejected(issuer, "require_pushed_authorization_requests"));
    }
    let aliases = document.get("mtls_endpoint_aliases");
    // A direct endpoint's alias wins where there is one (RFC 8705 §5).
    let direct = |name: &'static str| match aliases.and_then(|a| a.get(name)) {
        Some(alias) => endpoint(issuer, name, Some(alias)),
        None => endpoint(issuer, name, document.get(name)),
    };
    let required = |found: Option<String>, name| found.ok_or_else(|| rejected(issuer, name));
    Ok(Endpoints {
        authorization: required(
            endpoint(issuer, "authorization_endpoint", document.get("authorization_endpoint"))?,
            "authorization_endpoint",
        )?,
        token: required(direct("token_endpoint")?, "token_endpoint")?,
        revocation: direct("revocation_endpoint")?,
        iss_parameter: document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
    })
}

/// An endpoint that is https and on a host the configuration names.
fn endpoint(issuer: &Issuer, name: &'static str, value: Option<&Value>) -> Result<Option<String>, Fault> {
    let Some(value) = value else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| rejected(issuer, name))?;
    let url = crate::config::https(text).map_err(|_| rejected(issuer, name))?;
    let host = url.host_str().unwrap_or_default();
    let own = Url::parse(&issuer.url).ok().and_then(|u| u.host_str().map(str::to_owned));
    if own.as_deref() != Some(host) && !issuer.allowed_hosts.iter().any(|allowed| allowed == host) {
        tracing::error!(
            issuer = %issuer.alias, field = name,
            "the metadata names the host {host:?}; if it is right, add to [[issuer]]: allowed_hosts = [{host:?}]"
        );
        return Err(rejected(issuer, name));
    }
    Ok(Some(text.to_owned()))
}

fn rejected(issuer: &Issuer, field: &'static str) -> Fault {
    tracing::error!(issuer = %issuer.alias, field, "the metadata cannot be used: this member is missing, no https URL, on another host, or not supported");
    Fault::new(Reason::MetadataRejected).with("issuer", issuer.alias.as_str()).with("field", field)
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
