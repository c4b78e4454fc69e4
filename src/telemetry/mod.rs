//! Logs for operators. What must not be lost is in the audit log, not here.

pub mod metrics;

pub use metrics::Metrics;

use std::io::{self, IsTerminal};
use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, filter::filter_fn, fmt, prelude::*};

/// Whether a line may be written at all. Libraries print bodies, header lists and key material at their lower levels,
/// so they stay at `info`, whatever the filter says; an allow list of our own needs no list of theirs.
fn may_talk(line: &Metadata<'_>) -> bool {
    let ours = line.target().split("::").next() == Some(env!("CARGO_PKG_NAME"));
    ours || *line.level() <= Level::INFO
}

/// Starts logging to standard error; `level` is a filter such as `info` or `narrowgate=debug`. Nothing but the argument
/// is looked at, `RUST_LOG` neither.
pub fn start(level: &str, json: bool) {
    let (filter, wrong) = match EnvFilter::try_new(level) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let colours = io::stderr().is_terminal();
    let plain = (!json).then(|| fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(colours));
    let lines = json.then(|| fmt::layer().json().with_writer(io::stderr));
    // A second start, in tests, keeps the first.
    let _ = tracing_subscriber::registry().with(filter_fn(may_talk)).with(filter).with(plain).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        // Where, never what: a panic's words may hold anything.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a fault in narrowgate");
    }));
    if let Some(error) = wrong {
        tracing::warn!(%error, "the log filter cannot be read; this is info");
    }
}
