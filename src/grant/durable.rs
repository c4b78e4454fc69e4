//! Grants that outlive the process: what is written when, and in which order.
//!
//! * A refresh token is written as soon as it is here, before policy is asked about the access token that came with it,
//!   and its outcome goes on record, and the reply out, once it is durable. A crash finds the old one or the new one in the
//!   file. A first one whose outcome is not on record was never told to anybody: the next start revokes it.
//! * Nothing is spent that could not be written: while the file cannot be written no code is redeemed and no refresh
//!   token is used ([`Reason::GrantStoreUnavailable`]); tokens that are held are served on.
//! * What was spent all the same, because the disk failed meanwhile, is not thrown away. The old refresh token is dead
//!   once the server has rotated it, and a code is spent: to withhold the access token, or to revoke it, would lose the
//!   person's consent now instead of at a crash that may never come, and make nothing safer. The new refresh token is
//!   kept in memory and written as soon as the disk lets it; the daemon is NOT_SERVING and the log says so until then.
//!   (An outcome that cannot be *recorded* is another matter: it is revoked.)
//! * Use is written with the next refresh, and otherwise when it has moved enough to matter. It is behind by at most one
//!   part in [`USED_PARTS`] of the idle lifetime: a crash ends a grant a little early, never late. Each hand-out of a grant
//!   with `max_uses` is written, and waited for where the token was fetched; one from memory waits for no disk, and a
//!   crash in the moment until it is written forgets it.
//! * The end of a grant is written before its agent is told of it.
//! * That a reply was delivered is not written: after a crash a grant counts as delivered, and its idle lifetime ends it
//!   if nobody has its handle.

