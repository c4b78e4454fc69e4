//! The shadow: a candidate set, asked what the active one was asked, off the path of calls. Its verdicts are compared and
//! dropped. What is shown is each decision that was made; one that the cache answered was shown when it was made, at most
//! ten minutes ago, and a new shadow set makes the active one forget its cache.

use super::{
    Failure, Prepared, Snapshot, Trigger, Verdict, case_run,
    load::build_in,
    sources::{self, Source},
    weakening::principal,
};
use crate::{
    config::{Config, Estate, Finding},
    model::Wall,
};
use arc_swap::ArcSwapOption;
use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// Decisions that wait to be compared.
const QUEUE_MAX: usize = 512;

/// How a shadow's verdict differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Differs {
    /// It allows what is denied, or more scopes.
    WouldAllow,
    /// It denies what is allowed, or some scopes of it.
    WouldDeny,
    /// It allows the same on other terms.
    OtherTerms,
    /// It could not be evaluated.
    Error,
}

impl Differs {
    /// All of them, in the order of the numbers.
    pub const ALL: [Self; 4] = [Self::WouldAllow, Self::WouldDeny, Self::OtherTerms, Self::Error];

    /// The word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WouldAllow => "would_allow",
            Self::WouldDeny => "would_deny",
            Self::OtherTerms => "other_terms",
            Self::Error => "error",
        }
    }
}

/// A decision to be compared.
pub struct Seen {
    /// The RPC it was made for.
    pub operation: &'static str,
    /// The decision.
    pub verdict: Verdict,
}

/// A decision that the shadow set would have made otherwise.
pub struct Otherwise {
    /// How.
    pub differs: Differs,
    /// Who asked.
    pub principal: Arc<str>,
    /// The set.
    pub set: Arc<Snapshot>,
    /// Its verdict; `None` if it has none.
    pub verdict: Option<Verdict>,
}

/// The numbers of a shadow.
#[derive(Clone, Copy, Default, Debug)]
pub struct ShadowCounts {
    /// Decisions compared.
    pub compared: u64,
    /// Differences, as [`Differs::ALL`] has them.
    pub differences: [u64; 4],
    /// Decisions not compared: there was no room, or they were of other entities.
    pub dropped: u64,
    /// Differences not recorded one by one: there were too many at once.
    pub unrecorded: u64,
}

/// How the shadow's files stand.
#[derive(Clone, Default, Debug)]
pub struct ShadowStanding {
    /// Since when the set is compared.
    pub since: Option<Wall>,
    /// Why none is.
    pub failure: Option<Failure>,
    /// SHA-256 of the texts that were looked at last, in hex.
    texts: Option<String>,
    /// How many sets there were.
    loaded: u64,
}

/// The set that is compared, and what came of it.
#[derive(Default)]
pub struct Shadow {
    set: ArcSwapOption<Snapshot>,
    queue: Option<SyncSender<Seen>>,
    waiting: Mutex<Option<Receiver<Seen>>>,
    compared: AtomicU64,
    differences: [AtomicU64; 4],
    dropped: AtomicU64,
    unrecorded: AtomicU64,
    standing: Mutex<ShadowStanding>,
}

impl Shadow {
    pub(super) fn open() -> Self {
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        Self { queue: Some(queue), waiting: Mutex::new(Some(waiting)), ..Self::default() }
    }

