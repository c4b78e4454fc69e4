use crate::{
    house::{Plan, binary, eventually, get, reason, redeem},
    stepped::{Stepped, SteppedClock},
};
use narrowgate::platform::Clock;
use std::process::Output;
use tonic::{Code, Status};

const READ: &[&str] = &["customers.read"];

/// What `narrowgate health` prints on both outputs.
async fn health(stepped: &Stepped) -> Output {
    let endpoint = stepped.house.endpoint();
    let ask = move || binary().args(["health", "--endpoint", &endpoint]).output().unwrap();
    tokio::task::spawn_blocking(ask).await.unwrap()
}

async fn until_health(stepped: &Stepped, wanted: &str) -> String {
    for _ in 0..100 {
        let output = health(stepped).await;
        if String::from_utf8_lossy(&output.stdout).trim() == wanted {
            return String::from_utf8(output.stderr).unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("waited in vain for {wanted}")
}

fn implausible(status: &Status) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::Unavailable, "CLOCK_IMPLAUSIBLE"), "{status:?}");
}

fn to_1970(clock: &SteppedClock) -> i64 {
    let back = clock.wall().0;
    clock.step_wall(-back);
    back
}

// rows: TIME-03 GRPC-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_in_1970_it_waits_for_the_right_time() {
    let clock = SteppedClock::default();
    let back = to_1970(&clock);
    let stepped = Stepped::open_at(Plan::new(), clock).await;
    let why = until_health(&stepped, "NOT_SERVING").await;
    assert!(why.contains("the clock is before this program was built"), "{why}");
    let mut agent = stepped.agent().await;
    implausible(&stepped.house.begin(&mut agent, READ).await.err().unwrap());
    assert_eq!((stepped.house.server.front_connections(), stepped.house.server.token_connections()), (0, 0));
    // Someone sets it right: no restart is needed.
    stepped.clock.step_wall(back);
    until_health(&stepped, "SERVING").await;
    stepped.house.login(&mut agent, READ).await.unwrap();
    stepped.daemon.stop().await;
}

// rows: TIME-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_to_1970_while_it_serves_it_stops_in_every_phase() {
    let stepped = Stepped::open(Plan::new()).await;
    let mut agent = stepped.agent().await;
    let grant = stepped.house.login(&mut agent, READ).await.unwrap().grant;
    let (transaction, callback) = stepped.house.approved(&mut agent, READ).await;
    let posts = stepped.house.server.token_posts();
    let back = to_1970(&stepped.clock);
    implausible(&stepped.house.begin(&mut agent, READ).await.err().unwrap());
    implausible(&redeem(&mut agent, &transaction, &callback).await.err().unwrap());
    implausible(&get(&mut agent, &grant).await.err().unwrap());
    until_health(&stepped, "NOT_SERVING").await;
    assert_eq!(stepped.house.server.token_posts(), posts, "no code was spent");
    stepped.clock.step_wall(back);
    until_health(&stepped, "SERVING").await;
    // Nothing was lost by it: neither the approval nor the grant.
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    get(&mut agent, &grant).await.unwrap();
    let sequence = || {
        let events = stepped.house.audit();
        events.iter().map(|e| e["metadata"]["sequence"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let in_order = || {
        let numbers = sequence();
        (numbers == (0..numbers.len() as u64).collect::<Vec<_>>()).then_some(())
    };
    eventually("the log in order", in_order).await;
    stepped.daemon.stop().await;
}
