//! Which grant brings a token (RFC 6749 §4), and on whose behalf.

use crate::model::{AgentId, Boot, TokenType, Wall};

/// The grant.
#[derive(Clone, Debug)]
pub enum Flow {
    /// An authorization code (RFC 6749 §4.1).
    AuthorizationCode,
    /// Client credentials (RFC 6749 §4.4): the agent acts as itself.
    ClientCredentials,
    /// A JWT assertion (RFC 7523 §2.1).
    JwtBearer(Delegation),
    /// Token exchange (RFC 8693) for a token of this type.
    TokenExchange(Delegation, TokenType),
}

/// What a subject token, or an assertion, hands on.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// Who acts, the current actor first (RFC 8693 §4.1).
    pub actors: Actors,
    /// When the subject token ends, by both clocks: nothing that comes of it is served for longer.
    pub ends: (Boot, Wall),
    /// The logical names of the target (RFC 8693 §2.1). None: the target is its resource.
    pub audiences: Vec<String>,
}

/// A chain of actors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actors {
    /// Their names, the current actor first.
    pub chain: Vec<String>,
    /// Those that are agents of the registry.
    pub agents: Vec<AgentId>,
}

impl Actors {
    /// Nobody acts for anybody.
    pub const NONE: &'static Self = &Self { chain: Vec::new(), agents: Vec::new() };
}

impl Flow {
    /// The `grant_type` (RFC 6749 §4, RFC 7523 §2.1, RFC 8693 §2.1).
    #[must_use]
    pub const fn grant_type(&self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer(_) => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::TokenExchange(..) => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }

    /// The call that it happens in.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::AuthorizationCode => "RedeemCode",
            Self::ClientCredentials | Self::JwtBearer(_) => "ObtainToken",
            Self::TokenExchange(..) => "ExchangeToken",
        }
    }

    /// The word in policy: `context.flow` on `grant_scope`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::AuthorizationCode => "code",
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer(_) => "assertion",
            Self::TokenExchange(..) => "exchange",
        }
    }

    /// Who acts.
    #[must_use]
    pub fn actors(&self) -> &Actors {
        self.delegation().map_or(Actors::NONE, |delegation| &delegation.actors)
    }

    /// When what it came from ends, where it does.
    #[must_use]
    pub fn ends(&self) -> Option<(Boot, Wall)> {
        self.delegation().map(|delegation| delegation.ends)
    }

    /// The logical names of the target, where it is asked for by them (RFC 8693 §2.1).
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        self.delegation().map_or(&[], |delegation| &delegation.audiences)
    }

    /// The type of the token that is asked for.
    #[must_use]
    pub const fn token_type(&self) -> TokenType {
        match self {
            Self::TokenExchange(_, kind) => *kind,
            _ => TokenType::AccessToken,
        }
    }

    const fn delegation(&self) -> Option<&Delegation> {
        match self {
            Self::JwtBearer(delegation) | Self::TokenExchange(delegation, _) => Some(delegation),
            Self::AuthorizationCode | Self::ClientCredentials => None,
        }
    }
}
