//! The public keys of one issuer, fetched where its metadata says and believed for a while (OIDC Core §10.1.1).
//!
//! Invariant: a set is used for an exchange only while it is younger than `keys_ttl`, so a key that the issuer removed
//! stops verifying within that time, also where its keys cannot be fetched any more. From half that time on the set is
//! fetched anew in the background: an outage shorter than the other half is not noticed.
//!
//! Each issuer has keys of its own, and nothing else ever verifies its tokens, even where two publish at one host.

use super::{
    http::{self, Broken},
    jose::jwks::{Change, Ignored, KEY_SET_BYTES_MAX, Key, KeySet, KeysRejected},
    names::Names,
};
use crate::{
    audit::{Code, Event, Recorder, Severity},
    config::Issuer,
    model::{Boot, Fault, Reason, fault::Detection},
    platform::{Clock, Work, trace},
};
use rustls::ClientConfig;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use url::Url;

/// Thumbprints named in an event.
const NAMED_MAX: usize = 16;

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: Arc<Issuer>,
    /// Without a client certificate: keys are fetched as anyone would.
    tls: Arc<ClientConfig>,
    names: Names,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    /// A fetch counts as work: its caller may be gone.
    work: Arc<Work>,
    state: Mutex<State>,
    /// One fetch at a time, whoever waits for it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// When the last fetch failed; `None` if it did not.
    failed: Option<Boot>,
    /// When keys were last fetched because a token named an unknown one.
    sought: Option<Boot>,
}

/// A key set, where it is from, and when it was asked for.
struct Held {
    url: String,
    set: Arc<KeySet>,
    at: Boot,
}

