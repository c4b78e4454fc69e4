//! The clocks between two runs, in every way that they may go wrong.

use crate::{
    asking::{READ, WRITE, refused},
    house::{Agent, House, eventually, get, unix_agent},
    kit::{build, plan, restored},
    stepped::{HOUR, SteppedClock},
};
use narrowgate::{app::Daemon, config, platform::SystemEntropy};
use std::sync::Arc;
use tonic::Code;

async fn start(house: &House, clock: &Arc<SteppedClock>) -> (Daemon, Agent) {
    let file = house.path("narrowgate.toml");
    let config = config::load(&file).unwrap_or_else(|f| panic!("{}", f[0]));
    let (stepped, entropy) = (Arc::clone(clock), Arc::new(SystemEntropy::new()));
    let daemon = Daemon::start_with(config, &file, stepped, entropy).await.unwrap_or_else(|f| panic!("{f}"));
    (daemon, unix_agent(&house.path("run/agent.sock")).await)
}

type Step = fn(&SteppedClock);

/// Whether a grant of 10 hours, and 10 hours idle, is there after this happened between two runs.
async fn outlives(between: Step) -> bool {
    let house = build(plan("idle_lifetime = \"10h\"\nabsolute_lifetime = \"10h\""));
    let clock = Arc::new(SteppedClock::default());
    let (daemon, mut agent) = start(&house, &clock).await;
    let grant = house.login(&mut agent, &[READ, WRITE]).await.unwrap().grant;
    daemon.stop().await;
    between(&clock);
    let (daemon, mut agent) = start(&house, &clock).await;
    let there = match get(&mut agent, &grant).await {
        Ok(_) => true,
        Err(status) => {
            refused::<()>(Err(status), Code::NotFound, "GRANT_UNKNOWN");
            // It is not only not found, it is revoked.
            let refresh = || house.server.revocations().into_iter().find(|(hint, _)| hint == "refresh_token");
            eventually("the revocation of its refresh token", refresh).await;
            assert!(house.server.refreshes().is_empty());
            false
        }
    };
    daemon.stop().await;
    assert_eq!(restored(&house, 1).await.1, 0);
    there
}

// rows: RT-06 TIME-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_clocks_say() {
    let goes_on: [Step; 3] = [|_| {}, |c| c.suspend(8 * HOUR), |c| c.step_wall(-20 * HOUR)];
    for (at, step) in goes_on.into_iter().enumerate() {
        assert!(outlives(step).await, "{at}");
    }
    let ends: [Step; 4] = [
        // It was off, or asleep, for longer.
        |c| c.suspend(11 * HOUR),
        // The wall clock was stepped back meanwhile, so that it shows less.
        |c| {
            c.suspend(11 * HOUR);
            c.step_wall(-20 * HOUR);
        },
        // The boot clock stands still, as after a reboot, and the wall clock went on.
        |c| c.step_wall(11 * HOUR),
        |c| c.suspend_unnoticed(11 * HOUR),
    ];
    for (at, step) in ends.into_iter().enumerate() {
        assert!(!outlives(step).await, "{at}");
    }
}

// rows: RT-06 TIME-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_it_is_stopped() {
    let house = build(plan("idle_lifetime = \"10h\"\nabsolute_lifetime = \"15h\""));
    let clock = Arc::new(SteppedClock::default());
    let (mut daemon, mut agent) = start(&house, &clock).await;
    let grant = house.login(&mut agent, &[READ, WRITE]).await.unwrap().grant;
    for _ in 0..3 {
        // Used each time, and each time somebody steps the wall clock back by as much as went by.
        clock.suspend_unnoticed(4 * HOUR);
        get(&mut agent, &grant).await.unwrap();
        daemon.stop().await;
        (daemon, agent) = start(&house, &clock).await;
        get(&mut agent, &grant).await.unwrap();
    }
    clock.suspend_unnoticed(4 * HOUR);
    refused(get(&mut agent, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    daemon.stop().await;
}

// rows: RT-06 TIME-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_right_after_the_start_ends_it() {
    let house = build(plan("idle_lifetime = \"10h\"\nabsolute_lifetime = \"10h\""));
    let clock = Arc::new(SteppedClock::default());
    let (daemon, mut agent) = start(&house, &clock).await;
    let grant = house.login(&mut agent, &[READ, WRITE]).await.unwrap().grant;
    daemon.stop().await;
    // A machine without a clock of its own: it was off for a day, and learns of it from the network after its start.
    let (daemon, mut agent) = start(&house, &clock).await;
    get(&mut agent, &grant).await.unwrap();
    clock.step_wall(24 * HOUR);
    refused(get(&mut agent, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    daemon.stop().await;
}
