//! Where [`Recorded`] is minted: the event about exactly this value is durable.

use super::{
    Event, Sink, decision,
    writer::{Ack, Job},
};
use crate::{
    model::{Fault, Reason},
    platform::{KeyedHash, trace},
    policy::{Verdict, Witness},
    telemetry::Metrics,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{oneshot, watch};

/// A value that describes itself in the log.
pub trait Auditable {
    /// Its event. Secrets appear by keyed reference only.
    fn event(&self, keyed: &KeyedHash) -> Event;
}

/// A value whose record may be queued instead of awaited: what it hands out is on record already (decisions 24). A
/// permit is none, so no code leaves on a record that is not durable.
pub trait Queueable: Auditable {}

/// The proof that a value's own event is durable.
pub struct Recorded<T>(T);

impl<T> Recorded<T> {
    /// Looks at the value.
    #[must_use]
    pub const fn get(&self) -> &T {
        &self.0
    }

    /// Hands the value over to whoever the record was for.
    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

/// Records events.
#[derive(Clone)]
pub struct Recorder {
    sink: Sink,
    keyed: Arc<KeyedHash>,
    commit_timeout: Duration,
    outcome_hold: Duration,
    metrics: Option<Arc<Metrics>>,
    witness: Option<Arc<Witness>>,
}

/// How long between two tries to record an outcome.
const RETRY_EVERY: Duration = Duration::from_millis(50);

impl Recorder {
    /// Records into this sink.
    #[must_use]
    pub const fn new(sink: Sink, keyed: Arc<KeyedHash>, commit_timeout: Duration, outcome_hold: Duration) -> Self {
        Self { sink, keyed, commit_timeout, outcome_hold, metrics: None, witness: None }
    }

    /// Also counts what it records.
    #[must_use]
    pub fn counting(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Also shows the decisions that are on record to this.
    #[must_use]
    pub fn seen_by(self, witness: Arc<Witness>) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// The keyed hash of this installation.
    #[must_use]
    pub fn keyed(&self) -> &KeyedHash {
        &self.keyed
    }

    /// Whether the log can be written, and a way to wait for a change.
    #[must_use]
    pub fn writable(&self) -> watch::Receiver<bool> {
        self.sink.writable()
    }

    /// Makes a decision durable before its effect.
    ///
    /// # Errors
    /// The value, untouched, and [`Reason::AuditUnavailable`].
    pub async fn record<T: Auditable>(&self, value: T) -> Result<Recorded<T>, Box<(T, Fault)>> {
        let written = self.written(value.event(&self.keyed), Ack::Effect);
        match tokio::time::timeout(self.commit_timeout, written).await {
            Ok(Some(true)) => Ok(Recorded(value)),
            _ => Err(Box::new((value, Reason::AuditUnavailable.into()))),
        }
    }

    /// Makes an outcome durable, trying again while the hold time lasts: what it is about exists already.
    ///
    /// # Errors
    /// The value, to be revoked and dropped, and [`Reason::AuditUnavailable`].
    pub async fn record_outcome<T: Auditable>(&self, value: T) -> Result<Recorded<T>, Box<(T, Fault)>> {
        let event = value.event(&self.keyed);
        let attempts = async {
            // The same event is never under way twice: it would be in the log twice.
            while self.written(event.clone(), Ack::Effect).await != Some(true) {
                tokio::time::sleep(RETRY_EVERY).await;
            }
        };
        match tokio::time::timeout(self.outcome_hold, attempts).await {
            Ok(()) => Ok(Recorded(value)),
            Err(_) => Err(Box::new((value, Reason::AuditUnavailable.into()))),
        }
    }

    /// Waits while the log does not keep up with its queue, so that hand-outs are as fast as it and not faster: refused,
    /// they would only come again. Given up after the commit timeout; then what is queued next may be refused.
    pub async fn room(&self) {
        let waiting = async {
            while !self.sink.has_room() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(self.commit_timeout, waiting).await;
    }

    /// Queues the record of a hand-out from cache: its token's issue is durable already (decisions 24).
    ///
    /// # Errors
    /// As [`Self::record`], if the log is known not to be writable or its queue is full.
    pub fn record_queued<T: Queueable>(&self, value: T) -> Result<Recorded<T>, Box<(T, Fault)>> {
        let event = value.event(&self.keyed);
        let to_be_seen = self.to_be_seen(&event);
        if self.is_writable() && self.send(event, Ack::None) {
            self.show(to_be_seen);
            return Ok(Recorded(value));
        }
        Err(Box::new((value, Reason::AuditUnavailable.into())))
    }

    /// Records what has happened, and waits until that is durable. Given up, it is kept and written when it can be.
    ///
    /// # Errors
    /// [`Reason::AuditUnavailable`].
    pub async fn durable(&self, event: Event) -> Result<(), Fault> {
        match tokio::time::timeout(self.commit_timeout, self.written(event, Ack::Fact)).await {
            Ok(Some(true)) => Ok(()),
            _ => Err(Reason::AuditUnavailable.into()),
        }
    }

    /// Whether the log keeps up with its queue.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.sink.has_room() && self.is_writable()
    }

    /// Whether the log can be written right now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.sink.is_stuck(self.commit_timeout)
    }

    /// Sends an event and waits for the answer; `None` if the queue is full or the writer is gone.
    async fn written(&self, event: Event, ack: impl FnOnce(oneshot::Sender<bool>) -> Ack) -> Option<bool> {
        let (sender, done) = oneshot::channel();
        let (ack, began) = (ack(sender), self.sink.tick());
        let counted = matches!(ack, Ack::Effect(_)).then(|| event.counted());
        let to_be_seen = self.to_be_seen(&event);
        if !self.send(event, ack) {
            return None;
        }
        let written = done.await.ok();
        if let (Some(true), Some(metrics)) = (written, &self.metrics) {
            metrics.committed(self.sink.tick().saturating_sub(began));
            counted.into_iter().for_each(|counted| metrics.recorded(counted));
        }
        if written == Some(true) {
            self.show(to_be_seen);
        }
        written
    }

    /// The decision of an event that the witness wants to see once it is on record.
    fn to_be_seen(&self, event: &Event) -> Option<(&'static str, Verdict)> {
        let verdict =
            decision::of(event).filter(|verdict| self.witness.as_ref().is_some_and(|it| it.wants(verdict)))?;
        Some((event.operation, verdict.clone()))
    }

    fn show(&self, seen: Option<(&'static str, Verdict)>) {
        if let (Some(witness), Some((operation, verdict))) = (&self.witness, seen) {
            witness.saw(operation, verdict);
        }
    }

    /// Sends an event, tied to the trace of the call that runs: here and nowhere earlier, so that nothing that leads to
    /// the event can have looked at it. An event that an effect waits for is counted once it is durable, any other now:
    /// it is kept until it can be written.
    fn send(&self, event: Event, ack: Ack) -> bool {
        let counted = (!matches!(ack, Ack::Effect(_))).then(|| event.counted());
        let sent = self.sink.send(Job { event: Event { trace: trace::current(), ..event }, ack });
        if let (true, Some(metrics), Some(counted)) = (sent, &self.metrics, counted) {
            metrics.recorded(counted);
        }
        sent
    }

    /// Records what has happened already. If the log cannot be written now, it is written as soon as it can be.
    pub fn report(&self, event: Event) {
        if !self.send(event, Ack::None) {
            tracing::error!("the audit queue is full: an event of something already past is lost");
        }
    }
}
