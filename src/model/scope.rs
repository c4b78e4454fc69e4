//! Scopes (RFC 6749 §3.3): case-sensitive, compared as sets.

use std::{collections::BTreeSet, fmt};

/// The longest scope, in bytes.
pub const SCOPE_BYTES_MAX: usize = 256;
/// The most scopes in one request or answer.
pub const SCOPES_MAX: usize = 64;

/// The scope that asks for an ID token (OIDC Core §3.1.2.1).
pub const OPENID: &str = "openid";
/// The scope that asks for a refresh token (OIDC Core §11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// One scope-token.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Scope(String);

impl Scope {
    /// Accepts 1*( %x21 / %x23-5B / %x5D-7E ) of at most 256 bytes.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let valid = (1..=SCOPE_BYTES_MAX).contains(&value.len())
            && value.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        valid.then(|| Self(value.to_owned()))
    }

    /// The scope as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sorted set of 1 to 64 scopes. There is no union: a set only ever gets narrower.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// The set of these scopes; `None` if there is none or there are too many.
    #[must_use]
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Option<Self> {
        let set: BTreeSet<Scope> = scopes.into_iter().take(SCOPES_MAX + 1).collect();
        (1..=SCOPES_MAX).contains(&set.len()).then_some(Self(set))
    }

    /// Reads the space-separated form of an answer: single spaces, nothing at the ends, no empty string.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().filter(|b| *b == b' ').count() >= SCOPES_MAX {
            return None;
        }
        let scopes: Option<Vec<Scope>> = text.split(' ').map(Scope::parse).collect();
        Self::new(scopes?)
    }

    /// The space-separated form for a request.
    #[must_use]
    pub fn joined(&self) -> String {
        let names: Vec<&str> = self.iter().map(Scope::as_str).collect();
        names.join(" ")
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether every scope here is in `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether the scope is in the set.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Whether an ID token is asked for.
    #[must_use]
    pub fn asks_identity(&self) -> bool {
        self.iter().any(|scope| scope.as_str() == OPENID)
    }

    /// The scopes here that are not in `other`.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Vec<Scope> {
        self.0.difference(&other.0).cloned().collect()
    }

    /// The scopes as text, for replies and records.
    #[must_use]
    pub fn to_strings(&self) -> Vec<String> {
        self.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_syntax_is_that_of_rfc_6749() {
        for bad in ["", "a\tb", "a\r\nb", "a\"b", "a\\b", "a\u{a0}b", "\u{440}ead", "a b"] {
            assert!(Scope::parse(bad).is_none(), "{bad:?}");
        }
        assert!(Scope::parse(&"x".repeat(257)).is_none());
        assert!(Scope::parse("customers.read").is_some());
    }

    #[test]
    fn answers_with_odd_spaces_are_refused() {
        for bad in ["", " a", "a ", "a  b", &"a ".repeat(10_000)] {
            assert!(ScopeSet::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn comparison_is_case_sensitive_and_ignores_order_and_repeats() {
        assert_eq!(ScopeSet::parse("a b"), ScopeSet::parse("b a b"));
        let read = ScopeSet::parse("read").unwrap();
        assert!(!ScopeSet::parse("Read").unwrap().is_within(&read));
    }
}
