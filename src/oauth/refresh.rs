//! The refresh token's one way out (RFC 6749 §6): inside a recorded permit, with explicit scope, one at a time for each
//! family.

use super::{
    AuthorizationServers, Disposal, Family, Kept, Passage, Refreshed, Tokens, Turn, Vouched,
    answer::Success,
    authorization_details::{Silent, hold_to},
    http::Line,
    identity::{Presented, ends_grant},
    leniency::tell_cure,
    redeem::{Failed, hold_against, is_introspected, unkept},
    salvage::Leftover,
    wiped,
};
use crate::{
    audit::Recorded,
    config::Narrowing,
    model::{Boot, Fault, Reason, RefreshToken, Terms, Wall},
    policy::{RefreshPermitted, Refreshable, Verdict},
    transaction::Begun,
};
use std::{sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// POSTs and connections that one call may cost.
const TRIES_MAX: u32 = 3;
/// The longest Retry-After that is waited for within a call. A longer one is the caller's to wait for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// The wait after a failed connection; it doubles each time.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
/// How long a failure answers for those that come after it.
const REMEMBERED: Duration = Duration::from_secs(1);
/// The same, where the server asked to wait for longer.
const REMEMBERED_MAX: Duration = Duration::from_secs(30);

/// Why there is no token.
pub struct NotRefreshed {
    /// What the caller is told.
    pub fault: Fault,
    /// Whose turn it was.
    pub turn: Turn,
    /// The decision that let the refresh token go.
    pub decided: Verdict,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// POSTs and connections it took.
    pub tries: u32,
    /// Tokens to be revoked.
    pub disposal: Option<Disposal>,
    /// The grant is over: its refresh token is refused, or its server cannot be trusted with it.
    pub fatal: bool,
}

impl AuthorizationServers {
    /// Opens a connection for a refresh. Nothing is sent.
    ///
    /// # Errors
    /// [`Reason::AsUnreachable`], [`Reason::AsTlsUntrusted`], [`Reason::IssuerEndpointChanged`].
    pub async fn refresh_line(&self, begun: &Begun, passage: Passage) -> Result<Line, Fault> {
        let line = self.token_line(begun, passage).await?;
        // Already now: nothing may be waited for between the last look at the policies and the first byte.
        self.contract_keys(begun).await?;
        Ok(line)
    }

    /// The same for another try.
    async fn another_line(&self, begun: &Begun) -> Result<Line, Fault> {
        let opening = &begun.opening;
        let passage = self.enter(&opening.issuer.alias, &opening.agent.id).await?;
        self.token_line(begun, passage).await
    }

    /// Refreshes with a recorded permit (RFC 6749 §6, RFC 8705 §2), on an open connection where there is one. Tries
    /// again only what was not sent or not taken (429, 503), and not beyond `until`, nor where `still` says that its decision is none any
    /// more.
    ///
    /// # Errors
    /// See [`NotRefreshed`].
    pub async fn refresh(
        &self,
        recorded: Recorded<RefreshPermitted<Turn>>,
        line: Result<Line, Fault>,
        (until, still): (Boot, &(dyn Fn() -> bool + Sync)),
    ) -> Result<Refreshed, Box<NotRefreshed>> {
        let (turn, decided, terms) = recorded.into_inner().into_parts();
        let (mut line, mut tries) = (line, 1);
        let result = loop {
            // Before the refresh token leaves: the new one may be as old as that.
            let at = (self.clock.boot(), self.clock.wall());
            let failed = match self.one_refresh(line, &turn).await {
                Ok(success) => break Ok((success, at)),
                Err(failed) => failed,
            };
            let Some(wait) = self.retry_in(&failed, tries, &turn, until) else { break Err(failed) };
            self.work.pause(wait).await;
            if !still() {
                break Err(failed);
            }
            tries += 1;
            line = self.another_line(turn.begun()).await;
        };
        match result {
            Ok((success, at)) => Ok(Self::refreshed(success, at, turn, (decided, terms))),
            Err(failed) => Err(Box::new(self.not_refreshed(*failed, turn, decided, tries))),
        }
    }

    async fn one_refresh(&self, line: Result<Line, Fault>, turn: &Turn) -> Result<Success, Box<Failed>> {
        let unsent = |fault| Box::new(Failed { fault, status: None, leftover: Leftover::default() });
        let mut line = line.map_err(unsent)?;
        if !line.stands().await {
            return Err(unsent(Reason::AsUnreachable.into()));
        }
        let form = form(turn).ok_or_else(|| unsent(Reason::GrantUnknown.into()))?;
        let (begun, wish) = (turn.begun(), turn.wish());
        // Before the refresh token leaves: what comes for it must be verified.
        let keys = self.contract_keys(begun).await.map_err(unsent)?;
        let success = self.attempt(line, &form, begun, &wish.scopes).await?;
        let success = self.keep_to_contract(success, begun, &wish.scopes, keys.as_ref()).await?;
        let needed = wish.all_needed.then_some(&wish.scopes);
        let success = hold_against(success, begun, needed, is_introspected(begun))?;
        let success = hold_to(success, &turn.origin().details, Silent::Unchanged)?;
        self.same_person(&success, turn).await.map_err(|fault| unkept(fault, &success))?;
        let confirmed = success.scope_named || begun.opening.issuer.narrowing == Narrowing::Assumed;
        if turn.narrows() && !confirmed {
            // A server that ignores `scope` here and leaves it out of its answer would look the same.
            tracing::error!(issuer = %begun.opening.issuer.alias, "it does not say whether it narrows on refresh, so the token was revoked; if it does, set refresh_narrowing = \"assumed\", if it does not, \"off\"");
            return Err(unkept(Reason::NarrowingUnavailable.into(), &success));
        }
        Ok(success)
    }

    /// An ID token that came along speaks of the same person's same login (OIDC Core §12.2). There need not be one, and
    /// where none was asked for at the login, it is nobody's.
    async fn same_person(&self, success: &Success, turn: &Turn) -> Result<(), Fault> {
        let origin = turn.origin();
        let (Some(id_token), Some(person)) = (&success.id_token, &origin.subject) else { return Ok(()) };
        let presented = Presented {
            keys: self.keys(turn.begun()).await.unwrap_or_default(),
            nonce: origin.nonce.as_ref(),
            origin: Some(person),
            id_token: Some(id_token),
            access: &success.access,
        };
        self.identify(turn.begun(), presented).await.map(drop)
    }

    /// How long to wait before another try, if there may be one.
    fn retry_in(&self, failed: &Failed, tries: u32, turn: &Turn, until: Boot) -> Option<Duration> {
        let wait = match (failed.fault.reason, failed.status) {
            // While the issuer is left alone the fault says for how long.
            (Reason::AsUnreachable, None) => {
                failed.fault.retry_after.unwrap_or(RECONNECT_AFTER.saturating_mul(1 << tries))
            }
            (Reason::AsUnavailable, Some(429 | 503)) => failed.fault.retry_after.unwrap_or(REMEMBERED),
            _ => return None,
        };
        let spread = wait.saturating_mul(u32::from(turn.family().jitter())) / 1024;
        let wait = wait.saturating_add(spread);
        let in_time = self.clock.boot().plus(wait) < until;
        let may = tries < TRIES_MAX && wait <= RETRY_AFTER_MAX && in_time && !self.work.is_stopping();
        may.then_some(wait)
    }

    fn refreshed(success: Success, at: (Boot, Wall), turn: Turn, (decided, terms): (Verdict, Terms)) -> Refreshed {
        let Success { access, refresh, lifetime, scopes, tolerated, details, .. } = success;
        let (begun, family) = (Arc::clone(turn.begun()), turn.family());
        // Without a new one the old one stays (RFC 6749 §6).
        let homeless = refresh.and_then(|new| family.rotate(new));
        family.refreshed(lifetime);
        let (bound, vouched) = (begun.opening.client.bound_tokens, Vouched::at(at.0, &begun));
        let kept = Kept {
            begun,
            tokens: Tokens { access, refresh: None, retired: homeless },
            scopes,
            details,
            tolerated,
            lifetime,
            at,
            bound,
            vouched,
            // The person is who they were; an ID token that said otherwise was refused (OIDC Core §12.2).
            subject: turn.origin().subject.clone(),
            nonce: None,
            decided,
            terms,
        };
        Refreshed::new(kept, turn)
    }

    fn not_refreshed(&self, failed: Failed, turn: Turn, decided: Verdict, tries: u32) -> NotRefreshed {
        let Failed { fault, status, mut leftover } = failed;
        let begun = Arc::clone(turn.begun());
        if matches!(status, None | Some(200)) {
            // Whatever is wrong with the rest, the server has rotated: the old token would end the family.
            adopt(turn.family(), &mut leftover);
        }
        let disposal = Disposal::of_leftover(&begun, leftover);
        tell_cure(&begun.opening.issuer, &fault);
        let fault = as_told(fault);
        // Details wider than the person granted say the same of the server as scopes they never granted.
        let over = matches!(fault.reason, Reason::ReauthRequired | Reason::RarUpgraded) || ends_grant(&fault);
        let fatal = over || is_beyond_grant(&fault, turn.origin());
        if fault.reason == Reason::ScopeUpgraded && !fatal {
            tracing::error!(issuer = %begun.opening.issuer.alias, "it ignores `scope` on refresh, so the token was revoked; set refresh_narrowing = \"off\" and it is not asked again");
        }
        if !fatal && !matches!(fault.reason, Reason::GrantUnknown | Reason::IssuerBusy) {
            let for_all = matches!(
                fault.reason,
                Reason::AsUnavailable
                    | Reason::AsUnreachable
                    | Reason::AsTimeout
                    | Reason::AsTlsUntrusted
                    | Reason::DpopNonceLoop
            );
            let span = fault.retry_after.unwrap_or(REMEMBERED).min(REMEMBERED_MAX);
            let wish = (!for_all).then(|| turn.wish().clone());
            turn.family().remember(wish, self.clock.boot().plus(span), fault.clone());
        }
        NotRefreshed { fault, turn, decided, status, tries, disposal, fatal }
    }
}

/// Takes over a refresh token that came whole in an answer that is refused: the last, if it names several.
fn adopt(family: &Family, leftover: &mut Leftover) {
    let Some(text) = leftover.refresh.pop() else { return };
    let homeless = RefreshToken::parse(text.to_string()).map(|new| family.rotate(new));
    match homeless {
        Some(None) => {}
        // It cannot be one, or the family has ended: then it must not live on.
        None | Some(Some(_)) => leftover.refresh.push(text),
    }
}

/// The reasons of a code's redemption in the words of a refresh.
fn as_told(fault: Fault) -> Fault {
    let reason = match fault.reason {
        Reason::GrantRejected => Reason::ReauthRequired,
        Reason::RedeemOutcomeUnknown => Reason::RefreshOutcomeUnknown,
        other => other,
    };
    Fault { reason, ..fault }
}

/// Whether the server issued what the person never granted. Fewer scopes ignored is another matter.
fn is_beyond_grant(fault: &Fault, origin: &Kept) -> bool {
    let beyond = fault.metadata.get("scopes").map(String::as_str).unwrap_or_default();
    let granted = |name: &str| origin.scopes.iter().any(|scope| scope.as_str() == name);
    let upgraded = matches!(fault.reason, Reason::ScopeUpgraded | Reason::AtContractViolation) && !beyond.is_empty();
    upgraded && !beyond.split(' ').all(granted)
}

/// The refresh request, its scopes always named: left out, they would be all of the grant (RFC 6749 §6).
#[expect(clippy::disallowed_methods, reason = "this is the wire")]
fn form(turn: &Turn) -> Option<Zeroizing<String>> {
    let opening = &turn.begun().opening;
    turn.with_token(|token| {
        let mut form = wiped::roomy_form(&[token.reveal()]);
        form.append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", token.reveal())
            .append_pair("scope", &turn.wish().scopes.joined());
        if let Some(resource) = opening.resource() {
            form.append_pair("resource", resource);
        }
        Zeroizing::new(form.finish())
    })
}
