//! `[issuer.access_token]`: what an issuer and narrowgate have agreed on about its access tokens. Without an agreement
//! they are opaque: a client must not look into them (RFC 9068 §6).

use super::{Endpoints, reader::Table};
use crate::model::{Algorithm, Algorithms};
use std::time::Duration;

/// How long the issuer's word on a token is believed, unless configured.
const INTROSPECTION_CACHE: Duration = Duration::from_secs(30);

/// How narrowgate may learn what an access token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Contract {
    /// It may not: the answer it came in says all.
    #[default]
    Opaque,
    /// It is a JWT (RFC 9068), verified with the issuer's keys before it is used.
    Jwt,
    /// The issuer is asked (RFC 7662), before a token is used and again when its last word has become old.
    Introspection,
}

/// What is demanded of the access tokens of one issuer. It is only ever held against them: nothing widens a decision.
#[derive(Debug, Clone)]
pub struct AccessTokens {
    /// How narrowgate may learn what one is.
    pub contract: Contract,
    /// The algorithms that JWT access tokens may be signed with.
    pub algorithms: Algorithms,
    /// How long the issuer's word on a token is believed: what it revokes itself is served for no longer than that.
    pub introspection_cache: Duration,
}

impl Default for AccessTokens {
    fn default() -> Self {
        Self {
            contract: Contract::default(),
            algorithms: Algorithms::default(),
            introspection_cache: INTROSPECTION_CACHE,
        }
    }
}

pub(super) fn access_tokens(table: &Table<'_>) -> AccessTokens {
    let contract = table.optional("contract", |word| match word {
        "opaque" => Ok(Contract::Opaque),
        "jwt" => Ok(Contract::Jwt),
        "introspection" => Ok(Contract::Introspection),
        _ => Err("must be \"opaque\", \"jwt\" or \"introspection\"".to_owned()),
    });
    let named = table.list("algs", |name| {
        Algorithm::parse(name).ok_or_else(|| format!("{name:?} is not one of RS256, PS256, ES256, ES384, EdDSA"))
    });
    let contract = contract.unwrap_or_default();
    if table.holds("algs") && (table.is_bare("algs") || contract != Contract::Jwt) {
        table.wrong_at(
            "algs",
            "must name at least one algorithm, and belongs to contract = \"jwt\"",
            Some("without the line it is PS256, ES256 and EdDSA"),
        );
    }
    let limits = Duration::from_millis(100)..=Duration::from_secs(300);
    let introspection_cache = table.span("introspection_cache", INTROSPECTION_CACHE, limits);
    AccessTokens { contract, algorithms: Algorithms::new(named).unwrap_or_default(), introspection_cache }
}

/// Says which of the configured endpoints the contract lacks. Discovered ones are looked at when they are discovered.
pub(super) fn served(table: &Table<'_>, tokens: &AccessTokens, endpoints: &Endpoints) {
    if tokens.contract == Contract::Jwt && endpoints.jwks.is_none() {
        table.wrong_at(
            "access_token",
            "has contract = \"jwt\", and [issuer.endpoints] has no `jwks` to verify the tokens with",
            Some("add the URL of the issuer's keys to [issuer.endpoints]: jwks = \"https://...\""),
        );
    }
    if tokens.contract == Contract::Introspection && endpoints.introspection.is_none() {
        table.wrong_at(
            "access_token",
            "has contract = \"introspection\", and [issuer.endpoints] has no `introspection` to ask at",
            Some("add to [issuer.endpoints]: introspection = \"https://...\""),
        );
    }
}
