//! What a decision costs in one process: narrowgate, cedarling and raw Cedar. From this folder:
//!
//! ```text
//! cargo bench --bench in_process [-- --short]
//! ```
//!
//! One hand-out is decided: the gate (`release_token`) and `grant_scope` for each of three scopes, four questions in all,
//! with 10 and 1,000 agent-scoped permits beside the guardrails. There are two sets. "own" is narrowgate's, with its
//! schema and guardrails; "plain" is the same rules on plain values, which cedarling can be asked about (see `plain.rs`).
//!
//! - `ours cached`, `ours uncached`: `Policies::release` on the own set, the same asked again and what was never asked;
//! - `raw own`: `cedar_policy::Authorizer` over the own set, its four requests and the entities made beforehand;
//! - `raw plain`: the same over the plain set; `raw whole` also makes entities, contexts and requests from JSON, against
//!   the schema, in every call, as one does who embeds Cedar, and as cedarling does;
//! - `cedarling batch`: `authorize_unsigned_batch` of the four, its log off; `cedarling single`: four times
//!   `authorize_unsigned`. Each takes a request of its own, which it is given as a clone.
//!
//! Rounds are taken A B C … A B C … in one run; each figure is the median of its rounds, in microseconds of the thread's
//! processor time for the four questions. Only the ratios may be compared with another run's. All sides evaluate with the
//! one `cedar-policy` in Cargo.lock.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints"
)]
#![allow(dead_code, clippy::allow_attributes, reason = "the sets of other benches are used in part")]

mod plain;
#[path = "../desk.rs"]
mod desk;
#[path = "../sets.rs"]
mod sets;

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicyId, PolicySet, Request, Schema};
use cedarling::{
    AuthorizationConfig, AuthorizeOptions, BatchAuthorizeUnsignedRequest, BatchItem, BootstrapConfig, Cedarling,
    DataStoreConfig, EntityData, HttpClientConfig, JwtConfig, LogConfig, LogLevel, LogTypeConfig, PolicyStoreConfig,
    PolicyStoreSource, RequestUnsigned,
};
use desk::{Desk, Raw};
use plain::{Question, questions};
use serde_json::{Value, json};
use sets::{Kind, Set};
use std::{hint::black_box, time::Duration};
use tokio::runtime::Runtime;

const SIZES: [usize; 2] = [10, 1_000];
const NAMES: [&str; 7] =
    ["ours cached", "ours uncached", "raw own", "raw plain", "raw whole", "cedarling batch", "cedarling single"];

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (rounds, times) = if short { (5, 200) } else { (15, 1_000) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut figures = Vec::new();
    for size in SIZES {
        let medians = measure(size, rounds, times, &runtime);
        println!("\n{size} permits, us of the processor for four questions; median of {rounds} rounds");
        println!("{:<18}{:>12}{:>18}{:>20}", "", "us", "against uncached", "against raw plain");
        for (name, figure) in NAMES.iter().zip(medians) {
            println!("{name:<18}{figure:>12.2}{:>18.2}{:>20.2}", figure / medians[1], figure / medians[3]);
        }
        println!("cedarling (batch) against raw whole: {:.2}", medians[5] / medians[4]);
        figures.push(json!({ "permits": size, "us": NAMES.iter().zip(medians).collect::<Vec<_>>() }));
    }
    println!("{}", json!({ "rounds": rounds, "figures": figures }));
}

fn measure(size: usize, rounds: usize, times: usize, runtime: &Runtime) -> [f64; 7] {
    let set = Set::write(Kind::Agent, size);
    let config = set.config();
    let mut desk = Desk::open(&config);
    let raw_own = Raw::of(&set, &mut desk);
    let plain = Plain::of(size);
    let peer = Peer::of(size, runtime);
    // What looks at every policy is asked less often.
    let few = if size > 100 { (times / 20).max(10) } else { times };
    let mut taken: [Vec<f64>; 7] = Default::default();
    for round in 0..=rounds {
        let figures = [
            cpu(times * 20, |n| desk.cached(n)),
            cpu(times, |n| desk.uncached(n)),
            cpu(few, |n| raw_own.decide(n)),
            cpu(few, |n| plain.decide(n)),
            cpu(few, |n| plain.decide_whole(n)),
            cpu(few, |n| peer.batch(n, runtime)),
            cpu(few, |n| peer.single(n, runtime)),
        ];
        // The first one warms up.
        if round > 0 {
            taken.iter_mut().zip(figures).for_each(|(taken, figure)| taken.push(figure));
        }
    }
    taken.map(median)
}

/// Raw Cedar over the plain set.
struct Plain {
    policies: PolicySet,
    schema: Schema,
    ready: Vec<(Request, Entities)>,
    calls: Vec<Call>,
}

/// One question, as it comes to whoever embeds Cedar.
struct Call {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    context: Value,
    entities: Value,
}

impl Plain {
    fn of(size: usize) -> Self {
        let (schema, _) = Schema::from_cedarschema_str(plain::SCHEMA).unwrap();
        let mut policies = PolicySet::new();
        for (id, text) in plain::policies(size) {
            policies.add(cedar_policy::Policy::parse(Some(PolicyId::new(id)), text).unwrap()).unwrap();
        }
        let validation =
            cedar_policy::Validator::new(schema.clone()).validate(&policies, cedar_policy::ValidationMode::Strict);
        assert!(validation.validation_passed(), "{validation}");
        let calls: Vec<Call> = questions().map(Call::of).collect();
        let ready = calls.iter().map(|call| call.make(&schema)).collect();
        Self { policies, schema, ready, calls }
    }

