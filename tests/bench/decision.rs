//! What a decision costs: `cargo bench --bench decision`, with `-- --short` for fewer rounds.
//!
//! One hand-out is decided (`release_token`, and `grant_scope` for each of three scopes) by `Policies::release`, in this
//! process, for sets of 10 to 10,000 policies beside the sample guardrails. "cached" asks the same again; "uncached" comes
//! with another `claimed.task` each time, which is in the cache's key. "raw" is `cedar_policy::Authorizer` over the whole
//! set with the very same four questions, requests and entities made beforehand. Rounds are taken A B C A B C … in one run,
//! each figure is the median of its rounds, and the processor's time of the thread counts, as the kernel has it: only the
//! ratios may be compared with another run's.
//!
//! Instructions of a decision, with valgrind (`cached` or `uncached`; divide by the number of decisions):
//!
//! ```text
//! cargo bench --bench decision --no-run
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='decision::desk::decide*' \
//!   target/release/deps/decision-<hash> --count cached 1000
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures time and prints"
)]

#[path = "desk.rs"]
mod desk;
#[path = "sets.rs"]
mod sets;

use desk::{Desk, Raw, decide};
use narrowgate::{
    model::Claimed,
    platform::SystemClock,
    policy::{self, Policies},
};
use serde_json::{Value, json};
use sets::{Kind, SCOPES, Set};
use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
const KINDS: [Kind; 3] = [Kind::Agent, Kind::Group, Kind::Unscoped];

/// How much is measured.
struct Amount {
    rounds: usize,
    cached: usize,
    uncached: usize,
    /// Policies that raw Cedar looks at in one round.
    raw: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, what, times, ..] = arguments.as_slice()
        && mode == "--count"
    {
        return count(what, times.parse().unwrap());
    }
    let short = arguments.iter().any(|argument| argument == "--short");
    let amount = if short {
        Amount { rounds: 5, cached: 4_000, uncached: 300, raw: 20_000 }
    } else {
        Amount { rounds: 9, cached: 40_000, uncached: 2_000, raw: 100_000 }
    };
    // First of all, while nothing that was given back lies about for it to take.
    let load = load(&amount);
    let costs = costs(&amount);
    let scaling = scaling(&amount);
    println!("{}", json!({ "rounds": amount.rounds, "load": load, "decisions": costs, "two_threads": scaling }));
}

/// For callgrind: so many decisions and nothing else.
fn count(what: &str, times: usize) {
    let set = Set::write(Kind::Agent, 1_000);
    let config = set.config();
    let mut desk = Desk::open(&config);
    match what {
        "cached" => desk.cached(times),
        "uncached" => desk.uncached(times),
        other => panic!("cached or uncached, not {other}"),
    }
}

/// What 10,000 policies take to load, and to keep.
fn load(amount: &Amount) -> Value {
    const POLICIES: usize = 10_000;
    let set = Set::write(Kind::Agent, POLICIES);
    let config = set.config();
    let before = resident();
    let load = || {
        let began = thread_time();
        let snapshot = policy::load(&config, 1, None).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        (snapshot, thread_time() - began)
    };
    let (snapshot, first) = load();
    let grown = resident().saturating_sub(before);
    let beyond = grown.saturating_sub(set.bytes()) as f64 / POLICIES as f64;
    let policies = Policies::new(Some(snapshot), Arc::clone(&config.estate), Arc::new(SystemClock));
    let mut again = Vec::new();
    for _ in 0..amount.rounds.min(5) {
        let (snapshot, took) = load();
        policies.replace(snapshot);
        again.push(took.as_secs_f64());
    }
    let (first, again) = (first.as_secs_f64(), median(again));
    println!("{POLICIES} policies, {} bytes of source, as many agents as sets have", set.bytes());
    println!("{:<46}{beyond:>12.0}   T12: at most 24576, then 8192", "  resident bytes a policy beyond its source");
    println!("{:<46}{first:>12.3}", "  first load, s of the processor");
    println!("{:<46}{again:>12.3}", "  reload beside the running set, the same");
    json!({ "policies": POLICIES, "bytes_per_policy": beyond, "first_s": first, "reload_s": again })
}

