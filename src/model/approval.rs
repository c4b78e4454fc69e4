//! A person's approval of one request, as verified evidence: never the agent's own word.

use super::{Boot, ScopeSet, Wall};
use std::{fmt, time::Duration};

/// The longest time from an approval to its end.
pub const APPROVAL_LIFETIME_MAX: Duration = Duration::from_secs(3600);

/// An approver's id: unique in the agents file. It has no `|`, so no person that an issuer names is one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ApproverId(String);

impl ApproverId {
    /// Reads 1 to 128 letters, digits, and `.` `_` `:` `/` `@` `-`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@-".contains(&b);
        ((1..=128).contains(&text.len()) && text.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApproverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An approval whose record was verified: signed by this approver, for the request that it is kept with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Who approved.
    pub approver: ApproverId,
    /// The RFC 7638 thumbprint of the key that signed: another key of the same name is another word.
    pub key: String,
    /// When it was signed.
    pub at: Wall,
    /// When it ends, by both clocks.
    pub until: (Boot, Wall),
    /// The scopes of the request.
    pub scopes: ScopeSet,
    /// The approver's reference to where it was talked about.
    pub ticket: Option<String>,
    /// The policy set that it was given under, SHA-256 in hex.
    pub policy_digest: String,
}

/// What an approver can approve of a request, and the approval that came with it.
#[derive(Clone, Debug, Default)]
pub struct Approvable {
    /// The request in words that an approver can read. Empty where it comes of an earlier run.
    pub request: String,
    /// Its digest, in hex; empty likewise.
    pub request_digest: String,
    /// The approval.
    pub approval: Option<Approval>,
}
