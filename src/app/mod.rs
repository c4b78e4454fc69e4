//! Wiring: a checked configuration becomes parts, parts become a daemon that serves and drains. The only file that
//! knows every room.

mod doors;

use self::doors::{bind, serve_doors};
use crate::{
    api::{BindError, Doors, MtlsDoor, Readiness, UnixDoor, serve_metrics},
    audit::{self, Code, CorrelationKey, Event, Installation, OpenExchange, Recorder, Severity, Sink, StartError},
    config::{Config, Finding, about},
    exchange::{Approvals, Corridor, first_set},
    grant::{Durable, GrantBounds, Grants, OpenedStore, Records, open_store},
    model::DecisionId,
    oauth::{AuthorizationServers, BundleSource, ProtectedResources},
    platform::{
        Clock, Entropy, KeyedHash, SystemClock, SystemEntropy, Work, files,
        vault::{OpenError, Rejected},
    },
    policy::{self, Freezes, Witness},
    telemetry::{
        Metrics,
        metrics::{self, Held},
    },
    transaction::{Bounds, Transactions},
};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// The least that a stop waits for what is under way, beyond the longest exchange.
const DRAIN_MIN: Duration = Duration::from_secs(10);
/// How often ended grants are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration cannot be used.
    #[error("the configuration cannot be used")]
    Config(Vec<Finding>),
    /// The audit log cannot be used.
    #[error(transparent)]
    Audit(#[from] StartError),
    /// The installation's key cannot be used.
    #[error("the installation's key {0}: {1}")]
    Key(PathBuf, String),
    /// The file that grants are kept in cannot be used.
    #[error("the grant store {0}")]
    Store(#[from] OpenError),
    /// The freezes of the run before cannot be read.
    #[error("the list of freezes in {0} {1}")]
    Freezes(PathBuf, String),
    /// The system has no entropy.
    #[error("the system gives no random bits")]
    NoEntropy,
    /// A door cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// No approval was taken yet.
fn approvals(entropy: &dyn Entropy) -> Result<Arc<Approvals>, Failure> {
    Approvals::start(entropy).map_err(|_| Failure::NoEntropy)
}

/// A daemon that serves.
pub struct Daemon {
    corridor: Arc<Corridor>,
    serving: JoinSet<()>,
    stop: watch::Sender<bool>,
    /// Why calls are not served, or `None`.
    pub readiness: watch::Receiver<Option<&'static str>>,
    /// Where mutual TLS is served, if it is.
    pub address: Option<SocketAddr>,
    /// What was wrong with the policies, if they did not load.
    pub policy_findings: Vec<Finding>,
    audit_thread: thread::JoinHandle<()>,
}

impl Daemon {
    /// Starts a daemon. A policy set that does not load leaves it running and refusing, so that its health can be asked.
    ///
    /// # Errors
    /// See [`Failure`]; nothing is bound then.
    pub async fn start(config: Config, file: &Path) -> Result<Self, Failure> {
        Self::start_with(config, file, Arc::new(SystemClock), Arc::new(SystemEntropy::new())).await
    }

    /// As [`Self::start`], on this clock and this entropy: the ports that tests hold still.
    ///
    /// # Errors
    /// See [`Failure`]; nothing is bound then.
    pub async fn start_with(
        config: Config,
        file: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Failure> {
        let config = Arc::new(config);
        let log = &config.audit.directory;
        let key = CorrelationKey::open(log, &*entropy).map_err(|w| Failure::Key(CorrelationKey::path(log), w))?;
        let keyed = Arc::new(key.keyed());
        let installation = Installation { uid: keyed.reference("installation", b""), hostname: hostname() };
        let (sink, open, audit_thread) =
            audit::open(log, key, installation, Arc::new(files::Disk), Arc::clone(&clock), Arc::clone(&entropy))?;
        let store = open_store(&config, &clock, &entropy)?;
        let (metrics, witness) = (Arc::new(Metrics::default()), Arc::new(Witness::new(config.shadow.is_some())));
        let recorder = recorder(&config, sink, &keyed).counting(Arc::clone(&metrics)).seen_by(Arc::clone(&witness));
        let work = Arc::new(Work::default());
        let servers = {
            let (clock, entropy) = (Arc::clone(&clock), Arc::clone(&entropy));
            AuthorizationServers::new(&config, file, (clock, entropy), recorder.clone(), Arc::clone(&work))
        }
        .map_err(Failure::Config)?;
        let resources = ProtectedResources::new(&config, file, Arc::clone(&clock)).map_err(Failure::Config)?;
        let freezes = Freezes::open(&config.audit.directory, clock.boot())
            .map_err(|wrong| Failure::Freezes(config.audit.directory.clone(), wrong))?;
        let (unix, mtls) = bind(&config).await?;
        let admin = config.admin.as_ref().map(UnixDoor::bind).transpose()?;
        let numbers = config.metrics.as_ref().map(UnixDoor::bind).transpose()?;
        let address = mtls.as_ref().and_then(|door| door.address().ok());
        // Before they are read: what is written from here on is a change.
        let glance = policy::Sources::glance(&config);
        let (policies, policy_findings) = first_set(&config, Arc::clone(&clock), freezes, &recorder, witness);
        let bounds = Bounds::from(&config.limits);
        let transactions = Transactions::new(bounds, Arc::clone(&clock), Arc::clone(&entropy), Arc::clone(&keyed));
        let (durable, found) = store.map(OpenedStore::into_halves).unzip();
        let grants = Grants::new(grant_bounds(&config, durable), Arc::clone(&clock), Arc::clone(&entropy), keyed);
        let corridor = Arc::new(Corridor {
            approvals: approvals(&*entropy)?,
            policies,
            transactions,
            servers,
            resources,
            bundles: BundleSource::new(&config, file).map_err(Failure::Config)?,
            grants,
            recorder,
            clock,
            entropy,
            work,
            config,
        });
        take_up(&corridor, found, open).await;
        corridor.start_shadow().await;
        let (stop, stopping) = watch::channel(false);
        let readiness = follow_readiness(&corridor, stopping.clone());
        let mut serving = JoinSet::new();
        serving.spawn(Arc::clone(&corridor).keep_tidy(TIDY_EVERY));
        serving.spawn(Arc::clone(&corridor).keep_current(glance));
        if corridor.config.grant_store.is_some() {
            serving.spawn(Arc::clone(&corridor).watch_store(TIDY_EVERY));
        }
        let authorities = corridor.config.tcp.as_ref().map(|tcp| tcp.authorities.clone()).unwrap_or_default();
        let doors = Doors::new(
            Arc::clone(&corridor),
            Readiness::new(readiness.clone(), Arc::clone(&corridor)),
            Arc::clone(&metrics),
        );
        serve_doors(&mut serving, doors, (unix, mtls, admin), authorities, &stopping);
        if let Some(door) = numbers {
            let held = held(&corridor, readiness.clone());
            serving.spawn(serve_metrics(door, move || metrics.text(held()), stopping));
        }
        Ok(Self { corridor, serving, stop, readiness, address, policy_findings, audit_thread })
    }

    /// Stops: no new calls, those under way finish, what never reached its agent is revoked, the last record is
    /// written. What agents hold lives on until it ends, and so does the refresh token held here for it, unless its
    /// issuer says `revoke_on_stop`: to revoke it would end the agents' tokens at most servers (RFC 7009 §2.1), so that
    /// every restart would be an outage.
    pub async fn stop(mut self) {
        let work = Arc::clone(&self.corridor.work);
        work.stop();
        let _ = self.stop.send(true);
        let config = &self.corridor.config;
        let longest = config.issuers.values().map(|issuer| issuer.deadline).max().unwrap_or_default();
        let patience = DRAIN_MIN + longest + config.audit.outcome_hold;
        if tokio::time::timeout(patience, work.idle()).await.is_err() {
            tracing::warn!("gave up waiting for calls under way");
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), async {
            // All but the tidying and watching end by themselves.
            let staying = 2 + usize::from(self.corridor.config.grant_store.is_some());
            while self.serving.len() > staying && self.serving.join_next().await.is_some() {}
        })
        .await;
        self.serving.shutdown().await;
        // Only now: before, a reply may be on its way. From here on nobody can ask for one.
        let left = self.corridor.let_go();
        if tokio::time::timeout(DRAIN_MIN + longest, work.idle()).await.is_err() {
            tracing::warn!("gave up waiting for revocations");
        }
        // An exchange that outlived the first wait has issued its token meanwhile.
        let late = self.corridor.let_go();
        if tokio::time::timeout(DRAIN_MIN, work.idle()).await.is_err() {
            tracing::warn!("gave up waiting for the last revocations");
        }
        let mut event = Event::new(Code::DaemonStopped, "lifecycle")
            .with("grants_left", left.grants + late.grants)
            .with("refresh_tokens_left", left.refresh_tokens + late.refresh_tokens);
        if self.corridor.config.grant_store.is_some() {
            let written = self.corridor.grants.close_store().await;
            event = event.with("grants_stored", left.stored + late.stored).with("grant_store_written", written);
        }
        if work.under_way() > 0 {
            event.severity = Severity::High;
            event = event.with("under_way", work.under_way());
        }
        // It may fail, and the log says at the next start that this stop is not in it.
        let _ = self.corridor.recorder.durable(event).await;
        let Self { corridor, audit_thread, stop, .. } = self;
        // Whoever follows the readiness lets go with it.
        drop((stop, corridor));
        // The thread ends with the last sender, which a retry of a revocation may still hold. It is not joined: a disk
        // that hangs would keep the process for ever.
        let ended = async {
            while !audit_thread.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), ended).await;
    }

    /// Waits until an operator asks for an orderly stop.
    pub async fn drained(&self) {
        self.corridor.work.drained().await;
    }

    /// Records that a second signal cuts a stop short. The exchanges cut off are closed as unknown at the next start.
    pub async fn record_cut_off(corridor: &Corridor) {
        let mut event = Event::new(Code::DaemonStopped, "lifecycle")
            .with("cut_off", true)
            .with("under_way", corridor.work.under_way());
        event.severity = Severity::High;
        let _ = corridor.recorder.durable(event).await;
    }

    /// The corridor, for the demo and tests that look inside.
    #[must_use]
    pub fn corridor(&self) -> &Arc<Corridor> {
        &self.corridor
    }
}

fn recorder(config: &Config, sink: Sink, keyed: &Arc<KeyedHash>) -> Recorder {
    Recorder::new(sink, Arc::clone(keyed), config.audit.commit_timeout, config.audit.outcome_hold)
}

fn grant_bounds(config: &Config, durable: Option<Durable>) -> GrantBounds {
    let (limits, keeping) = (&config.limits, config.keeping.clone());
    let lost_after = limits.replay_window + config.audit.outcome_hold;
    GrantBounds { per_agent: limits.grants_per_agent, lost_after, keeping, durable }
}

/// The decisions whose outcome the run before did not see.
fn unfinished(open: &[OpenExchange]) -> BTreeSet<DecisionId> {
    open.iter().filter_map(|exchange| uuid::Uuid::try_parse(&exchange.id).ok().map(DecisionId)).collect()
}

/// Takes up what the run before left, before anything is served: what is on record after it belongs to this run.
async fn take_up(corridor: &Arc<Corridor>, found: Option<(Option<Rejected>, Records)>, open: Vec<OpenExchange>) {
    let mut found_again = None;
    let mut marked = true;
    if let Some((rejected, records)) = found {
        let (restored, saving) = corridor.grants.restore(records, &corridor.config, &unfinished(&open));
        marked = corridor.grants.settle(saving).await;
        found_again = Some((rejected, restored));
    }
    // Left open where the file does not say it yet: the next start must know of them.
    if marked {
        close_open_exchanges(&corridor.recorder, open);
    }
    corridor.recorder.report(Event::new(Code::DaemonStarted, "lifecycle"));
    if let Some((rejected, restored)) = found_again {
        corridor.report_restored(rejected.as_ref(), restored);
    }
    // Only now: a freeze that outlived the run before ends the grants that did so too.
    corridor.purge_frozen();
    corridor.servers.tell_weak_authentication(&corridor.config);
}

/// What of a configuration would keep a daemon from starting on this machine, found out by what starts it: nothing is
/// bound, made or changed.
#[must_use]
pub fn would_refuse(config: &Config, file: &Path) -> Vec<Finding> {
    let mut findings = AuthorizationServers::refused(config, file);
    findings.extend(ProtectedResources::refused(config, file));
    findings.extend(BundleSource::new(config, file).err().unwrap_or_default());
    let sockets = [("listen.unix", &config.unix), ("metrics", &config.metrics)];
    for (table, socket) in sockets.into_iter().filter_map(|(table, socket)| Some((table, socket.as_ref()?))) {
        findings.extend(UnixDoor::refused(socket).map(|wrong| about(file, format!("`{table}.path`: {wrong}"))));
    }
    let tcp = config.tcp.as_ref().and_then(MtlsDoor::refused);
    findings.extend(tcp.map(|wrong| about(file, format!("[listen.tcp]: {wrong}"))));
    let log = &config.audit.directory;
    if log.exists() && !log.is_dir() {
        findings.push(about(file, format!("`audit.directory`: {} is no folder", log.display())));
    } else if let Err(wrong) = CorrelationKey::find(log) {
        findings.push(about(&CorrelationKey::path(log), wrong));
    }
    findings
}

/// What is held at a moment. It keeps no part of the corridor alive.
fn held(corridor: &Arc<Corridor>, readiness: watch::Receiver<Option<&'static str>>) -> impl Fn() -> Held + use<> {
    let corridor = Arc::downgrade(corridor);
    move || {
        let serving = readiness.borrow().is_none();
        let Some(corridor) = corridor.upgrade() else { return Held { serving, ..Held::default() } };
        let (standing, shadow) = (corridor.policies.standing(), &corridor.policies.witness().shadow);
        let failed = shadow.standing().failure.is_some();
        let policy::ShadowCounts { compared, differences, dropped, unrecorded } = shadow.counts();
        let policy = metrics::Policy {
            generation: corridor.policies.current().map_or(0, |set| set.generation),
            failed: standing.failed,
            unchecked: standing.checked.map(|(at, _)| corridor.clock.boot().since(at)).unwrap_or_default(),
            reloads: [standing.activations, standing.unchanged, standing.refusals, standing.waits],
            pending: standing.pending.is_some(),
            weakened: standing.weakened,
            shadow: metrics::Shadow { failed, compared, differences, dropped, unrecorded },
        };
        Held {
            transactions: corridor.transactions.open_count(),
            grants: corridor.grants.len(),
            frozen: corridor.policies.freezes().len(),
            serving,
            policy,
        }
    }
}

/// Closes what the run before left open: its code may have been sent, so nobody may think it was not.
fn close_open_exchanges(recorder: &Recorder, open: Vec<OpenExchange>) {
    for exchange in open {
        let Ok(id) = uuid::Uuid::try_parse(&exchange.id) else { continue };
        let mut event =
            Event::new(Code::ExchangeUnknown, "RedeemCode").of(DecisionId(id)).with("agent", exchange.agent);
        event.severity = Severity::High;
        recorder.report(match exchange.code_ref {
            Some(reference) => event.with("code_ref", reference),
            None => event,
        });
    }
}

/// Follows whether calls are served, for health.
fn follow_readiness(
    corridor: &Arc<Corridor>,
    mut stopping: watch::Receiver<bool>,
) -> watch::Receiver<Option<&'static str>> {
    let corridor = Arc::clone(corridor);
    let mut writable = corridor.recorder.writable();
    let why_not = move |corridor: &Corridor, stopping: bool, writable: bool| match () {
        () if stopping => Some("stopping"),
        () if corridor.policies.current().is_none() => Some("no valid policy set"),
        () if !writable || !corridor.recorder.is_writable() => Some("the audit log cannot be written"),
        () if !corridor.grants.is_storable() => Some("the file that grants are kept in cannot be written"),
        () if corridor.policies.freezes().is_dirty() => Some("the list of freezes cannot be written"),
        () if !corridor.clock_is_plausible() => Some("the clock is before this program was built"),
        () => None,
    };
    let (sender, receiver) = watch::channel(why_not(&corridor, false, true));
    tokio::spawn(async move {
        loop {
            // Copied out first: a borrow held while the same value is read again deadlocks with a writer in between.
            let (is_stopping, can_write) = (*stopping.borrow(), *writable.borrow());
            let now = why_not(&corridor, is_stopping, can_write);
            sender.send_if_modified(|before| std::mem::replace(before, now) != now);
            tokio::select! {
                changed = stopping.changed() => if changed.is_err() { return },
                changed = writable.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    });
    receiver
}

fn hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
