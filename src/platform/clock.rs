//! The clock.

use crate::model::{Boot, Wall};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Tells both times.
pub trait Clock: Send + Sync + 'static {
    /// Wall time.
    fn wall(&self) -> Wall;
    /// Boot time.
    fn boot(&self) -> Boot;
}

/// The system's clocks.
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Wall {
        let now = clock_gettime(ClockId::Realtime);
        Wall(now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000))
    }

    fn boot(&self) -> Boot {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(tv_sec).unwrap_or(0);
        Boot(seconds.saturating_mul(1000).saturating_add(u64::try_from(tv_nsec / 1_000_000).unwrap_or(0)))
    }
}
