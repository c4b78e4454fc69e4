//! How much of narrowgate one issuer may use up, and when it is left alone.

use super::reader::Table;
use std::time::Duration;

/// Token requests to one issuer under way at once, unless configured.
const REQUESTS_IN_FLIGHT: usize = 64;
const MILLISECOND: Duration = Duration::from_millis(1);

/// One issuer's share.
#[derive(Debug, Clone)]
pub struct Share {
    /// Token requests to it under way at once; as many again may wait.
    pub requests_in_flight: usize,
    /// Whether it is left alone after several failures in a row.
    pub circuit_breaker: bool,
    /// For how long at first; it doubles each time.
    pub circuit_backoff: Duration,
}

impl Default for Share {
    fn default() -> Self {
        Self { requests_in_flight: REQUESTS_IN_FLIGHT, circuit_breaker: true, circuit_backoff: Duration::from_secs(5) }
    }
}

/// Reads the keys of an `[[issuer]]` that are about its share.
pub(super) fn share(table: &Table<'_>) -> Share {
    let default = Share::default();
    let requests_in_flight = table.integer("requests_in_flight", 1..=10_000).and_then(|n| usize::try_from(n).ok());
    Share {
        requests_in_flight: requests_in_flight.unwrap_or(default.requests_in_flight),
        circuit_breaker: table.boolean("circuit_breaker", default.circuit_breaker),
        circuit_backoff: table.span(
            "circuit_backoff",
            default.circuit_backoff,
            10 * MILLISECOND..=60_000 * MILLISECOND,
        ),
    }
}
