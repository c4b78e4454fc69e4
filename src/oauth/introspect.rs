//! Introspection (RFC 7662), where an issuer's contract asks for it: the issuer is asked whether it stands by a token
//! before the token is used, and again whenever its last word has become old.

use super::{
    AuthorizationServers, Kept,
    contract::{Breach, Expect, Learnt, judge, stays},
    http::{self, Answer, Line},
    strict_json, wiped,
};
use crate::{
    config::Contract,
    model::{AccessToken, Boot, Fault, Reason},
    transaction::Begun,
};
use serde_json::Value;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use zeroize::Zeroizing;

/// Bytes of an introspection answer.
const INTROSPECTION_BYTES_MAX: usize = 64 * 1024;

/// How long the issuer's last word on a token counts.
pub struct Vouched {
    /// Milliseconds of the boot clock.
    until: AtomicU64,
    /// One question at a time, whoever waits for the answer.
    asking: tokio::sync::Mutex<()>,
}

impl Vouched {
    /// Of a token that is being issued in this transaction; `at` is before its request left.
    #[must_use]
    pub fn at(at: Boot, begun: &Begun) -> Self {
        let until = at.plus(begun.opening.issuer.access_tokens.introspection_cache);
        Self { until: AtomicU64::new(until.0), asking: tokio::sync::Mutex::default() }
    }

    /// Of a token that the contract does not cover, or that is not held.
    #[must_use]
    pub fn always() -> Self {
        Self { until: AtomicU64::new(u64::MAX), asking: tokio::sync::Mutex::default() }
    }

    fn holds(&self, now: Boot) -> bool {
        now < Boot(self.until.load(Ordering::Acquire))
    }
}

impl AuthorizationServers {
    /// Whether the issuer still stands by a held token, where its contract is introspection. Its word is believed for
    /// `introspection_cache`, and never beyond the token's own end (RFC 7662 §4).
    ///
    /// # Errors
    /// [`Reason::IntrospectionUnavailable`], [`Reason::IssuerBusy`], or [`Reason::AsUnreachable`] while the issuer is left
    /// alone: nobody knows, so the token is not handed out now.
    pub async fn stands_by(&self, kept: &Kept) -> Result<bool, Fault> {
        let issuer = &kept.begun.opening.issuer;
        if issuer.access_tokens.contract != Contract::Introspection || kept.vouched.holds(self.clock.boot()) {
            return Ok(true);
        }
        let _turn = kept.vouched.asking.lock().await;
        let asked = self.clock.boot();
        if kept.vouched.holds(asked) {
            return Ok(true);
        }
        let expect = Expect::of(&kept.begun, &kept.begun.opening.scopes);
        match self.introspect(&kept.begun, &kept.tokens.access, &expect).await {
            Ok(learnt) if carries_all(&learnt, kept) => {
                let until = asked.plus(issuer.access_tokens.introspection_cache.min(learnt.left));
                kept.vouched.until.store(until.0, Ordering::Release);
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(Breach::Unknown(fault)) => Err(fault),
            Err(_) => Ok(false),
        }
    }

    /// Asks the issuer about a token, in one POST with the client's own authentication (RFC 7662 §2.1).
    pub(super) async fn introspect(
        &self,
        begun: &Begun,
        access: &AccessToken,
        expect: &Expect<'_>,
    ) -> Result<Learnt, Breach> {
        let answer = self.ask_about(begun, access).await.map_err(Breach::Unknown)?;
        let unknown = || Breach::Unknown(unavailable(begun));
        // Answers that are JWTs (RFC 9701) are not asked for, and what is not JSON is no answer.
        if answer.status != 200 || !answer.is_json() {
            tracing::error!(issuer = %begun.opening.issuer.alias, status = answer.status.as_u16(), "its introspection endpoint does not answer 200 with application/json");
            return Err(unknown());
        }
        let Some(Value::Object(members)) = strict_json::parse(&answer.body) else { return Err(unknown()) };
        // Nothing but JSON's own true is active (RFC 7662 §2.2).
        if members.get("active") != Some(&Value::Bool(true)) {
            return Err(Breach::Rule("active"));
        }
        judge(&members, expect, self.clock.wall())
    }

    async fn ask_about(&self, begun: &Begun, access: &AccessToken) -> Result<Answer, Fault> {
        let opening = &begun.opening;
        let passage = self.enter(&opening.issuer.alias, &opening.agent.id).await?;
        let endpoint = opening.endpoints.introspection.as_deref().ok_or_else(|| unavailable(begun))?;
        let left = opening.issuer.deadline.saturating_sub(passage.taken());
        let line: Line = match self.line(&opening.client, endpoint, left).await {
            Ok(line) => line,
            Err(fault) => {
                passage.failed(Reason::AsUnreachable, None);
                return Err(unavailable(begun).with("cause", fault.reason.name()));
            }
        };
        let left = left.saturating_sub(line.spent);
        let mut came = Zeroizing::default();
        let request = match self.authenticated(opening, &form(access)) {
            Ok(request) => request,
            // Nothing was sent, and the passage says nothing of the issuer.
            Err(fault) => return Err(unavailable(begun).with("cause", fault.reason.name())),
        };
        let post = http::post(line, request, INTROSPECTION_BYTES_MAX, &mut came);
        let answered = tokio::time::timeout(left, post).await;
        passage.ended(&answered);
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(unavailable(begun)),
        }
    }
}

/// Whether a token carries what it was kept for.
fn carries_all(learnt: &Learnt, kept: &Kept) -> bool {
    learnt.scopes.as_ref().is_none_or(|(said, _)| kept.scopes.iter().all(|scope| stays(scope, said)))
}

fn unavailable(begun: &Begun) -> Fault {
    Fault::new(Reason::IntrospectionUnavailable)
        .with("issuer", begun.opening.issuer.alias.as_str())
        .retry_after(Duration::from_secs(1))
}

#[expect(clippy::disallowed_methods, reason = "the issuer is asked about its own token")]
fn form(access: &AccessToken) -> Zeroizing<String> {
    let mut form = wiped::roomy_form(&[access.reveal()]);
    form.append_pair("token", access.reveal()).append_pair("token_type_hint", "access_token");
    Zeroizing::new(form.finish())
}
