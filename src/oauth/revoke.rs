//! Revocation (RFC 7009): what must not live is told so, and what became of it is said honestly.

use super::{AuthorizationServers, http, issued::Kept, lane::Ways, salvage::Leftover, strict_json, wiped};
use crate::{
    audit::{Actor, Code, Event, Session, Severity},
    model::{DecisionId, RefreshToken, Secret, Wall},
    platform::trace,
    transaction::Begun,
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// Tries before a revocation is given up, each after twice the wait of the one before.
const TRIES_MAX: u32 = 6;
/// Bytes of a revocation answer that are read.
const REVOCATION_BYTES_MAX: usize = 16 * 1024;

/// Tokens that must not live on.
pub struct Disposal {
    begun: Arc<Begun>,
    access: Vec<DoomedAccess>,
    /// One, but for an answer that names several.
    refresh: Vec<Zeroizing<String>>,
    created: Option<(Wall, Duration)>,
}

/// An access token, when it was issued, and for how long.
type DoomedAccess = (Zeroizing<String>, Option<(Wall, Duration)>);

/// What became of one token, from good to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// There was none.
    Absent,
    /// The server confirmed (200).
    Revoked,
    /// The server could not be reached or asked to wait, and is asked again.
    Queued,
    /// The server has no revocation endpoint, or cannot revoke this kind of token.
    Unsupported,
    /// The server did not confirm it, and is not asked again.
    Failed,
}

impl Outcome {
    /// The word in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Revoked => "revoked",
            Self::Queued => "queued",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
        }
    }
}

/// What became of each token of one grant.
#[derive(Default, Debug)]
pub struct Outcomes {
    /// Of each refresh token: one, but where a server's answer held several.
    pub refresh: Vec<Outcome>,
    /// Of each access token.
    pub access: Vec<Outcome>,
}

impl Outcomes {
    /// (access, refresh): of several the worst counts.
    #[must_use]
    pub fn worst(&self) -> (Outcome, Outcome) {
        let worst = |of: &[Outcome]| of.iter().copied().max().unwrap_or(Outcome::Absent);
        (worst(&self.access), worst(&self.refresh))
    }

    /// Each of them.
    pub fn each(&self) -> impl Iterator<Item = Outcome> {
        self.refresh.iter().chain(&self.access).copied()
    }
}

impl Disposal {
    /// Of tokens that came with a refused answer; `None` if there are none.
    pub(super) fn of_leftover(begun: &Arc<Begun>, leftover: Leftover) -> Option<Self> {
        let disposal = Self {
            begun: Arc::clone(begun),
            access: leftover.access.into_iter().filter(|token| !token.is_empty()).map(|token| (token, None)).collect(),
            refresh: leftover.refresh.into_iter().filter(|token| !token.is_empty()).collect(),
            created: None,
        };
        disposal.not_empty()
    }

    /// Of a token that was issued and is not to be handed out any more.
    #[must_use]
    pub fn of_kept(kept: &Kept) -> Self {
        Self {
            begun: Arc::clone(&kept.begun),
            access: vec![doomed_access(kept)],
            refresh: kept.tokens.refresh.as_ref().or(kept.tokens.retired.as_ref()).map(open).into_iter().collect(),
            created: Some((kept.at.1, kept.lifetime)),
        }
    }

    /// Of what is left of a grant that `origin` began: access tokens, and the refresh token that is current.
    #[must_use]
    pub fn of_grant<'t>(
        origin: &Kept,
        access: impl IntoIterator<Item = &'t Kept>,
        refresh: Option<&RefreshToken>,
    ) -> Option<Self> {
        let rest = Self {
            access: access.into_iter().map(doomed_access).collect(),
            refresh: refresh.map(open).into_iter().collect(),
            ..Self::of_kept(origin)
        };
        rest.not_empty()
    }

    /// How many tokens there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.access.len() + self.refresh.len()
    }

    fn not_empty(self) -> Option<Self> {
        (!self.access.is_empty() || !self.refresh.is_empty()).then_some(self)
    }
}

fn doomed_access(kept: &Kept) -> DoomedAccess {
    (open(&kept.tokens.access), Some((kept.at.1, kept.lifetime)))
}

#[expect(clippy::disallowed_methods, reason = "a token to be revoked goes to the wire")]
pub(super) fn open<Kind>(secret: &Secret<Kind>) -> Zeroizing<String> {
    Zeroizing::new(secret.reveal().to_owned())
}

/// One token on its way.
struct Doomed {
    begun: Arc<Begun>,
    token: Zeroizing<String>,
    hint: &'static str,
    why: &'static str,
    agent: String,
    exchange: DecisionId,
    created: Option<(Wall, Duration)>,
}

impl AuthorizationServers {
    /// Revokes in the background, trying again while that can help.
    pub fn dispose(self: &Arc<Self>, disposal: Disposal, why: &'static str, exchange: DecisionId) {
        let this = Arc::clone(self);
        let underway = self.work.enter_always();
        trace::spawn(async move {
            this.revoke(disposal, why, exchange).await;
            drop(underway);
        });
    }

