//! Where a [`Claim`] is minted: what came back matched a live transaction of this caller, now locked.

use super::{
    Begun, Callback, Transactions,
    callback::Answer,
    entry::{Attempt, Entry, Once, Pkce, Status},
    store::Tables,
};
use crate::{
    caller::Caller,
    model::{AuthorizationCode, Boot, CodeVerifier, Fault, Handle, Nonce, Reason, ScopeSet, fault::Detection},
};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::watch;
use uuid::Uuid;

/// Wrong states or issuers before a transaction ends.
const WRONG_TRIES_MAX: u8 = 5;

/// Attempts before a transaction ends, however each was put back: it bounds the codes remembered.
const ATTEMPTS_MAX: u32 = 64;

/// The prefix of a transaction's handle.
pub const HANDLE_PREFIX: &str = "txn_";

/// What a caller presents to have a code redeemed.
pub struct Presented<'a> {
    /// The handle's text.
    pub transaction: &'a str,
    /// What came back.
    pub callback: Callback,
    /// The caller's id for this request.
    pub request_id: Option<Uuid>,
    /// The redirect URI, where the caller names it.
    pub redirect_uri: Option<&'a str>,
    /// Scopes the caller cannot do without.
    pub required: Option<ScopeSet>,
    /// The PKCE verifier, where the request was begun elsewhere.
    pub code_verifier: Option<CodeVerifier>,
    /// When the daemon received the code.
    pub received: Boot,
}

/// What settling leads to.
pub enum Settled {
    /// A fresh attempt, locked for this caller.
    Claimed(Box<Claim>),
    /// The same attempt succeeded before: this is its grant.
    Repeated(Caller, Handle),
    /// The same attempt is under way.
    InFlight(Caller, Waiting),
}

/// A repeat that waits for the attempt under way.
pub struct Waiting {
    entry: Arc<Entry>,
    attempt: Attempt,
    done: watch::Receiver<bool>,
}

impl Waiting {
    /// Waits for the attempt to end, and says in which grant.
    ///
    /// # Errors
    /// [`Reason::CodeAlreadyUsed`] if it came to nothing, [`Reason::TxnBusy`] if it never left and may be tried again.
    pub async fn grant(mut self) -> Result<Handle, Fault> {
        // A closed channel means the same as a sent value: the attempt is over.
        let _ = self.done.changed().await;
        match &*self.entry.lock() {
            Status::Terminal { attempt: Some(ended), grant: Some(grant), .. } if *ended == self.attempt => Ok(*grant),
            Status::Terminal { .. } => Err(Reason::CodeAlreadyUsed.into()),
            _ => Err(Reason::TxnBusy.into()),
        }
    }
}

/// The proof that a code may be tried once. Dropped without being spent or ended, it puts the transaction back.
pub struct Claim {
    begun: Arc<Begun>,
    caller: Caller,
    code: AuthorizationCode,
    required: Option<ScopeSet>,
    received: Boot,
    lock: Lock,
}

/// The lock on a transaction; releases it when dropped.
struct Lock {
    store: Arc<Transactions>,
    entry: Arc<Entry>,
    attempt: Attempt,
    wrong_tries: u8,
    done: watch::Sender<bool>,
    /// What to put back; `None` once the attempt is over.
    restore: Option<Once>,
    /// The verifier that came with the code.
    presented: Option<CodeVerifier>,
}

/// A claim that has been spent: the code is on its way, and the transaction is over whatever happens.
pub struct Spent {
    /// The facts.
    pub begun: Arc<Begun>,
    /// The caller.
    pub caller: Caller,
    /// The code.
    pub code: AuthorizationCode,
    /// The PKCE verifier.
    pub verifier: CodeVerifier,
    /// The nonce that the ID token must have; `None` where none was asked for.
    pub nonce: Option<Nonce>,
    /// Scopes the caller cannot do without.
    pub required: Option<ScopeSet>,
    /// Tells waiting repeats how it ended.
    pub closing: Closing,
}

