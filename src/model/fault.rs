//! A call that failed: a reason of the closed list and facts that help, never text from outside.
//!
//! One type for refusals (the caller), denials (policy) and failures (the server or us): the reason already says who
//! is at fault, and a second enum beside it could disagree.

use super::{Advice, Reason};
use std::{collections::BTreeMap, time::Duration};

/// Something the SOC wants to know of at once. It goes into the audit log, never to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// The peer is not in the registry.
    UnknownAgent,
    /// The peer of the admin socket is no operator.
    UnknownOperator,
    /// A connection outlived the process that made it, or came from another program.
    PeerChanged,
    /// A person called as an agent, and was refused.
    HumanCaller,
    /// A person called as an agent, with a permit for that.
    BreakGlass,
    /// A header claims an identity that only a proxy in front could have checked; nobody believes it.
    ProxyIdentityHeader,
    /// A handle of another agent was presented.
    CrossAgentHandle,
    /// A code seen before was presented again, here or under another transaction.
    CodeReplay,
    /// The state was wrong.
    StateMismatch,
    /// A verifier did not belong to the registered challenge.
    PkceMismatch,
    /// The iss parameter was wrong.
    IssMismatch,
    /// The redirect URI was wrong.
    RedirectMismatch,
    /// The authorization server issued more than allowed.
    ScopeEscalation,
    /// Every key of an issuer was replaced at once, or a key ID names another key than before.
    JwksChanged,
    /// An issuer's key set is refused whole: it holds a private or symmetric key, or cannot be read.
    JwksRejected,
    /// An issuer publishes a key too weak to be used.
    JwksWeakKey,
    /// An ID token is not what its transaction asked for.
    IdTokenForged,
    /// The authorization server's metadata promises less security than it did.
    MetadataDowngrade,
    /// A subject token is forged, another agent's, or names another actor.
    SubjectTokenMisuse,
    /// An approval record is forged, was made for another request, or was used before.
    ApprovalMisuse,
    /// The authorization server dropped the actor of a delegation, or forged its chain.
    DelegationStripped,
    /// The authorization server sent a refresh token that nobody may keep.
    UnexpectedRefreshToken,
    /// An API's own metadata names an authorization server that is not trusted for it.
    UntrustedIssuer,
}

/// The longest fact, in bytes.
const FACT_BYTES_MAX: usize = 1024;

/// A text of at most `bytes_max`; of a longer one its beginning and a marker with the whole length.
#[must_use]
pub fn cut(mut text: String, bytes_max: usize) -> String {
    let length = text.len();
    if length > bytes_max {
        let marker = format!(" [cut, {length} bytes]");
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub(marker.len())));
        text.push_str(&marker);
    }
    text
}

/// Why a call failed, and what the caller may know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason.
    pub reason: Reason,
    /// Facts: keys from code, values bounded and ours or already validated.
    pub metadata: BTreeMap<&'static str, String>,
    /// What of several things it was: a sentence of ours between the reason's own two.
    pub detail: Option<&'static str>,
    /// The request field at fault and what is wrong with it.
    pub field: Option<(&'static str, String)>,
    /// When trying again can help.
    pub retry_after: Option<Duration>,
    /// What the SOC should know.
    pub detection: Option<Detection>,
    /// What the caller can do about it.
    pub advice: Option<Box<Advice>>,
}

impl Fault {
    /// A fault with this reason.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        let metadata = BTreeMap::new();
        Self { reason, metadata, detail: None, field: None, retry_after: None, detection: None, advice: None }
    }

    /// A fault of one request field.
    #[must_use]
    pub fn field(reason: Reason, field: &'static str, wrong: impl Into<String>) -> Self {
        Self { field: Some((field, wrong.into())), ..Self::new(reason) }
    }

    /// Adds a fact, cut to what fits into a header: all of them travel in the trailers, which clients bound.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.insert(key, cut(value.into(), FACT_BYTES_MAX));
        self
    }

    /// Says which of several things it was, in one or two sentences of ours.
    #[must_use]
    pub const fn in_detail(mut self, sentence: &'static str) -> Self {
        self.detail = Some(sentence);
        self
    }

    /// Says what the SOC should know.
    #[must_use]
    pub const fn detected(mut self, detection: Detection) -> Self {
        self.detection = Some(detection);
        self
    }

    /// Says what the caller can do about it.
    #[must_use]
    pub fn advising(mut self, advice: Advice) -> Self {
        self.advice = Some(Box::new(advice));
        self
    }

    /// Says when to try again.
    #[must_use]
    pub const fn retry_after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: AUD-05
    #[test]
    fn long_texts_are_cut_at_a_character_and_say_so() {
        assert_eq!(cut("short".to_owned(), 5), "short");
        let long = cut("\u{20ac}".repeat(1000), 100);
        assert!(long.len() <= 100 && long.starts_with("\u{20ac}"));
        assert!(long.ends_with("\u{20ac} [cut, 3000 bytes]"), "{long}");
        let fact = Fault::new(Reason::ScopeUpgraded).with("scopes", "s".repeat(20_000));
        assert!(fact.metadata["scopes"].len() <= FACT_BYTES_MAX);
    }
}
