//! The store of grants.

use super::{HandOut, Reply};
use crate::{
    audit::Recorded,
    caller::Caller,
    model::{Agent, AgentId, Fault, Handle, Reason, ScopeSet, Terms, fault::Detection},
    oauth::{Issued, Kept},
    platform::{Clock, Entropy},
    policy::Released,
    transaction::Closing,
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// The prefix of a grant's handle.
pub const HANDLE_PREFIX: &str = "grant_";

/// A grant.
pub struct Grant {
    /// Its handle.
    pub handle: Handle,
    /// Its agent.
    pub agent: Arc<Agent>,
    /// Its token and where it came from.
    pub kept: Kept,
    /// The terms it was first released on.
    pub terms: Terms,
    pub(super) uses: AtomicU64,
    /// Whether any reply with its token was written.
    pub(super) delivered: AtomicBool,
    /// Revoked: what is still under way must not hand it out.
    pub(super) ended: AtomicBool,
}

/// What a caller wants of a grant.
pub struct Wanted {
    /// The scopes, where named.
    pub scopes: Option<ScopeSet>,
    /// The resource, where named.
    pub resource: Option<String>,
    /// How long the token must still live.
    pub min_ttl: Duration,
}

/// Why a grant left the store by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Its token has ended.
    Expired,
    /// The first reply was never written, and nobody asked for it again.
    Undelivered,
}

/// Every grant of every agent.
pub struct Grants {
    per_agent: usize,
    lost_after: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    table: Mutex<HashMap<Handle, Arc<Grant>>>,
}

impl Grants {
    /// An empty store: `per_agent` grants each; a reply that was lost can be asked for again until `lost_after`.
    #[must_use]
    pub fn new(per_agent: usize, lost_after: Duration, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Arc<Self> {
        Arc::new(Self { per_agent, lost_after, clock, entropy, table: Mutex::default() })
    }

    /// Whether an agent may hold another grant.
    ///
    /// # Errors
    /// [`Reason::QuotaExceeded`].
    pub fn room_for(&self, agent: &AgentId) -> Result<(), Fault> {
        let table = self.table();
        let held = table.values().filter(|g| g.agent.id == *agent);
        let ends = held.map(|g| g.kept.at.0.plus(g.kept.lifetime));
        let (count, soonest) =
            ends.fold((0usize, None), |(n, soonest), end| (n + 1, soonest.into_iter().chain([end]).min()));
        if count < self.per_agent {
            return Ok(());
        }
        let wait = soonest.map_or(Duration::from_secs(60), |end| end.since(self.clock.boot()));
        Err(Fault::new(Reason::QuotaExceeded).with("quota", "grants_per_agent").retry_after(wait))
    }

    /// Makes a grant of a released token. It cannot be found before its reply is recorded and admitted.
    ///
    /// # Errors
    /// The token and [`Reason::Internal`] without entropy.
    pub fn keep(&self, released: Released<Issued>) -> Result<(Reply, Closing), Box<(Kept, Fault)>> {
        let (issued, verdict, terms) = released.into_parts();
        let (mut kept, caller, closing) = issued.into_parts();
        let mut bits = [0u8; 16];
        if let Err(fault) = self.entropy.fill(&mut bits) {
            return Err(Box::new((kept, fault)));
        }
        let terms = terms.strictest(kept.terms.clone());
        if terms.no_refresh || kept.begun.opening.offline_refused {
            // Never used and never handed out, but revoked with the grant: forgotten, it would live on at the server.
            kept.tokens.retired = kept.tokens.refresh.take();
        }
        let grant = Grant {
            handle: Handle::new(bits),
            agent: Arc::clone(caller.agent()),
            kept,
            terms: terms.clone(),
            uses: AtomicU64::new(1),
            delivered: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        };
        Ok((Reply::first(Arc::new(grant), &caller, verdict, &terms), closing))
    }

    /// Makes a grant findable: its outcome is durable.
    pub fn admit(&self, reply: &Recorded<Reply>) {
        let grant = reply.get().grant();
        self.table().insert(grant.handle, Arc::clone(grant));
    }

    /// Finds a grant of this caller that still lives and has what is wanted.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`], [`Reason::TokenExpired`], [`Reason::ScopeNotGranted`],
    /// [`Reason::NarrowingUnavailable`], [`Reason::QuotaExceeded`].
    pub fn hand_out(&self, caller: Caller, handle: Handle, wanted: &Wanted) -> Result<HandOut, Box<(Caller, Fault)>> {
        let found = self.find(&caller, handle).and_then(|grant| {
            grant.has(wanted)?;
            grant.lives_for(&*self.clock, &grant.terms, wanted.min_ttl)?;
            Ok(grant)
        });
        match found {
            Ok(grant) => {
                let remaining = grant.remaining(&*self.clock);
                Ok(HandOut::new(grant, caller, remaining))
            }
            Err(fault) => Err(Box::new((caller, fault))),
        }
    }

    /// Turns a released hand-out into a reply, unless the grant ended or was used up meanwhile.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`], [`Reason::TokenExpired`].
    pub fn reply(&self, released: Released<HandOut>, min_ttl: Duration, recovered: bool) -> Result<Reply, Fault> {
        let (hand_out, verdict, terms) = released.into_parts();
        let (grant, caller) = hand_out.into_parts();
        // Terms may have tightened since the first release; they never loosen it.
        let terms = terms.strictest(grant.terms.clone());
        grant.lives_for(&*self.clock, &terms, min_ttl)?;
        let before = grant.uses.fetch_add(1, Ordering::Relaxed);
        if grant.ended.load(Ordering::Acquire) || terms.max_uses.is_some_and(|max| before >= max) {
            return Err(Fault::new(Reason::GrantUnknown));
        }
        Ok(Reply::again(grant, &caller, verdict, &terms, recovered))
    }

    /// Finds a grant of this caller, to end it.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`].
    pub fn find(&self, caller: &Caller, handle: Handle) -> Result<Arc<Grant>, Fault> {
        let table = self.table();
        let grant = table.get(&handle).ok_or_else(|| Fault::new(Reason::GrantUnknown))?;
        if grant.agent.id != caller.agent().id {
            return Err(Fault::new(Reason::GrantUnknown).detected(Detection::CrossAgentHandle));
        }
        Ok(Arc::clone(grant))
    }

    /// Takes a grant out: it is never handed out again, also by calls under way.
    pub fn end(&self, grant: &Grant) -> bool {
        grant.ended.store(true, Ordering::Release);
        self.table().remove(&grant.handle).is_some()
    }

    /// Takes out what has ended by itself.
    #[must_use]
    pub fn sweep(&self) -> Vec<(Arc<Grant>, Ended)> {
        let now = self.clock.boot();
        let mut ended = Vec::new();
        self.table().retain(|_, grant| {
            let lost = !grant.delivered.load(Ordering::Acquire) && now >= grant.kept.at.0.plus(self.lost_after);
            let why = if grant.remaining(&*self.clock).is_zero() {
                Ended::Expired
            } else if lost {
                Ended::Undelivered
            } else {
                return true;
            };
            grant.ended.store(true, Ordering::Release);
            ended.push((Arc::clone(grant), why));
            false
        });
        ended
    }

    /// Takes out every grant: the end of the process.
    #[must_use]
    pub fn take_all(&self) -> Vec<Arc<Grant>> {
        let all: Vec<Arc<Grant>> = self.table().drain().map(|(_, grant)| grant).collect();
        all.iter().for_each(|grant| grant.ended.store(true, Ordering::Release));
        all
    }

    /// How many grants are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table().is_empty()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Handle, Arc<Grant>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Grant {
    /// Whether any reply with its token was written.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.delivered.load(Ordering::Acquire)
    }