/// Keeps a spent transaction locked until its attempt has ended, so that repeats wait for it. Dropped, it ends the
/// transaction and tells them; without a grant, that nothing came of it.
pub struct Closing {
    store: Arc<Transactions>,
    entry: Arc<Entry>,
    attempt: Attempt,
    grant: Option<Handle>,
    done: watch::Sender<bool>,
}

impl Transactions {
    /// Matches what came back against the transaction and locks it.
    ///
    /// # Errors
    /// [`Reason::TxnUnknown`], [`Reason::TxnTerminal`], [`Reason::TxnBusy`], [`Reason::StateMismatch`],
    /// [`Reason::IssMismatch`], [`Reason::RedirectUriMismatch`], [`Reason::AuthorizationRefused`],
    /// [`Reason::CodeAlreadyUsed`], [`Reason::CodeReplayed`], [`Reason::ScopeNotInTransaction`],
    /// [`Reason::PkceMismatch`].
    pub fn settle(self: &Arc<Self>, caller: Caller, presented: Presented<'_>) -> Result<Settled, Box<(Caller, Fault)>> {
        match self.examine(&caller, presented) {
            Ok(Examined::Fresh(fresh)) => Ok(Settled::Claimed(Box::new(fresh.claim(caller)))),
            Ok(Examined::Repeated(grant)) => Ok(Settled::Repeated(caller, grant)),
            Ok(Examined::InFlight(waiting)) => Ok(Settled::InFlight(caller, waiting)),
            Err(fault) => Err(Box::new((caller, fault))),
        }
    }

    fn examine(self: &Arc<Self>, caller: &Caller, presented: Presented<'_>) -> Result<Examined, Fault> {
        let mut tables = self.tables();
        let entry = self.find(&tables, caller, presented.transaction)?;
        let mut status = entry.lock();
        let now = self.clock.boot();
        let code_hash = match &presented.callback.answer {
            Answer::Code(code) => Some(self.keyed.of_secret("code", code)),
            Answer::Error(_) => None,
        };
        let attempt = code_hash.map(|code_hash| Attempt { code_hash, request_id: presented.request_id });
        let (wrong_tries, once) = match &mut *status {
            Status::Terminal { attempt: ended, grant, at } => {
                let fresh = now < at.plus(self.bounds.replay_window);
                return repeated(attempt.as_ref(), ended.as_ref(), grant.filter(|_| fresh));
            }
            Status::Locked { attempt: under_way, done, .. } => {
                return match attempt {
                    Some(a) if a == *under_way && a.request_id.is_some() => {
                        Ok(Examined::InFlight(Waiting { entry: Arc::clone(&entry), attempt: a, done: done.clone() }))
                    }
                    Some(a) if a.code_hash == under_way.code_hash => Err(Reason::CodeAlreadyUsed.into()),
                    _ => Err(Reason::TxnBusy.into()),
                };
            }
            Status::Open { .. } if now >= entry.begun.ends => return Err(Reason::TxnUnknown.into()),
            Status::Open { wrong_tries, once } => (wrong_tries, once),
        };
        if let Err(fault) = check_origin(&entry, &presented).and_then(|()| once.pkce.admits(&presented)) {
            *wrong_tries += 1;
            if *wrong_tries >= WRONG_TRIES_MAX {
                *status = Status::Terminal { attempt: None, grant: None, at: now };
            }
            return Err(fault);
        }
        let tries = *wrong_tries;
        if entry.attempts.fetch_add(1, Ordering::Relaxed) >= ATTEMPTS_MAX {
            *status = Status::Terminal { attempt: None, grant: None, at: now };
            return Err(Reason::TxnTerminal.into());
        }
        check_redirect(&entry.begun, &presented)?;
        let (code, attempt) = match (presented.callback.answer, attempt) {
            (Answer::Code(code), Some(attempt)) => (code, attempt),
            (Answer::Error(name), _) => {
                *status = Status::Terminal { attempt: None, grant: None, at: now };
                return Err(Fault::new(Reason::AuthorizationRefused).with("oauth_error", name));
            }
            (Answer::Code(_), None) => return Err(Reason::Internal.into()),
        };
        check_scopes(&entry.begun, presented.required.as_ref())?;
        remember(&mut tables, attempt.code_hash, entry.begun.handle, now)?;
        let (sender, receiver) = watch::channel(false);
        let locked = Status::Locked { attempt: attempt.clone(), done: receiver };
        let Status::Open { once, .. } = std::mem::replace(&mut *status, locked) else {
            return Err(Reason::Internal.into());
        };
        drop(status);
        let (store, presented_verifier) = (Arc::clone(self), presented.code_verifier);
        let lock = Lock {
            store,
            entry,
            attempt,
            wrong_tries: tries,
            done: sender,
            restore: Some(once),
            presented: presented_verifier,
        };
        Ok(Examined::Fresh(Box::new(Fresh { lock, code, required: presented.required, received: presented.received })))
    }

