//! A set taken anew from its files: read whole, held against itself, compared with the one that runs. What is not sound
//! never takes the place of what is.

use super::{Pending, Policies, Snapshot, Weakening, case_run, load::build, sources::Sources};
use crate::{
    config::{Config, Estate, Finding, about},
    model::{Boot, Wall},
    platform::digest::sha256,
};
use std::{
    fmt::Write,
    sync::{Arc, MutexGuard, PoisonError},
};

/// What makes the daemon look at the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Its start.
    Start,
    /// They have changed.
    Watch,
    /// SIGHUP.
    Signal,
    /// An operator.
    Operator,
}

impl Trigger {
    /// The word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Watch => "watch",
            Self::Signal => "signal",
            Self::Operator => "operator",
        }
    }
}

/// A set that is ready to be the current one.
pub struct Prepared {
    /// The set.
    pub snapshot: Snapshot,
    /// Cases of its own that it passed.
    pub cases_passed: usize,
    /// SHA-256 of the texts that it was made of.
    pub digest: [u8; 32],
    /// What it allows of what was denied of late, where that was asked.
    pub weakening: Weakening,
}

impl Prepared {
    pub(super) fn of(snapshot: Snapshot, cases_passed: usize, digest: [u8; 32]) -> Self {
        Self { snapshot, cases_passed, digest, weakening: Weakening::default() }
    }
}

/// What the files came to.
pub enum Look {
    /// Nothing else than runs already; SHA-256 of the texts that say so.
    Unchanged([u8; 32]),
    /// Another set.
    Changed(Box<Prepared>),
    /// None that can be used.
    Refused(Vec<Finding>),
    /// They could not be fetched, which says nothing about them.
    Unfetched(Vec<Finding>),
}

/// Makes a set of these texts, whole: agents and APIs with what refers to them, policies strictly validated, and its own
/// cases, which all must come out as they say. A start and a reload take the same sets.
///
/// # Errors
/// Every mistake, with file, line and hint.
pub fn prepare(
    config: &Config,
    sources: &Sources,
    generation: u64,
    now: Option<Wall>,
) -> Result<Prepared, Vec<Finding>> {
    let estate = match Estate::reread(sources.estate(), config) {
        Ok(estate) => Arc::new(estate),
        Err(mut findings) => {
            // The mistakes of the policies are told with them.
            let policies = build(config, Arc::clone(&config.estate), &sources.policies, generation, now);
            findings.extend(policies.err().unwrap_or_default());
            return Err(findings);
        }
    };
    let snapshot = build(config, estate, &sources.policies, generation, now)?;
    let tally = case_run::run(config, &snapshot, &sources.cases);
    if !tally.findings.is_empty() {
        return Err(tally.findings);
    }
    Ok(Prepared::of(snapshot, tally.passed, sources.digest()))
}

/// Holds texts against the set that runs, and the texts that were found sound last. Parsing takes time: not for the
/// threads that serve calls.
#[must_use]
pub fn look(
    config: &Config,
    sources: &Sources,
    (running, sound): (Option<&Snapshot>, Option<[u8; 32]>),
    next: (u64, Wall),
) -> Look {
    let digest = sources.digest();
    if running.is_some_and(|set| sound == Some(digest) && set.is_of(config, sources)) {
        return Look::Unchanged(digest);
    }
    let prepared = match prepare(config, sources, next.0, Some(next.1)) {
        Ok(prepared) => prepared,
        Err(findings) => return Look::Refused(findings),
    };
    if running.is_some_and(|set| set.says_the_same(&prepared.snapshot)) {
        return Look::Unchanged(digest);
    }
    Look::Changed(Box::new(prepared))
}

impl Snapshot {
    /// Whether its estate is what these texts say, the files that they name included: trust roots that were replaced are
    /// no change of a text.
    fn is_of(&self, config: &Config, sources: &Sources) -> bool {
        Estate::reread(sources.estate(), config).is_ok_and(|estate| estate == *self.estate)
    }

    /// Whether it decides as another does: other are comments in data files, or cases.
    fn says_the_same(&self, other: &Self) -> bool {
        let digests = |set: &Self| (set.policy_digest.clone(), set.schema_digest.clone(), set.entities_digest.clone());
        digests(self) == digests(other) && self.estate == other.estate
    }
}

/// A set that was not taken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When.
    pub at: Wall,
    /// What made the daemon look.
    pub trigger: Trigger,
    /// How many mistakes.
    pub mistakes: usize,
    /// The first of them.
    pub first: Finding,
    /// What tells these mistakes from others.
    of: [u8; 32],
}

