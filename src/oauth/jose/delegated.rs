//! Judges the claims of a subject token or an assertion (RFC 9068 §4, RFC 7523 §3). Its signature is good already:
//! [`Verified`] says so.

use super::{Kind, jws::Verified};
use crate::{
    config::CLOCK_SKEW_MAX,
    model::{ScopeSet, Wall},
    oauth::strict_json,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use std::time::Duration;

/// The last second of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 1024;
/// Entries of an `aud`.
const AUDIENCES_MAX: usize = 16;
/// Actors that are read at all, whatever is configured.
const ACTORS_MAX: usize = 64;
/// Claims that only an ID token has (OIDC Core §2): it tells who logged in, and gives nobody a right.
const OF_ID_TOKENS: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// What the token is held against.
pub(crate) struct Expected<'a> {
    /// The issuer whose keys verified it.
    pub(crate) issuer: &'a str,
    /// Whom it may be for: one of these must be in `aud`.
    pub(crate) audiences: &'a [&'a str],
    /// How far the clocks may differ; [`CLOCK_SKEW_MAX`] at most counts.
    pub(crate) skew: Duration,
}

/// What the claims say.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) sub: String,
    pub(crate) ends: Wall,
    /// `None` where the token does not say (RFC 9068 §2.2.3).
    pub(crate) scopes: Option<ScopeSet>,
    pub(crate) audiences: Vec<String>,
    /// `client_id` and `azp`: whom it was issued to.
    pub(crate) parties: Vec<String>,
    /// `act`, the current actor first (RFC 8693 §4.1).
    pub(crate) actors: Vec<String>,
    /// `may_act` (RFC 8693 §4.4).
    pub(crate) may_act: Option<MayAct>,
    /// `cnf` (RFC 7800 §3.1).
    pub(crate) confirmation: Confirmation,
}

/// Who may act, by `may_act`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MayAct {
    /// `None` where it names nobody that can be read: then it names nobody.
    pub(crate) sub: Option<String>,
}

/// Who must prove that the token is theirs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// Nobody.
    Bearer,
    /// The holder of the certificate with this thumbprint (RFC 8705 §3.1).
    Certificate(String),
    /// Somebody by a proof that cannot be seen here.
    Other,
}

/// The issuer that a token names, to choose whose keys to verify it with: nobody's word yet.
pub(crate) fn claimed_issuer(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    let claims = strict_json::parse(&URL_SAFE_NO_PAD.decode(payload).ok()?)?;
    claims.get("iss").and_then(Value::as_str).map(str::to_owned)
}

/// Judges the claims; the error is the rule that is broken.
pub(crate) fn judge(verified: &Verified, expected: &Expected<'_>, now: Wall) -> Result<Claims, &'static str> {
    if verified.kind() == Kind::IdToken && OF_ID_TOKENS.iter().any(|name| verified.claim(name).is_some()) {
        return Err("typ");
    }
    if verified.claim("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err("iss");
    }
    let audiences = texts(verified.claim("aud")).ok_or("aud")?;
    if !audiences.iter().any(|audience| expected.audiences.contains(&audience.as_str())) {
        return Err("aud");
    }
    let skew = expected.skew.min(CLOCK_SKEW_MAX);
    // No skew here: what has ended by our clock is served to nobody, so it need not be exchanged.
    let ends = instant(verified, "exp")?.filter(|ends| *ends > now).ok_or("exp")?;
    for claim in ["iat", "nbf"] {
        if instant(verified, claim)?.is_some_and(|at| at > now.plus(skew)) {
            return Err(claim);
        }
    }
    let scopes = match verified.claim("scope") {
        None => None,
        Some(claim) => Some(claim.as_str().and_then(ScopeSet::parse).ok_or("scope")?),
    };
    Ok(Claims {
        sub: name(verified.claim("sub")).ok_or("sub")?,
        ends,
        scopes,
        audiences,
        parties: ["client_id", "azp"].into_iter().filter_map(|claim| name(verified.claim(claim))).collect(),
        actors: actors(verified.claim("act")).ok_or("act")?,
        may_act: verified.claim("may_act").map(|claim| MayAct { sub: name(claim.get("sub")) }),
        confirmation: confirmation(verified.claim("cnf")),
    })
}

/// The actors of an `act` claim, the current one first. `None` if it cannot be read: then nobody knows who acts.
pub(crate) fn actors(claim: Option<&Value>) -> Option<Vec<String>> {
    let (mut chain, mut next) = (Vec::new(), claim);
    while let Some(actor) = next {
        if chain.len() >= ACTORS_MAX {
            return None;
        }
        chain.push(name(actor.get("sub"))?);
        next = actor.get("act");
    }
    Some(chain)
}

fn confirmation(claim: Option<&Value>) -> Confirmation {
    match claim {
        None => Confirmation::Bearer,
        Some(cnf) => match (cnf.as_object().map(serde_json::Map::len), cnf.get("x5t#S256").and_then(Value::as_str)) {
            (Some(1), Some(thumbprint)) => Confirmation::Certificate(thumbprint.to_owned()),
            _ => Confirmation::Other,
        },
    }
}

fn name(claim: Option<&Value>) -> Option<String> {
    let text = claim?.as_str()?;
    let plain = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    plain.then(|| text.to_owned())
}

/// A text or a list of them.
fn texts(claim: Option<&Value>) -> Option<Vec<String>> {
    match claim? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(all) if all.len() <= AUDIENCES_MAX => {
            all.iter().map(|entry| entry.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    }
}

/// A claim in seconds since 1970, up to the year 9999.
fn instant(verified: &Verified, name: &'static str) -> Result<Option<Wall>, &'static str> {
    let Some(value) = verified.claim(name) else { return Ok(None) };
    let seconds = value.as_u64().filter(|seconds| *seconds <= SECONDS_MAX).ok_or(name)?;
    Ok(Some(Wall(0).plus(Duration::from_secs(seconds))))
}

#[cfg(test)]
#[path = "delegated_tests.rs"]
mod tests;