    fn find(&self, tables: &Tables, caller: &Caller, text: &str) -> Result<Arc<Entry>, Fault> {
        let unknown = || Fault::new(Reason::TxnUnknown);
        let handle = Handle::parse(HANDLE_PREFIX, text).ok_or_else(unknown)?;
        let entry = tables.entries.get(&handle).ok_or_else(unknown)?;
        if entry.begun.opening.agent.id != caller.agent().id {
            return Err(unknown().detected(Detection::CrossAgentHandle));
        }
        Ok(Arc::clone(entry))
    }
}

enum Examined {
    Fresh(Box<Fresh>),
    Repeated(Handle),
    InFlight(Waiting),
}

struct Fresh {
    lock: Lock,
    code: AuthorizationCode,
    required: Option<ScopeSet>,
    received: Boot,
}

impl Fresh {
    fn claim(self, caller: Caller) -> Claim {
        let Self { lock, code, required, received } = self;
        Claim { begun: Arc::clone(&lock.entry.begun), caller, code, required, received, lock }
    }
}

fn repeated(attempt: Option<&Attempt>, ended: Option<&Attempt>, grant: Option<Handle>) -> Result<Examined, Fault> {
    match (attempt, ended, grant) {
        (Some(a), Some(e), Some(grant)) if a == e && a.request_id.is_some() => Ok(Examined::Repeated(grant)),
        (Some(a), Some(e), _) if a.code_hash == e.code_hash => {
            Err(Fault::new(Reason::CodeAlreadyUsed).detected(Detection::CodeReplay))
        }
        _ => Err(Reason::TxnTerminal.into()),
    }
}

/// State in constant time, then `iss` by the four-case table (RFC 9207 §2.4; MCP 2026-07-28).
fn check_origin(entry: &Entry, presented: &Presented<'_>) -> Result<(), Fault> {
    if !presented.callback.state.as_ref().is_some_and(|state| entry.state.is(state)) {
        return Err(Fault::new(Reason::StateMismatch).detected(Detection::StateMismatch));
    }
    let opening = &entry.begun.opening;
    let right = match &presented.callback.iss {
        Some(iss) => *iss == opening.issuer.url,
        None => !opening.endpoints.iss_parameter,
    };
    if right { Ok(()) } else { Err(Fault::new(Reason::IssMismatch).detected(Detection::IssMismatch)) }
}

fn check_redirect(begun: &Begun, presented: &Presented<'_>) -> Result<(), Fault> {
    let redirect = &begun.opening.redirect;
    let named = presented.redirect_uri.is_none_or(|named| named == redirect.as_str());
    let told = presented.redirect_uri.is_some() || presented.callback.says_where() || !begun.opening.told_by_redirect;
    if named && told && presented.callback.arrived_on(redirect) {
        return Ok(());
    }
    Err(Fault::new(Reason::RedirectUriMismatch).detected(Detection::RedirectMismatch))
}

