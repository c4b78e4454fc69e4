//! The token endpoint's answer (RFC 6749 §5), read strictly and sealed at once.

use super::{http::Answer, strict_json::Strict};
use crate::model::{AccessToken, Fault, Reason, RefreshToken, ScopeSet, fault::Detection};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;
use std::{collections::HashSet, fmt, time::Duration};
use zeroize::Zeroizing;

/// Bytes of a token answer.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The longest `expires_in` that is believed to be meant, in seconds: about 31 years.
const EXPIRES_IN_MAX: u64 = 1_000_000_000;

/// Tokens that came with an answer that is refused: to be revoked, and nothing else.
#[derive(Default)]
pub(super) struct Leftover {
    pub(super) access: Option<AccessToken>,
    pub(super) refresh: Option<RefreshToken>,
}

/// A well-formed success.
pub(super) struct Success {
    pub(super) access: AccessToken,
    pub(super) refresh: Option<RefreshToken>,
    pub(super) lifetime: Duration,
    pub(super) scopes: ScopeSet,
}

/// A refused answer.
pub(super) struct Bad {
    pub(super) fault: Fault,
    pub(super) leftover: Leftover,
}

impl From<Fault> for Bad {
    fn from(fault: Fault) -> Self {
        Self { fault, leftover: Leftover::default() }
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
}

/// Judges an answer.
pub(super) fn judge(answer: &Answer, expected: &Expected<'_>) -> Result<Success, Box<Bad>> {
    let status = answer.status.as_u16();
    if (300..400).contains(&status) {
        return Err(Box::new(Reason::AsRedirectRefused.into()));
    }
    let members = if answer.is_json() { serde_json::from_slice::<Members>(&answer.body).ok() } else { None };
    match (status, members) {
        (200, Some(members)) => success(members, expected),
        (429 | 503, _) => Err(Box::new(Fault::new(Reason::AsUnavailable).retry_after(answer.retry_after()).into())),
        (400..=499, Some(members)) => Err(Box::new(refusal(members))),
        (400..=499, None) => Err(Box::new(Reason::AsRejected.into())),
        (500..=599, _) => Err(Box::new(Reason::AsRejected.into())),
        (_, Some(members)) => Err(Box::new(malformed(members))),
        (_, None) => Err(Box::new(Reason::AsResponseMalformed.into())),
    }
}

fn success(mut members: Members, expected: &Expected<'_>) -> Result<Success, Box<Bad>> {
    if members.error.is_some() {
        return Err(Box::new(malformed(members)));
    }
    match &members.token_type {
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(Value::String(_)) | None => return Err(Box::new(bad(Reason::TokenTypeUnsupported, members))),
        Some(_) => return Err(Box::new(malformed(members))),
    }
    let lifetime = match &members.expires_in {
        None => expected.assumed_lifetime,
        Some(value) => match value.as_u64().filter(|s| (1..=EXPIRES_IN_MAX).contains(s)) {
            Some(seconds) => Duration::from_secs(seconds),
            None => return Err(Box::new(malformed(members))),
        },
    };
    let scopes = match &members.scope {
        // Omitted means exactly what was asked (RFC 6749 §5.1); an empty or ill-formed one means nothing we know.
        None => expected.allowed.clone(),
        Some(value) => match value.as_str().and_then(ScopeSet::parse) {
            Some(scopes) => scopes,
            None => return Err(Box::new(malformed(members))),
        },
    };
    if !scopes.is_within(expected.allowed) {
        let beyond: Vec<String> = scopes.beyond(expected.allowed).iter().map(ToString::to_string).collect();
        let mut refused = bad(Reason::ScopeUpgraded, members);
        refused.fault = refused.fault.with("scopes", beyond.join(" ")).detected(Detection::ScopeEscalation);
        return Err(Box::new(refused));
    }
    let (Some(access), Some(refresh)) = (members.access(), members.refresh()) else {
        return Err(Box::new(malformed(members)));
    };
    Ok(Success { access, refresh, lifetime, scopes })
}

/// An error answer (RFC 6749 §5.2). Its code is mapped; its text is dropped unread.
fn refusal(members: Members) -> Bad {
    if members.access_token.is_some() {
        return malformed(members);
    }
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
    Fault::new(reason).with("oauth_error", name).into()
}

fn malformed(members: Members) -> Bad {
    bad(Reason::AsResponseMalformed, members)
}

fn bad(reason: Reason, mut members: Members) -> Bad {
    let leftover = Leftover { access: members.access(), refresh: members.refresh().flatten() };
    Bad { fault: reason.into(), leftover }
}

/// The members of an answer; secrets go straight into memory that is wiped.
#[derive(Default)]
struct Members {
    access_token: Option<Zeroizing<String>>,
    refresh_token: Option<Zeroizing<String>>,
    token_type: Option<Value>,
    expires_in: Option<Value>,
    scope: Option<Value>,
    error: Option<Value>,
}

impl Members {
    fn access(&mut self) -> Option<AccessToken> {
        self.access_token.take().and_then(|text| AccessToken::parse(text.to_string()))
    }

