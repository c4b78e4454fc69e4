//! What narrowgate adds, as ratios of one interleaved run: `cargo bench --bench corridor`.
//!
//! `GetToken` against a bare tonic service that answers the same message on a socket of its own, and `RedeemCode`
//! against the same token POST by a bare client. Each figure is the median of rounds taken A B A B …; the ratio is
//! what counts, the microseconds are those of the machine at hand.
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

mod bare;

use house::{Agent, House, Plan, get, redeem, unix_agent};
use serde_json::json;
use std::{path::Path, process::Stdio, time::Instant};

const ROUNDS: usize = 7;
const CALLS: usize = 2_000;
const REDEMPTIONS: usize = 15;
const IN_FLIGHT: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.as_slice() {
        [_, role, socket] if role == "--echo" => runtime.block_on(bare::serve_echo(Path::new(socket))),
        _ => runtime.block_on(measure()),
    }
}

async fn measure() {
    let limits = "[limits]\ntransactions_per_agent = 1000\ngrants_per_agent = 100000\ncalls_per_second = 1000000\ncalls_burst = 1000000";
    let mut plan = Plan::new().config("[limits]", limits);
    plan.log = "warn".to_owned();
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    let socket = house.path("run/echo.sock");
    let mut echo_server = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("--echo")
        .arg(&socket)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    house::eventually("the echo server", || socket.exists().then_some(())).await;
    let mut echo = unix_agent(&socket).await;

    let (mut one, mut many, mut redeemed) = (Pairs::default(), Pairs::default(), Pairs::default());
    for _ in 0..ROUNDS {
        one.add(sequential(&mut agent, &grant).await, sequential(&mut echo, "any").await);
        many.add(concurrent(&agent, &grant).await, concurrent(&echo, "any").await);
        redeemed.add(redemptions(&house, &mut agent).await, bare_posts(&house).await);
    }
    echo_server.kill().unwrap();
    echo_server.wait().unwrap();
    let rows = [
        ("GetToken, 1 in flight, p50", "bare tonic", one),
        ("GetToken, 64 in flight, per call", "bare tonic", many),
        ("RedeemCode, p50", "bare token POST, new connection", redeemed),
    ];
    println!("{:<36}{:>14}{:>14}{:>8}  against", "", "narrowgate us", "floor us", "ratio");
    let mut figures = Vec::new();
    for (name, floor, pairs) in rows {
        let (ours, theirs, ratio) = pairs.medians();
        println!("{name:<36}{ours:>14.1}{theirs:>14.1}{ratio:>8.2}  {floor}");
        figures
            .push(json!({ "name": name, "narrowgate_us": ours, "floor_us": theirs, "ratio": ratio, "floor": floor }));
    }
    println!("{}", json!({ "rounds": ROUNDS, "figures": figures }));
}

/// Figures taken in turn.
#[derive(Default)]
struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    fn add(&mut self, ours: f64, floor: f64) {
        self.0.push((ours, floor));
    }

    /// The medians of ours, the floor and their ratio in each round.
    fn medians(&self) -> (f64, f64, f64) {
        let of = |value: fn(&(f64, f64)) -> f64| median(self.0.iter().map(value).collect());
        (of(|p| p.0), of(|p| p.1), of(|p| p.0 / p.1))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

async fn sequential(agent: &mut Agent, grant: &str) -> f64 {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let start = Instant::now();
        get(agent, grant).await.unwrap();
        times.push(micros(start));
    }
    median(times)
}

async fn concurrent(agent: &Agent, grant: &str) -> f64 {
    let start = Instant::now();
    let each = CALLS * 4 / IN_FLIGHT;
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (mut agent, grant) = (agent.clone(), grant.to_owned());
            tokio::spawn(async move {
                for _ in 0..each {
                    get(&mut agent, &grant).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    micros(start) / (each * IN_FLIGHT) as f64
}

async fn redemptions(house: &House, agent: &mut Agent) -> f64 {
    let mut times = Vec::new();
    for _ in 0..REDEMPTIONS {
        let (transaction, callback) = house.approved(agent, &["customers.read"]).await;
        let start = Instant::now();
        redeem(agent, &transaction, &callback).await.unwrap();
        times.push(micros(start));
    }
    median(times)
}

async fn bare_posts(house: &House) -> f64 {
    let client = bare::Client::new(house);
    let mut times = Vec::new();
    for _ in 0..REDEMPTIONS {
        let form = client.approved_form(house);
        let start = Instant::now();
        client.post(house, &form).await;
        times.push(micros(start));
    }
    median(times)
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
