//! The clock.

use crate::model::{Boot, Wall};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::Duration;

/// Tells both times.
pub trait Clock: Send + Sync + 'static {
    /// Wall time.
    fn wall(&self) -> Wall;
    /// Boot time.
    fn boot(&self) -> Boot;

    /// Boot time as fine as it is known, for measuring.
    fn tick(&self) -> Duration {
        Duration::from_millis(self.boot().0)
    }
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
    fn tick(&self) -> Duration {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
    }
}
