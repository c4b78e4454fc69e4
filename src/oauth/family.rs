//! The refresh token of a grant and all that came and will come of it: its family (RFC 9700 §4.14.2). Servers rotate
//! refresh tokens and end the family when an old one is used again, so one holder at a time may use it.

use super::Kept;
use crate::{
    caller::Caller,
    model::{Approvable, Boot, Fault, RefreshToken, ScopeSet},
    policy::{IssuedFacts, Refreshable, Releasable},
    transaction::{Begun, Flow},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::OwnedMutexGuard;

/// How long a wish is not tried again behind the back of a call.
const PUT_OFF: Duration = Duration::from_secs(5);

/// A refresh token, and what is known of its use.
pub struct Family {
    /// The first token of the grant: no later one carries more.
    origin: Arc<Kept>,
    /// Spreads what many families would do at the same moment.
    jitter: u8,
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

struct State {
    /// `None` once the family has ended.
    token: Option<RefreshToken>,
    /// Counts what has changed of it, so that it is seen when there is something to write.
    generation: u64,
    refreshes: u64,
    /// What the token issued last lived.
    lifetime: Duration,
    remembered: Option<Remembered>,
    /// Before this nothing is refreshed ahead of need.
    ahead_after: Boot,
}

/// How a family stands, to be written.
pub struct Standing<'s> {
    /// The refresh token.
    pub token: &'s RefreshToken,
    /// How often it was refreshed.
    pub refreshes: u64,
    /// What the token issued last lived.
    pub lifetime: Duration,
    /// See [`Family::jitter`].
    pub jitter: u8,
}

/// A failure that is not asked for again for a moment.
struct Remembered {
    /// What was wished for; `None` where the server answers nobody.
    wish: Option<Wish>,
    until: Boot,
    fault: Fault,
}

impl Family {
    /// The family of a grant's refresh token.
    #[must_use]
    pub fn new(origin: Arc<Kept>, token: RefreshToken, jitter: u8) -> Arc<Self> {
        let lifetime = origin.lifetime;
        Self::again(origin, token, jitter, (0, lifetime))
    }

    /// The family of a grant of the run before, as it stood.
    #[must_use]
    pub fn again(
        origin: Arc<Kept>,
        token: RefreshToken,
        jitter: u8,
        (refreshes, lifetime): (u64, Duration),
    ) -> Arc<Self> {
        let (token, ahead_after) = (Some(token), origin.at.0);
        let state = State { token, generation: 0, refreshes, lifetime, remembered: None, ahead_after };
        Arc::new(Self { origin, jitter, turn: Arc::default(), state: Mutex::new(state) })
    }

    /// Waits for the turn to use the refresh token, first come first served.
    pub async fn turn(self: &Arc<Self>, caller: Caller, wish: Wish) -> Turn {
        let exclusive = Arc::clone(&self.turn).lock_owned().await;
        Turn { family: Arc::clone(self), caller, wish, _exclusive: exclusive }
    }

    /// The turn, if nobody has it.
    #[must_use]
    pub fn turn_now(self: &Arc<Self>, caller: Caller, wish: Wish) -> Option<Turn> {
        let exclusive = Arc::clone(&self.turn).try_lock_owned().ok()?;
        Some(Turn { family: Arc::clone(self), caller, wish, _exclusive: exclusive })
    }

    /// The failure that answers a wish for now, if there is one.
    #[must_use]
    pub fn remembered(&self, wish: &Wish, now: Boot) -> Option<Fault> {
        let state = self.state();
        let held = state.remembered.as_ref().filter(|r| now < r.until)?;
        held.wish.as_ref().is_none_or(|about| about == wish).then(|| held.fault.clone())
    }

    /// Whether a refresh ahead of need makes sense now.
    #[must_use]
    pub fn may_go_ahead(&self, wish: &Wish, now: Boot) -> bool {
        now >= self.state().ahead_after && self.remembered(wish, now).is_none()
    }

    /// Answers wishes with this failure until then; all of them, or those like this one.
    pub(super) fn remember(&self, wish: Option<Wish>, until: Boot, fault: Fault) {
        self.state().remembered = Some(Remembered { wish, until, fault });
    }

    /// What the token issued last lived.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.state().lifetime
    }

    /// A number of this family's own that spreads what many would do at once.
    #[must_use]
    pub const fn jitter(&self) -> u8 {
        self.jitter
    }

    /// Ends the family: its token is never used again, and one that is still on its way comes too late. What there is
    /// must be revoked.
    #[must_use]
    pub fn end(&self) -> Option<RefreshToken> {
        self.state().token.take()
    }

    /// Puts a new refresh token in the place of the old one, which is wiped. Given back if the family has ended.
    pub(super) fn rotate(&self, new: RefreshToken) -> Option<RefreshToken> {
        let mut state = self.state();
        if state.token.is_none() {
            return Some(new);
        }
        state.token = Some(new);
        state.generation += 1;
        None
    }

    /// Counts a refresh that gave a token of this lifetime.
    pub(super) fn refreshed(&self, lifetime: Duration) {
        let mut state = self.state();
        state.refreshes += 1;
        state.generation += 1;
        state.lifetime = lifetime;
        state.remembered = None;
    }

    /// Changes with every refresh token and every refresh.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Shows how it stands; `None` if it has ended.
    pub fn standing<T>(&self, look: impl FnOnce(&Standing<'_>) -> T) -> Option<T> {
        let state = self.state();
        let token = state.token.as_ref()?;
        let (refreshes, lifetime) = (state.refreshes, state.lifetime);
        Some(look(&Standing { token, refreshes, lifetime, jitter: self.jitter }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a refresh is to bring.
#[derive(Clone, PartialEq, Eq)]
pub struct Wish {
    /// The scopes to ask for: within those of the grant.
    pub scopes: ScopeSet,
    /// Whether a token with fewer is of no use.
    pub all_needed: bool,
}

/// The right to use the refresh token of a family, once, for this caller and these scopes. Nobody else has it before
/// this is dropped.
pub struct Turn {
    family: Arc<Family>,
    caller: Caller,
    wish: Wish,
    _exclusive: OwnedMutexGuard<()>,
}

impl Turn {
    /// Lets go without having used it.
    #[must_use]
    pub fn give_up(self) -> Caller {
        self.caller
    }

    /// Has the family not refreshed ahead of need for a moment.
    pub fn put_off(&self, now: Boot) {
        self.family.state().ahead_after = now.plus(PUT_OFF);
    }

    /// The family.
    #[must_use]
    pub const fn family(&self) -> &Arc<Family> {
        &self.family
    }

    /// What is wished for.
    #[must_use]
    pub const fn wish(&self) -> &Wish {
        &self.wish
    }

    /// The first token of the grant.
    #[must_use]
    pub fn origin(&self) -> &Kept {
        &self.family.origin
    }

    /// Whether fewer scopes are asked than the grant has.
    #[must_use]
    pub fn narrows(&self) -> bool {
        !self.family.origin.scopes.is_within(&self.wish.scopes)
    }

    /// Shows the refresh token; `None` if the family has ended.
    pub(super) fn with_token<T>(&self, look: impl FnOnce(&RefreshToken) -> T) -> Option<T> {
        self.family.state().token.as_ref().map(look)
    }
}

impl Releasable for Turn {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn flow(&self) -> &Flow {
        &self.family.origin.begun.opening.flow
    }

    fn approvable(&self) -> &Approvable {
        &self.family.origin.begun.opening.approvable
    }

    /// What a good answer would be like.
    fn facts(&self) -> IssuedFacts<'_> {
        IssuedFacts {
            allowed: &self.wish.scopes,
            scopes: &self.wish.scopes,
            lifetime: self.family.lifetime(),
            bound: self.begun().opening.client.bound_tokens,
            refreshable: true,
            again: true,
            ..self.family.origin.facts()
        }
    }
}

impl Refreshable for Turn {
    fn begun(&self) -> &Arc<Begun> {
        &self.family.origin.begun
    }

    fn since(&self) -> Boot {
        self.family.origin.at.0
    }

    fn refreshes(&self) -> u64 {
        self.family.state().refreshes
    }
}
