//! The store of grants.

use super::{
    By, Durable, EndedBy, Ending, Grant, HandOut, Held, Reply,
    ending::endings,
    held::{Shelf, remaining},
    refreshing::Missing,
    watching::Signal,
};
use crate::{
    audit::Recorded,
    caller::Caller,
    config::Keeping,
    model::{AgentId, AgentQuota, ByAgent, Fault, Handle, Reason, ScopeSet, Terms, fault::Detection},
    oauth::{Disposal, Family, Issued, Kept, Obtained, ResourceNonces},
    platform::{Clock, Entropy, KeyedHash, vault::Saving},
    policy::{Released, Verdict},
    transaction::{BoundKey, Closing},
};
use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::broadcast;

/// The prefix of a grant's handle.
pub const HANDLE_PREFIX: &str = "grant_";

/// What a caller wants of a grant.
#[derive(Clone)]
pub struct Wanted {
    /// The scopes, where named.
    pub scopes: Option<ScopeSet>,
    /// The resource, where named.
    pub resource: Option<String>,
    /// How long the token must still live.
    pub min_ttl: Duration,
    /// The call it is wanted by.
    pub by: By,
}

/// Why a grant left the store by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Its token has ended and no other can be had, or it was idle, or held, for too long.
    Expired,
    /// The first reply was never written, and nobody asked for it again.
    Undelivered,
}

/// What is to be done with a grant that is swept.
enum Due {
    /// It ends.
    Ended(Ended),
    /// It had ended; now it is not remembered either.
    Forgotten,
}

/// Every grant of every agent.
pub struct Grants {
    per_agent: usize,
    lost_after: Duration,
    pub(super) keeping: Keeping,
    /// The file they are kept in, if they are.
    pub(super) durable: Option<Durable>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) keyed: Arc<KeyedHash>,
    table: RwLock<ByAgent<Grant>>,
    pub(super) endings: broadcast::Sender<Ending>,
}

/// Bounds of the store.
pub struct GrantBounds {
    /// Grants of one agent.
    pub per_agent: usize,
    /// How long a lost reply can be asked for again.
    pub lost_after: Duration,
    /// How long a grant is kept, and how many tokens of it.
    pub keeping: Keeping,
    /// The file that grants are kept in; without one they end with the process.
    pub durable: Option<Durable>,
}

/// A caller whose token was not handed out, and why; no fault where another look may find better.
pub type Unserved = (Caller, Option<Fault>);

/// What a look for a token finds.
pub enum Found {
    /// The token, held.
    Held(HandOut),
    /// The grant, and the right to refresh it if policy says so.
    Missing(Missing),
}

impl Grants {
    /// An empty store.
    #[must_use]
    pub fn new(
        bounds: GrantBounds,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        keyed: Arc<KeyedHash>,
    ) -> Arc<Self> {
        let GrantBounds { per_agent, lost_after, keeping, durable } = bounds;
        Arc::new(Self {
            per_agent,
            lost_after,
            keeping,
            durable,
            clock,
            entropy,
            keyed,
            table: RwLock::default(),
            endings: endings(),
        })
    }

    /// Whether an agent may hold another grant.
    ///
    /// # Errors
    /// [`Reason::QuotaExceeded`].
    pub fn room_for(&self, agent: &AgentId) -> Result<(), Fault> {
        let table = self.table();
        // Those that their server has ended are among them.
        if table.count_of(agent) < self.per_agent {
            return Ok(());
        }
        let ends = table.of(agent).filter(|grant| !grant.is_dead()).map(|grant| grant.ends(&self.keeping));
        let (count, soonest) =
            ends.fold((0usize, None), |(n, soonest), end| (n + 1, soonest.into_iter().chain([end]).min()));
        if count < self.per_agent {
            return Ok(());
        }
        let wait = soonest.map_or(Duration::from_secs(60), |end| end.since(self.clock.boot()));
        Err(AgentQuota::Grants.met(wait))
    }

    /// Makes a grant of a released token. It cannot be found before its reply is recorded and admitted.
    ///
    /// # Errors
    /// The token and [`Reason::Internal`] without entropy.
    pub fn keep(&self, released: Released<Issued>) -> Result<(Reply, Caller, Closing), Box<(Kept, Fault)>> {
        let (issued, verdict, terms) = released.into_parts();
        let (kept, caller, closing) = issued.into_parts();
        self.enter(kept, &caller, verdict, &terms).map(|reply| (reply, caller, closing))
    }

