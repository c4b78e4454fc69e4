//! Keys and ID tokens as if an issuer had sent them, for the fuzzer: nothing here may panic.

use super::{
    Algorithms, Kind,
    id_token::{Expect, IdTokenFault, validate},
    jwks::{Change, KEYS_MAX, KeySet},
    jws::verify,
};
use crate::model::{AccessToken, Nonce, Wall};
use std::time::Duration;

/// Reads a JWK Set: how many of its keys can be used, or `None` if it is refused as a whole. A set that is not itself,
/// or holds more than it may, is `Some(usize::MAX)`: a finding.
#[must_use]
pub fn fuzz_keys(document: &[u8]) -> Option<usize> {
    let (set, again) = (KeySet::parse(document).ok()?, KeySet::parse(document).ok()?);
    let within = set.keys().len() + set.ignored().len() <= KEYS_MAX;
    let named =
        set.keys().iter().all(|key| key.thumbprint().len() == 43 && key.kid().is_none_or(|kid| kid.len() <= 256));
    let is_itself = set.same_keys(&again) && !matches!(set.changed_from(&again), Change::Replaced);
    Some(if within && named && is_itself { set.keys().len() } else { usize::MAX })
}

/// Verifies and judges an ID token from `https://as.example.test` for the client `client`, the nonce `fake-nonce` and
/// the access token `fake-at`, at the second `now`.
///
/// # Errors
/// The rule that it breaks.
pub fn fuzz_id_token(token: &str, keys: &[u8], now: i64) -> Result<String, &'static str> {
    let keys = KeySet::parse(keys).map_err(|_| "keys")?;
    let expect = Expect {
        issuer: "https://as.example.test",
        client_id: "client",
        nonce: Some(&Nonce::new("fake-nonce".to_owned())),
        origin: None,
        skew: Duration::from_secs(10),
        access_token: &AccessToken::new("fake-at".to_owned()),
        max_age: None,
        acr_values: &[],
        trusted_audiences: &[],
        groups: &["staff".to_owned()],
    };
    let judged = verify(token, &keys, &Algorithms::default(), Kind::IdToken)
        .map_err(IdTokenFault::from)
        .and_then(|verified| validate(&verified, &expect, Wall(now.saturating_mul(1000))));
    judged.map(|subject| subject.sub).map_err(|fault| match fault {
        IdTokenFault::Invalid(rule) => rule,
        IdTokenFault::Nonce => "nonce",
        IdTokenFault::AtHash => "at_hash",
        IdTokenFault::StepUp => "step_up",
    })
}
