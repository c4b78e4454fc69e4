//! Numbers for operators, as OpenMetrics text.
//!
//! Invariant: no label holds text from outside. Labels are `&'static str`, words of the code, but for the issuer's
//! alias, which is a word of the configuration: however many scopes, agents or paths come, the series are bounded.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// The media type of the text.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Call {
    method: &'static str,
    reason: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Event {
    code: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Decision {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Token {
    event: &'static str,
    issuer: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Reload {
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Difference {
    kind: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Door {
    door: &'static str,
}

/// What an audit event adds to the numbers.
pub struct Happening {
    /// Its code.
    pub code: &'static str,
    /// The operation it happened in.
    pub operation: &'static str,
    /// What policy said, if it is a decision.
    pub outcome: Option<&'static str>,
    /// Whether policy was not asked anew for it: nothing that its answers hang on was otherwise.
    pub cached: bool,
    /// What became of a token, and the alias of its issuer, if it is about one.
    pub token: Option<(&'static str, String)>,
}

/// What is held at the moment of reading.
#[derive(Clone, Copy, Default, Debug)]
pub struct Held {
    /// Open transactions.
    pub transactions: usize,
    /// Grants.
    pub grants: usize,
    /// Agents, clients and issuers that operators have frozen.
    pub frozen: usize,
    /// Whether calls are served.
    pub serving: bool,
    /// The policy set.
    pub policy: Policy,
}

/// How the policy set is at the moment of reading.
#[derive(Clone, Copy, Default, Debug)]
pub struct Policy {
    /// The generation that is current; 0 for none.
    pub generation: u64,
    /// Whether the newest files were not taken.
    pub failed: bool,
    /// Since the files were last found sound.
    pub unchecked: Duration,
    /// Looks at the files by what they brought: another set, nothing new, mistakes, a set that waits for an operator.
    pub reloads: [u64; 4],
    /// Whether a sound set waits for an operator.
    pub pending: bool,
    /// Denied questions that sets which became active allow.
    pub weakened: u64,
    /// The shadow set.
    pub shadow: Shadow,
}

/// How the shadow set is at the moment of reading.
#[derive(Clone, Copy, Default, Debug)]
pub struct Shadow {
    /// Whether it has mistakes, and nothing is compared.
    pub failed: bool,
    /// Decisions compared.
    pub compared: u64,
    /// Differences by kind.
    pub differences: [u64; 4],
    /// Decisions not compared.
    pub dropped: u64,
    /// Differences counted and not recorded one by one.
    pub unrecorded: u64,
}

/// The words for what looks at the files brought.
const RELOADS: [&str; 4] = ["activated", "unchanged", "refused", "pending"];
/// The words for how the shadow set differs.
const DIFFERENCES: [&str; 4] = ["would_allow", "would_deny", "other_terms", "error"];

/// The counters of one daemon.
pub struct Metrics {
    registry: Registry,
    calls: Family<Call, Counter>,
    events: Family<Event, Counter>,
    decisions: Family<Decision, Counter>,
    decisions_cached: Counter,
    tokens: Family<Token, Counter>,
    commits: Histogram,
    connections: Family<Door, Gauge>,
    transactions: Gauge,
    grants: Gauge,
    frozen: Gauge,
    serving: Gauge,
    policy_generation: Gauge,
    policy_failed: Gauge,
    policy_unchecked: Gauge,
    reloads: Family<Reload, Counter>,
    policy_pending: Gauge,
    policy_weakened: Counter,
    shadow_failed: Gauge,
    shadow_compared: Counter,
    shadow_dropped: Counter,
    shadow_unrecorded: Counter,
    shadow_differences: Family<Difference, Counter>,
}

/// An open connection; counts down when dropped.
pub struct Open(Gauge<i64, AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("narrowgate"),
            calls: Family::default(),
            events: Family::default(),
            decisions: Family::default(),
            decisions_cached: Counter::default(),
            tokens: Family::default(),
            // From half a millisecond to about 16 seconds: a solid disk, and one that hangs.
            commits: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            connections: Family::default(),
            transactions: Gauge::default(),
            grants: Gauge::default(),
            frozen: Gauge::default(),
            serving: Gauge::default(),
            policy_generation: Gauge::default(),
            policy_failed: Gauge::default(),
            policy_unchecked: Gauge::default(),
            reloads: Family::default(),
            policy_pending: Gauge::default(),
            policy_weakened: Counter::default(),
            shadow_failed: Gauge::default(),
            shadow_compared: Counter::default(),
            shadow_dropped: Counter::default(),
            shadow_unrecorded: Counter::default(),
            shadow_differences: Family::default(),
        };
        metrics.register();
        metrics.register_shadow();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("build", "This program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("calls", "Calls by method and reason; OK is none", self.calls.clone());
        registry.register("events", "Audit events by code", self.events.clone());
        registry.register("decisions", "Decisions of policy by operation and outcome", self.decisions.clone());
        registry.register(
            "decisions_cached",
            "Decisions whose answers were known: nothing that they hang on was otherwise",
            self.decisions_cached.clone(),
        );
        registry.register("tokens", "What became of tokens, by issuer", self.tokens.clone());
        let help = "How long an event took to become durable";
        registry.register_with_unit("audit_commit", help, Unit::Seconds, self.commits.clone());
        registry.register("connections", "Open connections by door", self.connections.clone());
        registry.register("transactions", "Open transactions", self.transactions.clone());
        registry.register("grants", "Grants held", self.grants.clone());
        registry.register("frozen", "Agents, clients and issuers frozen by operators", self.frozen.clone());
        registry.register("serving", "1 if calls are served, 0 if not", self.serving.clone());
        registry.register(
            "policy_generation",
            "The policy set that is current; 0 for none",
            self.policy_generation.clone(),
        );
        registry.register("policy_failed", "1 if the newest policy files were not taken", self.policy_failed.clone());
        let help = "Since the policy files were last found sound";
        registry.register_with_unit("policy_unchecked", help, Unit::Seconds, self.policy_unchecked.clone());
        registry.register("policy_reloads", "Looks at the policy files by what they brought", self.reloads.clone());
    }

    fn register_shadow(&mut self) {
        let registry = &mut self.registry;
        let help = "1 if a sound policy set waits for an operator's word";
        registry.register("policy_pending", help, self.policy_pending.clone());
        let help = "Denied questions that policy sets which became active allow";
        registry.register("policy_weakened", help, self.policy_weakened.clone());
        let help = "1 if the shadow policy set has mistakes, and nothing is compared";
        registry.register("shadow_failed", help, self.shadow_failed.clone());
        let help = "Decisions compared with the shadow policy set, which decides nothing";
        registry.register("shadow_compared", help, self.shadow_compared.clone());
        let help = "Decisions not compared with the shadow policy set: it did not keep up, or was not loaded anew yet";
        registry.register("shadow_dropped", help, self.shadow_dropped.clone());
        let help = "Differences of the shadow policy set that are counted and not recorded one by one";
        registry.register("shadow_unrecorded", help, self.shadow_unrecorded.clone());
        let help = "Decisions that the shadow policy set would have made otherwise, by kind; none was enforced";
        registry.register("shadow_differences", help, self.shadow_differences.clone());
    }

    fn set_shadow(&self, policy: &Policy) {
        let set = |counter: &Counter, count: u64| counter.inner().store(count, Ordering::Relaxed);
        self.policy_pending.set(i64::from(policy.pending));
        set(&self.policy_weakened, policy.weakened);
        let shadow = &policy.shadow;
        self.shadow_failed.set(i64::from(shadow.failed));
        set(&self.shadow_compared, shadow.compared);
        set(&self.shadow_dropped, shadow.dropped);
        set(&self.shadow_unrecorded, shadow.unrecorded);
        for (kind, count) in DIFFERENCES.into_iter().zip(shadow.differences) {
            set(&self.shadow_differences.get_or_create(&Difference { kind }), count);
        }
    }

    /// A call was answered.
    pub fn called(&self, method: &'static str, reason: &'static str) {
        self.calls.get_or_create(&Call { method, reason }).inc();
    }

    /// An event is in the audit log, or on its way there for sure.
    pub fn recorded(&self, recorded: Happening) {
        let Happening { code, operation, outcome, cached, token } = recorded;
        self.events.get_or_create(&Event { code }).inc();
        if let Some(outcome) = outcome {
            self.decisions.get_or_create(&Decision { operation, outcome }).inc();
            self.decisions_cached.inc_by(u64::from(cached));
        }
        if let Some((event, issuer)) = token {
            self.tokens.get_or_create(&Token { event, issuer }).inc();
        }
    }

    /// An event became durable after this long.
    pub fn committed(&self, after: Duration) {
        self.commits.observe(after.as_secs_f64());
    }

    /// A connection was opened.
    #[must_use]
    pub fn opened(&self, door: &'static str) -> Open {
        let gauge = self.connections.get_or_create_owned(&Door { door });
        gauge.inc();
        Open(gauge)
    }

    /// The numbers as they are now.
    #[must_use]
    pub fn text(&self, held: Held) -> String {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.transactions.set(number(held.transactions));
        self.grants.set(number(held.grants));
        self.frozen.set(number(held.frozen));
        self.serving.set(i64::from(held.serving));
        let policy = held.policy;
        self.policy_generation.set(i64::try_from(policy.generation).unwrap_or(i64::MAX));
        self.policy_failed.set(i64::from(policy.failed));
        self.policy_unchecked.set(i64::try_from(policy.unchecked.as_secs()).unwrap_or(i64::MAX));
        for (result, count) in RELOADS.into_iter().zip(policy.reloads) {
            self.reloads.get_or_create(&Reload { result }).inner().store(count, Ordering::Relaxed);
        }
        self.set_shadow(&policy);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