/// Why there is no new set.
enum Missing {
    /// The server did not answer, or not with a JSON document.
    Unavailable(&'static str),
    /// It answered with something that must not be believed.
    Rejected(&'static str),
}

impl Keys {
    pub(super) fn new(
        issuer: Arc<Issuer>,
        tls: Arc<ClientConfig>,
        names: Names,
        clock: Arc<dyn Clock>,
        recorder: Recorder,
        work: Arc<Work>,
    ) -> Self {
        let (state, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { issuer, tls, names, clock, recorder, work, state, fetching }
    }

    /// The keys to believe now, fetched if need be.
    ///
    /// # Errors
    /// [`Reason::JwksUnavailable`].
    pub(super) async fn current(self: &Arc<Self>, url: &str) -> Result<Arc<KeySet>, Fault> {
        let asked = self.clock.boot();
        if let Some(set) = self.believed(url, asked) {
            self.renew_early(url, asked);
            return Ok(set);
        }
        self.fetched(url, asked, false).await
    }

    /// The keys after a token named one that is not in the current set: fetched at most once in `keys_refresh`,
    /// however many tokens do. `None`: not now.
    pub(super) async fn sought(self: &Arc<Self>, url: &str) -> Option<Result<Arc<KeySet>, Fault>> {
        let asked = self.clock.boot();
        {
            let mut state = self.state();
            if state.sought.is_some_and(|before| asked < before.plus(self.issuer.id_tokens.keys_refresh)) {
                return None;
            }
            state.sought = Some(asked);
        }
        Some(self.fetched(url, asked, true).await)
    }

    /// Fetches in its turn, unless that has become needless; `anew`: unless a set came that was asked for since. It lives
    /// on when its caller goes: however short the callers' deadlines are, one of them learns how it ended.
    async fn fetched(self: &Arc<Self>, url: &str, asked: Boot, anew: bool) -> Result<Arc<KeySet>, Fault> {
        let (this, url, underway) = (Arc::clone(self), url.to_owned(), self.work.enter_always());
        let fetching = trace::spawn(async move {
            let turn = this.fetching.lock().await;
            let shared = this.shared(&url, asked, anew);
            let answer = match shared {
                Some(answer) => answer,
                None => this.fetch(&url).await,
            };
            drop((turn, underway));
            answer
        });
        fetching.await.unwrap_or_else(|_| Err(Reason::Internal.into()))
    }

    /// What a fetch that ended while this caller waited for its turn came to.
    fn shared(&self, url: &str, asked: Boot, anew: bool) -> Option<Result<Arc<KeySet>, Fault>> {
        let since = |state: &State| state.held.as_ref().is_some_and(|held| held.at >= asked);
        let enough = !anew || since(&self.state());
        if let Some(set) = self.believed(url, self.clock.boot()).filter(|_| enough) {
            return Some(Ok(set));
        }
        self.state().failed.is_some_and(|failed| failed > asked).then(|| Err(self.unavailable()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn believed(&self, url: &str, now: Boot) -> Option<Arc<KeySet>> {
        let state = self.state();
        let held = state.held.as_ref().filter(|held| held.url == url)?;
        (now < held.at.plus(self.issuer.id_tokens.keys_ttl)).then(|| Arc::clone(&held.set))
    }

    /// Fetches in the background what will soon not be believed any more.
    fn renew_early(self: &Arc<Self>, url: &str, now: Boot) {
        let settings = &self.issuer.id_tokens;
        let due = {
            let state = self.state();
            let old = state.held.as_ref().is_some_and(|held| now >= held.at.plus(settings.keys_ttl / 2));
            old && state.failed.is_none_or(|failed| now >= failed.plus(settings.keys_refresh))
        };
        if due {
            let (this, url) = (Arc::clone(self), url.to_owned());
            tokio::spawn(async move {
                if let Ok(_turn) = this.fetching.try_lock() {
                    // What it says is in the log, and the set at hand is good for now.
                    let _ = this.fetch(&url).await;
                }
            });
        }
    }

    fn unavailable(&self) -> Fault {
        Fault::new(Reason::JwksUnavailable).with("issuer", self.issuer.alias.as_str())
    }

    /// Fetches and keeps. The caller holds the turn.
    async fn fetch(&self, url: &str) -> Result<Arc<KeySet>, Fault> {
        let at = self.clock.boot();
        let timed = tokio::time::timeout(self.issuer.deadline, self.download(url)).await;
        match timed.unwrap_or(Err(Missing::Unavailable("no answer in time"))) {
            Ok(set) => {
                let set = Arc::new(set);
                let held = Held { url: url.to_owned(), set: Arc::clone(&set), at };
                let before = {
                    let mut state = self.state();
                    state.failed = None;
                    state.held.replace(held)
                };
                self.compare(&set, before.as_ref().map(|held| &*held.set));
                Ok(set)
            }
            Err(missing) => {
                self.state().failed = Some(self.clock.boot());
                let (Missing::Unavailable(why) | Missing::Rejected(why)) = missing;
                tracing::error!(issuer = %self.issuer.alias, url, why, "its keys are not used");
                if matches!(missing, Missing::Rejected(_)) {
                    self.recorder.report(self.detected(Detection::JwksRejected).with("why", why));
                }
                Err(self.unavailable())
            }
        }
    }

    /// Tells the SOC what an attacker's keys would look like too.
    fn compare(&self, set: &KeySet, before: Option<&KeySet>) {
        let weak = |set: &KeySet| set.ignored().iter().filter(|why| **why == Ignored::Weak).count();
        if weak(set) > before.map_or(0, weak) {
            self.recorder.report(self.detected(Detection::JwksWeakKey).with("weak_keys", weak(set)));
        }
        let Some(before) = before else { return };
        let how = match set.changed_from(before) {
            Change::Same => return,
            Change::Rotated => {
                tracing::info!(issuer = %self.issuer.alias, keys = set.keys().len(), "its keys were rotated");
                return;
            }
            Change::Replaced => "replaced",
            Change::Rebound => "rebound",
        };
        let event = self.detected(Detection::JwksChanged).with("how", how);
        self.recorder.report(event.with("keys_before", named(before)).with("keys", named(set)));
    }

    /// Gets a key set over a connection without client certificate, from where the configuration lets it be.
    async fn download(&self, url: &str) -> Result<KeySet, Missing> {
        let url = Url::parse(url).map_err(|_| Missing::Unavailable("not a URL"))?;
        let reach = self.issuer.allowed_hosts.reach(&url).map_err(|_| Missing::Unavailable("not an allowed host"))?;
        let line = http::connect(&url, &self.tls, reach, &self.names)
            .await
            .map_err(|_| Missing::Unavailable("no connection"))?;
        let answer = http::get(line, KEY_SET_BYTES_MAX).await.map_err(|broken| match broken {
            Broken::Connection => Missing::Unavailable("the connection broke"),
            Broken::TooLong => Missing::Rejected("size"),
        })?;
        if answer.status != 200 {
            return Err(Missing::Unavailable("the status is not 200"));
        }
        if !answer.is_json() && !answer.is_content("application/jwk-set+json") {
            return Err(Missing::Unavailable("the answer is no JSON in plain encoding"));
        }
        KeySet::parse(&answer.body).map_err(|rejected| {
            Missing::Rejected(match rejected {
                KeysRejected::Size => "size",
                KeysRejected::Malformed => "malformed",
                KeysRejected::TooMany => "too_many_keys",
                KeysRejected::Private => "private_key",
            })
        })
    }

    fn detected(&self, detection: Detection) -> Event {
        let mut event = Event::new(Code::Detected(detection), "jwks").with("issuer", self.issuer.url.as_str());
        event.severity = Severity::High;
        event
    }
}

/// Thumbprints (RFC 7638) of the first keys.
fn named(set: &KeySet) -> Vec<String> {
    set.keys().iter().take(NAMED_MAX).map(Key::thumbprint).map(str::to_owned).collect()
}
