//! The wall clock steps both ways, and the machine sleeps, in every phase of an exchange: nothing lives longer for it.

use crate::{
    house::{
        Agent, Plan, eventually, reason, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
    stepped::{HOUR, SECOND, Stepped, SteppedClock},
};
use std::time::Duration;
use tonic::Status;

const READ: &[&str] = &["customers.read"];

fn ended(status: &Status) {
    // The token has ended; once it is swept away its grant is unknown.
    assert!(matches!(reason(status).as_str(), "TOKEN_EXPIRED" | "GRANT_UNKNOWN"), "{status:?}");
}

/// Asks for a token. A commit that is under way while the machine sleeps took that long, so the log counts as hung for
/// a moment: that is not what is looked at here.
async fn get(agent: &mut Agent, grant: &str) -> Result<(), Status> {
    for _ in 0..200 {
        match crate::house::get(agent, grant).await {
            Err(status) if reason(&status) == "AUDIT_UNAVAILABLE" => {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
            answer => return answer.map(drop),
        }
    }
    panic!("the log stays hung")
}

type Step = fn(&SteppedClock);

/// The next token comes without a refresh token, so that its end is the end.
fn unrenewable(stepped: &Stepped) {
    stepped.house.server.behave(Script::Token(Behaviour::NoRefreshToken));
}

// rows: TIME-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_is_not_served_whatever_the_wall_clock_says() {
    // Tokens of the scripted server live an hour.
    let ends: [(&str, Step); 4] = [
        ("sleeps for two hours", |c| c.suspend(2 * HOUR)),
        ("sleeps for two hours, wall clock and all", |c| c.suspend_unnoticed(2 * HOUR)),
        ("is set forward by two hours", |c| c.step_wall(2 * HOUR)),
        ("sleeps for two hours and is set back by three", |c| {
            c.suspend(2 * HOUR);
            c.step_wall(-3 * HOUR);
        }),
    ];
    for (what, step) in ends {
        let stepped = Stepped::open(Plan::new()).await;
        let mut agent = stepped.agent().await;
        unrenewable(&stepped);
        let grant = stepped.house.login(&mut agent, READ).await.unwrap().grant;
        get(&mut agent, &grant).await.unwrap();
        step(&stepped.clock);
        let result = get(&mut agent, &grant).await;
        ended(&result.err().unwrap_or_else(|| panic!("served after it {what}")));
        // And the store lets it go, with what is left of it at the server.
        eventually(what, || stepped.daemon.corridor().grants.is_empty().then_some(())).await;
        stepped.daemon.stop().await;
    }
}

// rows: TIME-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_gives_no_token_more_time() {
    let stepped = Stepped::open(Plan::new()).await;
    let mut agent = stepped.agent().await;
    unrenewable(&stepped);
    let grant = stepped.house.login(&mut agent, READ).await.unwrap().grant;
    stepped.clock.step_wall(-HOUR);
    get(&mut agent, &grant).await.unwrap();
    // The lease of the sample policies is ten minutes.
    stepped.clock.suspend(9 * 60 * SECOND);
    get(&mut agent, &grant).await.unwrap();
    // It has passed by the clock that nobody sets; the wall clock says there is more than an hour left.
    stepped.clock.suspend(2 * 60 * SECOND);
    ended(&get(&mut agent, &grant).await.err().unwrap());
    stepped.daemon.stop().await;
}

// rows: TIME-02 CODE-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_begin_and_redeem() {
    let steps: [(Step, bool); 5] = [
        (|c| c.step_wall(-HOUR), true),
        (|c| c.step_wall(2 * HOUR), true),
        (|c| c.suspend(9 * 60 * SECOND), true),
        (|c| c.suspend(11 * 60 * SECOND), false),
        (
            |c| {
                c.suspend(11 * 60 * SECOND);
                c.step_wall(-HOUR);
            },
            false,
        ),
    ];
    let stepped = Stepped::open(Plan::new()).await;
    let mut agent = stepped.agent().await;
    for (number, (step, lives)) in steps.into_iter().enumerate() {
        let (transaction, callback) = stepped.house.approved(&mut agent, READ).await;
        step(&stepped.clock);
        let result = redeem(&mut agent, &transaction, &callback).await;
        match result {
            Ok(_) => assert!(lives, "step {number}"),
            Err(status) => assert!(!lives && reason(&status) == "TXN_UNKNOWN", "step {number}: {status:?}"),
        }
    }
    stepped.daemon.stop().await;
}

