//! Judges the claims of an ID token (OIDC Core §3.1.3.7). Its signature is good already: [`Verified`] says so.

use super::{
    Algorithm, Kind, hash_of,
    jws::{Rejected, Verified},
};
use crate::{
    config::CLOCK_SKEW_MAX,
    model::{AccessToken, Nonce, Subject, Wall},
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use std::time::Duration;

/// The oldest `iat` of a token that was made for us just now.
const AGE_MAX: Duration = Duration::from_secs(600);
/// The last second of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;
/// Bytes of a `sub` (OIDC Core §2).
const SUB_BYTES_MAX: usize = 255;
/// Entries of an `aud` or `amr`.
const ENTRIES_MAX: usize = 16;
/// Bytes of an `acr`.
const WORD_BYTES_MAX: usize = 128;
/// Authentication methods (RFC 8176 §2) by factor: known, had, been.
const FACTORS: [&[&str]; 3] = [
    &["pwd", "pin", "kba"],
    &["hwk", "swk", "pop", "sc", "otp", "sms", "tel"],
    &["face", "fpt", "iris", "retina", "vbm"],
];

/// What the token is held against.
#[derive(Clone, Copy)]
pub(crate) struct Expect<'a> {
    /// The issuer that was asked.
    pub(crate) issuer: &'a str,
    /// Our client identifier there.
    pub(crate) client_id: &'a str,
    /// The transaction's nonce, where it is still known.
    pub(crate) nonce: Option<&'a Nonce>,
    /// Who logged in, where the token came with a refresh: it may not name anyone or anything else (OIDC Core §12.2).
    pub(crate) origin: Option<&'a Subject>,
    /// How far the clocks may differ; [`CLOCK_SKEW_MAX`] at most counts.
    pub(crate) skew: Duration,
    /// The access token that came with it.
    pub(crate) access_token: &'a AccessToken,
    /// The `max_age` that was asked for.
    pub(crate) max_age: Option<Duration>,
    /// The `acr_values` that were asked for; empty for none. Each is good enough.
    pub(crate) acr_values: &'a [String],
    /// Other audiences that may stand beside us.
    pub(crate) trusted_audiences: &'a [String],
    /// The groups that may enter policy. Whoever declares none does not care what `groups` holds.
    pub(crate) groups: &'a [String],
}

/// Why an ID token is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IdTokenFault {
    /// A rule of OIDC Core §3.1.3.7 is broken: `ID_TOKEN_INVALID`.
    Invalid(&'static str),
    /// It is not of this transaction: `NONCE_MISMATCH`.
    Nonce,
    /// It is not for this access token: `AT_HASH_MISMATCH`.
    AtHash,
    /// The person was not asked as freshly or as strongly as wished: `STEP_UP_REQUIRED`.
    StepUp,
}

impl From<Rejected> for IdTokenFault {
    fn from(rejected: Rejected) -> Self {
        Self::Invalid(rejected.rule())
    }
}

/// Judges the claims.
pub(crate) fn validate(verified: &Verified, expect: &Expect<'_>, now: Wall) -> Result<Subject, IdTokenFault> {
    if verified.kind() != Kind::IdToken {
        return Err(IdTokenFault::Invalid("kind"));
    }
    let skew = expect.skew.min(CLOCK_SKEW_MAX);
    if verified.claim("iss").and_then(Value::as_str) != Some(expect.issuer) {
        return Err(IdTokenFault::Invalid("iss"));
    }
    let sub = verified.claim("sub").and_then(Value::as_str).filter(|sub| is_sub(sub));
    let sub = sub.ok_or(IdTokenFault::Invalid("sub"))?.to_owned();
    audience(verified, expect)?;
    lifetime(verified, skew, now)?;
    let auth_time = instant(verified, "auth_time")?;
    if auth_time.is_some_and(|at| at > now.plus(skew)) {
        return Err(IdTokenFault::Invalid("auth_time"));
    }
    match expect.origin {
        None => nonce(verified, expect.nonce)?,
        Some(origin) => same_login(verified, expect.nonce, origin, (&sub, auth_time))?,
    }
    at_hash(verified, expect.access_token)?;
    let acr = verified.claim("acr").and_then(Value::as_str).filter(|acr| is_word(acr)).map(str::to_owned);
    // How the person logs in is demanded at the login: a refresh is none.
    let login = expect.origin.is_none();
    if let Some(max_age) = expect.max_age.filter(|_| login) {
        let until = auth_time.ok_or(IdTokenFault::StepUp)?.plus(max_age.saturating_add(skew));
        if until < now {
            return Err(IdTokenFault::StepUp);
        }
    }
    if login && !expect.acr_values.is_empty() && !acr.as_ref().is_some_and(|acr| expect.acr_values.contains(acr)) {
        return Err(IdTokenFault::StepUp);
    }
    let groups = groups(verified.claim("groups"), expect.groups)?;
    let mfa = is_multi_factor(verified.claim("amr"));
    Ok(Subject { issuer: expect.issuer.to_owned(), sub, acr, auth_time, mfa, groups })
}

