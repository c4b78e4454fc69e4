//! The token listener of the development authorization server: the token and the revocation
//! endpoint, for clients that present a certificate (RFC 8705 §2.1).

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http::{Method, StatusCode};
use subtle::ConstantTimeEq;

use super::authorization_server::DevClient;
use super::oauth_authorize::{not_allowed, scopes};
use super::oauth_http::{Call, Reply, Site, json, text};
use super::oauth_jwt::{Claims, Confirmation, random, s256};
use super::oauth_state::{Params, Refusal, State, now_secs};
use super::oauth_store::{Approval, Ended, Renewal, Spent};

/// The person who approves.
const PERSON: &str = "ana";

/// The listener for clients. The TLS handshake fails without a certificate of the clients' CA.
pub(super) struct Tokens(pub(super) Arc<State>);

impl Site for Tokens {
    fn connected(&self) {
        self.0.counters.token_connections.increment();
    }

    fn answer(&self, call: &Call) -> Reply {
        let endpoint = match call.path.as_str() {
            "/token" => {
                self.0.counters.token_requests.increment();
                token
            }
            "/revoke" => revoke,
            _ => return text(StatusCode::NOT_FOUND, "not found\n"),
        };
        if call.method != Method::POST {
            return not_allowed(&Method::POST);
        }
        endpoint(&self.0, call).unwrap_or_else(|refusal| refusal.to_json())
    }
}

/// RFC 6749 §3.2: by code, or by refresh token.
fn token(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let params = form(call)?;
    let client = authenticate(state, call, &params)?;
    let jkt = key_of(state, call, client)?;
    match params.require("grant_type")? {
        "authorization_code" => by_code(state, &params, client, jkt),
        "refresh_token" => by_refresh_token(state, &params, client, jkt),
        _ => {
            let what = "only authorization_code and refresh_token are served";
            Err(Refusal::new("unsupported_grant_type", what))
        }
    }
}

/// The key that the client proves to have (RFC 9449 §5), where its tokens are to be bound to one.
fn key_of(state: &State, call: &Call, client: &DevClient) -> Result<Option<String>, Refusal> {
    if !client.dpop_bound {
        return Ok(None);
    }
    let proof = state.seen.judge(&call.headers, ("POST", &format!("{}/token", state.token_base)), now_secs());
    let proof = proof.map_err(|wrong| Refusal::new("invalid_dpop_proof", wrong))?;
    match proof.ath {
        None => Ok(Some(proof.jkt)),
        Some(_) => Err(Refusal::new("invalid_dpop_proof", "a token request carries no access token")),
    }
}

/// RFC 6749 §4.1.3. A code is spent by the first well-formed presentation of any authenticated
/// client, whatever comes of it.
fn by_code(state: &State, params: &Params, client: &DevClient, jkt: Option<String>) -> Result<Reply, Refusal> {
    let code = params.require("code")?;
    let redirect_uri = params.require("redirect_uri")?;
    let verifier = params.require("code_verifier")?;
    if !is_verifier(verifier) {
        let what = "code_verifier breaks RFC 7636";
        return Err(Refusal::new("invalid_request", what));
    }

    let now = now_secs();
    // Held to the end, so that a code presented twice at once revokes what the winner gets.
    let mut store = state.store();
    let approval = match store.spend(code, now) {
        Spent::Fresh(approval) => approval,
        Spent::Again => {
            state.counters.codes_replayed.increment();
            let what = "the code was used before: what was issued for it is revoked";
            return Err(Refusal::new("invalid_grant", what));
        }
        Spent::Expired => return Err(Refusal::new("invalid_grant", "the code is too old")),
        Spent::Unknown => return Err(Refusal::new("invalid_grant", "there is no such code")),
    };
    check(&approval, client, redirect_uri, verifier)?;
    same_key(&approval, jkt.as_deref())?;
    same_resource(&approval, params)?;
    let scope = approval.scope.clone();
    let issued = Issue { state, client, approval, scope, jkt }.at(now)?;
    store.issued(code, &issued.access_token, &issued.refresh_token, issued.expires_at);
    state.counters.codes_redeemed.increment();
    Ok(issued.reply)
}

/// RFC 6749 §6. The refresh token is rotated (RFC 9700 §4.14.2). Fewer scopes narrow the access token, and the answer
/// says so; the new refresh token has the scopes of the old one.
fn by_refresh_token(state: &State, params: &Params, client: &DevClient, jkt: Option<String>) -> Result<Reply, Refusal> {
    let spent = params.require("refresh_token")?;
    let now = now_secs();
    let mut store = state.store();
    let approval = match store.renewal(spent, &client.client_id) {
        Renewal::Live(approval) => approval,
        Renewal::Again => {
            let what = "the refresh token was used before: what it belongs to is revoked";
            return Err(Refusal::new("invalid_grant", what));
        }
        Renewal::Unknown => return Err(Refusal::new("invalid_grant", "there is no such refresh token")),
    };
    same_key(&approval, jkt.as_deref())?;
    same_resource(&approval, params)?;
    let scope = params.get("scope").unwrap_or(&approval.scope).to_owned();
    let approved: Vec<&str> = approval.scope.split(' ').collect();
    if !scopes(&scope)?.iter().all(|scope| approved.contains(scope)) {
        return Err(Refusal::new("invalid_scope", "a scope was not approved"));
    }
    let issued = Issue { state, client, approval, scope, jkt }.at(now)?;
    store.renewed(spent, &issued.access_token, &issued.refresh_token, (now, issued.expires_at));
    state.counters.refreshes.increment();
    Ok(issued.reply)
}

