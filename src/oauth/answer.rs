//! The token endpoint's answer (RFC 6749 §5), read strictly and sealed at once.

use super::{http::Answer, leniency, salvage::salvage, strict_json::Strict};
use crate::{
    config::Accept,
    model::{AccessToken, Fault, IdToken, Reason, RefreshToken, Scope, ScopeSet},
};
use serde::{
    Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;
use std::{collections::HashSet, fmt, time::Duration};
use zeroize::Zeroizing;

/// Bytes of a token answer.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Tokens that came with an answer that is refused: to be revoked, and nothing else. As they came, because one that
/// no `Authorization` header could carry lives at the server all the same.
#[derive(Default)]
pub(super) struct Leftover {
    pub(super) access: Option<Zeroizing<String>>,
    pub(super) refresh: Option<Zeroizing<String>>,
}

impl Leftover {
    /// Of a body that broke off. A token that did not come whole is none.
    pub(super) fn of_fragment(body: &[u8]) -> Self {
        let (members, _) = Members::read(body);
        Self { access: members.access_token, refresh: members.refresh_token }
    }
}

/// A well-formed success.
pub(super) struct Success {
    pub(super) access: AccessToken,
    pub(super) refresh: Option<RefreshToken>,
    /// The ID token (OIDC Core §3.1.3.3), which nobody has looked at yet.
    pub(super) id_token: Option<IdToken>,
    pub(super) lifetime: Duration,
    pub(super) scopes: ScopeSet,
    /// Whether the answer said so, or left it to RFC 6749 §5.1.
    pub(super) scope_named: bool,
    /// Scopes that the token carries besides, by the issuer's switch: granted to nobody.
    pub(super) tolerated: Vec<Scope>,
    /// `issued_token_type` (RFC 8693 §2.2.1), where it is a text.
    pub(super) issued_type: Option<String>,
}

/// A refused answer.
pub(super) struct Bad {
    pub(super) fault: Fault,
    pub(super) leftover: Box<Leftover>,
}

impl From<Fault> for Bad {
    fn from(fault: Fault) -> Self {
        Self { fault, leftover: Box::default() }
    }
}

impl From<Reason> for Bad {
    fn from(reason: Reason) -> Self {
        Fault::from(reason).into()
    }
}

/// What the answer is held against.
pub(super) struct Expected<'a> {
    /// The scopes policy allowed.
    pub(super) allowed: &'a ScopeSet,
    /// What a token without `expires_in` is taken to live.
    pub(super) assumed_lifetime: Duration,
    /// Where the issuer may stray.
    pub(super) accept: &'a Accept,
    /// Whether no access token was asked for (RFC 8693 §2.2.1).
    pub(super) not_applicable: bool,
}

/// Judges an answer.
pub(super) fn judge(answer: &Answer, expected: &Expected<'_>) -> Result<Success, Box<Bad>> {
    let (members, whole) = Members::read(&answer.body);
    match answer.status.as_u16() {
        300..=399 => Err(bad(Reason::AsRedirectRefused, members)),
        200 if whole && answer.is_json() => success(members, expected),
        // A token under any other answer is not taken, but it lives at the server.
        _ if members.holds_token() => Err(malformed(members)),
        429 | 503 => Err(Fault::new(Reason::AsUnavailable).retry_after(answer.retry_after()).into()),
        400..=499 if whole && answer.is_json() => Err(refusal(&members)),
        400..=599 => Err(Reason::AsRejected.into()),
        _ => Err(Reason::AsResponseMalformed.into()),
    }
    .map_err(Box::new)
}

fn success(members: Members, expected: &Expected<'_>) -> Result<Success, Bad> {
    if members.error.is_some() {
        return Err(malformed(members));
    }
    match &members.token_type {
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(Value::String(kind)) if expected.not_applicable && kind.eq_ignore_ascii_case("n_a") => {}
        Some(Value::String(_)) | None => return Err(bad(Reason::TokenTypeUnsupported, members)),
        Some(_) => return Err(malformed(members)),
    }
    let lifetime = match &members.expires_in {
        None => expected.assumed_lifetime,
        Some(value) => match leniency::lifetime(value, expected.accept) {
            Ok(lifetime) => lifetime,
            Err(fault) => return Err(because(fault, members)),
        },
    };
    let answered = match &members.scope {
        // Omitted means exactly what was asked (RFC 6749 §5.1); an empty or ill-formed one means nothing we know.
        None => expected.allowed.clone(),
        Some(value) => match value.as_str().and_then(ScopeSet::parse) {
            Some(scopes) => scopes,
            None => return Err(malformed(members)),
        },
    };
    let (scopes, tolerated) = match leniency::scopes(&answered, expected.allowed, expected.accept) {
        Ok(split) => split,
        Err(fault) => return Err(because(fault, members)),
    };
    let (Some(access), Some(refresh)) = (members.access(), members.refresh()) else {
        return Err(malformed(members));
    };
    let (scope_named, issued_type) = (members.scope.is_some(), members.issued_type);
    Ok(Success { access, refresh, id_token: members.id_token, lifetime, scopes, scope_named, tolerated, issued_type })
}