/// `aud` and `azp` (OIDC Core §3.1.3.7 (3) to (5)).
fn audience(verified: &Verified, expect: &Expect<'_>) -> Result<(), IdTokenFault> {
    const WRONG: IdTokenFault = IdTokenFault::Invalid("aud");
    let several = match verified.claim("aud") {
        Some(Value::String(one)) if one == expect.client_id => false,
        Some(Value::Array(all)) if all.len() <= ENTRIES_MAX => {
            let mut ours = false;
            for entry in all {
                let entry = entry.as_str().ok_or(WRONG)?;
                let is_ours = entry == expect.client_id;
                if !is_ours && !expect.trusted_audiences.iter().any(|trusted| trusted == entry) {
                    return Err(WRONG);
                }
                ours |= is_ours;
            }
            if !ours {
                return Err(WRONG);
            }
            all.len() > 1
        }
        _ => return Err(WRONG),
    };
    match verified.claim("azp") {
        None if !several => Ok(()),
        Some(Value::String(azp)) if azp == expect.client_id => Ok(()),
        _ => Err(IdTokenFault::Invalid("azp")),
    }
}

/// `exp`, `iat` and `nbf` (OIDC Core §3.1.3.7 (9), (10); RFC 7519 §4.1.5).
fn lifetime(verified: &Verified, skew: Duration, now: Wall) -> Result<(), IdTokenFault> {
    let exp = instant(verified, "exp")?.ok_or(IdTokenFault::Invalid("exp"))?;
    if exp.plus(skew) <= now {
        return Err(IdTokenFault::Invalid("exp"));
    }
    let iat = instant(verified, "iat")?.ok_or(IdTokenFault::Invalid("iat"))?;
    if iat > now.plus(skew) || iat.plus(AGE_MAX.saturating_add(skew)) < now || iat >= exp {
        return Err(IdTokenFault::Invalid("iat"));
    }
    if instant(verified, "nbf")?.is_some_and(|nbf| nbf > now.plus(skew)) {
        return Err(IdTokenFault::Invalid("nbf"));
    }
    Ok(())
}

/// A claim in whole seconds since 1970, up to the year 9999.
fn instant(verified: &Verified, name: &'static str) -> Result<Option<Wall>, IdTokenFault> {
    let Some(value) = verified.claim(name) else { return Ok(None) };
    let seconds = value.as_u64().filter(|seconds| *seconds <= SECONDS_MAX).ok_or(IdTokenFault::Invalid(name))?;
    Ok(Some(Wall(0).plus(Duration::from_secs(seconds))))
}

/// What came with a refresh speaks of the same person and the same login; a nonce need not be there, and if it is, it
/// is that of the login (OIDC Core §12.2).
fn same_login(
    verified: &Verified,
    expected: Option<&Nonce>,
    origin: &Subject,
    (sub, auth_time): (&str, Option<Wall>),
) -> Result<(), IdTokenFault> {
    if sub != origin.sub {
        return Err(IdTokenFault::Invalid("another_person"));
    }
    if auth_time.is_some_and(|at| origin.auth_time.is_some_and(|then| then != at)) {
        return Err(IdTokenFault::Invalid("another_login"));
    }
    if verified.claim("nonce").is_some() { nonce(verified, expected) } else { Ok(()) }
}

fn nonce(verified: &Verified, expected: Option<&Nonce>) -> Result<(), IdTokenFault> {
    let found = verified.claim("nonce").and_then(Value::as_str).ok_or(IdTokenFault::Nonce)?;
    let is_ours = expected.is_some_and(|expected| expected.matches(&Nonce::new(found.to_owned())));
    if is_ours { Ok(()) } else { Err(IdTokenFault::Nonce) }
}

fn at_hash(verified: &Verified, token: &AccessToken) -> Result<(), IdTokenFault> {
    match verified.claim("at_hash") {
        None => Ok(()),
        Some(Value::String(found)) if *found == left_half(token, verified.algorithm()) => Ok(()),
        Some(_) => Err(IdTokenFault::AtHash),
    }
}

/// The left half of the token's hash, base64url (OIDC Core §3.1.3.6).
#[expect(clippy::disallowed_methods, reason = "at_hash is a hash of the token's own octets")]
fn left_half(token: &AccessToken, algorithm: Algorithm) -> String {
    let hash = digest::digest(hash_of(algorithm), token.reveal().as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..hash.as_ref().len() / 2).unwrap_or_default())
}

/// OIDC Core §2 says ASCII; what cannot be printed is nobody's name.
fn is_sub(text: &str) -> bool {
    (1..=SUB_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// An odd `amr` proves nothing.
fn is_multi_factor(amr: Option<&Value>) -> bool {
    let Some(Value::Array(entries)) = amr else { return false };
    let methods: Option<Vec<&str>> = entries.iter().map(Value::as_str).collect();
    let Some(methods) = methods.filter(|methods| methods.len() <= ENTRIES_MAX) else { return false };
    let used = FACTORS.iter().filter(|factor| methods.iter().any(|method| factor.contains(method))).count();
    methods.contains(&"mfa") || used > 1
}

/// The declared ones among the groups. A claim that cannot be read would make a missing group prove nothing, so where
/// groups are declared it refuses the token.
fn groups(claim: Option<&Value>, declared: &[String]) -> Result<Vec<String>, IdTokenFault> {
    const WRONG: IdTokenFault = IdTokenFault::Invalid("groups");
    let Some(claim) = claim.filter(|_| !declared.is_empty()) else { return Ok(Vec::new()) };
    let mut held = Vec::new();
    for entry in claim.as_array().ok_or(WRONG)? {
        let group = entry.as_str().ok_or(WRONG)?;
        if declared.iter().any(|known| known == group) && !held.iter().any(|known| known == group) {
            held.push(group.to_owned());
        }
    }
    Ok(held)
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
mod tests;
