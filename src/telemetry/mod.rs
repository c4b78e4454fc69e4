//! Logs for operators. What must not be lost is in the audit log, not here.

pub mod metrics;

pub use metrics::Metrics;

use std::io;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Targets of libraries that would print bodies or key material at their lower levels.
const CAPPED: [&str; 7] =
    ["hyper=info", "h2=info", "rustls=info", "tonic=info", "tower=info", "tokio_util=info", "hyper_util=info"];

/// Starts logging to standard error; `level` is a filter such as `info` or `narrowgate=debug`. Libraries stay at
/// `info` whatever it says.
pub fn start(level: &str, json: bool) {
    let mut filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    for directive in CAPPED {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let plain = (!json).then(|| fmt::layer().with_writer(io::stderr).with_target(false));
    let lines = json.then(|| fmt::layer().json().with_writer(io::stderr));
    // A second start, in tests, keeps the first.
    let _ = tracing_subscriber::registry().with(filter).with(plain).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        // Where, never what: a panic's words may hold anything.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a fault in narrowgate");
    }));
}
