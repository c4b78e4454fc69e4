//! `[issuer.access_token]`: what an issuer and narrowgate have agreed on about its access tokens. Without an agreement
//! they are opaque: a client must not look into them (RFC 9068 §6).

use super::{Endpoints, reader::Table};
use crate::model::{Algorithm, Algorithms};

/// How narrowgate may learn what an access token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Contract {
    /// It may not: the answer it came in says all.
    #[default]
    Opaque,
    /// It is a JWT (RFC 9068), verified with the issuer's keys before it is used.
    Jwt,
}

/// What is demanded of the access tokens of one issuer. It is only ever held against them: nothing widens a decision.
#[derive(Debug, Clone, Default)]
pub struct AccessTokens {
    /// How narrowgate may learn what one is.
    pub contract: Contract,
    /// The algorithms that JWT access tokens may be signed with.
    pub algorithms: Algorithms,
}

pub(super) fn access_tokens(table: &Table<'_>) -> AccessTokens {
    let contract = table.optional("contract", |word| match word {
        "opaque" => Ok(Contract::Opaque),
        "jwt" => Ok(Contract::Jwt),
        _ => Err("must be \"opaque\" or \"jwt\"".to_owned()),
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
    AccessTokens { contract, algorithms: Algorithms::new(named).unwrap_or_default() }
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
}