    /// `Some(None)`: there was none. `None`: there was one, and it cannot be a refresh token.
    fn refresh(&mut self) -> Option<Option<RefreshToken>> {
        match self.refresh_token.take() {
            None => Some(None),
            Some(text) => RefreshToken::parse(text.to_string()).map(Some),
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "access_token" => members.access_token = Some(Zeroizing::new(map.next_value()?)),
                "refresh_token" => members.refresh_token = Some(Zeroizing::new(map.next_value()?)),
                "token_type" => members.token_type = Some(map.next_value::<Strict>()?.0),
                "expires_in" => members.expires_in = Some(map.next_value::<Strict>()?.0),
                "scope" => members.scope = Some(map.next_value::<Strict>()?.0),
                "error" => members.error = Some(map.next_value::<Strict>()?.0),
                // Unknown members are ignored (RFC 6749 §5.1), but repeats in them are not.
                _ => drop(map.next_value::<Strict>()?),
            }
            if !seen.insert(name) {
                return Err(A::Error::custom("a member appears twice"));
            }
        }
        Ok(members)
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
    let expected = Expected { allowed: &allowed, assumed_lifetime: Duration::from_secs(60) };
    judge(&answer, &expected).err().map(|bad| bad.fault.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(body: &str) -> Option<Reason> {
        fuzz_answer(200, body.as_bytes())
    }

    #[test]
    fn only_well_formed_answers_count() {
        let good = r#""access_token":"at","token_type":"bEaReR","expires_in":60"#;
        assert_eq!(reason(&format!("{{{good}}}")), None);
        assert_eq!(reason(&format!("{{{good},\"x_secret\":{{\"a\":[1]}}}}")), None);
        let malformed = [
            format!("{{{good}}}{{}}"),
            format!("{{{good}}} x"),
            format!("\u{feff}{{{good}}}"),
            format!("[{{{good}}}]"),
            format!("{{{good},\"scope\":\"a\",\"scope\":\"b\"}}"),
            format!("{{{good},\"x\":{{\"a\":1,\"a\":1}}}}"),
            format!("{{{good},\"scope\":\"\"}}"),
            format!("{{{good},\"scope\":\"a  b\"}}"),
            format!("{{{good},\"scope\":null}}"),
            format!("{{{good},\"error\":\"x\"}}"),
            format!("{{{good},\"refresh_token\":\"\"}}"),
            r#"{"token_type":"Bearer"}"#.to_owned(),
            String::new(),
        ];
        for body in malformed {
            assert_eq!(reason(&body), Some(Reason::AsResponseMalformed), "{body}");
        }
        for value in ["-1", "0", "1e309", "\"3600\"", "9223372036854775808", "1.5", "null", "true", "[]"] {
            let body = format!(r#"{{"access_token":"at","token_type":"Bearer","expires_in":{value}}}"#);
            assert_eq!(reason(&body), Some(Reason::AsResponseMalformed), "{value}");
        }
        for token in ["a b", "a\\r\\nb", "a\\u0000", "", "\u{e9}", &"x".repeat(33 * 1024)] {
            let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer"}}"#);
            assert_eq!(reason(&body), Some(Reason::AsResponseMalformed));
        }
    }

    #[test]
    fn token_types_other_than_bearer_are_refused() {
        for kind in [r#""mac""#, r#""N_A""#, r#""DPoP""#] {
            let body = format!(r#"{{"access_token":"at","token_type":{kind}}}"#);
            assert_eq!(reason(&body), Some(Reason::TokenTypeUnsupported), "{kind}");
        }
        assert_eq!(reason(r#"{"access_token":"at"}"#), Some(Reason::TokenTypeUnsupported));
    }

    #[test]
    fn more_scope_than_allowed_is_an_upgrade() {
        for scope in ["a c", "c", "A"] {
            let body = format!(r#"{{"access_token":"at","token_type":"Bearer","scope":"{scope}"}}"#);
            assert_eq!(reason(&body), Some(Reason::ScopeUpgraded), "{scope}");
        }
        assert_eq!(reason(r#"{"access_token":"at","token_type":"Bearer","scope":"b"}"#), None);
    }

    #[test]
    fn error_answers_map_to_closed_reasons() {
        let of = |status, body: &str| fuzz_answer(status, body.as_bytes());
        assert_eq!(
            of(400, r#"{"error":"invalid_grant","error_description":"\u001b[2J"}"#),
            Some(Reason::GrantRejected)
        );
        assert_eq!(of(401, r#"{"error":"invalid_client"}"#), Some(Reason::AsClientAuthFailed));
        assert_eq!(of(400, r#"{"error":"invalid_scope"}"#), Some(Reason::ScopeRejected));
        assert_eq!(of(400, r#"{"error":"odd"}"#), Some(Reason::AsRejected));
        assert_eq!(of(400, r#"{"access_token":"at","error":"invalid_grant"}"#), Some(Reason::AsResponseMalformed));
        assert_eq!(of(403, ""), Some(Reason::AsRejected));
        assert_eq!(of(503, ""), Some(Reason::AsUnavailable));
        assert_eq!(of(307, ""), Some(Reason::AsRedirectRefused));
        assert_eq!(of(201, r#"{"access_token":"at","token_type":"Bearer"}"#), Some(Reason::AsResponseMalformed));
    }
}
