//! Pushed authorization requests (RFC 9126): what is asked goes to the server directly, over TLS that is pinned and with
//! the client's own authentication, so that the browser carries nothing but a reference.

use super::{
    AuthorizationServers, Passage,
    answer::{self, ANSWER_BYTES_MAX},
    authorize::append,
    http::{self, Answer, Broken},
    leniency,
    request_object::{key_of, sign},
    strict_json, wiped,
};
use crate::{
    config::{Issuer, ParUse},
    model::{Fault, Reason, Wall},
    transaction::{Minted, Opening},
};
use serde_json::Value;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// Bytes of a `request_uri`.
const REQUEST_URI_BYTES_MAX: usize = 1024;
/// Nesting of an answer.
const ANSWER_DEPTH_MAX: usize = 16;

/// What a pushed request is known by.
pub(super) struct Pushed {
    /// `request_uri`, good for one visit.
    pub(super) request_uri: String,
    /// `expires_in`.
    pub(super) lifetime: Duration,
    /// When what was pushed ends by itself, where it was signed.
    pub(super) object_ends: Option<Wall>,
}

impl AuthorizationServers {
    /// Pushes the request of a transaction; `None` where requests are not pushed.
    ///
    /// # Errors
    /// [`Reason::ParRequired`], [`Reason::ParResponseMalformed`]; as for a token request.
    pub(super) async fn pushed(&self, minted: &Minted) -> Result<Option<Pushed>, Fault> {
        let opening = &minted.begun.opening;
        let Some(endpoint) = endpoint(opening)? else { return Ok(None) };
        let passage = self.enter(&opening.issuer.alias, &opening.agent.id).await?;
        self.push(minted, endpoint, passage).await.map(Some)
    }

    async fn push(&self, minted: &Minted, endpoint: &str, passage: Passage) -> Result<Pushed, Fault> {
        let (opening, waited) = (&minted.begun.opening, passage.taken());
        let deadline = opening.issuer.deadline;
        let line = match self.line(&opening.client, endpoint, deadline.saturating_sub(waited)).await {
            Ok(line) => line,
            Err(fault) => {
                if matches!(fault.reason, Reason::AsUnreachable | Reason::AsTlsUntrusted) {
                    passage.failed(fault.reason, None);
                }
                return Err(fault);
            }
        };
        let left = deadline.saturating_sub(waited).saturating_sub(line.spent);
        let (form, object_ends) = match key_of(minted) {
            // RFC 9126 §3: nothing beside it but what proves the client.
            Some(key) => {
                let object = sign(minted, key, &*self.entropy, self.clock.wall())?;
                let mut form = wiped::roomy_form(&[&object.jwt]);
                form.append_pair("request", &object.jwt);
                (Zeroizing::new(form.finish()), Some(object.ends))
            }
            None => (form(minted), None),
        };
        let request = self.authenticated(opening, &form)?;
        let mut came = Zeroizing::default();
        let answered = tokio::time::timeout(left, http::post(line, request, ANSWER_BYTES_MAX, &mut came)).await;
        passage.ended(&answered);
        match answered {
            Ok(Ok(answer)) => judge(&answer, &opening.issuer, endpoint).map(|pushed| Pushed { object_ends, ..pushed }),
            Ok(Err(Broken::Connection)) => Err(Reason::AsUnreachable.into()),
            Ok(Err(Broken::TooLong)) => Err(Reason::ParResponseMalformed.into()),
            Err(_) => Err(Reason::AsTimeout.into()),
        }
    }
}

/// Where to push a request to, if it is to be pushed.
fn endpoint(opening: &Opening) -> Result<Option<&str>, Fault> {
    let (issuer, endpoints) = (&opening.issuer, &opening.endpoints);
    let offered = endpoints.pushed.as_deref();
    let demanded = endpoints.push_required || issuer.par == ParUse::Required;
    match (issuer.par, offered) {
        (ParUse::Required | ParUse::WhenOffered, Some(endpoint)) => Ok(Some(endpoint)),
        _ if demanded => {
            tracing::error!(
                issuer = %issuer.alias, offered = offered.is_some(), by_metadata = endpoints.push_required,
                "authorization requests must be pushed (RFC 9126) and cannot be: look at `par` of the issuer, and at \
                 pushed_authorization_request_endpoint in its metadata"
            );
            Err(Fault::new(Reason::ParRequired).with("issuer", issuer.alias.as_str()))
        }
        _ => Ok(None),
    }
}

/// The request as a form. State and nonce have a fixed length and fit into the room for everything else.
fn form(minted: &Minted) -> Zeroizing<String> {
    let opening = &minted.begun.opening;
    let hint = opening.login.hint.as_deref().unwrap_or_default();
    let mut form = wiped::roomy_form(&[&opening.scopes.joined(), hint, &opening.details.to_json()]);
    append(&mut form, minted);
    Zeroizing::new(form.finish())
}

/// Judges an answer (RFC 9126 §2.2, §2.3).
fn judge(answer: &Answer, issuer: &Issuer, endpoint: &str) -> Result<Pushed, Fault> {
    let body = strict_json::parse(&answer.body).filter(|body| strict_json::depth(body) <= ANSWER_DEPTH_MAX);
    let body = body.filter(|_| answer.is_json());
    let status = answer.status.as_u16();
    tracing::debug!(issuer = %issuer.alias, status, "the pushed authorization request was answered");
    match status {
        201 => body.and_then(|body| read(&body, issuer, endpoint)).ok_or_else(|| {
            tracing::error!(issuer = %issuer.alias, "the answer to a pushed authorization request lacks a request_uri of its own or a positive expires_in");
            Reason::ParResponseMalformed.into()
        }),
        300..=399 => Err(Reason::AsRedirectRefused.into()),
        429 | 503 => Err(Fault::new(Reason::AsUnavailable).retry_after(answer.retry_after())),
        400..=599 => {
            let code = body.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str);
            let (reason, name) = answer::error_of(code.unwrap_or_default());
            // There is no grant yet.
            let reason = if reason == Reason::GrantRejected { Reason::AsRejected } else { reason };
            let reason = if status == 401 { Reason::AsClientAuthFailed } else { reason };
            Err(Fault::new(reason).with("oauth_error", name))
        }
        _ => Err(Reason::ParResponseMalformed.into()),
    }
}

fn read(body: &Value, issuer: &Issuer, endpoint: &str) -> Option<Pushed> {
    let lifetime = leniency::lifetime(body.get("expires_in")?, &issuer.accept).ok()?;
    let request_uri = body.get("request_uri")?.as_str().filter(|uri| may_be(uri, issuer, endpoint))?.to_owned();
    body.get("error").is_none().then_some(Pushed { request_uri, lifetime, object_ends: None })
}

/// Whether this names a request at this server: a URN (RFC 9126 §2.2), or a URL of the issuer's or the endpoint's own
/// origin.
fn may_be(request_uri: &str, issuer: &Issuer, endpoint: &str) -> bool {
    let plain = request_uri.len() <= REQUEST_URI_BYTES_MAX && request_uri.bytes().all(|b| b.is_ascii_graphic());
    let Some(url) = Url::parse(request_uri).ok().filter(|_| plain) else { return false };
    let own = |text: &str| Url::parse(text).is_ok_and(|own| own.origin() == url.origin());
    match url.scheme() {
        "urn" => url.path().len() > 1,
        "https" => url.username().is_empty() && url.password().is_none() && (own(&issuer.url) || own(endpoint)),
        _ => false,
    }
}