    fn decide(&self, times: usize) {
        let authorizer = Authorizer::new();
        for _ in 0..times {
            for (request, entities) in &self.ready {
                let answer = authorizer.is_authorized(request, &self.policies, entities);
                assert_eq!(black_box(answer).decision(), Decision::Allow);
            }
        }
    }

    fn decide_whole(&self, times: usize) {
        let authorizer = Authorizer::new();
        for _ in 0..times {
            for call in &self.calls {
                let (request, entities) = call.make(&self.schema);
                let answer = authorizer.is_authorized(&request, &self.policies, &entities);
                assert_eq!(black_box(answer).decision(), Decision::Allow);
            }
        }
    }
}

impl Call {
    fn of(question: Question) -> Self {
        let uid = |kind: &str, id: &str| EntityUid::from_json(json!({ "type": kind, "id": id })).unwrap();
        let (kind, id) = plain::PRINCIPAL;
        let (resource_kind, resource_id) = question.resource();
        Self {
            principal: uid(kind, id),
            action: uid("Narrowgate::Action", question.action()),
            resource: uid(resource_kind, resource_id),
            context: question.context(),
            entities: json!([
                plain::entity(plain::PRINCIPAL, plain::principal_attributes()),
                plain::entity(question.resource(), question.resource_attributes()),
            ]),
        }
    }

    fn make(&self, schema: &Schema) -> (Request, Entities) {
        let entities = Entities::from_json_value(self.entities.clone(), Some(schema)).unwrap();
        let context = Context::from_json_value(self.context.clone(), Some((schema, &self.action))).unwrap();
        let (principal, resource) = (self.principal.clone(), self.resource.clone());
        (Request::new(principal, self.action.clone(), resource, context, Some(schema)).unwrap(), entities)
    }
}

/// cedarling over the plain set.
struct Peer {
    cedarling: Cedarling,
    batch: BatchAuthorizeUnsignedRequest,
    single: Vec<RequestUnsigned>,
}

impl Peer {
    fn of(size: usize, runtime: &Runtime) -> Self {
        let cedarling = runtime.block_on(Cedarling::new(&bootstrap(size))).unwrap();
        let principal = entity(plain::PRINCIPAL, plain::principal_attributes());
        let items: Vec<BatchItem> = questions().map(item).collect();
        let single = items.iter().cloned().map(|item| RequestUnsigned {
            principal: Some(principal.clone()),
            action: item.action,
            resource: item.resource,
            context: item.context,
            options: AuthorizeOptions::default(),
        });
        Self { cedarling, single: single.collect(), batch: BatchAuthorizeUnsignedRequest::new(Some(principal), items) }
    }

    fn batch(&self, times: usize, runtime: &Runtime) {
        runtime.block_on(async {
            for _ in 0..times {
                let answer = self.cedarling.authorize_unsigned_batch(self.batch.clone()).await.unwrap();
                assert!(black_box(answer).results.iter().all(|result| result.as_ref().unwrap().decision));
            }
        });
    }

    fn single(&self, times: usize, runtime: &Runtime) {
        runtime.block_on(async {
            for _ in 0..times {
                for request in &self.single {
                    let answer = self.cedarling.authorize_unsigned(request.clone()).await.unwrap();
                    assert!(black_box(answer).decision);
                }
            }
        });
    }
}

fn item(question: Question) -> BatchItem {
    BatchItem {
        resource: entity(question.resource(), question.resource_attributes()),
        action: format!("Narrowgate::Action::\"{}\"", question.action()),
        context: question.context(),
    }
}

fn entity((kind, id): (&str, &str), mut attributes: Value) -> EntityData {
    attributes["cedar_entity_mapping"] = json!({ "entity_type": kind, "id": id });
    serde_json::from_value(attributes).unwrap()
}

fn bootstrap(size: usize) -> BootstrapConfig {
    let content = |body: &str| json!({ "encoding": "none", "content_type": "cedar", "body": body });
    let policy = |(id, text): (String, String)| (id, json!({ "description": "", "policy_content": content(&text) }));
    let policies: serde_json::Map<String, Value> = plain::policies(size).into_iter().map(policy).collect();
    let store = json!({ "peers": {
        "cedar_version": "v4.0.0", "name": "peers", "description": "",
        "policies": policies, "schema": content(plain::SCHEMA),
    } });
    // What is JSON is YAML, but it is refused at the top.
    let store = format!("cedar_version: v4.0.0\npolicy_stores: {store}\n");
    BootstrapConfig {
        application_name: "peers".to_owned(),
        log_config: LogConfig { log_type: LogTypeConfig::Off, log_level: LogLevel::ERROR },
        policy_store_config: PolicyStoreConfig {
            source: PolicyStoreSource::Yaml(store),
            ..PolicyStoreConfig::default()
        },
        jwt_config: JwtConfig::new_without_validation(),
        authorization_config: AuthorizationConfig::default(),
        lock_config: None,
        max_base64_size: None,
        max_default_entities: None,
        data_store_config: DataStoreConfig::default(),
        http_client_config: HttpClientConfig::default(),
        trace_config: None,
    }
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
