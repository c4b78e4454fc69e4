//! The types of tokens that are exchanged (RFC 8693 §3).

/// A token type by its registered URN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenType {
    /// An OAuth access token.
    AccessToken,
    /// A JWT (RFC 7519) that is no access token here: such as a grant for another domain's authorization server.
    Jwt,
}

impl TokenType {
    /// Its URN.
    #[must_use]
    pub const fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }

    /// Reads the URN.
    #[must_use]
    pub fn parse(urn: &str) -> Option<Self> {
        [Self::AccessToken, Self::Jwt].into_iter().find(|kind| kind.urn() == urn)
    }
}