/// The same key from the authorization request on (RFC 9449 §10).
fn same_key(approval: &Approval, jkt: Option<&str>) -> Result<(), Refusal> {
    if approval.dpop_jkt.as_deref().is_none_or(|bound| Some(bound) == jkt) {
        return Ok(());
    }
    Err(Refusal::new("invalid_grant", "the proof is of another key than dpop_jkt"))
}

fn same_resource(approval: &Approval, params: &Params) -> Result<(), Refusal> {
    if params.get("resource").is_some_and(|resource| resource != approval.resource) {
        let what = "resource is not the approved one";
        return Err(Refusal::new("invalid_target", what));
    }
    Ok(())
}

/// What tokens are issued for.
struct Issue<'a> {
    state: &'a State,
    client: &'a DevClient,
    approval: Approval,
    scope: String,
    jkt: Option<String>,
}

/// Tokens, and the answer that carries them.
struct Issued {
    access_token: String,
    refresh_token: String,
    expires_at: u64,
    reply: Reply,
}

impl Issue<'_> {
    fn at(self, now: u64) -> Result<Issued, Refusal> {
        let Issue { state, client, approval, scope, jkt } = self;
        let expires_at = now.saturating_add(client.token_lifetime_secs);
        let token_type = if jkt.is_some() { "DPoP" } else { "Bearer" };
        let access_token = state.key.sign(&Claims {
            iss: state.issuer.clone(),
            sub: PERSON.to_owned(),
            aud: approval.resource,
            client_id: approval.client_id,
            scope: scope.clone(),
            iat: now,
            exp: expires_at,
            jti: random()?,
            cnf: jkt.map(|jkt| Confirmation { jkt }),
        })?;
        let refresh_token = random()?;
        let body = serde_json::json!({
            "access_token": access_token,
            "token_type": token_type,
            "expires_in": client.token_lifetime_secs,
            "scope": scope,
            "refresh_token": refresh_token,
        });
        Ok(Issued { access_token, refresh_token, expires_at, reply: json(StatusCode::OK, &body) })
    }
}

/// Whether who presents a code is who it was approved for (RFC 6749 §4.1.3, RFC 7636 §4.6).
fn check(approval: &Approval, client: &DevClient, redirect_uri: &str, verifier: &str) -> Result<(), Refusal> {
    let problem = if approval.client_id != client.client_id {
        "the code was issued to another client"
    } else if approval.redirect_uri != redirect_uri {
        "redirect_uri is not the one of the authorization request"
    } else if !equal(&approval.code_challenge, &s256(verifier)) {
        "code_verifier does not match"
    } else {
        return Ok(());
    };
    Err(Refusal::new("invalid_grant", problem))
}

/// RFC 7009 §2.
fn revoke(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let params = form(call)?;
    let client = authenticate(state, call, &params)?;
    // `token_type_hint` is only a hint (RFC 7009 §2.1): both kinds are looked for.
    let token = params.require("token")?;
    match state.store().revoke(token, &client.client_id) {
        Ended::Now => state.counters.revocations.increment(),
        Ended::NothingToEnd => {}
        Ended::NotYours => {
            let what = "the token was issued to another client";
            return Err(Refusal::new("invalid_grant", what));
        }
    }
    Ok(text(StatusCode::OK, ""))
}

/// The parameters of a form (RFC 6749 §4.1.3).
fn form(call: &Call) -> Result<Params, Refusal> {
    if !is_form(&call.headers) {
        let what = "the body is not application/x-www-form-urlencoded";
        return Err(Refusal::new("invalid_request", what));
    }
    Params::parse(&call.body)
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// The client whose certificate this is: its only URI name is the registered one (RFC 8705
/// §2.1.2, `tls_client_auth_san_uri`).
fn authenticate<'a>(state: &'a State, call: &Call, params: &Params) -> Result<&'a DevClient, Refusal> {
    let secrets = ["client_secret", "client_assertion"];
    if call.headers.contains_key(AUTHORIZATION) || secrets.iter().any(|name| params.get(name).is_some()) {
        let what = "clients authenticate with their certificate alone";
        return Err(Refusal::new("invalid_request", what));
    }
    let client = state.client(params.require("client_id")?);
    match (client, &*call.peer_uris) {
        (Some(client), [uri]) if *uri == client.san_uri => Ok(client),
        _ => Err(Refusal::new(
            "invalid_client",
            "the certificate is not that of a registered client with this client_id",
        )),
    }
}

/// Whether it is a PKCE verifier (RFC 7636 §4.1).
fn is_verifier(verifier: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&verifier.len()) && verifier.bytes().all(allowed)
}

fn equal(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}
