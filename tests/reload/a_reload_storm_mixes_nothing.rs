use crate::{
    house::{Agent, House, Plan, get},
    kit::{admin, facts},
    stepped::Stepped,
    swapping::{generation, harmless, plan, put, watching},
};
use narrowgate::{
    api::proto::ReloadRequest,
    config::{self, Config},
    policy,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Reloads of a storm. A long run has `NARROWGATE_STORM_RELOADS=20000`.
const RELOADS: u64 = 200;
/// As far apart as a hundred a second are.
const APART: Duration = Duration::from_millis(10);
const ROUND: u64 = 200;
const CALLERS: usize = 4;

const SMALL: &str = "@id(\"all\") permit (principal, action in Narrowgate::Action::\"obtain\", resource);
@id(\"scopes\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);
@id(\"begin\") permit (principal, action == Narrowgate::Action::\"begin_authorization\", resource);
";

/// The digests of a generation: policies, schema, entities.
type Digests = [String; 3];

fn digests(event: &Value) -> Digests {
    let text = |key: &str| facts(event)[key].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    ["policy_digest", "schema_digest", "entities_digest"].map(text)
}

/// Every decision of a log by its generation, held against what that generation is.
fn assert_of_one_generation(house: &House, sets: &BTreeMap<u64, Digests>) -> BTreeSet<u64> {
    let decided = |event: &Value| facts(event)["asked"].is_object();
    let mut seen = BTreeSet::new();
    for event in house.audit().iter().filter(|event| decided(event)) {
        let number = facts(event)["generation"].as_u64().unwrap();
        assert_eq!(&digests(event), &sets[&number], "{event}");
        seen.insert(number);
    }
    seen
}

/// Agents that may call as often as they can.
fn unmetered(plan: Plan) -> Plan {
    plan.config("[limits]", "[limits]\ncalls_per_second = 1000000\ncalls_burst = 1000000")
}

/// Begins, and asks for a token, until told to stop; how often.
fn call(mut agent: Agent, grant: String, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move {
        let mut calls = 0;
        while !stop.load(Ordering::Relaxed) {
            get(&mut agent, &grant).await.unwrap_or_else(|status| panic!("call {calls}: {status:?}"));
            calls += 1;
        }
        calls
    })
}

/// The same house once more with another policy and an agent trusted otherwise: what it permits is the same.
fn other(house: &House) -> Config {
    fs::create_dir(house.path("other")).unwrap();
    for entry in fs::read_dir(house.path("policies")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), house.path("other").join(entry.file_name())).unwrap();
    }
    put(house, "other/extra.cedar", &harmless("other"));
    let agents = fs::read_to_string(house.path("agents.toml")).unwrap();
    put(house, "other-agents.toml", &agents.replace("trust = 3", "trust = 4"));
    let main = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    let main = main.replace("\"policies\"", "\"other\"").replace("\"agents.toml\"", "\"other-agents.toml\"");
    put(house, "other.toml", &main);
    config::load(&house.path("other.toml")).unwrap_or_else(|f| panic!("{}", f[0]))
}

// rows: TIME-04 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_hundred_a_second() {
    let reloads = std::env::var("NARROWGATE_STORM_RELOADS").ok().map_or(RELOADS, |n| n.parse().unwrap());
    let mut plan = unmetered(watching(Plan::new(), "1h"));
    // Small sets: to make one takes time in a build that is not optimised.
    plan.policies = vec![("all.cedar".to_owned(), SMALL.to_owned())];
    let stepped = Stepped::open(plan).await;
    let house = &stepped.house;
    let first = config::load(&house.path("narrowgate.toml")).unwrap_or_else(|f| panic!("{}", f[0]));
    let configs = Arc::new([first, other(house)]);
    let mut agent = stepped.agent().await;
    let grant = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    // They are made beforehand, each a set of its own; of a long run so many at a time.
    let making = Arc::clone(&configs);
    let make = move |numbers: Range<u64>| {
        let making = Arc::clone(&making);
        let one = move |number: u64| {
            let config = &making[usize::try_from(number % 2).unwrap()];
            policy::load(config, number, None).unwrap_or_else(|f| panic!("{}", f[0]))
        };
        tokio::task::spawn_blocking(move || numbers.map(one).collect::<Vec<policy::Snapshot>>())
    };
    let end = 2 + reloads;
    let mut sets = make(2..end.min(2 + ROUND)).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        callers.push(call(stepped.agent().await, grant.clone(), Arc::clone(&stop)));
    }
    let policies = Arc::clone(&stepped.daemon.corridor().policies);
    let of = |set: &policy::Snapshot| {
        [&set.policy_digest, &set.schema_digest, &set.entities_digest].map(ToString::to_string)
    };
    let mut known = BTreeMap::from([(1, of(&policies.current().unwrap()))]);
    let mut next = 2;
    while next < end {
        for set in sets.drain(..) {
            next = set.generation + 1;
            known.insert(set.generation, of(&set));
            policies.replace(set);
            tokio::time::sleep(APART).await;
        }
        sets = make(next..end.min(next + ROUND)).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.expect("a call failed that every set allows");
    }
    let house_of = stepped.house;
    stepped.daemon.stop().await;
    let seen = assert_of_one_generation(&house_of, &known);
    assert_ne!(known[&2], known[&3]);
    assert!(calls >= 100 && seen.len() >= 20, "{calls} calls under {} of {reloads} generations", seen.len());
}

// rows: TIME-04 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_files_that_are_swapped() {
    let house = unmetered(plan("100ms")).open().await;
    let mut operator = admin(&house).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut agent = house.svid_agent(crate::house::COURIER).await;
        let grant = house.login(&mut agent, &crate::kit::MAIL).await.unwrap().grant;
        callers.push(call(agent, grant, Arc::clone(&stop)));
    }
    // By the watch and by an operator at once.
    for turn in 0..12_u64 {
        put(&house, "policies/extra.cedar", &harmless(&format!("turn-{turn}")));
        if turn % 2 == 0 {
            operator.reload(ReloadRequest::default()).await.unwrap();
        } else {
            generation(&house, turn + 2).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("a call failed that every set allows");
    }
    let activated = house.events("policy.activated");
    let known: BTreeMap<u64, Digests> =
        activated.iter().map(|event| (facts(event)["generation"].as_u64().unwrap(), digests(event))).collect();
    assert_eq!((activated.len(), known.len()), (13, 13));
    assert!(assert_of_one_generation(&house, &known).len() >= 6);
    // Each set is told of before anything is decided under it.
    let mut told = 0;
    for event in house.audit() {
        let number = facts(&event)["generation"].as_u64();
        match event["metadata"]["event_code"].as_str().unwrap() {
            "policy.activated" => told = told.max(number.unwrap()),
            _ if facts(&event)["asked"].is_object() => assert!(number.unwrap() <= told, "{event}"),
            _ => {}
        }
    }
}