    /// How long the token still lives: by the boot clock or the wall clock, whichever is less.
    fn remaining(&self, clock: &dyn Clock) -> Duration {
        let (boot, wall) = self.kept.at;
        let by_boot = boot.plus(self.kept.lifetime).since(clock.boot());
        let by_wall = wall.plus(self.kept.lifetime).0.saturating_sub(clock.wall().0);
        by_boot.min(Duration::from_millis(u64::try_from(by_wall).unwrap_or(0)))
    }

    /// How long narrowgate serves the token in all.
    pub(super) fn lease(&self, terms: &Terms) -> Duration {
        let ceiling = self.kept.lifetime.min(self.kept.begun.opening.client.lifetime_ceiling);
        terms.max_lifetime.map_or(ceiling, |max| max.min(ceiling))
    }

    fn lives_for(&self, clock: &dyn Clock, terms: &Terms, min_ttl: Duration) -> Result<(), Fault> {
        let spent = self.kept.lifetime.saturating_sub(self.remaining(clock));
        let left = self.lease(terms).saturating_sub(spent);
        if left.is_zero() || left < min_ttl { Err(Reason::TokenExpired.into()) } else { Ok(()) }
    }

    fn has(&self, wanted: &Wanted) -> Result<(), Fault> {
        let beyond = wanted.scopes.as_ref().map(|w| w.beyond(&self.kept.scopes)).unwrap_or_default();
        if !beyond.is_empty() {
            let names: Vec<String> = beyond.iter().map(ToString::to_string).collect();
            return Err(Fault::new(Reason::ScopeNotGranted).with("scopes", names.join(" ")));
        }
        if wanted.resource.is_some() && wanted.resource.as_deref() != self.kept.begun.opening.resource() {
            return Err(Fault::field(Reason::ScopeNotGranted, "resource", "is not the grant's"));
        }
        if wanted.scopes.as_ref().is_some_and(|w| !self.kept.scopes.is_within(w)) {
            return Err(Reason::NarrowingUnavailable.into());
        }
        Ok(())
    }
}
