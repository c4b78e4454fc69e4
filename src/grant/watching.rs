//! A grant that is watched: its watcher is woken when it ends or has another token, and sees how things stand.

use super::{Grant, Grants, Held, Reply, Wanted, key::TokenKey};
use crate::{
    caller::Caller,
    model::{Boot, Fault},
    oauth::Turn,
};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{Ordering, fence},
    },
    time::Duration,
};
use tokio::sync::watch;

/// Wakes those who watch a grant. It is made when the first of them comes: most grants are never watched.
#[derive(Default)]
pub(super) struct Signal(OnceLock<watch::Sender<()>>);

impl Signal {
    fn follow(&self) -> watch::Receiver<()> {
        let receiver = self.0.get_or_init(|| watch::Sender::new(())).subscribe();
        // Either the watcher sees what was changed, or whoever changes it sees the watcher.
        fence(Ordering::SeqCst);
        receiver
    }

    /// Wakes them, after a change.
    pub(super) fn give(&self) {
        fence(Ordering::SeqCst);
        if let Some(sender) = self.0.get() {
            sender.send_replace(());
        }
    }
}

/// The token that a watcher was given last.
pub struct Watched {
    grant: Arc<Grant>,
    key: TokenKey,
    held: Arc<Held>,
    lease: Duration,
    signal: watch::Receiver<()>,
}

/// How things stand with a token that a watcher was given.
#[derive(Debug)]
pub enum Standing {
    /// Its grant has ended.
    Ended(Fault),
    /// Another token is held in its place.
    Replaced,
    /// It is not served any more.
    Over,
    /// It ages: a successor should be fetched. It is served for this long.
    Aging(Duration),
    /// Nothing is to be done for this long.
    Fresh(Duration),
}

impl Watched {
    /// Waits until the grant ends or has a token that it had not.
    pub async fn woken(&mut self) {
        // The sender lives in the grant.
        let _ = self.signal.changed().await;
    }
}

impl Grants {
    /// Watches the grant of a token that was handed out.
    #[must_use]
    pub fn watched(&self, reply: &Reply, wanted: &Wanted) -> Watched {
        let grant = Arc::clone(reply.grant());
        let key = grant.key(wanted.scopes.as_ref().unwrap_or(&grant.kept.scopes), &self.keyed);
        let signal = grant.signal.follow();
        Watched { key, held: Arc::clone(reply.held()), lease: reply.lease(), signal, grant }
    }

    /// How things stand. Whoever watches a grant uses it, so that it does not end as idle.
    #[must_use]
    pub fn standing(&self, watched: &Watched) -> Standing {
        let Watched { grant, key, held, lease, .. } = watched;
        let (clock, now): (_, Boot) = (&*self.clock, self.clock.boot());
        if let Err(fault) = grant.lives(&self.keeping, &*self.clock) {
            return Standing::Ended(fault);
        }
        grant.used.store(now.0, Ordering::Relaxed);
        if grant.servable(key, Duration::ZERO, clock).is_some_and(|current| !Arc::ptr_eq(&current, held)) {
            return Standing::Replaced;
        }
        let left = held.left_of(*lease, clock);
        if left.is_zero() {
            return Standing::Over;
        }
        let Some(family) = &grant.family else { return Standing::Fresh(left) };
        let ages = held.ages_in(clock, *lease, family.jitter());
        if ages.is_zero() { Standing::Aging(left) } else { Standing::Fresh(left.min(ages)) }
    }

    /// The turn to fetch the successor of a token that ages, if nobody else does and nothing speaks against it now.
    #[must_use]
    pub fn successor_of(&self, watched: &Watched, caller: Caller, wanted: &Wanted) -> Option<(Turn, super::Place)> {
        self.successor(&watched.grant, (&watched.held, watched.lease), caller, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_wakes_those_who_follow_and_costs_nothing_before() {
        let signal = Signal::default();
        signal.give();
        assert!(signal.0.get().is_none());
        let (first, second) = (signal.follow(), signal.follow());
        assert!(!first.has_changed().unwrap());
        signal.give();
        assert!(first.has_changed().unwrap() && second.has_changed().unwrap());
        assert!(!signal.follow().has_changed().unwrap());
    }
}
