//! The front listener of the development authorization server: metadata, keys and the
//! authorization endpoint, where the person "ana" approves whatever is in order.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::authorization_server::{DevClient, DevResource};
use super::oauth_http::{self, Call, Reply, Site, redirect, text};
use super::oauth_jwt::random;
use super::oauth_state::{Params, Refusal, State, is_vschar, now_secs};
use super::oauth_store::Approval;

/// The path of the authorization endpoint (RFC 6749 §3.1).
pub(super) const AUTHORIZE: &str = "/authorize";

/// The listener for browsers and for metadata. It sees no client certificates.
pub(super) struct Front(pub(super) Arc<State>);

impl Site for Front {
    fn connected(&self) {}

    fn answer(&self, call: &Call) -> Reply {
        let allowed = match call.path.as_str() {
            "/token" | "/revoke" => Method::POST,
            "/.well-known/oauth-authorization-server" | "/jwks" | AUTHORIZE => Method::GET,
            _ => return text(StatusCode::NOT_FOUND, "not found\n"),
        };
        if call.method != allowed {
            return not_allowed(&allowed);
        }
        match call.path.as_str() {
            "/jwks" => oauth_http::json(StatusCode::OK, &self.0.key.jwks()),
            AUTHORIZE => authorize(&self.0, &call.query).unwrap_or_else(|error| error.to_text()),
            "/token" | "/revoke" => {
                let hint = "no client certificate is seen here: see mtls_endpoint_aliases";
                Refusal::new("invalid_client", hint).to_json()
            }
            _ => oauth_http::json(StatusCode::OK, &metadata(&self.0)),
        }
    }
}

/// 405 with the method that is served (RFC 9110 §15.5.6).
pub(super) fn not_allowed(allowed: &Method) -> Reply {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    if let Ok(allowed) = HeaderValue::from_str(allowed.as_str()) {
        reply.headers_mut().insert(ALLOW, allowed);
    }
    reply
}

/// RFC 8414 §2, with RFC 8705 §5, RFC 9207 §3 and RFC 9449 §5.1.
fn metadata(state: &State) -> Value {
    let State { issuer, token_base, .. } = state;
    let scopes: BTreeSet<&String> = state.resources.iter().flat_map(|api| &api.scopes).collect();
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}{AUTHORIZE}"),
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "jwks_uri": format!("{issuer}/jwks"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "token_endpoint_auth_methods_supported": ["tls_client_auth"],
        "revocation_endpoint_auth_methods_supported": ["tls_client_auth"],
        "tls_client_certificate_bound_access_tokens": false,
        "dpop_signing_alg_values_supported": ["ES256"],
        "mtls_endpoint_aliases": {
            "token_endpoint": format!("{token_base}/token"),
            "revocation_endpoint": format!("{token_base}/revoke"),
        },
    })
}

/// RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1. The answer is RFC 6749 §4.1.2, RFC 9207 §2.
fn authorize(state: &State, query: &str) -> Result<Reply, Refusal> {
    let refuse = |what: &str| Refusal::new("invalid_request", what);
    let params = Params::parse(query.as_bytes())?;
    let client = state
        .client(params.require("client_id")?)
        .ok_or_else(|| Refusal::new("unauthorized_client", "client_id is not registered"))?;
    let redirect_uri = params.require("redirect_uri")?;
    if !is_registered(client, redirect_uri) {
        return Err(refuse("redirect_uri is not registered for this client"));
    }
    if params.require("response_type")? != "code" {
        let what = "only response_type code is served";
        return Err(Refusal::new("unsupported_response_type", what));
    }
    if params.get("code_challenge_method") != Some("S256") {
        return Err(refuse("code_challenge_method is not S256"));
    }
    let code_challenge = params.require("code_challenge")?;
    if !is_s256_challenge(code_challenge) {
        return Err(refuse("code_challenge is not one of S256"));
    }
    let callback_state = params.get("state");
    if callback_state.is_some_and(|state| !is_vschar(state)) {
        return Err(refuse("state is not of visible characters"));
    }
    let scopes = scopes(params.require("scope")?)?;
    let resource = resource(state, params.get("resource"), &scopes)?;
    let approval = Approval {
        client_id: client.client_id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        scope: scopes.join(" "),
        resource: resource.identifier.clone(),
        code_challenge: code_challenge.to_owned(),
        dpop_jkt: params.get("dpop_jkt").map(str::to_owned),
    };
    let code = random()?;
    if !state.store().add(&code, approval, now_secs()) {
        let what = "too many codes wait to be redeemed";
        return Err(Refusal::new("temporarily_unavailable", what));
    }
    let location = callback(redirect_uri, &code, callback_state, &state.issuer);
    redirect(location).ok_or_else(|| Refusal::new("server_error", "the redirect cannot be sent"))
}

