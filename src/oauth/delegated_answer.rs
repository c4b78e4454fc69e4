//! What a token exchange must bring beyond a well-formed answer (RFC 8693 §2.2, §4.1). An issued token is read only to
//! refuse it: nothing in it ever widens a decision (RFC 9068 §6).

use super::{answer::Success, jose::delegated::actors, strict_json};
use crate::model::{AccessToken, Fault, Reason, TokenType, fault::Detection};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// What was asked for.
pub(super) struct Asked<'a> {
    pub(super) token_type: TokenType,
    /// Who acts, the current actor first.
    pub(super) actors: &'a [String],
    /// The longest chain.
    pub(super) actors_max: usize,
    /// Whether the issued token shows its actors.
    pub(super) act: bool,
}

/// Judges a well-formed answer.
pub(super) fn judge(success: &Success, asked: &Asked<'_>) -> Result<(), Fault> {
    if success.issued_type.as_deref().and_then(TokenType::parse) != Some(asked.token_type) {
        return Err(Reason::IssuedTypeUnexpected.into());
    }
    if !asked.act {
        return Ok(());
    }
    // An opaque token shows nothing: whoever trusts its server all the same can say so.
    let stripped = || Fault::new(Reason::ActMissing).detected(Detection::DelegationStripped);
    let claims = claims(&success.access).ok_or_else(stripped)?;
    let shown = actors(claims.get("act")).ok_or_else(stripped)?;
    if shown.len() > asked.actors_max {
        return Err(Fault::new(Reason::ActTooDeep).detected(Detection::DelegationStripped));
    }
    // Whole and in order: a chain that lost or gained somebody is another one.
    if shown == asked.actors { Ok(()) } else { Err(stripped()) }
}

#[expect(clippy::disallowed_methods, reason = "who acts is inside the token")]
fn claims(token: &AccessToken) -> Option<Value> {
    let payload = token.reveal().split('.').nth(1)?;
    strict_json::parse(&URL_SAFE_NO_PAD.decode(payload).ok()?)
}
