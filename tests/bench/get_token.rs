//! What a held token costs to hand out: `cargo bench --bench get_token`, with `-- --short` for few rounds and
//! `-- --held=1000000` for a million held tokens (it fetches each, which takes the better part of an hour; of the
//! audit log of the gathering only the newest files are left on the disk).
//!
//! `GetToken` against a bare tonic service that answers the same message on a Unix socket of its own; both run as
//! processes of their own. Rounds are taken A B A B … in one run, at 1, 8 and 64 calls in flight, with one held token
//! and with many. Each figure is the median of its rounds; the ratio is what counts. The processor's time is the
//! server's alone, as the kernel's scheduler counts it, and memory is what its resident set grew by.
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

use house::{
    Agent, House, Plan,
    scripted_as::behaviour::{Behaviour, Script},
    unix_agent,
};
use narrowgate::api::proto::GetTokenRequest;
use serde_json::{Value, json};
use std::{fs, path::Path, process::Stdio, sync::Arc, time::Instant};
use tokio::task::JoinSet;

const SCOPES: [&str; 2] = ["customers.read", "customers.write"];
const IN_FLIGHT: [usize; 3] = [1, 8, 64];
/// Logins and refreshes at once while tokens are gathered.
const GATHERING: usize = 32;
/// Tokens of one grant: with both scopes, and with either.
const TOKENS_PER_GRANT: usize = 3;

/// Logins, or grants refreshed, between two words of progress.
const PROGRESS_EVERY: usize = 10_000;

/// How much is measured.
struct Amount {
    rounds: usize,
    calls: usize,
    held: Vec<usize>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let [_, role, socket] = arguments.as_slice()
        && role == "--echo"
    {
        return runtime.block_on(bare::serve_echo(Path::new(socket)));
    }
    let is = |name: &str| arguments.iter().any(|argument| argument == name);
    let (rounds, calls) = if is("--short") { (5, 4_000) } else { (9, 20_000) };
    let more = arguments.iter().filter_map(|argument| argument.strip_prefix("--held=")).map(|n| n.parse().unwrap());
    let held = [1, 10_000].into_iter().chain(more).collect();
    runtime.block_on(measure(&Amount { rounds, calls, held }));
}

async fn measure(amount: &Amount) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("echo.sock");
    let mut echo_server = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("--echo")
        .arg(&socket)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    house::eventually("the echo server", || socket.exists().then_some(())).await;
    let floor =
        Server { agent: unix_agent(&socket).await, pid: echo_server.id(), wanted: Arc::new(vec![wanted("any", &[])]) };
    let (mut figures, mut memory) = (Vec::new(), Vec::new());
    println!(
        "{:>9}{:>10}{:>12}{:>12}{:>9}{:>9}{:>9}{:>9}{:>11}{:>11}{:>9}",
        "held", "in flight", "rps", "floor rps", "p50 us", "floor", "p99 us", "floor", "cpu us", "floor", "ratio"
    );
    for &count in &amount.held {
        // Each from its start: what an earlier round left of memory would hide what tokens take.
        let house = Arc::new(open().await);
        let agent = house.agent().await;
        let (held, grown) = gather(&house, &agent, count).await;
        memory.extend(grown);
        let ours = Server { agent, pid: house.pid(), wanted: Arc::new(held) };
        for in_flight in IN_FLIGHT {
            figures.push(compare(amount, count, in_flight, &ours, &floor).await);
        }
    }
    echo_server.kill().unwrap();
    echo_server.wait().unwrap();
    for line in &memory {
        println!("{line}");
    }
    println!("{}", json!({ "rounds": amount.rounds, "calls": amount.calls, "figures": figures, "memory": memory }));
}

async fn open() -> House {
    let limits = "[grants]\ntokens_per_grant = 16\n\n[limits]\ntransactions_per_agent = 1000000\n\
        grants_per_agent = 1000000\ncalls_per_second = 1000000\ncalls_burst = 1000000\ncalls_in_flight = 1000";
    let mut plan = Plan::new().config("[limits]", limits);
    plan.log = "warn".to_owned();
    // None ends, or is renewed, while others are gathered.
    plan = plan.config("[[client]]", "[[client]]\nmax_token_lifetime = \"12h\"");
    for (_, text) in &mut plan.policies {
        *text = text
            .replace("@max_lifetime(\"10m\")", "@max_lifetime(\"12h\")")
            .replace("@max_lifetime(\"5m\")", "@max_lifetime(\"12h\")");
    }
    let house = plan.open().await;
    house.server.always(Script::Token(Behaviour::Lifetime(json!(43_200))));
    house
}

/// A server that is measured.
struct Server {
    agent: Agent,
    pid: u32,
    /// What it is asked for in turn.
    wanted: Arc<Vec<GetTokenRequest>>,
}

/// What one round shows.
struct Round {
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of the server's processor time, per call.
    cpu: f64,
}

