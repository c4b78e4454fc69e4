//! The store: bounded per agent, single use under concurrency, tombstones by keyed hash.

use super::{
    Begun, Opening, Registration,
    entry::{Entry, Expected, Once, Pkce, Status},
};
use crate::{
    config::Limits,
    model::{AgentId, AgentQuota, Boot, ByAgent, CodeVerifier, Fault, FreezeTarget, Handle, Nonce, Owned, StateValue},
    platform::{Clock, Entropy, KeyedHash, entropy::random_base64url},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU32},
    time::Duration,
};

/// Ended transactions remembered per open one an agent may have: beyond this an agent must wait.
const REMEMBERED_PER_OPEN: usize = 32;

/// Transactions looked through per second of the pause before: some hundredths of the time at most go into it.
const SWEPT_PER_SECOND: u64 = 50_000;

/// The bounds that the store keeps.
#[derive(Clone)]
pub struct Bounds {
    /// Open transactions per agent that began them.
    pub open_per_agent: usize,
    /// How long a transaction lives.
    pub ttl: Duration,
    /// How long ended transactions and codes are remembered.
    pub replay_window: Duration,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            open_per_agent: limits.transactions_per_agent,
            ttl: limits.transaction_ttl,
            replay_window: limits.replay_window,
        }
    }
}

/// Every transaction of every agent.
pub struct Transactions {
    pub(super) bounds: Bounds,
    pub(super) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pub(super) keyed: Arc<KeyedHash>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
pub(super) struct Tables {
    pub(super) entries: ByAgent<Entry>,
    /// Codes seen: where, and when first.
    pub(super) codes: HashMap<[u8; 32], (Handle, Boot)>,
    swept: Option<Boot>,
}

/// A new transaction, and the secrets its authorization request carries.
pub struct Minted {
    /// Its facts.
    pub begun: Arc<Begun>,
    /// The state to send.
    pub state: StateValue,
    /// The PKCE challenge to send: S256 of the verifier, which stays (RFC 7636 §4.2).
    pub challenge: String,
    /// The nonce to send, where an ID token is asked for (OIDC Core §3.1.2.1).
    pub nonce: Option<Nonce>,
}

/// A transaction that is taken back unless it is kept. See [`Transactions::provisional`].
pub struct Provisional<'t> {
    transactions: &'t Transactions,
    handle: Option<Handle>,
}

impl Provisional<'_> {
    /// Keeps it.
    pub fn keep(mut self) {
        self.handle = None;
    }
}

impl Drop for Provisional<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle {
            self.transactions.tables().entries.remove(&handle);
        }
    }
}

impl Transactions {
    /// An empty store.
    #[must_use]
    pub fn new(bounds: Bounds, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, keyed: Arc<KeyedHash>) -> Arc<Self> {
        Arc::new(Self { bounds, clock, entropy, keyed, tables: Mutex::default() })
    }

    /// Mints state, verifier, handle and, where an ID token is asked for, a nonce, and keeps the transaction.
    ///
    /// # Errors
    /// [`Reason::QuotaExceeded`](crate::model::Reason::QuotaExceeded);
    /// [`Reason::Internal`](crate::model::Reason::Internal) without entropy.
    pub fn open(&self, opening: Opening) -> Result<Minted, Fault> {
        let mut bits = [0u8; 16];
        self.entropy.fill(&mut bits)?;
        let state_text = random_base64url::<32>(&*self.entropy)?;
        let verifier_text = random_base64url::<32>(&*self.entropy)?;
        let challenge = s256(&verifier_text);
        let asks = opening.scopes.asks_identity();
        let nonce_text = asks.then(|| random_base64url::<32>(&*self.entropy)).transpose()?;
        let begun = self.begun(Handle::new(bits), opening)?;
        let once =
            Once { pkce: Pkce::Ours(CodeVerifier::new(verifier_text)), nonce: nonce_text.clone().map(Nonce::new) };
        self.insert(Arc::clone(&begun), Expected::State(StateValue::new(state_text.clone())), once)?;
        Ok(Minted { begun, state: StateValue::new(state_text), challenge, nonce: nonce_text.map(Nonce::new) })
    }

