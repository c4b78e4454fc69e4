//! Tokens as they are held, each for as long as it may be served, and how many of them.

use super::key::TokenKey;
use crate::{
    caller::Caller,
    model::{Terms, Wall},
    oauth::Kept,
    platform::Clock,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// A token is not served in the last part of its life: one in twenty, at most this long. It must still arrive.
const MARGIN_MAX: Duration = Duration::from_secs(5);

/// One held token.
pub struct Held {
    /// The token and where it came from.
    pub kept: Arc<Kept>,
    /// The end of the credential it was obtained with, if that ends: nothing outlives the proof it was given for.
    pub(super) until: Option<Wall>,
}

impl Held {
    /// A token that was just obtained. Nothing outlives the proof, or the subject token, that it was given for.
    pub(super) fn obtained(kept: Arc<Kept>, caller: &Caller) -> Self {
        let ends = kept.begun.opening.flow.ends().map(|(_, wall)| wall);
        let until = caller.credential_end().into_iter().chain(ends).min();
        Self { kept, until }
    }

    /// How long the token itself still lives: by the boot clock or the wall clock, whichever is less.
    pub(super) fn remaining(&self, clock: &dyn Clock) -> Duration {
        remaining(&self.kept, clock)
    }

    /// How long narrowgate serves the token in all.
    pub(super) fn lease(&self, terms: &Terms) -> Duration {
        let lifetime = self.kept.lifetime;
        let sure = lifetime.saturating_sub((lifetime / 20).min(MARGIN_MAX));
        let ceiling = sure.min(self.kept.begun.opening.client.lifetime_ceiling);
        terms.max_lifetime.map_or(ceiling, |max| max.min(ceiling))
    }

    /// How long it may still be served on these terms.
    pub(super) fn left(&self, clock: &dyn Clock, terms: &Terms) -> Duration {
        self.left_of(self.lease(terms), clock)
    }

    /// How long it may still be served, if so long in all.
    pub(super) fn left_of(&self, lease: Duration, clock: &dyn Clock) -> Duration {
        let spent = self.kept.lifetime.saturating_sub(self.remaining(clock));
        let left = lease.saturating_sub(spent);
        self.until.map_or(left, |until| left.min(until_wall(until, clock)))
    }

    /// Whether a new one should be fetched while this one is still served: from seven tenths of the lease on, each
    /// family at a moment of its own.
    pub(super) fn is_aging(&self, clock: &dyn Clock, lease: Duration, jitter: u8) -> bool {
        self.ages_in(clock, lease, jitter).is_zero()
    }

    /// How long until then.
    pub(super) fn ages_in(&self, clock: &dyn Clock, lease: Duration, jitter: u8) -> Duration {
        let spent = self.kept.lifetime.saturating_sub(self.remaining(clock));
        (lease * (700 + u32::from(jitter) * 200 / 255) / 1000).saturating_sub(spent)
    }
}

fn until_wall(end: Wall, clock: &dyn Clock) -> Duration {
    Duration::from_millis(u64::try_from(end.0.saturating_sub(clock.wall().0)).unwrap_or(0))
}

/// How long a token still lives.
pub(super) fn remaining(kept: &Kept, clock: &dyn Clock) -> Duration {
    let (boot, wall) = kept.at;
    let by_boot = boot.plus(kept.lifetime).since(clock.boot());
    by_boot.min(until_wall(wall.plus(kept.lifetime), clock))
}

/// The tokens of one grant. Full, it makes room at its own cost: no other grant loses anything.
pub(super) struct Shelf<T> {
    most: usize,
    table: HashMap<TokenKey, T>,
    /// Tokens that are not served any more and may still live, the newest of them: whoever holds one can use it, so they
    /// are revoked with the grant.
    past: VecDeque<T>,
}

impl<T: Clone> Shelf<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), table: HashMap::new(), past: VecDeque::new() }
    }

    pub(super) fn get(&self, key: &TokenKey) -> Option<T> {
        self.table.get(key).cloned()
    }

    /// Puts a token in its place. If there is no room, the one that `left` says ends first gives way.
    pub(super) fn put(&mut self, key: TokenKey, token: T, left: impl Fn(&T) -> Duration) {
        if !self.table.contains_key(&key) && self.table.len() >= self.most {
            let first = self.table.iter().min_by_key(|(_, token)| left(token)).map(|(key, _)| *key);
            first.into_iter().for_each(|key| self.set_aside(&key));
        }
        self.set_aside(&key);
        self.table.insert(key, token);
    }

    /// Serves a token no more.
    pub(super) fn set_aside(&mut self, key: &TokenKey) {
        self.past.extend(self.table.remove(key));
        if self.past.len() > self.most {
            self.past.pop_front();
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.table.retain(|_, token| keep(token));
        self.past.retain(keep);
    }

    pub(super) fn take_all(&mut self) -> Vec<T> {
        self.table.drain().map(|(_, token)| token).chain(self.past.drain(..)).collect()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::key::Asked, *};
    use crate::{model::ScopeSet, platform::KeyedHash};

    fn key(grant: u8, scope: &str) -> TokenKey {
        let scopes = ScopeSet::parse(scope).unwrap();
        let (issuer, client) = ("https://as.test", ("c", "c"));
        let asked =
            Asked { agent: "a", grant: &[grant], issuer, client, scopes: &scopes, resource: None, binding: None };
        TokenKey::of(&asked, &KeyedHash::new(&[7; 32]))
    }

    // rows: CACH-06
    #[test]
    fn a_million_keys_of_one_grant_cost_another_nothing() {
        let (mut ours, mut theirs) = (Shelf::new(16), Shelf::new(16));
        theirs.put(key(2, "s"), 0, |_| Duration::ZERO);
        for number in 0..1_000_000u32 {
            ours.put(key(1, &format!("s{number}")), number, |n| Duration::from_millis(u64::from(*n)));
            assert!(ours.len() <= 16 && ours.past.len() <= 16);
        }
        assert_eq!(theirs.get(&key(2, "s")), Some(0));
        // Those that end last are those that stayed.
        assert_eq!(ours.get(&key(1, "s999999")), Some(999_999));
        assert_eq!(ours.get(&key(1, "s0")), None);
    }
}