    /// Whether decisions are compared.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.queue.is_some() && self.set.load().is_some()
    }

    /// The set that is compared, if one is.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.set.load_full()
    }

    /// The decisions to be compared, for the one thread that does so.
    #[must_use]
    pub fn waiting(&self) -> Option<Receiver<Seen>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has a decision compared, if there is room.
    pub(super) fn offer(&self, operation: &'static str, verdict: Verdict) {
        let Some(queue) = self.queue.as_ref().filter(|_| self.is_on()) else { return };
        if queue.try_send(Seen { operation, verdict }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks the shadow set what was asked. `None` if it says the same.
    #[must_use]
    pub fn compare(&self, seen: &Seen) -> Option<Otherwise> {
        let set = self.current()?;
        let asked = seen.verdict.asked.as_ref()?;
        // Agents and APIs are being swapped: what differs is not the policies.
        if set.entities_digest != seen.verdict.entities_digest {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let verdict = set.ask_again(asked).ok();
        self.compared.fetch_add(1, Ordering::Relaxed);
        let differs = verdict.as_ref().map_or(Some(Differs::Error), |verdict| differs(&seen.verdict, verdict))?;
        self.count(differs);
        Some(Otherwise { differs, principal: principal(asked), set, verdict })
    }

    /// Counts an evaluation that broke off.
    pub fn broke_off(&self) {
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.count(Differs::Error);
    }

    /// Counts a difference that is not recorded by itself.
    pub fn unrecorded(&self) {
        self.unrecorded.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, differs: Differs) {
        for (kind, count) in Differs::ALL.iter().zip(&self.differences) {
            count.fetch_add(u64::from(*kind == differs), Ordering::Relaxed);
        }
    }

    /// The numbers of now.
    #[must_use]
    pub fn counts(&self) -> ShadowCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ShadowCounts {
            compared: of(&self.compared),
            differences: self.differences.each_ref().map(of),
            dropped: of(&self.dropped),
            unrecorded: of(&self.unrecorded),
        }
    }

    /// How the files stand.
    #[must_use]
    pub fn standing(&self) -> ShadowStanding {
        self.standing_now().clone()
    }

    /// Looks at the files, for this estate. Parsing takes time: not for the threads that serve calls. `None` if they are
    /// as they were.
    #[must_use]
    pub fn look(
        &self,
        config: &Config,
        folder: &Path,
        estate: &Arc<Estate>,
        now: Wall,
    ) -> Option<Result<Prepared, Vec<Finding>>> {
        let (policies, cases) = match sources::folder(config, folder) {
            Ok(read) => read,
            Err(findings) => return Some(Err(findings)),
        };
        let texts = sources::digest(folder, policies.iter().chain(&cases));
        let mut standing = self.standing_now();
        let same_estate = self.current().is_some_and(|set| Arc::ptr_eq(&set.estate, estate));
        if standing.texts.as_ref() == Some(&texts) && same_estate {
            return None;
        }
        standing.texts = Some(texts);
        standing.loaded += 1;
        let generation = standing.loaded;
        drop(standing);
        Some(prepare_shadow(config, folder, (&policies, &cases), Arc::clone(estate), (generation, now)))
    }

    /// Compares with this set from now on.
    pub fn replace(&self, set: Snapshot, now: Wall) {
        self.set.store(Some(Arc::new(set)));
        let mut standing = self.standing_now();
        standing.since = Some(now);
        standing.failure = None;
    }

    /// Compares with none: there are mistakes. Whether they are new.
    pub fn was_refused(&self, findings: &[Finding], trigger: Trigger, now: Wall) -> bool {
        self.set.store(None);
        let failure = Failure::of(findings, trigger, now);
        let mut standing = self.standing_now();
        let known = standing.failure.as_ref().is_some_and(|known| known.is_as(&failure));
        standing.since = None;
        standing.failure = Some(failure);
        !known
    }

    fn standing_now(&self) -> MutexGuard<'_, ShadowStanding> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds a shadow set as an active one is built, of the estate that is active.
fn prepare_shadow(
    config: &Config,
    folder: &Path,
    (policies, cases): (&[Source], &[Source]),
    estate: Arc<Estate>,
    (generation, now): (u64, Wall),
) -> Result<Prepared, Vec<Finding>> {
    let snapshot = build_in(folder, config, estate, policies, (generation, Some(now)))?;
    let tally = case_run::run(config, &snapshot, cases);
    if tally.findings.is_empty() { Ok(Prepared::of(snapshot, tally.passed, [0; 32])) } else { Err(tally.findings) }
}

/// Loads the shadow set that a configuration names, as `narrowgate check` does.
///
/// # Errors
/// Every mistake.
pub fn check_shadow(config: &Config, folder: &Path, now: Wall) -> Result<Prepared, Vec<Finding>> {
    let (policies, cases) = sources::folder(config, folder)?;
    prepare_shadow(config, folder, (&policies, &cases), Arc::clone(&config.estate), (1, now))
}

fn differs(active: &Verdict, shadow: &Verdict) -> Option<Differs> {
    let more = |of: &Verdict, than: &Verdict| of.granted.iter().any(|scope| !than.granted.contains(scope));
    match (active.denied.is_none(), shadow.denied.is_none()) {
        _ if shadow.errors > active.errors => Some(Differs::Error),
        (false, true) => Some(Differs::WouldAllow),
        (true, false) => Some(Differs::WouldDeny),
        (false, false) => None,
        (true, true) if more(shadow, active) => Some(Differs::WouldAllow),
        (true, true) if more(active, shadow) => Some(Differs::WouldDeny),
        (true, true) => (active.terms != shadow.terms).then_some(Differs::OtherTerms),
    }
}
