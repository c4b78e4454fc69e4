//! Names and handles. Ids are data: nothing ever parses one as code.

use std::fmt;

/// The longest alias or id, in bytes.
pub const ID_BYTES_MAX: usize = 128;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
            pub struct $name(String);

            impl $name {
                /// Accepts 1 to 128 of ASCII letters, digits and `. _ : / -`, beginning with a letter or digit.
                #[must_use]
                pub fn parse(value: &str) -> Option<Self> {
                    is_id(value).then(|| Self(value.to_owned()))
                }

                /// The name as text.
                #[must_use]
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )*
    };
}

ids! {
    /// An agent of the registry: the principal of every decision.
    AgentId,
    /// An operator of this daemon: the principal of every decision about its administration.
    OperatorId,
    /// A team: the owner of agents, clients and APIs.
    TeamId,
    /// A trusted authorization server, by alias.
    IssuerAlias,
    /// A client registration at an issuer, by alias.
    ClientAlias,
    /// A protected resource, by alias.
    ApiAlias,
}

fn is_id(value: &str) -> bool {
    value.len() <= ID_BYTES_MAX
        && value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b))
}

/// A decision's id: a UUIDv7 (RFC 9562 §5.7), the same in the reply and in the audit log. Not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DecisionId(pub uuid::Uuid);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// An opaque handle of 128 random bits, bound by its store to one agent: knowing it is not authority.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle([u8; 16]);

impl Handle {
    /// The handle with these bits, which must come from the entropy port.
    #[must_use]
    pub const fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// Reads `prefix` + 32 lower-case hex digits.
    #[must_use]
    pub fn parse(prefix: &str, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(prefix)?;
        let canonical = digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        canonical.then(|| u128::from_str_radix(digits, 16).ok().map(|n| Self(n.to_be_bytes())))?
    }

    /// The text form, which [`Self::parse`] reads.
    #[must_use]
    pub fn text(&self, prefix: &str) -> String {
        format!("{prefix}{:032x}", u128::from_be_bytes(self.0))
    }

    /// The bits, for keyed references.
    #[must_use]
    pub const fn bits(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The trust domain of a SPIFFE ID (SPIFFE-ID §2), which must have a path.
///
/// # Errors
/// What is wrong with it.
pub fn parse_spiffe_id(text: &str) -> Result<&str, &'static str> {
    if text.len() > 2048 {
        return Err("longer than 2048 bytes");
    }
    let rest = text.strip_prefix("spiffe://").ok_or("does not begin with spiffe://")?;
    let (domain, path) = rest.split_once('/').ok_or("has no path")?;
    let domain_char = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(domain_char) {
        return Err("its trust domain is not lower-case letters, digits and - . _");
    }
    let segment = |s: &str| {
        let chars = s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        !s.is_empty() && s != "." && s != ".." && chars
    };
    if path.split('/').all(segment) { Ok(domain) } else { Err("its path has an empty, dotted or odd segment") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_ids_are_read_strictly() {
        assert_eq!(parse_spiffe_id("spiffe://acme.test/agent/quoter"), Ok("acme.test"));
        for bad in [
            "spiffe://TD/x",
            "spiffe://td/a/../b",
            "spiffe://td/a/",
            "spiffe://td/%61",
            "spiffe://td:1/a",
            "spiffe://td",
            "spiffe:///a",
            "spiffe://u@td/a",
            "spiffe://td/a?b",
            "spiffe://td/a#b",
            "SPIFFE://td/a",
            "https://td/a",
        ] {
            assert!(parse_spiffe_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn handles_have_one_text_form() {
        let handle = Handle::new([7; 16]);
        let text = handle.text("txn_");
        assert!(Handle::parse("txn_", &text) == Some(handle));
        assert!(Handle::parse("grant_", &text).is_none());
        assert!(Handle::parse("txn_", &text.to_uppercase()).is_none());
        assert!(Handle::parse("txn_", "txn_+0000000000000000000000000000007").is_none());
    }
}
