//! The current generation of policy, and what stands beside it: freezes, and the clock.

use super::{Freezes, Snapshot, Standing, Verdict, Witness};
use crate::{config::Estate, platform::Clock};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::sync::{Arc, Mutex};
use tokio::sync::{MutexGuard, watch};

/// The current generation of policy.
pub struct Policies {
    current: ArcSwapOption<Snapshot>,
    /// The estate of the newest set that was ever current: who calls is asked while none is, too.
    estate: ArcSwap<Estate>,
    /// Says that there is another set.
    changed: watch::Sender<()>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) freezes: Freezes,
    witness: Arc<Witness>,
    pub(super) standing: Mutex<Standing>,
    /// One look at the files at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Policies {
    /// Starts with this set, or with none: then every answer is no, and the estate is the configuration's.
    #[must_use]
    pub fn new(first: Option<Snapshot>, estate: Arc<Estate>, clock: Arc<dyn Clock>) -> Self {
        let estate = first.as_ref().map_or(estate, |set| Arc::clone(&set.estate));
        let current = ArcSwapOption::from(first.map(Arc::new));
        let changed = watch::Sender::new(());
        Self {
            current,
            estate: ArcSwap::from(estate),
            changed,
            clock,
            freezes: Freezes::default(),
            witness: Arc::default(),
            standing: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Keeps these freezes: for what they cover every answer about tokens is no, whatever the set says.
    #[must_use]
    pub fn under(self, freezes: Freezes) -> Self {
        Self { freezes, ..self }
    }

    /// With this to look on: what the recorder shows its decisions to.
    #[must_use]
    pub fn seen_by(self, witness: Arc<Witness>) -> Self {
        Self { witness, ..self }
    }

    /// What looks on.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// What operators have frozen.
    #[must_use]
    pub const fn freezes(&self) -> &Freezes {
        &self.freezes
    }

    /// The current set.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Who may call and what may be asked for, as the current set has it; where none is current, as the last one had it,
    /// or the configuration.
    #[must_use]
    pub fn estate(&self) -> Arc<Estate> {
        self.current.load().as_ref().map_or_else(|| self.estate.load_full(), |set| Arc::clone(&set.estate))
    }

    /// Whether a decision is one of the current set.
    #[must_use]
    pub fn is_current(&self, verdict: &Verdict) -> bool {
        self.current.load().as_ref().is_some_and(|set| set.generation == verdict.generation)
    }

    /// Swaps the set whole.
    pub fn replace(&self, next: Snapshot) {
        self.estate.store(Arc::clone(&next.estate));
        self.current.store(Some(Arc::new(next)));
        self.changed.send_replace(());
    }

    /// Takes the set away: until there is another, every answer is no.
    pub fn withdraw(&self) {
        self.current.store(None);
        self.changed.send_replace(());
    }

    /// Waits for the turn to look at the files.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Follows the changes of the set: what was allowed under another one must be asked anew.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
