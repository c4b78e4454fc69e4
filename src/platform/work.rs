//! Work under way, so that a stop can wait for it.

use crate::model::{Fault, Reason};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// What is under way.
#[derive(Default)]
pub struct Work {
    count: AtomicUsize,
    stopping: AtomicBool,
    idle: Notify,
    stopped: Notify,
    drained: Notify,
}

/// One piece of work; counts down when dropped.
pub struct Underway(Arc<Work>);

impl Work {
    /// Counts one in.
    ///
    /// # Errors
    /// [`Reason::ShuttingDown`].
    pub fn enter(self: &Arc<Self>) -> Result<Underway, Fault> {
        self.count.fetch_add(1, Ordering::AcqRel);
        let underway = Underway(Arc::clone(self));
        if self.stopping.load(Ordering::Acquire) { Err(Reason::ShuttingDown.into()) } else { Ok(underway) }
    }

    /// Counts one in that must be done even while stopping, such as a revocation.
    #[must_use]
    pub fn enter_always(self: &Arc<Self>) -> Underway {
        self.count.fetch_add(1, Ordering::AcqRel);
        Underway(Arc::clone(self))
    }

    /// Lets nothing in any more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stopped.notify_waiters();
    }

    /// Asks the process to stop in an orderly way, as a signal would.
    pub fn drain(&self) {
        self.drained.notify_one();
    }

    /// Waits until somebody asks for that.
    pub async fn drained(&self) {
        self.drained.notified().await;
    }

    /// How much is under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether nothing is let in any more.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until nothing is let in any more.
    pub async fn stopped(&self) {
        let stopped = self.stopped.notified();
        if !self.is_stopping() {
            stopped.await;
        }
    }

    /// Waits for a while, or until nothing is let in any more.
    pub async fn pause(&self, span: Duration) {
        let stopped = self.stopped.notified();
        if !self.is_stopping() {
            // Whichever comes first.
            let _ = tokio::time::timeout(span, stopped).await;
        }
    }

    /// Waits until nothing is under way.
    pub async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
