//! What a dead neighbour costs: `cargo bench --bench isolation`.
//!
//! `RedeemCode` at a healthy authorization server while another agent's calls hang at a dead one, which takes
//! connections and never says a word, against the same without those calls. Each figure is the 99th percentile of a
//! round, rounds taken A B A B … in one run; the ratio of their medians is what counts. Once with the dead server's
//! circuit breaker off, so that its lane is full all the while, and once with it on.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark measures time and prints"
)]
#![allow(dead_code, clippy::allow_attributes, reason = "each binary uses a part of the house")]

#[path = "../house/mod.rs"]
mod house;
#[path = "../house/two.rs"]
mod two;

use house::{Agent, COURIER, Plan, eventually, redeem};
use serde_json::json;
use std::{sync::Arc, time::Instant};
use tokio::task::JoinSet;
use two::{CORP, Two};

const ROUNDS: usize = 7;
const REDEMPTIONS: usize = 200;
/// Calls that hang at the dead server: as many as one agent may have there.
const HANGING: usize = 64;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    println!("{:<44}{:>12}{:>12}{:>8}", "RedeemCode at the healthy server, p99 us", "alone", "beside", "ratio");
    let mut figures = Vec::new();
    for (name, breaker) in [("beside a dead one, circuit breaker off", false), ("the same, circuit breaker on", true)] {
        let (alone, beside) = p99s(breaker).await;
        let ratio = beside / alone;
        println!("{name:<44}{alone:>12.1}{beside:>12.1}{ratio:>8.2}");
        figures.push(json!({ "name": name, "alone_us": alone, "beside_us": beside, "ratio": ratio }));
    }
    println!("{}", json!({ "rounds": ROUNDS, "redemptions": REDEMPTIONS, "figures": figures }));
}

/// The medians of the rounds' 99th percentiles, without and with the dead server's callers.
async fn p99s(breaker: bool) -> (f64, f64) {
    let limits = "[limits]\ntransactions_per_agent = 1000\ngrants_per_agent = 100000\ncalls_per_second = 1000000\ncalls_burst = 1000000";
    let mut plan = Plan::new().config("[limits]", limits);
    plan.log = "info".to_owned();
    let issuer = format!("deadline = \"2s\"\ncircuit_breaker = {breaker}");
    let two = Arc::new(Two::open(plan, &issuer, |setup| setup.silent = true).await);
    let mut healthy = two.house.agent().await;
    let courier = two.house.svid_agent(COURIER).await;
    round(&two, &mut healthy).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(round(&two, &mut healthy).await);
        let seen = two.partner.token_connections();
        let mut callers = JoinSet::new();
        for _ in 0..HANGING {
            callers.spawn(keep_calling(Arc::clone(&two), courier.clone()));
        }
        if !breaker {
            eventually("the lane is full", || (two.partner.token_connections() >= seen + HANGING).then_some(())).await;
        }
        beside.push(round(&two, &mut healthy).await);
        callers.shutdown().await;
    }
    (median(alone), median(beside))
}

/// An agent that calls the dead server, and again as soon as it is refused.
async fn keep_calling(two: Arc<Two>, mut agent: Agent) {
    loop {
        let (transaction, callback) = two.approved(&mut agent).await;
        for _ in 0..4 {
            redeem(&mut agent, &transaction, &callback).await.err().expect("it is dead");
            // A client that minds what it is told.
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }
}

async fn round(two: &Two, agent: &mut Agent) -> f64 {
    let mut times = Vec::with_capacity(REDEMPTIONS);
    for _ in 0..REDEMPTIONS {
        let (transaction, callback) = two.house.approved(agent, &[CORP]).await;
        let start = Instant::now();
        redeem(agent, &transaction, &callback).await.unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    times[REDEMPTIONS * 99 / 100 - 1]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