/// The processor's time of one decision.
fn costs(amount: &Amount) -> Vec<Value> {
    println!("\nprocessor's time of one decision (gate and {} scopes), us", SCOPES.len());
    println!(
        "{:<10}{:>9}{:>10}{:>10}{:>12}{:>14}{:>14}",
        "permits", "policies", "cached", "uncached", "raw Cedar", "raw/uncached", "raw/cached"
    );
    let mut figures = Vec::new();
    for kind in KINDS {
        let (mut smallest, mut last) = (None, [0.0; 3]);
        for size in SIZES {
            let set = Set::write(kind, size);
            let config = set.config();
            let mut desk = Desk::open(&config);
            let raw = Raw::of(&set, &mut desk);
            // What is not found by scope is looked at in full, as raw Cedar looks at everything.
            let looked_at = if kind == Kind::Unscoped { size } else { 1 };
            let asked = (amount.uncached / looked_at.div_ceil(10)).max(2);
            let times = (amount.raw / size / 4).max(1);
            let mut rounds: [Vec<f64>; 3] = Default::default();
            for _ in 0..amount.rounds {
                rounds[0].push(cpu(amount.cached, |n| desk.cached(n)));
                rounds[1].push(cpu(asked, |n| desk.uncached(n)));
                rounds[2].push(cpu(times, |n| raw.decide(n)));
            }
            last = rounds.map(median);
            smallest.get_or_insert(last);
            let [cached, uncached, raw] = last;
            println!(
                "{:<10}{size:>9}{cached:>10.2}{uncached:>10.1}{raw:>12.1}{:>14.1}{:>14.0}",
                kind.word(),
                raw / uncached,
                raw / cached
            );
            figures.push(json!({
                "permits": kind.word(), "policies": size,
                "cached_us": cached, "uncached_us": uncached, "raw_us": raw,
            }));
        }
        let ratio = |at: usize| last[at] / smallest.unwrap()[at];
        println!("{:<10}10,000 against 10: cached {:.2}, uncached {:.2}", kind.word(), ratio(0), ratio(1));
    }
    println!("T5 (agent): 10,000 against 10 at most 1.5, then 1.2; raw/ours at 10,000 at least 500, then 1000");
    println!("T6: uncached at most 100 us, then 40; cached at most 2 us, then 0.5");
    figures
}

/// What a second thread brings. Its worth is told from the processor's time too: on a machine that is shared, the wall's
/// says more of the neighbours.
fn scaling(amount: &Amount) -> Vec<Value> {
    println!("\n1,000 agent-scoped policies, one thread and two");
    println!(
        "{:<10}{:>12}{:>12}{:>8}{:>12}{:>12}{:>8}",
        "", "one /s", "two /s", "ratio", "cpu one us", "cpu two us", "ratio"
    );
    let set = Set::write(Kind::Agent, 1_000);
    let config = set.config();
    let desk = Desk::open(&config);
    let mut figures = Vec::new();
    for (name, times) in [("cached", amount.cached), ("uncached", amount.uncached)] {
        let mut rounds: [Vec<f64>; 4] = Default::default();
        for round in 0..amount.rounds {
            for threads in [1, 2] {
                let (per_second, spent) = run(&desk, threads, (name == "cached", times), round);
                rounds[threads - 1].push(per_second);
                rounds[threads + 1].push(spent);
            }
        }
        let [one, two, cpu_one, cpu_two] = rounds.map(median);
        let (ratio, cpu_ratio) = (two / one, cpu_two / cpu_one);
        println!("{name:<10}{one:>12.0}{two:>12.0}{ratio:>8.2}{cpu_one:>12.2}{cpu_two:>12.2}{cpu_ratio:>8.2}");
        figures.push(json!({
            "what": name, "one_per_s": one, "two_per_s": two, "one_cpu_us": cpu_one, "two_cpu_us": cpu_two,
        }));
    }
    figures
}

/// Decisions a second of so many threads that decide so often each, and the processor's time of one, in microseconds.
fn run(desk: &Desk<'_>, threads: usize, (cached, times): (bool, usize), round: usize) -> (f64, f64) {
    let task = |text: String| Claimed { task: Some(text), ..Claimed::default() };
    let first = decide(&desk.policies, &desk.token, &task("same".to_owned()), 1);
    first.verdict().asked.iter().for_each(|asked| asked.is_recorded());
    let barrier = Barrier::new(threads);
    let took: Vec<(Duration, f64)> = std::thread::scope(|scope| {
        let work = |thread: usize| {
            let barrier = &barrier;
            move || {
                barrier.wait();
                let began = Instant::now();
                let spent = cpu(times, |times| {
                    for n in 0..times {
                        let words = if cached { "same".to_owned() } else { format!("{round}/{threads}/{thread}/{n}") };
                        black_box(decide(&desk.policies, &desk.token, &task(words), n as u128));
                    }
                });
                (began.elapsed(), spent)
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let slowest = took.iter().map(|(wall, _)| *wall).max().unwrap();
    let spent = took.iter().map(|(_, cpu)| cpu).sum::<f64>() / threads as f64;
    ((threads * times) as f64 / slowest.as_secs_f64(), spent)
}

/// The processor's time of this thread for one of so many, in microseconds.
fn cpu(times: usize, run: impl FnOnce(usize)) -> f64 {
    let before = thread_time();
    run(times);
    (thread_time() - before).as_secs_f64() * 1e6 / times as f64
}

fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: usize = line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes << 10
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