/// The callback URL. A query that the redirect URI has is kept (RFC 6749 §3.1.2).
fn callback(redirect_uri: &str, code: &str, state: Option<&str>, issuer: &str) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("code", code);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", issuer);
    let joint = if redirect_uri.contains('?') { '&' } else { '?' };
    format!("{redirect_uri}{joint}{}", query.finish())
}

/// The scopes of a request, each once, in their order (RFC 6749 §3.3).
pub(super) fn scopes(scope: &str) -> Result<Vec<&str>, Refusal> {
    let mut scopes: Vec<&str> = Vec::new();
    for scope in scope.split(' ') {
        if scope.is_empty() {
            let what = "scopes are separated by one space";
            return Err(Refusal::new("invalid_scope", what));
        }
        if scopes.contains(&scope) {
            return Err(Refusal::new("invalid_scope", "a scope appears twice"));
        }
        scopes.push(scope);
    }
    Ok(scopes)
}

/// The resource a request is for: the one it names, or the only one that has all its scopes.
fn resource<'a>(state: &'a State, named: Option<&str>, scopes: &[&str]) -> Result<&'a DevResource, Refusal> {
    let has_scopes = |api: &&DevResource| {
        let has = |scope: &&str| api.scopes.iter().any(|known| known == scope);
        scopes.iter().all(has)
    };
    if let Some(named) = named {
        let api = state.resources.iter().find(|api| api.identifier == named);
        let api = api.ok_or_else(|| Refusal::new("invalid_target", "resource is unknown"))?;
        let belong = Some(api).filter(has_scopes);
        return belong.ok_or_else(|| Refusal::new("invalid_scope", "a scope is not of this resource"));
    }
    let mut candidates = state.resources.iter().filter(has_scopes);
    match (candidates.next(), candidates.next()) {
        (Some(api), None) => Ok(api),
        (None, _) => Err(Refusal::new("invalid_scope", "no resource has all the scopes")),
        (Some(_), Some(_)) => {
            let what = "the scopes are of several resources: name one";
            Err(Refusal::new("invalid_target", what))
        }
    }
}

/// Whether it is base64url of 32 bytes without padding (RFC 7636 §4.2).
fn is_s256_challenge(challenge: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    challenge.len() == 43 && challenge.bytes().all(allowed)
}

/// Whether a redirect URI is registered: byte for byte (RFC 9700 §2.1), but for the port of a
/// loopback IP literal (RFC 8252 §7.3).
fn is_registered(client: &DevClient, redirect_uri: &str) -> bool {
    let portless = without_loopback_port(redirect_uri);
    client
        .redirect_uris
        .iter()
        .any(|known| known == redirect_uri || (portless.is_some() && without_loopback_port(known) == portless))
}

/// A redirect URI on a loopback IP literal, as host and what follows the port.
pub(super) fn without_loopback_port(uri: &str) -> Option<(&'static str, &str)> {
    let (host, rest) =
        ["http://127.0.0.1", "http://[::1]"].into_iter().find_map(|host| Some((host, uri.strip_prefix(host)?)))?;
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(rest) => {
            let path = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let port = rest.strip_suffix(path)?;
            port.parse::<u16>().ok()?;
            path
        }
    };
    let ends_the_host = rest.is_empty() || rest.starts_with(['/', '?']);
    ends_the_host.then_some((host, rest))
}
