//! The one thread that owns the log's file: gathers what is queued, one write, one fdatasync, wakes who waits.

use super::{
    Code, CorrelationKey, Event, OpenExchange, Severity, decision, ocsf, recover,
    segment::{self, Segment},
};
use crate::{
    model::Boot,
    platform::{
        Clock, Entropy,
        files::{Condition, Files},
    },
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// Events waiting to be written.
const QUEUE_MAX: usize = 8192;
/// Beyond so many, hand-outs wait: the rest is for what is more than a hand-out.
const QUEUE_ROOM: usize = QUEUE_MAX / 2;
/// Events in one commit.
const BATCH_MAX: usize = 512;
/// How often a log that cannot be written is tried again.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// Who waits for an event.
pub(super) enum Ack {
    /// A request that will act once the event is durable. If it gives up before, nothing happened, and nothing is
    /// written.
    Effect(oneshot::Sender<bool>),
    /// A request that tells of something that has happened: it is kept until it can be written, whoever gives up.
    Fact(oneshot::Sender<bool>),
    /// Nobody: the event is kept until it can be written.
    None,
}

/// One event on its way.
pub(super) struct Job {
    pub(super) event: Event,
    pub(super) ack: Ack,
}

/// What the log says of where it comes from.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Names this installation: `metadata.product.uid`.
    pub uid: String,
    /// The host's name.
    pub hostname: String,
}

/// The way into the log.
#[derive(Clone)]
pub struct Sink {
    queue: SyncSender<Job>,
    queued: Arc<AtomicUsize>,
    writable: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    began: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl Sink {
    /// Whether the log can be written.
    #[must_use]
    pub fn writable(&self) -> watch::Receiver<bool> {
        self.writable.clone()
    }

    /// Whether the last commit failed, or one has been under way for longer than this: a disk that hangs is not
    /// writable either. It takes no lock: who asks may be looking at [`Self::writable`], and the audit thread may be
    /// waiting to change that.
    #[must_use]
    pub fn is_stuck(&self, longest: Duration) -> bool {
        let began = self.began.load(Ordering::Acquire);
        let hangs = began != 0 && self.clock.boot().since(Boot(began)) > longest;
        hangs || self.failed.load(Ordering::Acquire)
    }

    pub(super) fn tick(&self) -> Duration {
        self.clock.tick()
    }

    pub(super) fn send(&self, job: Job) -> bool {
        self.queued.fetch_add(1, Ordering::AcqRel);
        let sent = self.queue.try_send(job).is_ok();
        if !sent {
            self.queued.fetch_sub(1, Ordering::AcqRel);
        }
        sent
    }

    /// Whether the log keeps up with what is queued.
    pub(super) fn has_room(&self) -> bool {
        self.queued.load(Ordering::Acquire) < QUEUE_ROOM
    }
}

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be used.
    #[error("the audit folder {0} cannot be used: {1}")]
    Folder(PathBuf, io::Error),
    /// Another daemon has it.
    #[error("the audit folder {0} is in use by another narrowgate")]
    InUse(PathBuf),
    /// A thread could not be started.
    #[error("the audit thread could not be started: {0}")]
    Thread(io::Error),
}