    /// Revokes the refresh token, then the access tokens, and says what became of each.
    pub async fn revoke(self: &Arc<Self>, disposal: Disposal, why: &'static str, exchange: DecisionId) -> Outcomes {
        let Disposal { begun, access, refresh, created } = disposal;
        let agent = begun.opening.agent.id.to_string();
        let doomed = |token, hint, created| Doomed {
            begun: Arc::clone(&begun),
            token,
            hint,
            why,
            agent: agent.clone(),
            exchange,
            created,
        };
        let mut outcomes = Outcomes::default();
        for token in refresh {
            outcomes.refresh.push(self.revoke_one(doomed(token, "refresh_token", created)).await);
        }
        for (token, created) in access {
            outcomes.access.push(self.revoke_one(doomed(token, "access_token", created)).await);
        }
        outcomes
    }

    async fn revoke_one(self: &Arc<Self>, doomed: Doomed) -> Outcome {
        let outcome = self.try_once(&doomed).await;
        if outcome != Outcome::Queued {
            self.report(&doomed, outcome);
            return outcome;
        }
        match self.ways(&doomed.begun.opening.issuer.alias).ok().and_then(Ways::room_to_retry) {
            Some(permit) => {
                let (this, underway) = (Arc::clone(self), self.work.enter_always());
                trace::spawn(async move {
                    this.keep_trying(doomed).await;
                    drop((permit, underway));
                });
            }
            None => {
                self.report(&doomed, Outcome::Failed);
                return Outcome::Failed;
            }
        }
        Outcome::Queued
    }

    async fn keep_trying(&self, doomed: Doomed) {
        let mut wait = self.retry_base;
        let mut outcome = Outcome::Queued;
        for _ in 1..TRIES_MAX {
            // A stop does not wait for better times: one last try, and the log says what became of it.
            self.work.pause(wait).await;
            wait = wait.saturating_mul(2);
            outcome = self.try_once(&doomed).await;
            if outcome != Outcome::Queued || self.work.is_stopping() {
                break;
            }
        }
        self.report(&doomed, if outcome == Outcome::Queued { Outcome::Failed } else { outcome });
    }

    async fn try_once(&self, doomed: &Doomed) -> Outcome {
        let opening = &doomed.begun.opening;
        let Some(endpoint) = &opening.endpoints.revocation else { return Outcome::Unsupported };
        let deadline = opening.issuer.deadline;
        let exchange = async {
            // A dead server holds its own revocations up, and no one else's.
            let _turn = self.ways(&opening.issuer.alias).ok()?.revocation_turn().await?;
            let line = self.line(&opening.client, endpoint, deadline).await.ok()?;
            let form = wiped::roomy_form(&[&doomed.token])
                .append_pair("token", &doomed.token)
                .append_pair("token_type_hint", doomed.hint)
                .finish();
            let request = self.authenticated(opening, &Zeroizing::new(form)).ok()?;
            http::post(line, request, REVOCATION_BYTES_MAX, &mut Zeroizing::default()).await.ok()
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(Some(answer)) => match answer.status.as_u16() {
                200 => Outcome::Revoked,
                400 if error_of(&answer.body).as_deref() == Some("unsupported_token_type") => Outcome::Unsupported,
                404 | 405 | 501 => Outcome::Unsupported,
                _ => Outcome::Queued,
            },
            _ => Outcome::Queued,
        }
    }

    /// Records what finally became of it.
    fn report(&self, doomed: &Doomed, outcome: Outcome) {
        let opening = &doomed.begun.opening;
        let (code, severity) = match outcome {
            Outcome::Revoked | Outcome::Absent => (Code::TokenRevoked, Severity::Informational),
            Outcome::Unsupported => (Code::TokenRevokeFailed, Severity::Medium),
            Outcome::Queued | Outcome::Failed => (Code::TokenRevokeFailed, Severity::High),
        };
        let reference = self.recorder.keyed().reference(doomed.hint, doomed.token.as_bytes());
        let mut event = Event::new(code, "Revoke").through(&opening.client, &opening.issuer).of(doomed.exchange);
        event.severity = severity;
        event.actor = Some(Actor::from(&*opening.agent));
        let (created, lifetime) = doomed.created.unwrap_or((self.clock.wall(), Duration::ZERO));
        event.session = Some(Session { reference, created, expires: created.plus(lifetime) });
        let status = match outcome {
            Outcome::Queued | Outcome::Failed => "gave_up",
            Outcome::Unsupported => "REVOKE_UNSUPPORTED",
            other => other.as_str(),
        };
        let event = event.with("agent", doomed.agent.as_str()).with("token_kind", doomed.hint).with("why", doomed.why);
        self.recorder.report(event.with("revocation", status));
    }
}

fn error_of(body: &[u8]) -> Option<String> {
    strict_json::parse(body)?.get("error").and_then(Value::as_str).map(str::to_owned)
}