use super::{
    Grant, Grants,
    reckoning::Reckoning,
    saved::{self, Record, Saved, Secrets},
};
use crate::{
    config::Config,
    model::{Boot, Fault, Reason, Terms},
    platform::{
        Clock, Entropy,
        vault::{self, Id, OpenError, Rejected, Saving, Vault},
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Part of the idle lifetime by which what is written of a grant's use may be behind.
const USED_PARTS: u32 = 64;
/// How often the time is written where nothing else is.
const CLOCK_EVERY: Duration = Duration::from_secs(60);
/// How long a stop waits for the file.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The file that grants are kept in.
pub struct Durable {
    vault: Arc<Vault>,
    reckoning: Reckoning,
    /// How long a change may take.
    patience: Duration,
    /// When the time was written last, by the boot clock.
    told_time: AtomicU64,
}

/// An open file and what is in it.
pub struct OpenedStore {
    durable: Durable,
    rejected: Option<Rejected>,
    records: Vec<(Id, Record)>,
}

/// What was in the file, sound and not yet taken over.
pub struct Records(pub(super) Vec<(Id, Record)>);

/// What is written of a grant.
#[derive(Default)]
pub(super) struct Mark {
    /// The family's generation that is written; `None` before the first.
    generation: Option<u64>,
    uses: u64,
    used: u64,
    /// It was removed, and nothing of it is written any more.
    forgotten: bool,
}

/// Opens the file that the configuration names, if it names one.
///
/// # Errors
/// See [`OpenError`].
pub fn open_store(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Option<OpenedStore>, OpenError> {
    let Some(store) = &config.grant_store else { return Ok(None) };
    let opened = vault::open(&store.file, &store.key, Arc::clone(clock), entropy, saved::read)?;
    let stamps = opened.records.iter().map(|(_, record)| match record {
        Record::Grant(saved, _) => &saved.stamp,
        Record::Clock(stamp) => stamp,
    });
    let reckoning = Reckoning::begin(&**clock, stamps);
    let (patience, told_time) = (config.audit.commit_timeout, AtomicU64::new(0));
    let durable = Durable { vault: opened.vault, reckoning, patience, told_time };
    Ok(Some(OpenedStore { durable, rejected: opened.rejected, records: opened.records }))
}

impl OpenedStore {
    /// The file; what was there before, if that could not be used; and what is in it, for [`Grants::restore`].
    #[must_use]
    pub fn into_halves(self) -> (Durable, (Option<Rejected>, Records)) {
        (self.durable, (self.rejected, Records(self.records)))
    }
}

impl Mark {
    /// Of a grant that was found in the file.
    pub(super) const fn written(generation: u64, uses: u64, used: Boot) -> Self {
        Self { generation: Some(generation), uses, used: used.0, forgotten: false }
    }
}

impl Durable {
    fn id_of(&self, grant: &Grant) -> Id {
        self.vault.id("grant", grant.handle.bits())
    }

    pub(super) const fn reckoning(&self) -> &Reckoning {
        &self.reckoning
    }

    pub(super) fn remove(&self, id: Id) -> Saving {
        self.vault.remove(id)
    }

    /// Writes of a record that its first outcome never came on record: the log says so only until this start is told of.
    pub(super) fn put_unanswered(&self, id: Id, saved: &Saved, secrets: &Secrets) -> Saving {
        let bytes = saved::of_saved(saved, secrets);
        bytes.and_then(|bytes| self.vault.put(id, &bytes)).unwrap_or_else(Saving::failed)
    }

    fn is_writable(&self) -> bool {
        self.vault.is_writable(self.patience)
    }

    /// Writes a grant as it is now.
    fn put(&self, grant: &Grant, mark: &mut Mark, now: Boot) -> Saving {
        let Some(family) = &grant.family else { return Saving::nothing() };
        let (generation, uses, used) = (family.generation(), grant.uses(), grant.used());
        let ages = (now.since(grant.kept.at.0), now.since(used));
        let bytes = family.standing(|standing| saved::of_grant(grant, standing, self.reckoning.stamp(now), ages));
        // Without a token the family has ended, and its record goes.
        let Some(bytes) = bytes else { return Saving::nothing() };
        match bytes.and_then(|bytes| self.vault.put(self.id_of(grant), &bytes)) {
            Some(saving) => {
                *mark = Mark::written(generation, uses, used);
                saving
            }
            None => {
                tracing::error!("a grant could not be sealed: it is kept in memory alone");
                Saving::failed()
            }
        }
    }
}

impl Grants {
    /// Whether what is to come could be written.
    ///
    /// # Errors
    /// [`Reason::GrantStoreUnavailable`].
    pub fn storable(&self) -> Result<(), Fault> {
        if self.is_storable() { Ok(()) } else { Err(Reason::GrantStoreUnavailable.into()) }
    }

    /// The same, for health.
    #[must_use]
    pub fn is_storable(&self) -> bool {
        self.durable.as_ref().is_none_or(Durable::is_writable)
    }

    /// Writes a grant whose refresh token has changed since it was written last. It is durable once that is done.
    pub fn save(&self, grant: &Grant) -> Saving {
        let Some(durable) = &self.durable else { return Saving::nothing() };
        let mut mark = grant.mark();
        let changed = grant.family.as_ref().is_some_and(|family| mark.generation != Some(family.generation()));
        if mark.forgotten || !changed { Saving::nothing() } else { durable.put(grant, &mut mark, self.clock.boot()) }
    }

    /// Writes how often a grant was handed out, where its own terms or those in effect have a bound for that.
    pub fn save_count(&self, grant: &Grant, terms: &Terms) -> Saving {
        let Some(durable) = self.durable.as_ref().filter(|_| terms.max_uses.or(grant.terms.max_uses).is_some()) else {
            return Saving::nothing();
        };
        let mut mark = grant.mark();
        let counted = mark.generation.is_some() && grant.uses() != mark.uses;
        if counted { durable.put(grant, &mut mark, self.clock.boot()) } else { Saving::nothing() }
    }

    /// Waits for what was saved, for as long as a commit may take. What takes longer is written later, and said. Whether
    /// it is on disk.
    pub async fn settle(&self, saving: Saving) -> bool {
        let Some(durable) = &self.durable else { return true };
        let done = saving.done(durable.patience).await;
        if !done {
            tracing::error!("what changed of a grant is not on disk yet: a crash now would undo it");
        }
        done
    }

    /// The same of grants that were taken away: nothing of an earlier call may be left to be written either, for whoever
    /// is told that they are gone does not look again.
    ///
    /// # Errors
    /// [`Reason::GrantStoreUnavailable`]: a crash before the file can be written brings them back.
    pub async fn settle_end(&self, forgotten: Saving) -> Result<(), Fault> {
        if self.settle(forgotten).await { self.storable() } else { Err(Reason::GrantStoreUnavailable.into()) }
    }

    /// Removes a grant that has ended. It is gone for good once that is done.
    pub fn forget(&self, grant: &Grant) -> Saving {
        let Some(durable) = &self.durable else { return Saving::nothing() };
        let mut mark = grant.mark();
        mark.forgotten = true;
        if mark.generation.take().is_some() { durable.remove(durable.id_of(grant)) } else { Saving::nothing() }
    }

    /// Writes what has changed without a refresh, where it matters, and the time now and then.
    pub fn save_uses(&self) {
        let Some(durable) = &self.durable else { return };
        let (now, step) = (self.clock.boot(), self.keeping.idle_lifetime / USED_PARTS);
        for grant in self.copied() {
            let mut mark = grant.mark();
            let moved = grant.used().since(Boot(mark.used)) >= step && grant.used().0 > mark.used;
            if mark.generation.is_some() && moved {
                drop(durable.put(&grant, &mut mark, now));
            }
        }
        let told = durable.told_time.load(Ordering::Relaxed);
        if now.since(Boot(told)) >= CLOCK_EVERY {
            durable.told_time.store(now.0, Ordering::Relaxed);
            self.save_time(durable, now);
        }
    }

    fn save_time(&self, durable: &Durable, now: Boot) {
        if let Some(bytes) = saved::of_clock(&durable.reckoning.stamp(now)) {
            drop(durable.vault.put(durable.vault.id("clock", b""), &bytes));
        }
    }

    /// Writes a grant as it is at a stop. Whether it outlives the process.
    pub fn save_last(&self, grant: &Grant) -> bool {
        let Some(durable) = &self.durable else { return false };
        let mut mark = grant.mark();
        if mark.forgotten || grant.family.is_none() {
            return false;
        }
        drop(durable.put(grant, &mut mark, self.clock.boot()));
        mark.generation.is_some()
    }

    /// Writes what is left and closes the file. Whether all of it was written.
    pub async fn close_store(&self) -> bool {
        let Some(durable) = &self.durable else { return true };
        self.save_time(durable, self.clock.boot());
        durable.vault.close(CLOSE_WITHIN).await
    }
}
