//! The thread that writes, and how others speak to it.

use super::{
    Id,
    file::{commit, write_anew},
    seal::Sealer,
};
use crate::{model::Boot, platform::Clock};
use redb::Database;
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// How often a file that cannot be written is tried again.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// How many more may wait than there are changes, before those that have given up are let go.
const WAITING_SPARE: usize = 1024;

/// A vault. Changes are seen by those who ask at once, and durable once their [`Saving`] is done.
pub struct Vault {
    shared: Arc<Shared>,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// When the commit under way began, in boot milliseconds; 0 while there is none.
    began: AtomicU64,
    failed: AtomicBool,
}

/// What is not durable yet. The last change of a record takes the place of those before it, so that it has a bound.
#[derive(Default)]
struct Queue {
    changes: BTreeMap<Id, Option<Vec<u8>>>,
    waiting: Vec<oneshot::Sender<()>>,
    closing: bool,
}

/// A change on its way to the disk. Dropped, it goes there all the same.
#[must_use]
pub struct Saving(Option<oneshot::Receiver<()>>);

impl Saving {
    /// Nothing is to be written.
    pub const fn nothing() -> Self {
        Self(None)
    }

    /// The change could not be made.
    pub fn failed() -> Self {
        Self(Some(oneshot::channel().1))
    }

    /// The later of two removals: done when both are, for changes are written in the order in which they were made.
    pub fn then(self, later: Self) -> Self {
        if later.0.is_some() { later } else { self }
    }

    /// Waits until the change is durable, for as long as this. Whether it is.
    pub async fn done(self, within: Duration) -> bool {
        match self.0 {
            None => true,
            Some(done) => matches!(tokio::time::timeout(within, done).await, Ok(Ok(()))),
        }
    }
}

impl Vault {
    /// The id of a record. It tells nothing of what it is the id of.
    #[must_use]
    pub fn id(&self, kind: &str, name: &[u8]) -> Id {
        self.sealer.id(kind, name)
    }

    /// Puts a record in the place of the one before. `None` without entropy: nothing is changed then.
    #[must_use]
    pub fn put(&self, id: Id, plain: &[u8]) -> Option<Saving> {
        let sealed = self.sealer.seal(&id, plain)?;
        Some(self.change(id, Some(sealed)))
    }

    /// Removes a record.
    pub fn remove(&self, id: Id) -> Saving {
        self.change(id, None)
    }

    fn change(&self, id: Id, change: Option<Vec<u8>>) -> Saving {
        let (sender, done) = oneshot::channel();
        let mut queue = self.shared.queue();
        queue.changes.insert(id, change);
        // While a commit hangs, those that have given up must not pile up.
        if queue.waiting.len() > queue.changes.len() + WAITING_SPARE {
            queue.waiting.retain(|waiting| !waiting.is_closed());
        }
        queue.waiting.push(sender);
        self.shared.wake.notify_one();
        Saving(Some(done))
    }

    /// Whether the last commit went well and none has been under way for longer than this.
    #[must_use]
    pub fn is_writable(&self, longest: Duration) -> bool {
        let began = self.shared.began.load(Ordering::Acquire);
        let hangs = began != 0 && self.clock.boot().since(Boot(began)) > longest;
        !hangs && !self.shared.failed.load(Ordering::Acquire)
    }

