//! A daemon inside this process, on a clock that tests step; all else, sockets included, is real.

use crate::house::{House, Plan, unix_agent};
use narrowgate::{
    app::Daemon,
    config,
    model::{Boot, Wall},
    platform::{Clock, SystemClock, SystemEntropy},
};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

pub(crate) const SECOND: i64 = 1000;
pub(crate) const HOUR: i64 = 3600 * SECOND;

/// The system's clocks, each moved by so much.
pub(crate) struct SteppedClock {
    wall: AtomicI64,
    boot: AtomicI64,
}

impl Default for SteppedClock {
    /// A day ahead: the program was built a moment ago, and a step back must not be taken for an implausible clock.
    fn default() -> Self {
        Self { wall: AtomicI64::new(24 * HOUR), boot: AtomicI64::new(0) }
    }
}

impl Clock for SteppedClock {
    fn wall(&self) -> Wall {
        Wall(SystemClock.wall().0 + self.wall.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Boot {
        Boot(SystemClock.boot().0.checked_add_signed(self.boot.load(Ordering::SeqCst)).unwrap())
    }
}

impl SteppedClock {
    /// Somebody sets the clock.
    pub(crate) fn step_wall(&self, millis: i64) {
        self.wall.fetch_add(millis, Ordering::SeqCst);
    }

    /// The machine sleeps, and whoever wakes it sets the clock right: both go on.
    pub(crate) fn suspend(&self, millis: i64) {
        self.wall.fetch_add(millis, Ordering::SeqCst);
        self.suspend_unnoticed(millis);
    }

    /// The machine sleeps, and its wall clock with it.
    pub(crate) fn suspend_unnoticed(&self, millis: i64) {
        self.boot.fetch_add(millis, Ordering::SeqCst);
    }
}

pub(crate) struct Stepped {
    pub(crate) house: House,
    pub(crate) clock: Arc<SteppedClock>,
    pub(crate) daemon: Daemon,
}

impl Stepped {
    pub(crate) async fn open(plan: Plan) -> Self {
        Self::open_at(plan, SteppedClock::default()).await
    }

    pub(crate) async fn open_at(plan: Plan, clock: SteppedClock) -> Self {
        let house = plan.build();
        let file = house.path("narrowgate.toml");
        let config = config::load(&file).unwrap_or_else(|f| panic!("{}", f[0]));
        let clock = Arc::new(clock);
        let (stepped, entropy) = (Arc::clone(&clock), Arc::new(SystemEntropy::new()));
        let daemon = Daemon::start_with(config, &file, stepped, entropy).await.unwrap_or_else(|f| panic!("{f}"));
        Self { house, clock, daemon }
    }

    pub(crate) async fn agent(&self) -> crate::house::Agent {
        unix_agent(&self.house.path("run/agent.sock")).await
    }
}
