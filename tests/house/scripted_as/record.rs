//! What the scripted server has seen: the counters and the oracle of every secret.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Map, Value};

/// A request to the token or revocation endpoint, as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct TokenRequest {
    /// The HTTP method.
    pub(crate) method: String,
    /// The request target as sent.
    pub(crate) target: String,
    /// The headers, names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The form parameters, decoded, in order, duplicates included.
    pub(crate) form: Vec<(String, String)>,
    /// The body as sent.
    pub(crate) body: Vec<u8>,
    /// The client's leaf certificate, if it sent one.
    pub(crate) client_certificate_der: Option<Vec<u8>>,
    /// Why the certificate, or its absence, is no client authentication; `None` if it is.
    pub(crate) client_refused: Option<String>,
    /// When it had arrived whole.
    pub(crate) arrived: SystemTime,
}

/// Tokens that were issued, and for which code.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    /// The authorization code.
    pub(crate) code: String,
    /// The access token.
    pub(crate) access: String,
    /// The refresh token; empty if there is none.
    pub(crate) refresh: String,
}

impl TokenRequest {
    /// The first form parameter of this name.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        first(&self.form, name)
    }

    /// The client it claims to be of, in the body or in an Authorization header (RFC 6749 §2.3.1).
    pub(crate) fn client_id(&self) -> Option<String> {
        let basic = self.header("authorization").and_then(super::assertions::basic_of).map(|(id, _)| id);
        basic.or_else(|| self.param("client_id").map(str::to_owned))
    }

    /// The first header of this (lower-case) name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }
}

/// The value of the first pair of this name.
pub(super) fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicUsize);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Counters and logs.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) token_connections: Counter,
    pub(super) token_handshakes: Counter,
    pub(super) token_posts: Counter,
    pub(super) revocation_posts: Counter,
    pub(super) front_connections: Counter,
    pub(super) token_resumed: Counter,
    pub(super) early_data: Counter,
    pub(super) front_token_posts: Counter,
    pub(super) metadata_requests: Counter,
    pub(super) half_answers: Counter,
    pub(super) endless_bytes: AtomicU64,
    logs: Mutex<Logs>,
}

/// The logs behind one lock.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) token_requests: Vec<TokenRequest>,
    pub(super) revocation_requests: Vec<TokenRequest>,
    pub(super) introspection_requests: Vec<TokenRequest>,
    pub(super) pushed_requests: Vec<TokenRequest>,
    pub(super) requests: Vec<String>,
    pub(super) handshake_errors: Vec<String>,
    pub(super) front_certificates: Vec<Vec<u8>>,
    pub(super) front_headers: Vec<Vec<(String, String)>>,
    pub(super) secrets: BTreeSet<String>,
    pub(super) issues: Vec<Issue>,
}

/// Request parameters and answer members whose values are secrets.
const SECRET_MEMBERS: [&str; 13] = [
    "access_token",
    "refresh_token",
    "id_token",
    "code",
    "code_verifier",
    "state",
    "nonce",
    "token",
    "client_secret",
    "client_assertion",
    "assertion",
    "subject_token",
    "actor_token",
];

impl Record {
    pub(super) fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_secret(&self, secret: &str) {
        if !secret.is_empty() {
            self.logs().secrets.insert(secret.to_owned());
        }
    }

    /// Notes what is secret among the parameters of a request.
    pub(super) fn note_pairs(&self, pairs: &[(String, String)]) {
        for (name, value) in pairs {
            if SECRET_MEMBERS.contains(&name.as_str()) {
                self.note_secret(value);
            }
        }
    }

    /// Notes what is secret among the members of an answer.
    pub(super) fn note_members(&self, members: &Map<String, Value>) {
        for name in SECRET_MEMBERS {
            if let Some(Value::String(value)) = members.get(name) {
                self.note_secret(value);
            }
        }
    }

    /// Notes the secrets in outgoing bytes: members if they are a JSON object, and all canaries.
    pub(super) fn note_bytes(&self, bytes: &[u8]) {
        if let Ok(Value::Object(members)) = serde_json::from_slice(bytes) {
            self.note_members(&members);
        }
        let text = String::from_utf8_lossy(bytes);
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        for (start, _) in text.match_indices("canary-") {
            let rest = &text[start..];
            self.note_secret(&rest[..rest.find(|c| !word(c)).unwrap_or(rest.len())]);
        }
    }
}