async fn compare(amount: &Amount, held: usize, in_flight: usize, ours: &Server, floor: &Server) -> Value {
    let mut rounds = Vec::new();
    for _ in 0..amount.rounds {
        let pair = (round(ours, in_flight, amount.calls).await, round(floor, in_flight, amount.calls).await);
        rounds.push(pair);
    }
    let of = |value: &dyn Fn(&(Round, Round)) -> f64| median(rounds.iter().map(value).collect());
    let pair = |value: fn(&Round) -> f64| (of(&|p| value(&p.0)), of(&|p| value(&p.1)));
    let (rps, p50, p99, cpu) = (pair(|r| r.per_second), pair(|r| r.p50), pair(|r| r.p99), pair(|r| r.cpu));
    let ratio = of(&|p| p.0.cpu / p.1.cpu);
    println!(
        "{held:>9}{in_flight:>10}{:>12.0}{:>12.0}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>11.1}{:>11.1}{ratio:>9.2}",
        rps.0, rps.1, p50.0, p50.1, p99.0, p99.1, cpu.0, cpu.1
    );
    json!({
        "held": held, "in_flight": in_flight, "rps": rps.0, "floor_rps": rps.1, "p50_us": p50.0, "floor_p50_us": p50.1,
        "p99_us": p99.0, "floor_p99_us": p99.1, "cpu_us": cpu.0, "floor_cpu_us": cpu.1, "cpu_ratio": ratio,
        "rps_ratio": of(&|p| p.0.per_second / p.1.per_second),
    })
}

async fn round(server: &Server, in_flight: usize, calls: usize) -> Round {
    let each = calls / in_flight;
    let (start, cpu) = (Instant::now(), processor_time(server.pid));
    let mut tasks = JoinSet::new();
    for task in 0..in_flight {
        let (mut agent, wanted) = (server.agent.clone(), Arc::clone(&server.wanted));
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(each);
            for n in 0..each {
                // All over the table, as agents ask.
                let request = wanted[(task * each + n).wrapping_mul(7919) % wanted.len()].clone();
                let start = Instant::now();
                agent.get_token(request).await.unwrap();
                times.push(micros(start));
            }
            times
        });
    }
    let mut times: Vec<f64> = tasks.join_all().await.into_iter().flatten().collect();
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), processor_time(server.pid) - cpu);
    times.sort_by(f64::total_cmp);
    let number = times.len() as f64;
    Round {
        per_second: number / elapsed,
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        cpu: cpu / number,
    }
}

/// Gathers this many held tokens, and says what the server's memory grew by.
async fn gather(house: &Arc<House>, agent: &Agent, count: usize) -> (Vec<GetTokenRequest>, Vec<String>) {
    let grant = house.login(&mut agent.clone(), &SCOPES).await.unwrap().grant;
    let mut held = vec![wanted(&grant, &[])];
    if count == 1 {
        return (held, Vec::new());
    }
    let grants = (count - held.len()) / TOKENS_PER_GRANT;
    let before = resident(house.pid());
    let mut fresh = Vec::with_capacity(grants);
    for some in chunks(grants) {
        let mut logins = JoinSet::new();
        for _ in 0..some {
            let (house, mut agent) = (Arc::clone(house), agent.clone());
            logins.spawn(async move { house.login(&mut agent, &SCOPES).await.unwrap().grant });
        }
        fresh.extend(logins.join_all().await);
        progress("logins", fresh.len(), grants, house);
    }
    let with_grants = resident(house.pid());
    let mut refreshed = 0;
    for some in fresh.chunks(GATHERING) {
        let mut refreshes = JoinSet::new();
        for grant in some {
            let (mut agent, grant) = (agent.clone(), grant.clone());
            refreshes.spawn(async move {
                for scope in SCOPES {
                    agent.get_token(wanted(&grant, &[scope])).await.unwrap();
                }
            });
        }
        refreshes.join_all().await;
        refreshed += some.len();
        progress("grants refreshed", refreshed, grants, house);
    }
    let with_tokens = resident(house.pid());
    for grant in &fresh {
        held.push(wanted(grant, &[]));
        held.extend(SCOPES.map(|scope| wanted(grant, &[scope])));
    }
    let per = |bytes: f64, number: usize| bytes / number as f64 / 1024.0;
    let grown = vec![
        format!(
            "{grants} grants with a refresh token and a token each: {:.1} KiB each",
            per(with_grants - before, grants)
        ),
        format!("{} more tokens of them: {:.1} KiB each", grants * 2, per(with_tokens - with_grants, grants * 2)),
        format!("resident set with {count} held tokens: {:.1} MiB", with_tokens / 1024.0 / 1024.0),
    ];
    (held, grown)
}

/// Says how far the gathering has come, and removes the audit files that are closed: they would fill the disk.
fn progress(what: &str, done: usize, of: usize, house: &House) {
    if of < PROGRESS_EVERY || done / PROGRESS_EVERY == done.saturating_sub(GATHERING) / PROGRESS_EVERY {
        return;
    }
    eprintln!("{done} of {of} {what}, {:.0} MiB", resident(house.pid()) / 1024.0 / 1024.0);
    let mut files: Vec<_> = fs::read_dir(house.path("audit")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files.iter().rev().skip(2).for_each(|file| fs::remove_file(file).unwrap());
}

fn chunks(mut number: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let some = number.min(GATHERING);
        number -= some;
        (some > 0).then_some(some)
    })
}

fn wanted(grant: &str, scopes: &[&str]) -> GetTokenRequest {
    let scopes = scopes.iter().map(ToString::to_string).collect();
    GetTokenRequest { grant: grant.to_owned(), scopes, ..GetTokenRequest::default() }
}

/// Microseconds that the threads of a process have run.
fn processor_time(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(Result::unwrap);
    let nanos = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    nanos.map(|text| text.split(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>() / 1000.0
}

/// Bytes of a process's resident set.
fn resident(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
