//! Time across restarts. While the daemon runs the boot clock counts, which nobody steps. A restart, or a reboot, has
//! only the wall clock to say how long it took, and that one may be wrong.
//!
//! So what is written carries a stamp: the time as this daemon reckons it, which is the wall clock of its start and what
//! the boot clock has counted since. At a start the reckoning goes on from the wall clock, or from the latest stamp in
//! the file where that is later, and within the same boot from the latest stamp and what the boot clock counted since.
//! It never goes back: a clock that is stepped back gives no time back, and one that is ahead takes time away.

use crate::{
    model::{Boot, Wall},
    platform::{Clock, clock::boot_id},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When something was written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stamp {
    /// The boot that `boot` counts in.
    boot_id: String,
    /// The boot clock.
    boot: u64,
    /// The reckoned time, in milliseconds since 1970.
    time: i64,
}

/// The reckoning of one run.
pub(super) struct Reckoning {
    boot_id: String,
    /// The boot clock at the start, and the time that was reckoned then.
    start: (Boot, Wall),
}

impl Reckoning {
    /// Goes on from what was written before.
    pub(super) fn begin<'s>(clock: &dyn Clock, stamps: impl IntoIterator<Item = &'s Stamp>) -> Self {
        Self::begin_at(boot_id(), (clock.boot(), clock.wall()), stamps)
    }

    fn begin_at<'s>(boot_id: String, (boot, wall): (Boot, Wall), stamps: impl IntoIterator<Item = &'s Stamp>) -> Self {
        let reckoned = stamps.into_iter().map(|stamp| {
            let same = stamp.boot_id == boot_id;
            Wall(stamp.time).plus(if same { boot.since(Boot(stamp.boot)) } else { Duration::ZERO })
        });
        let time = reckoned.fold(wall, Wall::max);
        Self { boot_id, start: (boot, time) }
    }

    /// The stamp of this moment.
    pub(super) fn stamp(&self, boot: Boot) -> Stamp {
        let time = self.start.1.plus(boot.since(self.start.0));
        Stamp { boot_id: self.boot_id.clone(), boot: boot.0, time: time.0 }
    }

    /// The moment, by this boot's clock, that was so long before a stamp.
    pub(super) fn when(&self, stamp: &Stamp, before: Duration) -> Boot {
        self.start.0.minus(self.before_start(stamp).saturating_add(before))
    }

    /// How long before the start that was.
    fn before_start(&self, stamp: &Stamp) -> Duration {
        self.start.1.since(Wall(stamp.time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const NOW: i64 = 1_800_000_000_000;

    fn stamp(boot_id: &str, boot: u64, time: i64) -> Stamp {
        Stamp { boot_id: boot_id.to_owned(), boot, time }
    }

    /// Hours that a start at this boot and wall clock takes to have gone by since a stamp at hour 1 of boot `a`.
    fn hours(boot_id: &str, boot: u64, wall: i64, later: &[Stamp]) -> u64 {
        let written = stamp("a", HOUR, NOW);
        let stamps = later.iter().chain([&written]);
        let reckoning = Reckoning::begin_at(boot_id.to_owned(), (Boot(boot), Wall(wall)), stamps);
        reckoning.before_start(&written).as_secs() / 3600
    }

    // rows: RT-06 TIME-02
    #[test]
    fn a_clock_stepped_back_gives_no_time_back() {
        let hour = 3_600_000;
        assert_eq!(hours("a", 3 * HOUR, NOW + 2 * hour, &[]), 2);
        // Stepped back by a day: within the boot its clock counts all the same.
        assert_eq!(hours("a", 3 * HOUR, NOW - 24 * hour, &[]), 2);
        // Stepped forward: whichever is earlier ends it.
        assert_eq!(hours("a", 3 * HOUR, NOW + 24 * hour, &[]), 24);
        // After a reboot the boot clock says nothing, and the wall clock counts.
        assert_eq!(hours("b", 0, NOW + 5 * hour, &[]), 5);
        assert_eq!(hours("b", 9 * HOUR, NOW + 5 * hour, &[]), 5);
        // Stepped back besides: at least what the run before it had counted is gone.
        assert_eq!(hours("b", 0, NOW - 24 * hour, &[]), 0);
        assert_eq!(hours("b", 0, NOW - 24 * hour, &[stamp("a", 5 * HOUR, NOW + 4 * hour)]), 4);
    }

    // rows: RT-06 TIME-02
    #[test]
    fn the_reckoning_of_a_run_follows_its_boot_clock() {
        let reckoning = Reckoning::begin_at("a".to_owned(), (Boot(HOUR), Wall(NOW)), &[]);
        assert_eq!(reckoning.stamp(Boot(3 * HOUR)), stamp("a", 3 * HOUR, NOW + 7_200_000));
    }
}
