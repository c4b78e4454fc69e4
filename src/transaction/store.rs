//! The store: bounded per agent, single use under concurrency, tombstones by keyed hash.

use super::{
    Begun, Opening,
    entry::{Entry, Once, Status},
};
use crate::{
    config::Limits,
    model::{AgentId, Boot, CodeVerifier, Fault, Handle, Nonce, Reason, StateValue},
    platform::{Clock, Entropy, KeyedHash, entropy::random_base64url},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU32},
    time::Duration,
};

/// Ended transactions remembered per open one an agent may have: beyond this an agent must wait.
const REMEMBERED_PER_OPEN: usize = 32;

/// The bounds that the store keeps.
#[derive(Clone)]
pub struct Bounds {
    /// Open transactions per agent.
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
    pub(super) entries: HashMap<Handle, Arc<Entry>>,
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
    /// [`Reason::QuotaExceeded`]; [`Reason::Internal`] without entropy.
    pub fn open(&self, opening: Opening) -> Result<Minted, Fault> {
        let mut bits = [0u8; 16];
        self.entropy.fill(&mut bits)?;
        let state_text = random_base64url::<32>(&*self.entropy)?;
        let verifier_text = random_base64url::<32>(&*self.entropy)?;
        let challenge = s256(&verifier_text);
        let asks = opening.scopes.asks_identity();
        let nonce_text = asks.then(|| random_base64url::<32>(&*self.entropy)).transpose()?;
        let (now, wall) = (self.clock.boot(), self.clock.wall());
        let begun = Arc::new(Begun {
            handle: Handle::new(bits),
            at: now,
            ends: now.plus(self.bounds.ttl),
            ends_wall: wall.plus(self.bounds.ttl),
            opening,
        });
        let entry = Entry {
            begun: Arc::clone(&begun),
            state: StateValue::new(state_text.clone()),
            status: Mutex::new(Status::Open {
                once: Once { verifier: CodeVerifier::new(verifier_text), nonce: nonce_text.clone().map(Nonce::new) },
                wrong_tries: 0,
            }),
            attempts: AtomicU32::new(0),
        };
        let mut tables = self.tables();
        self.sweep(&mut tables, now);
        self.admit(&tables, &begun.opening.agent.id, now)?;
        tables.entries.insert(begun.handle, Arc::new(entry));
        Ok(Minted { begun, state: StateValue::new(state_text), challenge, nonce: nonce_text.map(Nonce::new) })
    }

    /// Takes a transaction back when this is dropped, unless it is kept: nobody was told of it yet.
    #[must_use]
    pub fn provisional(&self, minted: &Minted) -> Provisional<'_> {
        Provisional { transactions: self, handle: Some(minted.begun.handle) }
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

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, tables: &Tables, agent: &AgentId, now: Boot) -> Result<(), Fault> {
        let of_agent = tables.entries.values().filter(|e| e.begun.opening.agent.id == *agent);
        let (mut open, mut all, mut soonest) = (0usize, 0usize, None);
        for entry in of_agent {
            all += 1;
            if !matches!(*entry.lock(), Status::Terminal { .. }) {
                open += 1;
                soonest = soonest.into_iter().chain([entry.begun.ends]).min();
            }
        }
        if open < self.bounds.open_per_agent && all < self.bounds.open_per_agent * REMEMBERED_PER_OPEN {
            return Ok(());
        }
        let wait = soonest.map_or(self.bounds.ttl, |ends| ends.since(now));
        Err(Fault::new(Reason::QuotaExceeded).with("quota", "transactions_per_agent").retry_after(wait))
    }

    /// Forgets what has ended and can no longer be asked for. At most once a second.
    fn sweep(&self, tables: &mut Tables, now: Boot) {
        if tables.swept.is_some_and(|at| now.since(at) < Duration::from_secs(1)) {
            return;
        }
        tables.swept = Some(now);
        let window = self.bounds.replay_window;
        tables.entries.retain(|_, entry| match &*entry.lock() {
            Status::Open { .. } => now < entry.begun.ends,
            Status::Locked { .. } => true,
            Status::Terminal { at, .. } => now < at.plus(window),
        });
        let Tables { entries, codes, .. } = tables;
        // A code is remembered for as long as its transaction, however long the server takes.
        codes.retain(|_, (handle, seen)| now < seen.plus(window) || entries.contains_key(handle));
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
