//! What a shadow set costs calls, as ratios of one interleaved run: `cargo bench --bench shadow`.
//!
//! Three daemons of one configuration: one without a shadow, one whose shadow says the same, one whose shadow would decide
//! every measured question otherwise. `BeginAuthorization` is asked about what was never asked before and denied: a
//! decision made, an event, no server. `GetToken` is answered from the cache. Each figure is the median of rounds taken in
//! turn; the ratio to the daemon without a shadow is what counts.
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

use house::{Agent, House, Plan, begin_request, get, write};
use narrowgate::api::proto::Claimed;
use serde_json::json;
use std::{fs, time::Instant};

const ROUNDS: usize = 9;
const CALLS: usize = 300;
const HITS: usize = 1_000;
const KINDS: [&str; 3] = ["none", "the same", "another"];
const RULE: &str = "@id(\"rule\") @code(\"not_this\")\nforbid (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"mail.read\");\n";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let mut desks = Vec::new();
    for kind in KINDS {
        desks.push(open(kind).await);
    }
    let mut begun: Vec<Vec<f64>> = vec![Vec::new(); KINDS.len()];
    let mut served = begun.clone();
    for round in 0..ROUNDS {
        for (at, (_, agent, grant)) in desks.iter_mut().enumerate() {
            begun[at].push(begins(agent, round).await);
            served[at].push(hits(agent, grant).await);
        }
    }
    println!("{:<36}{:>10}{:>12}{:>8}", "", "shadow", "us", "ratio");
    let mut figures = Vec::new();
    for (name, rounds) in [("BeginAuthorization denied, p50", begun), ("GetToken from the cache, p50", served)] {
        for (at, kind) in KINDS.iter().enumerate() {
            let us = median(rounds[at].clone());
            let ratio = median(rounds[at].iter().zip(&rounds[0]).map(|(with, without)| with / without).collect());
            println!("{name:<36}{kind:>10}{us:>12.1}{ratio:>8.3}");
            figures.push(json!({ "name": name, "shadow": kind, "us": us, "ratio": ratio }));
        }
    }
    println!("{}", json!({ "rounds": ROUNDS, "figures": figures }));
}

async fn open(kind: &str) -> (House, Agent, String) {
    let limits = "[limits]\ncalls_per_second = 1000000\ncalls_burst = 1000000";
    let mut plan = Plan::new().config("[limits]", limits).policy(RULE);
    if kind != "none" {
        plan = plan.config("directory = \"policies\"", "directory = \"policies\"\nshadow = \"next\"");
    }
    plan.log = "warn".to_owned();
    let mut house = plan.build();
    fs::create_dir(house.path("next")).unwrap();
    for entry in fs::read_dir(house.path("policies")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if kind == "the same" || text != RULE {
            write(&house.path("next").join(path.file_name().unwrap()), &text);
        }
    }
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    (house, agent, grant)
}

/// Denied, each for a task of its own: nothing of it is cached.
async fn begins(agent: &mut Agent, round: usize) -> f64 {
    let mut times = Vec::with_capacity(CALLS);
    for n in 0..CALLS {
        let mut request = begin_request(&["mail.read"]);
        request.claimed = Some(Claimed { task: format!("{round}/{n}"), ..Claimed::default() });
        let start = Instant::now();
        assert!(agent.begin_authorization(request).await.is_err());
        times.push(micros(start));
    }
    median(times)
}

async fn hits(agent: &mut Agent, grant: &str) -> f64 {
    let mut times = Vec::with_capacity(HITS);
    for _ in 0..HITS {
        let start = Instant::now();
        get(agent, grant).await.unwrap();
        times.push(micros(start));
    }
    median(times)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
