//! When to come back to a lane that is full. Whoever is refused is given a turn of its own in the time to come, so that
//! those who come back find room: told the same time, a thousand of them would come back at once, and be refused again.

use crate::model::Boot;
use std::time::Duration;

/// The least that anybody is told to wait.
const LEAST: Duration = Duration::from_secs(1);
/// The most: further ahead nothing is known.
const MOST: Duration = Duration::from_secs(30);
/// How much the last request counts in what one is believed to take.
const NEWEST: f64 = 0.1;

/// The turns that were promised.
pub(super) struct Turns {
    /// Requests under way at once.
    width: f64,
    /// What one takes, in milliseconds.
    each: f64,
    /// How far ahead turns were promised, in milliseconds, at a moment.
    promised: (f64, Boot),
}

impl Turns {
    pub(super) fn new(width: usize) -> Self {
        let width = f64::from(u32::try_from(width).unwrap_or(u32::MAX)).max(1.0);
        Self { width, each: 50.0, promised: (0.0, Boot(0)) }
    }

    /// A request has taken this long.
    pub(super) fn took(&mut self, span: Duration) {
        self.each += NEWEST * (millis(span) - self.each);
    }

    /// How long one more has to wait, who is given the next turn. `spread` is any number that differs from one to the
    /// next.
    pub(super) fn promise(&mut self, now: Boot, spread: u64) -> Duration {
        let (ahead, at) = self.promised;
        let ahead = (ahead - millis(now.since(at))).max(0.0) + self.each / self.width;
        if ahead > millis(MOST - LEAST) {
            // Nobody can say when. Over the second half, so that they do not come at once.
            return MOST / 2 + Duration::from_millis(spread % 15_000);
        }
        self.promised = (ahead, now);
        LEAST + Duration::from_secs_f64(ahead / 1_000.0)
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_turn_of_its_own_and_time_takes_them_back() {
        let mut turns = Turns::new(10);
        (0..200).for_each(|_| turns.took(Duration::from_millis(100)));
        let now = Boot(5_000);
        let waits: Vec<Duration> = (0..100).map(|_| turns.promise(now, 0)).collect();
        assert!(waits.is_sorted() && waits[0] >= LEAST, "{waits:?}");
        // Ten under way for 100 ms each: a hundred have had their turns after a second.
        let last = waits[99] - LEAST;
        assert!((Duration::from_millis(990)..Duration::from_millis(1_010)).contains(&last), "{last:?}");
        assert!(turns.promise(Boot(5_900), 0) < LEAST + Duration::from_millis(150));
        assert!(turns.promise(Boot(60_000), 0) < LEAST + Duration::from_millis(20));
        // Beyond what can be told they are spread.
        let far: Vec<Duration> = (0..9_000).map(|n| turns.promise(Boot(60_000), n)).collect();
        assert!(far.iter().all(|wait| (LEAST..=MOST).contains(wait)));
        assert!(far[8_000] != far[8_001] && far[8_999] >= MOST / 2);
    }
}
