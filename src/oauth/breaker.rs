//! A circuit breaker: an authorization server that failed several times in a row is left alone for a while, so that
//! callers are told at once and no more codes are spent on it. Pure: it is told the time, and keeps no lock.
//!
//! Only what says that the server is not there counts as a failure: no connection, no TLS, no answer, or an answer
//! that says so itself (429, 502, 503, 504). A 500 does not: a server may fail on one odd code, and one agent's odd
//! codes must not shut out the others. A code that went out while the circuit is being tried may be lost; that is one
//! login for each back-off, against every login without a breaker.

use crate::model::Boot;
use std::time::Duration;

/// Failures in a row that open the circuit.
const FAILURES_MAX: u32 = 5;
/// The longest back-off, whatever the server asks for: a header must not close it off for long.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// What a caller is told to wait while somebody else's request tries the server.
const TRIAL_WAIT: Duration = Duration::from_secs(1);

/// Whether requests go to a server.
pub(super) struct Breaker {
    state: State,
    /// Counts the changes of state: an outcome of a request from before the last one says nothing about now.
    epoch: u64,
    /// The first back-off; it doubles each time.
    base: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Every request goes.
    Closed { failures: u32 },
    /// None goes until then.
    Open { until: Boot, trials: u32 },
    /// One went, to see.
    Trying { trials: u32 },
}

/// Leave for one request, to be given back with its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leave(u64);

/// What an outcome changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// The server is left alone for this long.
    Opened(Duration),
    /// The server is back.
    Closed,
}

impl Breaker {
    /// A closed circuit with this first back-off.
    pub(super) const fn new(base: Duration) -> Self {
        Self { state: State::Closed { failures: 0 }, epoch: 0, base }
    }

