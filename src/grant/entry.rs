//! One grant: what an agent may have tokens of.

use super::{
    Held, Wanted,
    durable::Mark,
    held::Shelf,
    key::{Asked, TokenKey},
    watching::Signal,
};
use crate::{
    config::{Keeping, Narrowing},
    model::{Agent, AgentId, Boot, Fault, Handle, Owned, Reason, ScopeSet, Terms},
    oauth::{Disposal, Family, Kept, ResourceNonces},
    platform::{Clock, KeyedHash},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// A grant.
pub struct Grant {
    /// Its handle.
    pub handle: Handle,
    /// Its agent.
    pub agent: Arc<Agent>,
    /// Its first token and where it came from: no later one carries more.
    pub kept: Arc<Kept>,
    /// The terms it was first released on.
    pub terms: Terms,
    /// Its refresh token, where there is one that may be used.
    pub(super) family: Option<Arc<Family>>,
    /// The nonces that its resource servers want in proofs.
    pub(super) nonces: ResourceNonces,
    /// Its tokens.
    pub(super) shelf: Mutex<Shelf<Arc<Held>>>,
    pub(super) uses: AtomicU64,
    /// When its agent asked for it last, by the boot clock.
    pub(super) used: AtomicU64,
    /// Whether any reply with its token was written.
    pub(super) delivered: AtomicBool,
    /// Revoked: what is still under way must not hand it out.
    pub(super) ended: AtomicBool,
    /// When the server ended it, by the boot clock. It is kept for a while to say so.
    pub(super) died: Mutex<Option<Boot>>,
    /// What is written of it, where grants are kept in a file.
    pub(super) mark: Mutex<Mark>,
    /// It is of a run before this one.
    pub(super) restored: bool,
    /// Wakes those who watch it.
    pub(super) signal: Signal,
}

impl Owned for Grant {
    fn handle(&self) -> Handle {
        self.handle
    }

    fn owner(&self) -> &AgentId {
        &self.agent.id
    }
}

impl Grant {
    /// What is left of it and must not live on: its tokens, and the refresh token, which nobody can use from here on.
    #[must_use]
    pub fn remains(&self) -> Option<Disposal> {
        let refresh = self.family.as_ref().and_then(|family| family.end());
        let access = self.shelf().take_all();
        let refresh = refresh.as_ref().or(self.kept.tokens.retired.as_ref());
        Disposal::of_grant(&self.kept, access.iter().map(|held| &*held.kept), refresh)
    }

    /// Whether any reply with its token was written.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.delivered.load(Ordering::Acquire)
    }

    /// Whether it has a refresh token that may be used.
    #[must_use]
    pub const fn is_refreshable(&self) -> bool {
        self.family.is_some()
    }

    /// The key of its token with these scopes.
    pub(super) fn key(&self, scopes: &ScopeSet, keyed: &KeyedHash) -> TokenKey {
        let opening = &self.kept.begun.opening;
        let asked = Asked {
            agent: self.agent.id.as_str(),
            grant: self.handle.bits(),
            issuer: &opening.issuer.url,
            client: (opening.client.alias.as_str(), &opening.client.client_id),
            scopes,
            resource: opening.resource(),
            binding: self.kept.begun.holder().map(|holder| (self.kept.bound.confirmation(), holder)),
        };
        TokenKey::of(&asked, keyed)
    }

    /// The terms that already bind a token of it.
    pub(super) fn terms_of(&self, held: &Held) -> Terms {
        self.terms.clone().strictest(held.kept.terms.clone())
    }

    /// The token under this key, if it may be served and lives for long enough.
    pub(super) fn servable(&self, key: &TokenKey, min_ttl: Duration, clock: &dyn Clock) -> Option<Arc<Held>> {
        let held = self.shelf().get(key)?;
        let left = held.left(clock, &self.terms_of(&held));
        (!left.is_zero() && left >= min_ttl).then_some(held)
    }

    /// Whether a token that turned out not to be servable has made room for another.
    pub(super) fn gives_way(&self, key: &TokenKey, left: Duration, min_ttl: Duration, clock: &dyn Clock) -> bool {
        if self.family.is_none() {
            return false;
        }
        if left.is_zero() {
            self.shelf().set_aside(key);
        }
        self.servable(key, min_ttl, clock).is_none()
    }

    /// Serves this token no more, unless another has taken its place.
    pub(super) fn withdraw(&self, key: &TokenKey, held: &Arc<Held>) {
        let mut shelf = self.shelf();
        if shelf.get(key).is_some_and(|now| Arc::ptr_eq(&now, held)) {
            shelf.set_aside(key);
        }
    }

    pub(super) fn shelve(&self, key: TokenKey, held: &Arc<Held>, clock: &dyn Clock) {
        self.shelf().put(key, Arc::clone(held), |held| held.remaining(clock));
        self.signal.give();
    }

    /// Nothing of it is handed out from here on, and whoever watches it is told.
    pub(super) fn finish(&self) {
        self.ended.store(true, Ordering::Release);
        self.signal.give();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Counts a hand-out, if the grant still lives and there may be another one.
    pub(super) fn count_use(&self, terms: &Terms) -> Result<(), Fault> {
        let before = self.uses.fetch_add(1, Ordering::Relaxed);
        if self.is_ended() || terms.max_uses.is_some_and(|max| before >= max) {
            return Err(Fault::new(Reason::GrantUnknown));
        }
        Ok(())
    }

    pub(super) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    pub(super) fn used(&self) -> Boot {
        Boot(self.used.load(Ordering::Relaxed))
    }

    pub(super) fn mark(&self) -> MutexGuard<'_, Mark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shelf(&self) -> MutexGuard<'_, Shelf<Arc<Held>>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.died.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// When it ends by itself, if nobody asks for it any more. The boot clock counts, which nobody steps.
    pub(super) fn ends(&self, keeping: &Keeping) -> Boot {
        match &self.family {
            None => {
                let ends = self.kept.at.0.plus(self.kept.lifetime);
                self.kept.begun.opening.flow.ends().map_or(ends, |(subject, _)| subject.min(ends))
            }
            Some(_) => keeping.end(self.kept.at.0, self.used()),
        }
    }

    /// Whether it has ended by itself. What was given in a run before this one ends by the wall clock too: how long the
    /// time between them was is only as sure as that clock was at the start.
    pub(super) fn is_over(&self, keeping: &Keeping, clock: &dyn Clock) -> bool {
        let by_wall = self.restored && clock.wall() >= self.kept.at.1.plus(keeping.absolute_lifetime);
        by_wall || clock.boot() >= self.ends(keeping)
    }

    pub(super) fn lives(&self, keeping: &Keeping, clock: &dyn Clock) -> Result<(), Fault> {
        if self.is_dead() {
            return Err(Reason::ReauthRequired.into());
        }
        // One without a refresh token ends with its token, which says so itself.
        let over = self.family.is_some() && self.is_over(keeping, clock);
        if over || self.is_ended() { Err(Reason::GrantUnknown.into()) } else { Ok(()) }
    }

    pub(super) fn has(&self, wanted: &Wanted) -> Result<(), Fault> {
        let beyond = wanted.scopes.as_ref().map(|w| w.beyond(&self.kept.scopes)).unwrap_or_default();
        if !beyond.is_empty() {
            let names: Vec<String> = beyond.iter().map(ToString::to_string).collect();
            return Err(Fault::new(Reason::ScopeNotGranted).with("scopes", names.join(" ")));
        }
        if wanted.resource.is_some() && wanted.resource.as_deref() != self.kept.begun.opening.resource() {
            return Err(Fault::field(Reason::ScopeNotGranted, "resource", "is not the grant's"));
        }
        Ok(())
    }

    /// Whether its issuer is asked for fewer scopes on refresh.
    pub(super) fn narrows_on_refresh(&self) -> bool {
        !matches!(self.kept.begun.opening.issuer.narrowing, Narrowing::Off | Narrowing::Exchange)
    }

    /// Whether a refresh can bring what is wanted and not held.
    pub(super) fn can_refresh(&self, wanted: &Wanted) -> Result<(), Fault> {
        let narrows = wanted.scopes.as_ref().is_some_and(|w| !self.kept.scopes.is_within(w));
        if narrows && (!self.narrows_on_refresh() || self.family.is_none()) {
            return Err(Reason::NarrowingUnavailable.into());
        }
        let family = self.family.as_ref().ok_or(Reason::TokenExpired)?;
        // A new token would live no longer than the last one did.
        let best = self.terms.max_lifetime.unwrap_or(Duration::MAX).min(family.lifetime());
        if best < wanted.min_ttl { Err(Reason::TokenExpired.into()) } else { Ok(()) }
    }
}