// rows: TIME-02 CODE-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_code_is_held() {
    let slow = |setup: &mut crate::house::scripted_as::Setup<'_>| setup.handshake_delay = Duration::from_millis(300);
    let stepped = Stepped::open(Plan::new().server(slow)).await;
    let mut agent = stepped.agent().await;
    let steps: [(Step, bool); 3] =
        [(|c| c.step_wall(-HOUR), true), (|c| c.step_wall(2 * HOUR), true), (|c| c.suspend(61 * SECOND), false)];
    for (number, (step, lives)) in steps.into_iter().enumerate() {
        let (transaction, callback) = stepped.house.approved(&mut agent, READ).await;
        let connections = stepped.house.server.token_connections();
        let mut calling = stepped.agent().await;
        let call = tokio::spawn(async move { redeem(&mut calling, &transaction, &callback).await.map(|r| r.grant) });
        let there = || (stepped.house.server.token_connections() > connections).then_some(());
        eventually("the connection", there).await;
        step(&stepped.clock);
        match call.await.unwrap() {
            Ok(_) => assert!(lives, "step {number}"),
            Err(status) => assert!(!lives && reason(&status) == "CODE_EXPIRED_LOCALLY", "step {number}: {status:?}"),
        }
    }
    stepped.daemon.stop().await;
}

// rows: TIME-02 TOK-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_answer_is_on_its_way() {
    let stepped = Stepped::open(Plan::new()).await;
    let mut agent = stepped.agent().await;
    let steps: [(Step, bool); 4] = [
        (|c| c.step_wall(-HOUR / 2), true),
        (|c| c.step_wall(5 * 60 * SECOND), true),
        // Asleep for longer than the token lives: it counts from when the code left.
        (|c| c.suspend(2 * HOUR), false),
        (|c| c.suspend_unnoticed(2 * HOUR), false),
    ];
    for (number, (step, lives)) in steps.into_iter().enumerate() {
        let (transaction, callback) = stepped.house.approved(&mut agent, READ).await;
        let posts = stepped.house.server.token_posts();
        unrenewable(&stepped);
        stepped.house.server.set_pause(true);
        let mut calling = stepped.agent().await;
        let call = tokio::spawn(async move { redeem(&mut calling, &transaction, &callback).await.map(|r| r.grant) });
        eventually("the code", || (stepped.house.server.token_posts() > posts).then_some(())).await;
        step(&stepped.clock);
        stepped.house.server.set_pause(false);
        let served = match call.await.unwrap() {
            Ok(grant) => get(&mut agent, &grant).await,
            Err(status) => Err(status),
        };
        match served {
            Ok(()) => assert!(lives, "step {number}"),
            Err(status) => {
                assert!(!lives, "step {number}: {status:?}");
                ended(&status);
            }
        }
    }
    stepped.daemon.stop().await;
}

// rows: TIME-02 CODE-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_code_is_remembered_by_the_boot_clock() {
    let stepped = Stepped::open(Plan::new()).await;
    let mut agent = stepped.agent().await;
    for step in [(|c| c.step_wall(-HOUR)) as Step, |c| c.step_wall(3 * HOUR), |c| c.suspend(9 * 60 * SECOND)] {
        let (transaction, callback) = stepped.house.approved(&mut agent, READ).await;
        redeem(&mut agent, &transaction, &callback).await.unwrap();
        step(&stepped.clock);
        let posts = stepped.house.server.token_posts();
        let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
        assert_eq!(reason(&status), "CODE_ALREADY_USED");
        assert_eq!(stepped.house.server.token_posts(), posts);
    }
    stepped.daemon.stop().await;
}