fn check_scopes(begun: &Begun, required: Option<&ScopeSet>) -> Result<(), Fault> {
    let beyond = required.map(|r| r.beyond(&begun.opening.scopes)).unwrap_or_default();
    if beyond.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = beyond.iter().map(ToString::to_string).collect();
    Err(Fault::new(Reason::ScopeNotInTransaction).with("scopes", names.join(" ")))
}

/// Remembers a code; refuses one that was seen under another transaction.
fn remember(tables: &mut Tables, code_hash: [u8; 32], handle: Handle, now: Boot) -> Result<(), Fault> {
    match tables.codes.get(&code_hash) {
        Some((seen_under, _)) if *seen_under != handle => {
            Err(Fault::new(Reason::CodeReplayed).detected(Detection::CodeReplay))
        }
        _ => {
            tables.codes.insert(code_hash, (handle, now));
            Ok(())
        }
    }
}

impl Claim {
    /// The transaction's facts.
    #[must_use]
    pub fn begun(&self) -> &Arc<Begun> {
        &self.begun
    }

    /// The caller.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// When the daemon received the code.
    #[must_use]
    pub const fn received(&self) -> Boot {
        self.received
    }

    /// The keyed hash of the code, for the audit log.
    #[must_use]
    pub fn code_hash(&self) -> &[u8; 32] {
        &self.lock.attempt.code_hash
    }

    /// Ends the transaction without the code ever leaving: policy said no, or it was held too long.
    pub fn end(mut self) -> Caller {
        self.lock.restore = None;
        // Without the attempt: the code was never used, so presenting it again is no replay, just too late.
        let at = self.lock.store.clock.boot();
        *self.lock.entry.lock() = Status::Terminal { attempt: None, grant: None, at };
        self.caller
    }

    /// Spends the claim. From here on bytes may leave, so the transaction is over whatever happens: the verifier is
    /// taken out, and nothing puts it back.
    ///
    /// # Errors
    /// [`Reason::Internal`] if the lock holds no verifier, which cannot be.
    pub fn spend(mut self) -> Result<Spent, Box<(Caller, Fault)>> {
        let presented = self.lock.presented.take();
        let taken = self.lock.restore.take().and_then(|Once { pkce, nonce }| match pkce {
            Pkce::Ours(verifier) => Some((verifier, nonce)),
            Pkce::Registered(_) => presented.map(|verifier| (verifier, nonce)),
        });
        let Some((verifier, nonce)) = taken else {
            return Err(Box::new((self.caller, Reason::Internal.into())));
        };
        let closing = Closing {
            store: Arc::clone(&self.lock.store),
            entry: Arc::clone(&self.lock.entry),
            attempt: self.lock.attempt.clone(),
            grant: None,
            done: self.lock.done.clone(),
        };
        Ok(Spent {
            begun: self.begun,
            caller: self.caller,
            code: self.code,
            verifier,
            nonce,
            required: self.required,
            closing,
        })
    }
}

/// Ends a transaction by this attempt.
fn close(store: &Transactions, entry: &Entry, attempt: &Attempt, grant: Option<Handle>) {
    let at = store.clock.boot();
    *entry.lock() = Status::Terminal { attempt: Some(attempt.clone()), grant, at };
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(once) = self.restore.take() {
            *self.entry.lock() = Status::Open { once, wrong_tries: self.wrong_tries };
            // Waiting repeats settle again and find it open.
            let _ = self.done.send(true);
        }
    }
}

impl Closing {
    /// The attempt ended in this grant.
    pub fn granted(mut self, grant: Handle) {
        self.grant = Some(grant);
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        close(&self.store, &self.entry, &self.attempt, self.grant);
        let _ = self.done.send(true);
    }
}
