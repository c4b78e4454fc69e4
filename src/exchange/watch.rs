//! Watch: hand out a token, and then each that comes after it, before it is needed; say so when there is none any more.
//! Each is a hand-out like any other: asked anew, recorded, for a caller attested anew.

use super::{Corridor, TokenInput};
use crate::{
    audit::Recorded,
    caller::Caller,
    grant::{Reply, Standing, Watched},
    model::{Boot, Fault, Reason},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long until a watcher looks again by itself: at who it is, and at clocks that somebody has set.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long until a successor that could not be fetched is asked for again; it doubles each time.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// What a watcher has and waits for.
pub struct Watching {
    input: TokenInput,
    watched: Watched,
    policies: watch::Receiver<()>,
    /// Policy has changed since the token was given.
    is_asked_anew: bool,
    given: Boot,
    /// Successors that could not be fetched, one after the other.
    failures: u32,
    /// Before this no other is asked for.
    again_after: Boot,
}

/// What a watcher is to be told, or have done for it.
pub enum Due {
    /// Nothing, for this long.
    Nothing(Duration),
    /// Its grant has ended.
    Ended(Fault),
    /// A hand-out: there is another token, or its own is over, or policy has changed.
    Token,
    /// A successor for its token, which ages.
    Successor,
}

/// What a hand-out to a watcher comes to.
pub enum Given {
    /// A token.
    Token(Box<Recorded<Reply>>),
    /// There is none for it any more.
    Ended(Fault),
}

impl Watching {
    /// Waits until something may be due, at most for a while.
    pub async fn woken(&mut self, most: Duration) {
        tokio::select! {
            () = self.watched.woken() => {}
            Ok(()) = self.policies.changed() => self.is_asked_anew = true,
            () = tokio::time::sleep(most.min(LOOK_EVERY)) => {}
        }
    }
}

impl Corridor {
    /// Hands out the first token of a watch.
    ///
    /// # Errors
    /// As [`Self::token`].
    pub async fn watch(
        self: &Arc<Self>,
        caller: Caller,
        input: TokenInput,
    ) -> Result<(Recorded<Reply>, Watching), Fault> {
        // Before policy is asked, so that no change of it is missed.
        let policies = self.policies.changes();
        let reply = self.token(caller, input.clone()).await?;
        let watched = self.grants.watched(reply.get(), &input.wanted);
        let given = self.clock.boot();
        let watching =
            Watching { input, watched, policies, is_asked_anew: false, given, failures: 0, again_after: given };
        Ok((reply, watching))
    }

    /// What is due to a watcher.
    #[must_use]
    pub fn due(&self, watching: &Watching) -> Due {
        let now = self.clock.boot();
        match self.grants.standing(&watching.watched) {
            Standing::Ended(fault) => Due::Ended(fault),
            Standing::Replaced => Due::Token,
            _ if watching.is_asked_anew => Due::Token,
            // However short tokens live: a watcher costs the server little.
            Standing::Over => match watching.given.plus(AGAIN_AFTER).since(now) {
                Duration::ZERO => Due::Token,
                wait => Due::Nothing(wait),
            },
            Standing::Aging(left) => match watching.again_after.since(now) {
                Duration::ZERO => Due::Successor,
                wait => Due::Nothing(wait.min(left)),
            },
            Standing::Fresh(span) => Due::Nothing(span),
        }
    }

    /// Hands a watcher the token that is there now, or one that is fetched for it.
    ///
    /// # Errors
    /// What passes, recorded: the grant lives, and the caller may watch it again.
    pub async fn give(self: &Arc<Self>, caller: Caller, watching: &mut Watching) -> Result<Given, Fault> {
        watching.is_asked_anew = false;
        let until = self.clock.boot().plus(self.config.limits.call_deadline);
        let input = TokenInput { until, ..watching.input.clone() };
        match self.token(caller, input).await {
            Ok(reply) => {
                watching.watched = self.grants.watched(reply.get(), &watching.input.wanted);
                (watching.given, watching.failures) = (self.clock.boot(), 0);
                Ok(Given::Token(Box::new(reply)))
            }
            Err(fault) if takes_away(fault.reason) => Ok(Given::Ended(fault)),
            Err(fault) => Err(fault),
        }
    }

    /// Fetches the successor of a watcher's token. It is found as any held token is; what goes wrong is in the log, and
    /// tried again for as long as the old one lives.
    pub async fn fetch_successor(self: &Arc<Self>, caller: Caller, watching: &mut Watching) {
        let Ok(_underway) = self.work.enter() else { return };
        let input = &watching.input;
        watching.again_after = self.clock.boot().plus(AGAIN_AFTER);
        let turn = self.grants.successor_of(&watching.watched, caller, &input.wanted);
        // Without a turn someone else fetches it, or has just failed to.
        let Some((turn, place)) = turn else { return };
        let until = self.clock.boot().plus(self.config.limits.call_deadline);
        if let Err(fault) = self.refresh(turn, place, input.claimed.clone(), until).await {
            let wait = AGAIN_AFTER.saturating_mul(1 << watching.failures.min(6)).min(AGAIN_AFTER_MAX);
            watching.failures = watching.failures.saturating_add(1);
            watching.again_after = self.clock.boot().plus(fault.retry_after.unwrap_or_default().max(wait));
            if fault.reason == Reason::StepUpRequired {
                // That is for the person: the server has no other answer until they log in.
                watching.again_after = Boot(u64::MAX);
            }
        }
    }
}

/// Whether a fault says that this caller is not to have such a token any more, and not only that none can be had now.
const fn takes_away(reason: Reason) -> bool {
    use Reason as R;
    matches!(
        reason,
        R::GrantUnknown
            | R::ReauthRequired
            | R::TokenExpired
            | R::NarrowingUnavailable
            | R::BindingUnusable
            | R::Frozen
            | R::PolicyDenied
            | R::HumanApprovalRequired
            | R::StepUpRequired
            | R::PolicyEvalError
            | R::ObligationUnmet
            | R::ScopeNoLongerAllowed
            | R::ScopeNotGranted
            | R::ScopeUpgraded
            | R::RarUpgraded
            | R::ScopeNarrowed
            | R::ScopeRejected
            | R::GrantRejected
            | R::TokenBindingMismatch
            | R::TokenTypeUnsupported
    )
}
