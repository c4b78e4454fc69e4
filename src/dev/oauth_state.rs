//! What both listeners of the development authorization server share, and the syntax of OAuth
//! parameters and errors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;

use super::authorization_server::{DevClient, DevError, DevResource};
use super::oauth_http::{Reply, json, text};
use super::oauth_jwt::{Claims, TokenKey};
use super::oauth_proof::Seen;
use super::oauth_store::Store;

/// The state of a running server.
pub(super) struct State {
    /// The issuer identifier (RFC 8414 §2), which is also the base of the front listener's URLs.
    pub(super) issuer: String,
    /// The base of the token listener's URLs.
    pub(super) token_base: String,
    pub(super) clients: Vec<DevClient>,
    pub(super) resources: Vec<DevResource>,
    /// The base of the URLs of the APIs.
    pub(super) api_base: String,
    pub(super) key: TokenKey,
    pub(super) store: Mutex<Store>,
    pub(super) seen: Seen,
    pub(super) counters: Counters,
}

/// What happened so far.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) token_connections: Counter,
    pub(super) token_requests: Counter,
    pub(super) codes_redeemed: Counter,
    pub(super) codes_replayed: Counter,
    pub(super) refreshes: Counter,
    pub(super) revocations: Counter,
}

/// A number that only grows.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl State {
    pub(super) fn client(&self, client_id: &str) -> Option<&DevClient> {
        self.clients.iter().find(|client| client.client_id == client_id)
    }

    /// Judges an access token as a resource server does (RFC 9068 §4), and that it is not revoked (RFC 7662 §2.2).
    pub(super) fn judge(&self, access_token: &str) -> Option<Claims> {
        let audiences: Vec<&str> = self.resources.iter().map(|api| api.identifier.as_str()).collect();
        let claims = self.key.verify(access_token, &self.issuer, &audiences)?;
        self.store().is_active(access_token, now_secs()).then_some(claims)
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        // Nothing under this lock panics; and if it did, the entries would still be whole.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the embedded server is another party, with a clock of its own: the machine's"
)]
pub(super) fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

/// An OAuth error (RFC 6749 §4.1.2.1, §5.2). It never repeats what the request said.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl Refusal {
    pub(super) fn new(error: &'static str, description: impl Into<String>) -> Refusal {
        let status = match error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Refusal { status, error, description: description.into() }
    }

    /// For a program (RFC 6749 §5.2).
    pub(super) fn to_json(&self) -> Reply {
        let body = serde_json::json!({
            "error": self.error,
            "error_description": self.description,
        });
        json(self.status, &body)
    }

    /// For a person, in the browser.
    pub(super) fn to_text(&self) -> Reply {
        let body = format!("{}: {}\n", self.error, self.description);
        text(StatusCode::BAD_REQUEST, &body)
    }
}

impl From<DevError> for Refusal {
    fn from(error: DevError) -> Refusal {
        tracing::error!(%error, "the development authorization server failed");
        Refusal::new("server_error", "see the log")
    }
}

/// Request parameters: each at most once, and the empty ones left out (RFC 6749 §3.1, §3.2).
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Decodes a query or a form.
    pub(super) fn parse(encoded: &[u8]) -> Result<Params, Refusal> {
        let mut params = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(encoded) {
            if params.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Refusal::new("invalid_request", "a parameter appears twice"));
            }
        }
        params.retain(|_, value| !value.is_empty());
        Ok(Params(params))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn require(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::new("invalid_request", format!("{name} is missing")))
    }
}

/// Whether it is a scope-token (RFC 6749 §3.3).
pub(super) fn is_scope_token(scope: &str) -> bool {
    let allowed = |byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !scope.is_empty() && scope.bytes().all(allowed)
}

/// Whether it is 1*VSCHAR (RFC 6749 appendix A).
pub(super) fn is_vschar(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}