/// Opens the log: takes the folder's lock, sets a torn tail aside, finds exchanges without outcome, starts the thread.
///
/// # Errors
/// See [`StartError`].
pub fn open(
    directory: &Path,
    key: CorrelationKey,
    installation: Installation,
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<(Sink, Vec<OpenExchange>, JoinHandle<()>), StartError> {
    let fail = |e: io::Error| StartError::Folder(directory.to_owned(), e);
    fs::create_dir_all(directory).map_err(fail)?;
    let lock = File::open(directory).map_err(fail)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| StartError::InUse(directory.to_owned()))?;
    let past = recover::scan(directory).map_err(fail)?;
    let (queue, jobs) = sync_channel(QUEUE_MAX);
    let (up, writable) = watch::channel(true);
    let (began, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let queued = Arc::new(AtomicUsize::new(0));
    let writer = Writer {
        _lock: lock,
        directory: directory.to_owned(),
        key,
        files,
        renderer: ocsf::Renderer::new(installation, Arc::clone(&clock), entropy),
        clock: Arc::clone(&clock),
        began: Arc::clone(&began),
        failed: Arc::clone(&failed),
        queued: Arc::clone(&queued),
        next: past.next_sequence,
        journal: None,
        losses: Vec::new(),
        kept: Vec::new(),
        up,
    };
    let thread = std::thread::Builder::new()
        .name("audit".to_owned())
        .spawn(move || writer.run(&jobs))
        .map_err(StartError::Thread)?;
    Ok((Sink { queue, queued, writable, clock, began, failed }, past.open, thread))
}

struct Writer {
    /// Held for as long as the thread lives.
    _lock: File,
    directory: PathBuf,
    /// Kept to be put back where the folder is made anew.
    key: CorrelationKey,
    files: Arc<dyn Files>,
    renderer: ocsf::Renderer,
    /// Events sent and not yet taken up.
    queued: Arc<AtomicUsize>,
    next: u64,
    journal: Option<Segment>,
    clock: Arc<dyn Clock>,
    /// When the commit under way began, in boot milliseconds; 0 while there is none.
    began: Arc<AtomicU64>,
    /// What happened to files in use, until it is written.
    losses: Vec<Event>,
    /// Whether the last commit failed: what `up` tells those who wait, for those who only look.
    failed: Arc<AtomicBool>,
    /// Events that nobody waits for and that could not be written yet.
    kept: Vec<Event>,
    up: watch::Sender<bool>,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(PROBE_EVERY) {
                Ok(first) => {
                    let batch = gather(first, jobs);
                    self.queued.fetch_sub(batch.len(), Ordering::AcqRel);
                    self.commit(batch);
                }
                // Nothing to write is no reason not to notice that the file has gone.
                Err(RecvTimeoutError::Timeout) if *self.up.borrow() && self.is_undisturbed() => {}
                Err(RecvTimeoutError::Timeout) => self.commit(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn commit(&mut self, batch: Vec<Job>) {
        let mut events = std::mem::take(&mut self.kept);
        let (mut waiting, mut told) = (Vec::new(), Vec::new());
        for job in batch {
            match job.ack {
                Ack::Effect(ack) if ack.is_closed() => {}
                Ack::Effect(ack) => waiting.push((job.event, ack)),
                Ack::Fact(ack) => {
                    told.push(ack);
                    events.push(job.event);
                }
                Ack::None => events.push(job.event),
            }
        }
        self.began.store(self.clock.boot().0.max(1), Ordering::Release);
        let was_up = *self.up.borrow();
        let resumed = (!was_up).then(|| Event { severity: Severity::High, ..Event::new(Code::AuditResumed, "audit") });
        let all = resumed.iter().chain(&events).chain(waiting.iter().map(|(event, _)| event));
        let result = self.write(&all.collect::<Vec<_>>());
        if let Err(error) = &result {
            if was_up {
                tracing::error!(%error, directory = %self.directory.display(), "the audit log cannot be written: nothing is issued until it can");
            }
            let lost = events.len().saturating_sub(QUEUE_MAX);
            if lost > 0 {
                tracing::error!(lost, "events of things already past could not be kept");
                events.truncate(QUEUE_MAX);
            }
            self.kept = events;
        } else if !was_up {
            tracing::warn!("the audit log can be written again");
        }
        self.failed.store(result.is_err(), Ordering::Release);
        self.up.send_if_modified(|up| std::mem::replace(up, result.is_ok()) != result.is_ok());
        self.began.store(0, Ordering::Release);
        for ack in waiting.into_iter().map(|(_, ack)| ack).chain(told) {
            // The request may have given up meanwhile; recovery closes what it left open.
            let _ = ack.send(result.is_ok());
        }
    }

    fn is_undisturbed(&self) -> bool {
        self.journal.as_ref().is_none_or(|segment| segment.condition() == Condition::Whole)
    }

    /// The segment to write to. One that is not there is kept until another could be made: it may come back, as on a
    /// disk that was away.
    fn segment(&mut self) -> io::Result<Segment> {
        let before = self.journal.take().map(|segment| (segment.condition(), segment));
        let before = match before {
            Some((Condition::Whole, segment)) if !segment.is_full() => return Ok(segment),
            before => before,
        };
        match segment::create(&*self.files, &self.directory, self.next) {
            Ok(segment) => {
                self.key.put_back(&self.directory);
                self.losses.extend(before.and_then(|(condition, segment)| segment.loss(condition, self.next)));
                Ok(segment)
            }
            Err(error) => {
                self.journal = before.map(|(_, segment)| segment);
                Err(error)
            }
        }
    }

    /// Writes all or nothing.
    fn write(&mut self, events: &[&Event]) -> io::Result<()> {
        let mut segment = self.segment()?;
        let all: Vec<&Event> = self.losses.iter().chain(events.iter().copied()).collect();
        let mut lines = Vec::new();
        for (sequence, event) in (self.next..).zip(&all) {
            self.renderer.line(event, sequence, &mut lines)?;
        }
        if let Err(error) = segment.journal.append(&lines) {
            // The file is still sound once the partial write is cut off; without that it is left behind.
            if segment.journal.rollback().is_ok() {
                self.journal = Some(segment);
            }
            return Err(error);
        }
        if let Err(error) = segment.journal.sync() {
            // The file is never used again: Linux reports a lost page once only.
            segment.abandon();
            return Err(error);
        }
        self.journal = Some(segment);
        self.next += all.len() as u64;
        let decisions = all.iter().filter_map(|event| decision::of(event)?.asked.as_ref());
        decisions.for_each(|asked| asked.is_recorded());
        self.losses.clear();
        Ok(())
    }
}

fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX {
        match jobs.try_recv() {
            Ok(job) => batch.push(job),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    batch
}
