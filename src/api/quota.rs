//! What one caller may take: calls a second, and calls at once. One caller's flood is that caller's refusal.

use crate::{
    config::Limits,
    model::{AgentQuota, Fault},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Callers remembered before those that have been quiet are forgotten.
const CALLERS_MAX: usize = 10_000;

/// The meters of every caller.
pub(super) struct Quotas {
    rate: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
    clock: DefaultClock,
    in_flight: Arc<Mutex<HashMap<String, u32>>>,
    in_flight_max: u32,
    /// Streams, which last: they take no call's place.
    streams: Arc<Mutex<HashMap<String, u32>>>,
    streams_max: u32,
    /// Of those that the registry does not know: each costs two lines in the log, so few are listened to.
    strangers: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
}

/// Calls a second of one unknown peer that are answered and recorded, and how many at once after a pause.
const STRANGER_CALLS: (u32, u32) = (1, 10);

/// One call under way; counts down when dropped.
pub(super) struct InFlight {
    table: Arc<Mutex<HashMap<String, u32>>>,
    caller: String,
}

impl Quotas {
    pub(super) fn new(limits: &Limits) -> Self {
        let number = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(number(limits.calls_per_second)).allow_burst(number(limits.calls_burst));
        Self {
            rate: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
            in_flight: Arc::default(),
            in_flight_max: limits.calls_in_flight,
            streams: Arc::default(),
            streams_max: limits.streams_per_agent,
            strangers: RateLimiter::hashmap(
                Quota::per_second(number(STRANGER_CALLS.0)).allow_burst(number(STRANGER_CALLS.1)),
            ),
        }
    }

    /// Meters a call of a peer that the registry does not know.
    ///
    /// # Errors
    /// [`Reason::QuotaExceeded`](crate::model::Reason::QuotaExceeded): this one is neither answered in full nor recorded.
    pub(super) fn admit_stranger(&self, peer: &str) -> Result<(), Fault> {
        if self.strangers.len() > CALLERS_MAX {
            self.strangers.retain_recent();
        }
        self.strangers.check_key(&peer.to_owned()).map_err(|early| {
            let wait = early.wait_time_from(self.clock.now()).max(Duration::from_millis(1));
            AgentQuota::UnknownPeers.met(wait)
        })
    }

    /// Counts a call of this caller in.
    ///
    /// # Errors
    /// [`Reason::QuotaExceeded`](crate::model::Reason::QuotaExceeded), with the time after which to try again.
    pub(super) fn admit(&self, caller: &str) -> Result<InFlight, Fault> {
        if self.rate.len() > CALLERS_MAX {
            self.rate.retain_recent();
        }
        let caller = caller.to_owned();
        if let Err(early) = self.rate.check_key(&caller) {
            let wait = early.wait_time_from(self.clock.now()).max(Duration::from_millis(1));
            return Err(AgentQuota::CallsPerSecond.met(wait));
        }
        InFlight::count(&self.in_flight, caller, self.in_flight_max)
            .ok_or_else(|| AgentQuota::CallsInFlight.met(Duration::from_millis(100)))
    }

    /// Counts a stream of this caller in.
    ///
    /// # Errors
    /// [`Reason::QuotaExceeded`].
    pub(super) fn admit_stream(&self, caller: &str) -> Result<InFlight, Fault> {
        InFlight::count(&self.streams, caller.to_owned(), self.streams_max)
            .ok_or_else(|| AgentQuota::Streams.met(Duration::from_secs(1)))
    }
}

impl InFlight {
    fn count(table: &Arc<Mutex<HashMap<String, u32>>>, caller: String, most: u32) -> Option<Self> {
        let mut counts = table.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(caller.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Self { table: Arc::clone(table), caller })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: GRPC-09
    #[test]
    fn one_callers_flood_does_not_touch_another() {
        let limits = Limits { calls_per_second: 1, calls_burst: 3, calls_in_flight: 2, ..Limits::default() };
        let quotas = Quotas::new(&limits);
        let first = quotas.admit("a").ok().unwrap();
        let _second = quotas.admit("a").ok().unwrap();
        let third = quotas.admit("a").err().unwrap();
        assert_eq!(third.metadata.get("quota").map(String::as_str), Some("calls_in_flight"));
        assert!(third.detail.unwrap().contains("under way"));
        drop(first);
        let fourth = quotas.admit("a").err().unwrap();
        assert_eq!(fourth.metadata.get("quota").map(String::as_str), Some("calls_per_second"));
        assert!(fourth.detail.unwrap().contains("too often"));
        assert!(fourth.retry_after.unwrap() <= Duration::from_secs(1));
        assert!(quotas.admit("b").is_ok());
    }
}