    /// Writes what is left, once, and closes the file. What comes later is not written. Whether all of it was.
    pub async fn close(&self, within: Duration) -> bool {
        {
            let mut queue = self.shared.queue();
            queue.closing = true;
            self.shared.wake.notify_one();
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return true };
        let ended = async {
            while !thread.is_finished() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        // It is not joined: a disk that hangs would keep the process for ever.
        tokio::time::timeout(within, ended).await.is_ok() && !self.shared.failed.load(Ordering::Acquire)
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.shared.queue().closing = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file as the thread has it.
pub(super) struct Store {
    /// Held for as long as the thread lives.
    _lock: File,
    path: PathBuf,
    salt_and_check: (Vec<u8>, [u8; 32]),
    /// `None` after a failed write.
    database: Option<Database>,
    /// Which file that is, to see when another is in its place.
    identity: Option<(u64, u64)>,
    /// Every record as it should be in the file.
    records: BTreeMap<Id, Vec<u8>>,
}

impl Store {
    pub(super) fn new(
        lock: File,
        path: PathBuf,
        salt_and_check: (Vec<u8>, [u8; 32]),
        database: Database,
        records: BTreeMap<Id, Vec<u8>>,
    ) -> Self {
        let identity = identity(&path);
        Self { _lock: lock, path, salt_and_check, database: Some(database), identity, records }
    }

    /// Makes changes durable, or keeps them for the next time.
    fn write(&mut self, changes: BTreeMap<Id, Option<Vec<u8>>>) -> Result<(), String> {
        for (id, change) in &changes {
            match change {
                Some(sealed) => drop(self.records.insert(*id, sealed.clone())),
                None => drop(self.records.remove(id)),
            }
        }
        let in_place = self.identity.is_some() && self.identity == identity(&self.path);
        let mut database = self.database.take();
        if !in_place && database.take().is_some() {
            tracing::error!(file = %self.path.display(), "the file was removed or replaced while in use: it is written anew");
        }
        let (salt, check) = &self.salt_and_check;
        // After a failed write, or a panic, which redb prefers where its own state makes no sense to it, the database is
        // dropped and never used again: what it has of the changes is uncertain.
        let write = AssertUnwindSafe(|| match database {
            Some(database) => commit(&database, &changes).map(|()| database),
            None => write_anew(&self.path, salt, check, &self.records),
        });
        let written = catch_unwind(write).unwrap_or_else(|_| Err(redb::Error::Corrupted("it is damaged".to_owned())));
        self.database = Some(written.map_err(|error| error.to_string())?);
        self.identity = identity(&self.path);
        Ok(())
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Starts the thread.
pub(super) fn start(store: Store, sealer: Sealer, clock: Arc<dyn Clock>) -> io::Result<Arc<Vault>> {
    let shared = Arc::new(Shared::default());
    let (theirs, now) = (Arc::clone(&shared), Arc::clone(&clock));
    let thread = thread::Builder::new().name("vault".to_owned()).spawn(move || run(store, &theirs, &*now))?;
    Ok(Arc::new(Vault { shared, sealer, clock, thread: Mutex::new(Some(thread)) }))
}

fn run(mut store: Store, shared: &Shared, clock: &dyn Clock) {
    // Who waits for what could not be written yet.
    let mut late: Vec<oneshot::Sender<()>> = Vec::new();
    loop {
        let failed = shared.failed.load(Ordering::Acquire);
        let (changes, waiting, closing) = {
            let mut queue = shared.queue();
            while queue.changes.is_empty() && !queue.closing && !failed {
                queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if failed && !queue.closing {
                let waited = shared.wake.wait_timeout(queue, PROBE_EVERY);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            (std::mem::take(&mut queue.changes), std::mem::take(&mut queue.waiting), queue.closing)
        };
        late.extend(waiting);
        late.retain(|waiting| !waiting.is_closed());
        if !changes.is_empty() || failed {
            shared.began.store(clock.boot().0.max(1), Ordering::Release);
            let result = store.write(changes);
            shared.failed.store(result.is_err(), Ordering::Release);
            shared.began.store(0, Ordering::Release);
            match result {
                Ok(()) if failed => {
                    tracing::warn!(file = %store.path.display(), "the file can be written again, and is whole");
                }
                Ok(()) => {}
                Err(error) if !failed => {
                    tracing::error!(%error, file = %store.path.display(), "the file cannot be written: what is new is kept in memory alone until it can");
                }
                Err(_) => {}
            }
        }
        if !shared.failed.load(Ordering::Acquire) {
            // They may have given up meanwhile.
            late.drain(..).for_each(|waiting| {
                let _ = waiting.send(());
            });
        }
        if closing && shared.queue().changes.is_empty() {
            return;
        }
    }
}