impl Failure {
    pub(super) fn of(findings: &[Finding], trigger: Trigger, at: Wall) -> Self {
        let first = findings.first().cloned().unwrap_or_else(|| about("policies".as_ref(), "could not be read"));
        Self { at, trigger, mistakes: findings.len(), first, of: fingerprint(findings) }
    }

    /// Whether the mistakes are the same.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.of == other.of
    }
}

/// How the files stand to the set that runs.
#[derive(Clone, Default, Debug)]
pub struct Standing {
    /// The newest generation's number, whether it runs or not.
    pub generation: u64,
    /// When the newest generation became current, and why.
    pub activated: Option<(Wall, Trigger)>,
    /// When the files were last found sound, or as they were.
    pub checked: Option<(Boot, Wall)>,
    /// The newest failure.
    pub failure: Option<Failure>,
    /// The newest set, where it is sound and waits for an operator's word.
    pub pending: Option<Arc<Pending>>,
    /// SHA-256 of the texts that were found sound last.
    pub sound: Option<[u8; 32]>,
    /// Whether that is how it stands now: nothing sound was there since.
    pub failed: bool,
    /// Looks that brought another set.
    pub activations: u64,
    /// Looks that found nothing new.
    pub unchanged: u64,
    /// Looks that found mistakes.
    pub refusals: u64,
    /// Looks that found a set that waits for an operator.
    pub waits: u64,
    /// Denied questions that sets which became active allow.
    pub weakened: u64,
}

impl Policies {
    /// How the files stand to the set that runs.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing_now().clone()
    }

    /// Whether the newest files were not taken.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.standing_now().failed
    }

    /// The number of the generation that would come next.
    #[must_use]
    pub fn next_generation(&self) -> u64 {
        let running = self.current().map_or(0, |set| set.generation);
        self.standing_now().generation.max(running) + 1
    }

    /// Counts a set that became current.
    pub fn was_activated(&self, generation: u64, trigger: Trigger, digest: [u8; 32]) {
        let (boot, wall) = (self.clock.boot(), self.clock.wall());
        let mut standing = self.standing_now();
        standing.generation = generation;
        standing.activated = Some((wall, trigger));
        standing.sound = Some(digest);
        standing.checked = Some((boot, wall));
        standing.failed = false;
        standing.pending = None;
        standing.activations += 1;
    }

    /// Counts a look that found nothing new.
    pub fn was_unchanged(&self, digest: [u8; 32]) {
        let mut standing = self.standing_now();
        standing.checked = Some((self.clock.boot(), self.clock.wall()));
        standing.sound = Some(digest);
        standing.failed = false;
        standing.pending = None;
        standing.unchanged += 1;
    }

    /// Counts a sound set that waits for an operator. Whether it did so already.
    pub fn was_kept_waiting(&self, pending: Arc<Pending>) -> bool {
        let mut standing = self.standing_now();
        let known = standing.pending.as_ref().is_some_and(|known| known.digest == pending.digest);
        standing.checked = Some((self.clock.boot(), self.clock.wall()));
        standing.failed = false;
        standing.waits += 1;
        standing.pending = Some(pending);
        known
    }

    /// Whether this set waits already. It does so until an operator says otherwise or other files do: that what was denied is
    /// forgotten by and by is no word of anyone, nor is a look that finds nothing sound.
    #[must_use]
    pub fn is_kept_waiting(&self, digest: &str) -> bool {
        self.standing_now().pending.as_ref().is_some_and(|pending| pending.digest == digest)
    }

    /// What an active set allows that was denied.
    pub fn was_weakened(&self, weakening: &Weakening) {
        self.witness().denials.forget(weakening);
        let allowed = u64::try_from(weakening.allowed).unwrap_or(u64::MAX);
        let mut standing = self.standing_now();
        standing.weakened = standing.weakened.saturating_add(allowed);
    }

    /// The files are as they were when they were last found sound.
    pub fn is_as_it_was(&self) {
        let mut standing = self.standing_now();
        if !standing.failed && standing.checked.is_some() {
            standing.checked = Some((self.clock.boot(), self.clock.wall()));
        }
    }

    /// Counts a set that was not taken. Whether these mistakes are new: told of again and again they would fill the log.
    pub fn was_refused(&self, findings: &[Finding], trigger: Trigger) -> bool {
        let failure = Failure::of(findings, trigger, self.clock.wall());
        let mut standing = self.standing_now();
        let known = standing.failed && standing.failure.as_ref().is_some_and(|known| known.is_as(&failure));
        standing.refusals += 1;
        standing.failed = true;
        standing.failure = Some(failure);
        !known
    }

    fn standing_now(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fingerprint(findings: &[Finding]) -> [u8; 32] {
    let mut all = String::new();
    for finding in findings {
        // Writing to a text cannot fail.
        let _ = writeln!(all, "{finding}");
    }
    sha256(all.as_bytes())
}