    /// Whether requests are refused, or one is trying.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Asks for leave.
    ///
    /// # Errors
    /// How long until asking again can help.
    pub(super) fn admit(&mut self, now: Boot) -> Result<Leave, Duration> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until, .. } if now < until => return Err(until.since(now)),
            State::Open { trials, .. } => self.turn(State::Trying { trials }),
            State::Trying { .. } => return Err(TRIAL_WAIT),
        }
        Ok(Leave(self.epoch))
    }

    /// The server answered.
    pub(super) fn succeeded(&mut self, leave: Leave) -> Option<Change> {
        if leave.0 != self.epoch {
            return None;
        }
        match self.state {
            State::Closed { .. } => self.state = State::Closed { failures: 0 },
            State::Open { .. } => {}
            State::Trying { .. } => {
                self.turn(State::Closed { failures: 0 });
                return Some(Change::Closed);
            }
        }
        None
    }

    /// The server is not there, or asked to be left alone for a while: asked, it is at once. `spread` is any number; it
    /// keeps several daemons from coming back together.
    pub(super) fn failed(&mut self, leave: Leave, now: Boot, asked: Option<Duration>, spread: u64) -> Option<Change> {
        if leave.0 != self.epoch {
            return None;
        }
        match self.state {
            State::Closed { failures } if asked.is_none() && failures + 1 < FAILURES_MAX => {
                self.state = State::Closed { failures: failures + 1 };
                None
            }
            State::Closed { .. } => Some(Change::Opened(self.open(now, 0, asked, spread))),
            State::Trying { trials } => {
                self.open(now, trials.saturating_add(1), asked, spread);
                None
            }
            State::Open { .. } => None,
        }
    }

    /// The request never came to an outcome that says anything, such as when its caller hung up.
    pub(super) fn abandoned(&mut self, leave: Leave, now: Boot) {
        if let (true, State::Trying { trials }) = (leave.0 == self.epoch, self.state) {
            self.turn(State::Open { until: now, trials });
        }
    }

    /// Opens for the back-off, between its half and the whole, or for what the server asked for if that is longer.
    fn open(&mut self, now: Boot, trials: u32, asked: Option<Duration>, spread: u64) -> Duration {
        let whole = self.base.saturating_mul(1 << trials.min(16)).min(BACKOFF_MAX);
        let half = whole / 2;
        let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
        let backoff = half + Duration::from_millis(spread % millis.saturating_add(1));
        let span = backoff.max(asked.unwrap_or_default().min(BACKOFF_MAX)).max(Duration::from_millis(1));
        self.turn(State::Open { until: now.plus(span), trials });
        span
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.epoch = self.epoch.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Duration = Duration::from_secs(4);

    fn at(seconds: u64) -> Boot {
        Boot(seconds * 1000)
    }

    /// A circuit that five failures opened at the second 100, for 2 s (no spread).
    fn open() -> Breaker {
        let mut breaker = Breaker::new(BASE);
        for n in 1..=5 {
            let leave = breaker.admit(at(100)).unwrap();
            let change = breaker.failed(leave, at(100), None, 0);
            assert_eq!(change, (n == 5).then_some(Change::Opened(Duration::from_secs(2))));
        }
        breaker
    }

    // rows: TOK-15 (the circuit)
    #[test]
    fn five_failures_in_a_row_open_it_and_one_success_in_between_does_not() {
        let mut breaker = Breaker::new(BASE);
        for _ in 0..10 {
            for _ in 0..4 {
                let leave = breaker.admit(at(1)).unwrap();
                assert_eq!(breaker.failed(leave, at(1), None, 0), None);
            }
            let leave = breaker.admit(at(1)).unwrap();
            assert_eq!(breaker.succeeded(leave), None);
        }
        assert!(!breaker.is_open());
        let mut breaker = open();
        assert!(breaker.is_open());
        assert_eq!(breaker.admit(at(100)), Err(Duration::from_secs(2)));
        assert_eq!(breaker.admit(at(101)), Err(Duration::from_secs(1)));
    }

    #[test]
    fn one_request_tries_and_its_success_closes() {
        let mut breaker = open();
        let trial = breaker.admit(at(102)).unwrap();
        assert_eq!(breaker.admit(at(102)), Err(TRIAL_WAIT));
        assert_eq!(breaker.admit(at(1000)), Err(TRIAL_WAIT));
        assert!(breaker.is_open());
        assert_eq!(breaker.succeeded(trial), Some(Change::Closed));
        assert!(!breaker.is_open() && breaker.admit(at(102)).is_ok());
    }

    #[test]
    fn a_failed_trial_backs_off_longer_up_to_a_cap_and_an_abandoned_one_leaves_room_for_another() {
        let mut breaker = open();
        let mut now = at(102);
        for seconds in [4, 8, 16, 30, 30, 30] {
            let trial = breaker.admit(now).unwrap();
            assert_eq!(breaker.failed(trial, now, None, 0), None, "it is open already");
            let wait = breaker.admit(now).unwrap_err();
            assert_eq!(wait, Duration::from_secs(seconds));
            now = now.plus(wait);
        }
        let trial = breaker.admit(now).unwrap();
        breaker.abandoned(trial, now);
        assert!(breaker.is_open());
        let again = breaker.admit(now).unwrap();
        breaker.abandoned(trial, now);
        assert_eq!(breaker.admit(now), Err(TRIAL_WAIT), "an old leave says nothing");
        assert_eq!(breaker.succeeded(again), Some(Change::Closed));
    }

    // rows: TOK-15 (Retry-After is honoured, up to a cap)
    #[test]
    fn a_server_that_asks_to_be_left_alone_is_at_once_and_not_for_ever() {
        for (asked, wait) in [(10, 10), (1, 2), (99_999, 60)] {
            let mut breaker = Breaker::new(BASE);
            let leave = breaker.admit(at(1)).unwrap();
            let change = breaker.failed(leave, at(1), Some(Duration::from_secs(asked)), 0);
            assert_eq!(change, Some(Change::Opened(Duration::from_secs(wait))), "{asked}");
            assert_eq!(breaker.admit(at(1)), Err(Duration::from_secs(wait)));
        }
    }

    #[test]
    fn what_was_sent_before_a_change_says_nothing_after_it() {
        let mut breaker = Breaker::new(BASE);
        let stragglers: Vec<Leave> = (0..20).map(|_| breaker.admit(at(1)).unwrap()).collect();
        let (first, late) = stragglers.split_at(5);
        for leave in first {
            breaker.failed(*leave, at(1), None, 0);
        }
        assert!(breaker.is_open());
        for leave in late.iter().take(5) {
            assert_eq!(breaker.succeeded(*leave), None);
        }
        let trial = breaker.admit(at(3)).unwrap();
        assert_eq!(breaker.succeeded(trial), Some(Change::Closed));
        for leave in late {
            assert_eq!(breaker.failed(*leave, at(4), None, 0), None);
        }
        assert!(!breaker.is_open(), "the hung requests of the bad time do not open it again");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u64),
        Admit,
        Succeed(usize),
        Fail(usize, Option<u64>, u64),
        Abandon(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..90_000u64).prop_map(Step::Wait),
            Just(Step::Admit),
            Just(Step::Admit),
            any::<usize>().prop_map(Step::Succeed),
            (any::<usize>(), proptest::option::of(any::<u64>()), any::<u64>())
                .prop_map(|(n, a, s)| Step::Fail(n, a, s)),
            any::<usize>().prop_map(Step::Abandon),
        ]
    }

    proptest! {
        // rows: TOK-15 (the circuit)
        #[test]
        fn while_it_is_open_at_most_one_request_is_under_way_and_nobody_waits_for_ever(
            steps in proptest::collection::vec(step(), 1..200), base in 1..100_000u64,
        ) {
            let mut breaker = Breaker::new(Duration::from_millis(base));
            let mut now = Boot(0);
            let mut out: Vec<Leave> = Vec::new();
            // The leave of a trial under way.
            let mut trial = None;
            let mut refused_until = None;
            for step in steps {
                match step {
                    Step::Wait(millis) => now = Boot(now.0 + millis),
                    Step::Admit => {
                        let was_open = breaker.is_open();
                        match breaker.admit(now) {
                            Ok(leave) => {
                                prop_assert!(refused_until.is_none_or(|until| now >= until), "went too early");
                                prop_assert!(!(was_open && trial.is_some()), "two trials at once");
                                trial = was_open.then_some(leave);
                                out.push(leave);
                            }
                            Err(wait) => {
                                prop_assert!(was_open);
                                prop_assert!(wait > Duration::ZERO && wait <= BACKOFF_MAX, "{wait:?}");
                                refused_until = trial.is_none().then(|| now.plus(wait));
                            }
                        }
                    }
                    Step::Succeed(n) if !out.is_empty() => {
                        let leave = out.swap_remove(n % out.len());
                        let change = breaker.succeeded(leave);
                        prop_assert_eq!(change.is_some(), trial == Some(leave));
                        if trial == Some(leave) {
                            prop_assert!(!breaker.is_open());
                            (trial, refused_until) = (None, None);
                        }
                    }
                    Step::Fail(n, asked, spread) if !out.is_empty() => {
                        let leave = out.swap_remove(n % out.len());
                        let was_open = breaker.is_open();
                        let change = breaker.failed(leave, now, asked.map(Duration::from_millis), spread);
                        prop_assert!(!was_open || breaker.is_open(), "a failure closed it");
                        prop_assert_eq!(change.is_some(), !was_open && breaker.is_open());
                        if trial == Some(leave) {
                            trial = None;
                        }
                    }
                    Step::Abandon(n) if !out.is_empty() => {
                        let leave = out.swap_remove(n % out.len());
                        let was_open = breaker.is_open();
                        breaker.abandoned(leave, now);
                        prop_assert_eq!(breaker.is_open(), was_open);
                        if trial == Some(leave) {
                            (trial, refused_until) = (None, None);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
