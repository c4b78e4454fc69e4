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
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='decision::decide*' \
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

#[path = "sets.rs"]
mod sets;

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, Schema};
use narrowgate::{
    caller::Caller,
    config::Config,
    model::{Approvable, AuthorizationDetails, Boot, Claimed, DecisionId, ScopeSet, TokenBinding},
    platform::SystemClock,
    policy::{self, BASE_SCHEMA, IssuedFacts, Policies, Releasable, Released},
    transaction::Flow,
};
use serde_json::{Value, json};
use sets::{Kind, SCOPES, Set};
use std::{
    hint::black_box,
    str::FromStr,
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
const KINDS: [Kind; 3] = [Kind::Agent, Kind::Group, Kind::Unscoped];

/// A held token.
struct Token<'a> {
    caller: Caller,
    config: &'a Config,
    scopes: ScopeSet,
    details: AuthorizationDetails,
    flow: Flow,
    approvable: Approvable,
}

impl Releasable for &Token<'_> {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn facts(&self) -> IssuedFacts<'_> {
        IssuedFacts {
            client: self.config.clients.values().next().unwrap(),
            api: self.config.estate.catalog.apis.values().next().map(AsRef::as_ref),
            allowed: &self.scopes,
            scopes: &self.scopes,
            details: &self.details,
            tolerated: &[],
            lifetime: Duration::from_secs(300),
            bound: TokenBinding::Unbound,
            refreshable: true,
            again: true,
            subject: None,
            begun: Boot(0),
            registered_by: None,
        }
    }

    fn flow(&self) -> &Flow {
        &self.flow
    }

    fn approvable(&self) -> &Approvable {
        &self.approvable
    }
}

/// A set, loaded as the daemon loads it, and one token that it is asked about.
struct Desk<'a> {
    policies: Policies,
    token: Token<'a>,
    decisions: u128,
}

impl<'a> Desk<'a> {
    fn open(config: &'a Config) -> Self {
        let snapshot = policy::load(config, 1, None).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let token = Token {
            caller: sets::caller(config),
            config,
            scopes: ScopeSet::parse(&SCOPES.join(" ")).unwrap(),
            details: AuthorizationDetails::default(),
            flow: Flow::AuthorizationCode,
            approvable: Approvable::default(),
        };
        Self {
            policies: Policies::new(Some(snapshot), Arc::clone(&config.estate), Arc::new(SystemClock)),
            token,
            decisions: 0,
        }
    }

    fn ask(&mut self, claimed: &Claimed) -> Released<&Token<'a>> {
        self.decisions += 1;
        decide(&self.policies, &self.token, claimed, self.decisions)
    }

    /// Asks the same again and again.
    fn cached(&mut self, times: usize) {
        let claimed = Claimed::default();
        let first = self.ask(&claimed);
        // As the recorder has it: what is in the log is not held any longer.
        first.verdict().asked.iter().for_each(|asked| asked.is_recorded());
        drop(first);
        for _ in 0..times {
            assert!(black_box(self.ask(&claimed)).verdict().answered_by.is_some());
        }
    }

    /// Asks what was never asked before.
    fn uncached(&mut self, times: usize) {
        for _ in 0..times {
            let claimed = Claimed { task: Some(self.decisions.to_string()), ..Claimed::default() };
            assert!(black_box(self.ask(&claimed)).verdict().answered_by.is_none());
        }
    }
}

/// Never inlined: callgrind counts what is below it.
#[inline(never)]
fn decide<'t, 'a>(
    policies: &Policies,
    token: &'t Token<'a>,
    claimed: &Claimed,
    number: u128,
) -> Released<&'t Token<'a>> {
    let id = DecisionId(uuid::Uuid::from_u128(number));
    policies.release(token, claimed, id).unwrap_or_else(|refused| panic!("{:?}", refused.1))
}

/// The same set and questions, without narrowgate.
struct Raw {
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
}

impl Raw {
    fn of(set: &Set, desk: &mut Desk<'_>) -> Self {
        let (schema, _) = Schema::from_cedarschema_str(BASE_SCHEMA).unwrap();
        let entities = desk.policies.current().unwrap().entities_json().unwrap();
        let claimed = Claimed { task: Some("raw".to_owned()), ..Claimed::default() };
        let asked = desk.ask(&claimed).verdict().asked.clone().unwrap().to_json(None);
        Self {
            policies: PolicySet::from_str(&set.text()).unwrap(),
            entities: Entities::from_json_value(entities, Some(&schema)).unwrap(),
            requests: requests(&asked, &schema),
        }
    }

    fn decide(&self, times: usize) {
        let authorizer = Authorizer::new();
        for _ in 0..times {
            for request in &self.requests {
                let answer = authorizer.is_authorized(request, &self.policies, &self.entities);
                assert_eq!(black_box(answer).decision(), Decision::Allow);
            }
        }
    }
}

/// The questions of a decision, from its record.
fn requests(asked: &Value, schema: &Schema) -> Vec<Request> {
    let uid = |kind: &str, id: &Value| EntityUid::from_json(json!({ "type": kind, "id": id })).unwrap();
    let principal = EntityUid::from_json(asked["principal"].clone()).unwrap();
    let mut requests = Vec::new();
    for question in asked["questions"].as_array().unwrap() {
        let action = uid("Narrowgate::Action", &question["action"]);
        let mut context = question["context"].clone();
        let mut base = asked["bases"][usize::try_from(question["base"].as_u64().unwrap()).unwrap()].clone();
        for (unsaid, nothing) in [("actors", json!({ "depth": 0, "members": [] })), ("claimed", json!({}))] {
            let base = base.as_object_mut().unwrap();
            base.entry(unsaid).or_insert(nothing);
        }
        context["base"] = base;
        let context = Context::from_json_value(context, Some((schema, &action))).unwrap();
        for id in question["ids"].as_array().unwrap() {
            let resource = uid(question["type"].as_str().unwrap(), id);
            let whole = Request::new(principal.clone(), action.clone(), resource, context.clone(), Some(schema));
            requests.push(whole.unwrap());
        }
    }
    assert_eq!(requests.len(), 1 + SCOPES.len());
    requests
}

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