    /// Takes a transaction back when this is dropped, unless it is kept: nobody was told of it yet.
    #[must_use]
    pub fn provisional(&self, minted: &Minted) -> Provisional<'_> {
        Provisional { transactions: self, handle: Some(minted.begun.handle) }
    }

    /// Keeps a transaction whose request somebody else began.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn register(&self, opening: Opening, registration: Registration) -> Result<Arc<Begun>, Fault> {
        let mut bits = [0u8; 16];
        self.entropy.fill(&mut bits)?;
        let begun = self.begun(Handle::new(bits), opening)?;
        let Registration { challenge, state_hash, nonce } = registration;
        self.insert(Arc::clone(&begun), Expected::Hash(state_hash), Once { pkce: Pkce::Registered(challenge), nonce })?;
        Ok(begun)
    }

    fn begun(&self, handle: Handle, opening: Opening) -> Result<Arc<Begun>, Fault> {
        let now = (self.clock.boot(), self.clock.wall());
        Begun::new(opening, handle, now, self.bounds.ttl).map(Arc::new)
    }

    fn insert(&self, begun: Arc<Begun>, state: Expected, once: Once) -> Result<(), Fault> {
        let mut tables = self.tables();
        self.sweep(&mut tables, begun.at);
        self.admit(&tables, begun.opening.begun_by(), begun.at)?;
        let status = Mutex::new(Status::Open { once, wrong_tries: 0 });
        tables.entries.insert(Arc::new(Entry { begun, state, status, attempts: AtomicU32::new(0) }));
        Ok(())
    }

    /// How many transactions are open and how many codes are remembered, for tests and status.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        let tables = self.tables();
        (tables.entries.len(), tables.codes.len())
    }

    /// How many transactions are open, or being redeemed right now.
    #[must_use]
    pub fn open_count(&self) -> usize {
        let tables = self.tables();
        tables.entries.values().filter(|entry| !matches!(*entry.lock(), Status::Terminal { .. })).count()
    }

    /// Ends every open transaction of an agent, a client or an issuer, with its verifier and nonce. One that is being
    /// redeemed is left to whoever redeems it. Returns how many.
    pub fn end_of(&self, target: &FreezeTarget) -> usize {
        self.end_where(|opening| {
            let of = |agent| target.covers(agent, &opening.client.alias, &opening.issuer.alias);
            [&opening.agent.id].into_iter().chain(&opening.registered_by).any(of)
        })
    }

    /// Ends every open transaction that is meant. Returns how many.
    pub fn end_where(&self, is_meant: impl Fn(&Opening) -> bool) -> usize {
        let (tables, at, mut count) = (self.tables(), self.clock.boot(), 0);
        for entry in tables.entries.values().filter(|entry| is_meant(&entry.begun.opening)) {
            let mut status = entry.lock();
            if matches!(*status, Status::Open { .. }) {
                *status = Status::Terminal { attempt: None, grant: None, at };
                count += 1;
            }
        }
        count
    }

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an agent may begin another. What a front end registers is its own doing: it takes no room of the agent's
    /// that it names.
    fn admit(&self, tables: &Tables, agent: &AgentId, now: Boot) -> Result<(), Fault> {
        let most = self.bounds.open_per_agent;
        if tables.entries.count_of(agent) < most {
            return Ok(());
        }
        let (mut open, mut ended) = (Vec::new(), Vec::new());
        for entry in tables.entries.of(agent) {
            match &*entry.lock() {
                // Those that were not swept yet take no room.
                Status::Open { .. } => open.extend(Some(entry.begun.ends).filter(|end| now < *end)),
                // Past its end too: it is being redeemed right now.
                Status::Locked { .. } => open.push(entry.begun.ends.max(now)),
                Status::Terminal { at, .. } => {
                    ended.extend(Some(at.plus(self.bounds.replay_window)).filter(|end| now < *end));
                }
            }
        }
        let (quota, room) = match () {
            () if open.len() >= most => (AgentQuota::TransactionsOpen, open),
            () if open.len() + ended.len() >= most * REMEMBERED_PER_OPEN => (AgentQuota::TransactionsRemembered, ended),
            () => return Ok(()),
        };
        let soonest = room.into_iter().min();
        let wait = soonest.map_or(self.bounds.ttl, |end| end.since(now)).max(Duration::from_millis(100));
        Err(quota.met(wait))
    }

    /// Forgets what has ended and can no longer be asked for. At most once a second, and less often the more there is to
    /// look through: agents wait meanwhile.
    fn sweep(&self, tables: &mut Tables, now: Boot) {
        let pause = Duration::from_secs(1 + tables.entries.len() as u64 / SWEPT_PER_SECOND);
        if tables.swept.is_some_and(|at| now.since(at) < pause) {
            return;
        }
        tables.swept = Some(now);
        let window = self.bounds.replay_window;
        tables.entries.retain(|entry| match &*entry.lock() {
            Status::Open { .. } => now < entry.begun.ends,
            Status::Locked { .. } => true,
            Status::Terminal { at, .. } => now < at.plus(window),
        });
        let Tables { entries, codes, .. } = tables;
        // A code is remembered for as long as its transaction, however long the server takes.
        codes.retain(|_, (handle, seen)| now < seen.plus(window) || entries.contains(handle));
    }
}

impl Owned for Entry {
    fn handle(&self) -> Handle {
        self.begun.handle
    }

    /// Who began it: whose room it takes.
    fn owner(&self) -> &AgentId {
        self.begun.opening.begun_by()
    }
}

impl Entry {
    pub(super) fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `BASE64URL(SHA256(ASCII(verifier)))` (RFC 7636 §4.2).
pub(super) fn s256(verifier: &str) -> String {
    // The same encoding as a certificate thumbprint's: unpadded base64url of SHA-256.
    crate::config::thumbprint(verifier.as_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn s256_is_that_of_rfc_7636_appendix_b() {
        let challenge = super::s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
