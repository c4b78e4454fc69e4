//! What a reload costs those who call meanwhile: `cargo bench --bench reload`, with `-- --short` for few rounds.
//!
//! A daemon with 10,000 policies hands out a held token, eight calls in flight, in rounds A B A B … of one run: in A the
//! files stand still, in B they are swapped for others as fast as the daemon takes them. A call that fails ends the run.
//! Each figure is the median of its rounds; the ratio is what counts (T13 of the targets: no failed call, p99 at most 1.5
//! times that of a quiet round). Client, server and reload share this machine's cores, and the reload is bound to one.
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
#[path = "../admin/kit.rs"]
mod kit;

use house::{Agent, House};
use narrowgate::api::proto::{GetTokenRequest, ReloadRequest};
use serde_json::json;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const POLICIES: usize = 10_000;
const IN_FLIGHT: usize = 8;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(if short { (3, Duration::from_secs(3)) } else { (7, Duration::from_secs(8)) }));
}

async fn measure((rounds, span): (usize, Duration)) {
    let limits = "[limits]\ncalls_per_second = 1000000\ncalls_burst = 1000000\ncalls_in_flight = 1000";
    let mut plan = kit::plan().config("[limits]", limits).policy(&policies(0));
    plan = plan.config("directory = \"policies\"", "directory = \"policies\"\ncheck_every = \"1h\"");
    // Its port is in the log.
    plan.log = "info".to_owned();
    let house = Arc::new(plan.open().await);
    let mut agent = house.svid_agent(house::COURIER).await;
    let grant = house.login(&mut agent, &kit::MAIL).await.unwrap().grant;
    let (mut quiet, mut busy, mut taken) = (Vec::new(), Vec::new(), 0);
    let mut number = 0;
    for _ in 0..rounds {
        quiet.push(round(&agent, &grant, span).await);
        let swapping = Arc::new(AtomicBool::new(true));
        let swapper = tokio::spawn(swap(Arc::clone(&house), Arc::clone(&swapping), number));
        busy.push(round(&agent, &grant, span).await);
        swapping.store(false, Ordering::Relaxed);
        let before = number;
        number = swapper.await.unwrap();
        taken += number - before;
    }
    let median = |rounds: &[Figures], of: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let pair = |of: fn(&Figures) -> f64| (median(&quiet, of), median(&busy, of));
    let (p50, p99, rps) = (pair(|f| f.p50), pair(|f| f.p99), pair(|f| f.per_second));
    println!("{POLICIES} policies, {taken} sets taken in {rounds} rounds of {span:?}, no call failed");
    println!("{:>12}{:>12}{:>12}{:>9}", "", "quiet", "reloading", "ratio");
    for (what, (quiet, busy)) in [("p50 us", p50), ("p99 us", p99), ("calls/s", rps)] {
        println!("{what:>12}{quiet:>12.0}{busy:>12.0}{:>9.2}", busy / quiet);
    }
    println!(
        "{}",
        json!({ "policies": POLICIES, "sets_taken": taken, "p50_us": p50, "p99_us": p99, "rps": rps, "p99_ratio": p99.1 / p99.0 })
    );
}

/// Permits for agents that never call, and one text that differs from set to set.
fn policies(number: usize) -> String {
    let permit = |n: usize| {
        format!(
            "@id(\"bulk.{n}\") permit (principal == Narrowgate::Agent::\"absent-{n}\", \
            action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"mail.read\") \
            when {{ principal.trust >= {} }};\n",
            number % 3
        )
    };
    (0..POLICIES).map(permit).collect()
}

/// Puts one set after the other in the place of the last, and has each taken.
async fn swap(house: Arc<House>, go_on: Arc<AtomicBool>, mut number: usize) -> usize {
    let file = fs::read_dir(house.path("policies")).unwrap().map(|entry| entry.unwrap().path());
    let file = file.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut admin = kit::admin(&house).await;
    while go_on.load(Ordering::Relaxed) {
        number += 1;
        let draft = house.path(".draft");
        house::write(&draft, &policies(number));
        fs::rename(&draft, &file).unwrap();
        let done = admin.reload(ReloadRequest::default()).await.unwrap().into_inner();
        assert_eq!(done.outcome().as_str_name(), "OUTCOME_ACTIVATED");
    }
    number
}

struct Figures {
    p50: f64,
    p99: f64,
    per_second: f64,
}

async fn round(agent: &Agent, grant: &str, span: Duration) -> Figures {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (mut agent, grant) = (agent.clone(), grant.to_owned());
        tasks.spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < span {
                let request = GetTokenRequest { grant: grant.clone(), ..GetTokenRequest::default() };
                let start = Instant::now();
                agent.get_token(request).await.expect("a call fails while a set is taken");
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
            times
        });
    }
    let mut times: Vec<f64> = tasks.join_all().await.into_iter().flatten().collect();
    times.sort_by(f64::total_cmp);
    let per_second = times.len() as f64 / start.elapsed().as_secs_f64();
    Figures { p50: times[times.len() / 2], p99: times[times.len() * 99 / 100], per_second }
}
