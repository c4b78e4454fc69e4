//! The trace of the call that runs, beside the corridor and not in it: log lines and audit events take it from here,
//! so that no room a request walks through ever holds it, and nothing can be decided by it.

use super::Entropy;
use crate::model::TraceId;
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

tokio::task_local! {
    static TRACE: TraceId;
}

/// The trace of the call that runs, if one does.
#[must_use]
pub fn current() -> Option<TraceId> {
    TRACE.try_with(|trace| *trace).ok()
}

/// A new trace. `None` without entropy: a call is not refused for want of a number.
#[must_use]
pub fn begin(entropy: &dyn Entropy) -> Option<TraceId> {
    let mut bits = [0; 16];
    entropy.fill(&mut bits).ok()?;
    TraceId::new(bits)
}

/// Runs the work of a call on a task of its own, under its trace and its log span.
pub fn spawn_call<F>(trace: Option<TraceId>, span: Span, work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let work = work.instrument(span);
    match trace {
        Some(trace) => tokio::spawn(TRACE.scope(trace, work)),
        None => tokio::spawn(work),
    }
}

/// Runs work on a task of its own that still belongs to the call which asks for it.
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    spawn_call(current(), Span::current(), work)
}
