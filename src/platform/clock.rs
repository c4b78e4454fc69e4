//! The clock.

use crate::model::{Boot, Wall};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::{path::Path, time::Duration};

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

/// What the boot clock showed at boot, in milliseconds: about 35 years. So what is older than this boot has a time too.
const AT_BOOT: u64 = 1 << 40;

/// What tells this boot of this machine from others, as far as the system says; only the same text means the same boot.
#[must_use]
pub fn boot_id() -> String {
    let read = |path: &str| super::files::read_text(Path::new(path), 64).map(|text| text.trim().to_owned());
    // A unit with ProcSubset=pid sees no boot id. The machine's alone is enough: a boot clock that is read as another
    // boot's of the same machine never makes anything live longer.
    read("/proc/sys/kernel/random/boot_id").or_else(|_| read("/etc/machine-id")).unwrap_or_default()
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
        let millis = seconds.saturating_mul(1000).saturating_add(u64::try_from(tv_nsec / 1_000_000).unwrap_or(0));
        Boot(AT_BOOT.saturating_add(millis))
    }

    fn tick(&self) -> Duration {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
    }
}
