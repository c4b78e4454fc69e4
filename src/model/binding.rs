//! How a token is bound to its holder.

/// What a client's tokens are bound to: its sender constraint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TokenBinding {
    /// Nothing: bearer tokens (RFC 6750).
    #[default]
    Unbound,
    /// The client's certificate (RFC 8705 §3).
    Certificate,
    /// A key that proves itself request by request (RFC 9449).
    Dpop,
}

impl TokenBinding {
    /// Policy's word for the proof that such a token calls for.
    #[must_use]
    pub const fn proof(self) -> &'static str {
        match self {
            Self::Unbound => "none",
            Self::Certificate => "mtls",
            Self::Dpop => "dpop",
        }
    }

    /// The binding that calls for this proof.
    #[must_use]
    pub fn of_proof(word: &str) -> Option<Self> {
        [Self::Unbound, Self::Certificate, Self::Dpop].into_iter().find(|binding| binding.proof() == word)
    }

    /// The type of such a token (RFC 6749 §7.1, RFC 9449 §5), as it is written.
    #[must_use]
    pub const fn token_type(self) -> &'static str {
        match self {
            Self::Unbound | Self::Certificate => "Bearer",
            Self::Dpop => "DPoP",
        }
    }

    /// The confirmation method in its `cnf` (RFC 7800 §3.1): the word in the audit log.
    #[must_use]
    pub const fn confirmation(self) -> &'static str {
        match self {
            Self::Unbound => "none",
            Self::Certificate => "x5t#S256",
            Self::Dpop => "jkt",
        }
    }

    /// Whether it is bound to anything.
    #[must_use]
    pub const fn is_bound(self) -> bool {
        !matches!(self, Self::Unbound)
    }
}