    /// The same of a token that no code was spent for.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub fn keep_obtained(&self, released: Released<Obtained>) -> Result<(Reply, Caller), Box<(Kept, Fault)>> {
        let (obtained, verdict, terms) = released.into_parts();
        let (kept, caller) = obtained.into_parts();
        self.enter(kept, &caller, verdict, &terms).map(|reply| (reply, caller))
    }

    /// Makes a token of a grant of one that was exchanged for its own. It cannot be found before its reply is recorded and
    /// taken home. The use was counted with [`Self::lend_at_home`].
    ///
    /// # Errors
    /// The token, which must be revoked, and [`Reason::GrantUnknown`] if the grant ended meanwhile.
    pub fn keep_home(
        &self,
        home: &Arc<Grant>,
        released: Released<Obtained>,
    ) -> Result<(Reply, Caller), Box<(Kept, Fault)>> {
        let (obtained, verdict, terms) = released.into_parts();
        let (kept, caller) = obtained.into_parts();
        if home.is_ended() {
            return Err(Box::new((kept, Reason::GrantUnknown.into())));
        }
        let terms = terms.strictest(home.terms.clone()).strictest(kept.terms.clone());
        let held = Arc::new(Held::obtained(Arc::new(kept), &caller));
        Ok((Reply::first(Arc::clone(home), held, &caller, verdict, &terms), caller))
    }

    fn enter(
        &self,
        mut kept: Kept,
        caller: &Caller,
        verdict: Verdict,
        terms: &Terms,
    ) -> Result<Reply, Box<(Kept, Fault)>> {
        let (mut bits, mut jitter) = ([0u8; 16], [0u8; 1]);
        if let Err(fault) = self.entropy.fill(&mut bits).and_then(|()| self.entropy.fill(&mut jitter)) {
            return Err(Box::new((kept, fault)));
        }
        let terms = terms.clone().strictest(kept.terms.clone());
        // A refresh needs a proof, which narrowgate cannot make with a key that is its agent's.
        let unprovable = kept.begun.bound_key.as_ref().is_some_and(BoundKey::is_agents);
        if terms.no_refresh || kept.begun.opening.offline_refused || unprovable {
            // Never used and never handed out, but revoked with the grant: forgotten, it would live on at the server.
            kept.tokens.retired = kept.tokens.refresh.take();
        }
        let refresh = kept.tokens.refresh.take();
        let kept = Arc::new(kept);
        let [jitter] = jitter;
        let grant = Arc::new(Grant {
            handle: Handle::new(bits),
            agent: Arc::clone(caller.agent()),
            family: refresh.map(|token| Family::new(Arc::clone(&kept), token, jitter)),
            nonces: ResourceNonces::default(),
            shelf: Mutex::new(Shelf::new(self.keeping.tokens_per_grant)),
            used: AtomicU64::new(kept.at.0.0),
            kept,
            terms: terms.clone(),
            uses: AtomicU64::new(1),
            delivered: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            died: Mutex::default(),
            mark: Mutex::default(),
            restored: false,
            signal: Signal::default(),
        });
        let held = Arc::new(Held::obtained(Arc::clone(&grant.kept), caller));
        grant.shelve(grant.key(&grant.kept.scopes, &self.keyed), &held, &*self.clock);
        Ok(Reply::first(grant, held, caller, verdict, &terms))
    }

    /// Makes a grant findable: its outcome is durable.
    pub fn admit(&self, reply: &Recorded<Reply>) {
        self.insert(Arc::clone(reply.get().grant()));
    }

    pub(super) fn insert(&self, grant: Arc<Grant>) {
        self.table_mut().insert(grant);
    }

    /// Looks for a token of this caller's grant that still lives and is what is wanted.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`], [`Reason::ReauthRequired`], [`Reason::TokenExpired`], [`Reason::ScopeNotGranted`],
    /// [`Reason::NarrowingUnavailable`].
    pub fn look(&self, caller: Caller, handle: Handle, wanted: &Wanted) -> Result<Found, Box<(Caller, Fault)>> {
        let looked = self.find(&caller, handle).and_then(|grant| {
            grant.lives(&self.keeping, &*self.clock)?;
            grant.has(wanted)?;
            let is_used_up = grant.terms.max_uses.is_some_and(|max| grant.uses() >= max);
            if is_used_up && wanted.by != By::Proof {
                return Err(Reason::GrantUnknown.into());
            }
            let scopes = wanted.scopes.as_ref().unwrap_or(&grant.kept.scopes);
            let key = grant.key(scopes, &self.keyed);
            let held = grant.servable(&key, wanted.min_ttl, &*self.clock);
            if held.is_none() {
                grant.can_refresh(wanted)?;
            }
            grant.used.store(self.clock.boot().0, Ordering::Relaxed);
            Ok((grant, key, held))
        });
        Ok(match looked {
            Ok((grant, key, Some(held))) => Found::Held(HandOut::new(grant, (held, key), caller, &*self.clock)),
            Ok((grant, key, None)) => Found::Missing(Missing::new(grant, key, caller, wanted)),
            Err(fault) => return Err(Box::new((caller, fault))),
        })
    }

    /// Turns a released hand-out into a reply, unless the grant ended or was used up meanwhile. The caller comes back.
    ///
    /// # Errors
    /// The caller and [`Reason::GrantUnknown`] or [`Reason::TokenExpired`]; nothing instead of a fault where another look
    /// may find better: the token has just ended, or the terms of this hand-out ended it.
    pub fn reply(&self, released: Released<HandOut>, wanted: &Wanted) -> Result<(Reply, Caller), Box<Unserved>> {
        let (hand_out, verdict, terms) = released.into_parts();
        let (grant, held, key, caller) = hand_out.into_parts();
        // Terms may have tightened since the first release; they never loosen it.
        let terms = terms.strictest(grant.terms_of(&held));
        let left = held.left(&*self.clock, &terms);
        if left.is_zero() || left < wanted.min_ttl {
            let may_give_way = wanted.by != By::Redeem;
            let again = may_give_way && grant.gives_way(&key, left, wanted.min_ttl, &*self.clock);
            return Err(Box::new((caller, (!again).then(|| Reason::TokenExpired.into()))));
        }
        if let Err(fault) = grant.count_use(&terms) {
            return Err(Box::new((caller, Some(fault))));
        }
        drop(self.save_count(&grant, &terms));
        let reply = Reply::again(grant, held, &caller, verdict, &terms, wanted.by);
        Ok((reply, caller))
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

    /// Takes a grant out: it is never handed out again, also by calls under way; nor after a restart, once what is
    /// returned is done. Says whether it was there.
    pub fn end(&self, grant: &Grant, by: EndedBy) -> (bool, Saving) {
        grant.finish();
        let was_there = self.table_mut().remove(&grant.handle).is_some();
        if was_there {
            self.tell(grant, by);
        }
        (was_there, self.forget(grant))
    }

    /// The server has ended a grant, or cannot be trusted with it: nothing of it is served any more. It is remembered
    /// for a while, so that its agent learns that a person must log in again.
    #[must_use]
    pub fn bury(&self, grant: &Grant) -> Option<Disposal> {
        // In this order: whoever is woken finds it dead.
        *grant.died.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.boot());
        grant.finish();
        drop(self.forget(grant));
        self.tell(grant, EndedBy::Server);
        grant.remains()
    }

    /// Takes out what has ended by itself. To look at each takes time, and agents wait for the table: only what there is to
    /// take out is looked at once more while they do.
    #[must_use]
    pub fn sweep(&self) -> Vec<(Arc<Grant>, Ended)> {
        let mut ended = Vec::new();
        for grant in self.copied() {
            if self.is_due(&grant).is_none() {
                continue;
            }
            let mut table = self.table_mut();
            let Some(due) = self.is_due(&grant) else { continue };
            if table.remove(&grant.handle).is_none() {
                continue;
            }
            if let Due::Ended(why) = due {
                grant.finish();
                drop(table);
                drop(self.forget(&grant));
                self.tell(&grant, EndedBy::Itself);
                ended.push((grant, why));
            }
        }
        ended
    }

    /// Whether a grant has ended by itself, or was remembered long enough after its server ended it.
    fn is_due(&self, grant: &Grant) -> Option<Due> {
        let now = self.clock.boot();
        if let Some(died) = *grant.died.lock().unwrap_or_else(PoisonError::into_inner) {
            return (now >= died.plus(self.lost_after)).then_some(Due::Forgotten);
        }
        grant.shelf().retain(|held| !held.remaining(&*self.clock).is_zero());
        let over = match &grant.family {
            None => remaining(&grant.kept, &*self.clock).is_zero() || now >= grant.ends(&self.keeping),
            Some(_) => grant.is_over(&self.keeping, &*self.clock),
        };
        let lost = || !grant.delivered.load(Ordering::Acquire) && now >= grant.kept.at.0.plus(self.lost_after);
        match over {
            true => Some(Due::Ended(Ended::Expired)),
            false => lost().then_some(Due::Ended(Ended::Undelivered)),
        }
    }

    /// Takes out every grant: the end of the process.
    #[must_use]
    pub fn take_all(&self) -> Vec<Arc<Grant>> {
        let mut all = self.table_mut().take();
        all.retain(|grant| !grant.is_dead());
        all.iter().for_each(|grant| grant.finish());
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

    pub(super) fn table(&self) -> RwLockReadGuard<'_, ByAgent<Grant>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn table_mut(&self) -> RwLockWriteGuard<'_, ByAgent<Grant>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}