/// An error answer (RFC 6749 §5.2). Its code is mapped; its text is dropped unread.
fn refusal(members: &Members) -> Bad {
    let Some(Value::String(code)) = &members.error else { return Reason::AsRejected.into() };
    let (reason, name) = match code.as_str() {
        "invalid_grant" => (Reason::GrantRejected, "invalid_grant"),
        // glewlwyd's word for the same.
        "invalid_code" => (Reason::GrantRejected, "invalid_code"),
        "invalid_client" => (Reason::AsClientAuthFailed, "invalid_client"),
        "unauthorized_client" => (Reason::AsClientAuthFailed, "unauthorized_client"),
        "invalid_scope" => (Reason::ScopeRejected, "invalid_scope"),
        "invalid_target" => (Reason::ScopeRejected, "invalid_target"),
        "invalid_request" => (Reason::AsRejected, "invalid_request"),
        "unsupported_grant_type" => (Reason::AsRejected, "unsupported_grant_type"),
        "temporarily_unavailable" => (Reason::AsUnavailable, "temporarily_unavailable"),
        _ => (Reason::AsRejected, "unregistered"),
    };
    let fault = Fault::new(reason).with("oauth_error", name);
    match members.description_bytes {
        Some(bytes) => fault.with("oauth_error_description_bytes", bytes.to_string()).into(),
        None => fault.into(),
    }
}

fn malformed(members: Members) -> Bad {
    bad(Reason::AsResponseMalformed, members)
}

fn bad(reason: Reason, members: Members) -> Bad {
    because(reason.into(), members)
}

fn because(fault: Fault, members: Members) -> Bad {
    let leftover = Leftover { access: members.access_token, refresh: members.refresh_token };
    Bad { fault, leftover: Box::new(leftover) }
}

/// The members of an answer; secrets go straight into memory that is wiped.
#[derive(Default)]
struct Members {
    access_token: Option<Zeroizing<String>>,
    refresh_token: Option<Zeroizing<String>>,
    /// Anything but a text is no ID token.
    id_token: Option<IdToken>,
    token_type: Option<Value>,
    expires_in: Option<Value>,
    scope: Option<Value>,
    issued_type: Option<String>,
    error: Option<Value>,
    /// The length of `error_description`; its text is never kept.
    description_bytes: Option<usize>,
}

impl Members {
    fn holds_token(&self) -> bool {
        self.access_token.is_some() || self.refresh_token.is_some()
    }

    fn access(&self) -> Option<AccessToken> {
        self.access_token.as_ref().and_then(|text| AccessToken::parse(text.to_string()))
    }

    /// `Some(None)`: there was none. `None`: there was one, and it cannot be a refresh token.
    fn refresh(&self) -> Option<Option<RefreshToken>> {
        match &self.refresh_token {
            None => Some(None),
            Some(text) => RefreshToken::parse(text.to_string()).map(Some),
        }
    }
}

impl Members {
    /// Reads the members, and says whether the whole text was one sound object. The tokens of a
    /// broken one are there all the same: they live at the server.
    fn read(body: &[u8]) -> (Self, bool) {
        let mut members = Self::default();
        // A byte order mark is a mistake (RFC 8259 §8.1), and what follows it is read for the tokens in it.
        let text = body.strip_prefix(b"\xef\xbb\xbf");
        let mut json = serde_json::Deserializer::from_slice(text.unwrap_or(body));
        let read = json.deserialize_map(Reader(&mut members)).and_then(|()| json.end());
        let whole = read.is_ok() && text.is_none();
        if !whole {
            let salvaged = salvage(text.unwrap_or(body));
            members.access_token = members.access_token.or(salvaged.access);
            members.refresh_token = members.refresh_token.or(salvaged.refresh);
        }
        (members, whole)
    }
}

struct Reader<'m>(&'m mut Members);

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let members = self.0;
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "access_token" => members.access_token = Some(Zeroizing::new(map.next_value()?)),
                "refresh_token" => members.refresh_token = Some(Zeroizing::new(map.next_value()?)),
                "id_token" => {
                    members.id_token = match map.next_value::<Strict>()?.0 {
                        Value::String(text) => Some(IdToken::new(text)),
                        _ => None,
                    };
                }
                "token_type" => members.token_type = Some(map.next_value::<Strict>()?.0),
                "expires_in" => members.expires_in = Some(map.next_value::<Strict>()?.0),
                "issued_token_type" => {
                    members.issued_type = map.next_value::<Strict>()?.0.as_str().map(str::to_owned);
                }
                "scope" => members.scope = Some(map.next_value::<Strict>()?.0),
                "error" => members.error = Some(map.next_value::<Strict>()?.0),
                "error_description" => {
                    members.description_bytes = map.next_value::<Strict>()?.0.as_str().map(str::len);
                }
                // Unknown members are ignored (RFC 6749 §5.1), but repeats in them are not.
                _ => drop(map.next_value::<Strict>()?),
            }
            if !seen.insert(name) {
                return Err(A::Error::custom("a member appears twice"));
            }
        }
        Ok(())
    }
}

/// Judges bytes as if a server had sent them, for the fuzzer: it must never panic.
pub fn fuzz_answer(status: u16, body: &[u8]) -> Option<Reason> {
    let answer = Answer {
        status: http::StatusCode::from_u16(status).unwrap_or_default(),
        headers: [(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"))]
            .into_iter()
            .collect(),
        body: Zeroizing::new(body.to_vec()),
    };
    let allowed = ScopeSet::parse("a b")?;
    let expected = Expected {
        allowed: &allowed,
        assumed_lifetime: Duration::from_secs(60),
        accept: &Accept::default(),
        not_applicable: false,
    };
    judge(&answer, &expected).err().map(|bad| bad.fault.reason)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
