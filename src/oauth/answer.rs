//! The token endpoint's answer (RFC 6749 §5), read strictly and sealed at once.

use super::{http::Answer, leniency, members::Members, rejected::by_status, salvage::Leftover, step_up};
use crate::{
    config::Accept,
    model::{AccessToken, AuthorizationDetails, Fault, IdToken, Reason, RefreshToken, Scope, ScopeSet, TokenBinding},
};
use serde_json::Value;
use std::time::Duration;

/// Bytes of a token answer.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

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
    /// Whether it is no access token, by its `token_type` of `N_A` (RFC 8693 §2.2.1).
    pub(super) not_applicable: bool,
    /// `authorization_details` (RFC 9396 §7) as they came, until they are held against what was asked.
    pub(super) details_answered: Option<Value>,
    /// The same as the token itself carries them, where its contract lets it be read.
    pub(super) details_carried: Option<Value>,
    /// What of them is granted.
    pub(super) details: AuthorizationDetails,
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
    /// What the token must be bound to.
    pub(super) binding: TokenBinding,
    /// What a token without `expires_in` is taken to live.
    pub(super) assumed_lifetime: Duration,
    /// Where the issuer may stray.
    pub(super) accept: &'a Accept,
    /// Whether no access token was asked for (RFC 8693 §2.2.1).
    pub(super) not_applicable: bool,
}

/// The key of a fault's fact that names the rule which an answer breaks: a word of ours, never the server's text.
pub(super) const RULE: &str = "rule";

/// A fault of an answer that breaks this rule.
pub(super) fn broken(rule: &'static str) -> Fault {
    Fault::new(Reason::AsResponseMalformed).with(RULE, rule)
}

/// Judges an answer.
pub(super) fn judge(answer: &Answer, expected: &Expected<'_>) -> Result<Success, Box<Bad>> {
    let (members, wrong) = Members::read(&answer.body);
    match (answer.status.as_u16(), wrong) {
        (300..=399, _) => Err(bad(Reason::AsRedirectRefused, members)),
        (200, Some(rule)) => Err(because(broken(rule), members)),
        (200, None) if answer.is_json() => success(members, expected),
        (200, None) => Err(because(broken("content_type"), members)),
        // A token under any other answer is not taken, but it lives at the server.
        _ if members.holds_token() => Err(because(broken("status"), members)),
        (429 | 503, _) => Err(Fault::new(Reason::AsUnavailable).retry_after(answer.retry_after()).into()),
        (status @ 400..=499, None) if answer.is_json() => Err(refusal(&members, status)),
        (status @ 400..=599, _) => Err(by_status(status).into()),
        _ => Err(broken("status").into()),
    }
    .map_err(Box::new)
}

fn success(members: Members, expected: &Expected<'_>) -> Result<Success, Bad> {
    match read(&members, expected) {
        Ok((access, refresh, lifetime, (scopes, tolerated))) => {
            let scope_named = members.scope.is_some();
            let (id_token, issued_type) = (members.id_token, members.issued_type);
            let not_applicable = members.token_type.as_ref().is_some_and(is_not_applicable);
            Ok(Success {
                access,
                refresh,
                id_token,
                lifetime,
                scopes,
                scope_named,
                tolerated,
                issued_type,
                not_applicable,
                details_answered: members.details,
                details_carried: None,
                details: AuthorizationDetails::default(),
            })
        }
        Err(fault) => Err(because(fault, members)),
    }
}

/// What of the members of a success is used: its tokens, their lifetime, and the scopes granted and tolerated.
type Read = (AccessToken, Option<RefreshToken>, Duration, (ScopeSet, Vec<Scope>));

fn read(members: &Members, expected: &Expected<'_>) -> Result<Read, Fault> {
    if members.error.is_some() {
        return Err(broken("error"));
    }
    match &members.token_type {
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case(expected.binding.token_type()) => {}
        // What is bound to nothing cannot keep a client's promise that its tokens are bound.
        Some(kind) if is_not_applicable(kind) && expected.not_applicable && !expected.binding.is_bound() => {}
        // Asked for DPoP, and this is what anyone could use: a downgrade (RFC 9449 §5).
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => {
            return Err(Reason::TokenBindingMismatch.into());
        }
        Some(Value::String(_)) | None => return Err(Reason::TokenTypeUnsupported.into()),
        Some(_) => return Err(broken("token_type")),
    }
    let lifetime = match &members.expires_in {
        None => expected.assumed_lifetime,
        Some(value) => leniency::lifetime(value, expected.accept)?,
    };
    let answered = match &members.scope {
        // Omitted means exactly what was asked (RFC 6749 §5.1); an empty or ill-formed one means nothing we know.
        None => expected.allowed.clone(),
        Some(value) => value.as_str().and_then(ScopeSet::parse).ok_or_else(|| broken("scope"))?,
    };
    let scopes = leniency::scopes(&answered, expected.allowed, expected.accept)?;
    let access = members.access().ok_or_else(|| broken("access_token"))?;
    let refresh = members.refresh().ok_or_else(|| broken("refresh_token"))?;
    if members.access_token == members.refresh_token {
        // Handed out, it would be a refresh token in an agent's hands.
        return Err(broken("same_token"));
    }
    Ok((access, refresh, lifetime, scopes))
}

fn is_not_applicable(token_type: &Value) -> bool {
    token_type.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("n_a"))
}

/// An error answer (RFC 6749 §5.2). Its code is mapped; its text is dropped unread.
fn refusal(members: &Members, status: u16) -> Bad {
    let Some(Value::String(code)) = &members.error else { return by_status(status).into() };
    let (reason, name) = error_of(code);
    let fault = Fault::new(reason).with("oauth_error", name);
    let fault = if reason == Reason::StepUpRequired { step_up::asked(fault, &members.step_up) } else { fault };
    match members.description_bytes {
        Some(bytes) => fault.with("oauth_error_description_bytes", bytes.to_string()).into(),
        None => fault.into(),
    }
}

/// What an error code means (RFC 6749 §5.2), and its name in words of ours.
pub(super) fn error_of(code: &str) -> (Reason, &'static str) {
    match code {
        "invalid_grant" => (Reason::GrantRejected, "invalid_grant"),
        // glewlwyd's word for the same.
        "invalid_code" => (Reason::GrantRejected, "invalid_code"),
        "invalid_client" => (Reason::AsClientAuthFailed, "invalid_client"),
        "unauthorized_client" => (Reason::AsClientAuthFailed, "unauthorized_client"),
        step_up::ERROR => (Reason::StepUpRequired, step_up::ERROR),
        "invalid_scope" => (Reason::ScopeRejected, "invalid_scope"),
        "invalid_target" => (Reason::ScopeRejected, "invalid_target"),
        "invalid_request" => (Reason::AsRejected, "invalid_request"),
        "invalid_request_object" => (Reason::AsRejected, "invalid_request_object"),
        "invalid_authorization_details" => (Reason::AsRejected, "invalid_authorization_details"),
        "invalid_dpop_proof" => (Reason::AsRejected, "invalid_dpop_proof"),
        "use_dpop_nonce" => (Reason::AsRejected, "use_dpop_nonce"),
        "unsupported_grant_type" => (Reason::AsRejected, "unsupported_grant_type"),
        "temporarily_unavailable" => (Reason::AsUnavailable, "temporarily_unavailable"),
        _ => (Reason::AsRejected, "unregistered"),
    }
}

fn bad(reason: Reason, members: Members) -> Bad {
    because(reason.into(), members)
}

fn because(fault: Fault, members: Members) -> Bad {
    Bad { fault, leftover: Box::new(members.into_leftover()) }
}

/// Judges bytes as if a server had sent them, for the fuzzer: it must never panic.
pub fn fuzz_answer(status: u16, body: &[u8]) -> Option<Reason> {
    let answer = Answer {
        status: http::StatusCode::from_u16(status).unwrap_or_default(),
        headers: [(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"))]
            .into_iter()
            .collect(),
        body: zeroize::Zeroizing::new(body.to_vec()),
    };
    let allowed = ScopeSet::parse("a b")?;
    let expected = Expected {
        allowed: &allowed,
        binding: TokenBinding::Unbound,
        assumed_lifetime: Duration::from_secs(60),
        accept: &Accept::default(),
        not_applicable: false,
    };
    judge(&answer, &expected).err().map(|bad| bad.fault.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn reason(body: &str) -> Option<Reason> {
        fuzz_answer(200, body.as_bytes())
    }

    /// What an answer is refused for.
    fn refused(status: u16, kind: &str, body: &str) -> Bad {
        let answer = Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers: [(http::header::CONTENT_TYPE, kind.parse().unwrap())].into_iter().collect(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        };
        let (allowed, accept) = (ScopeSet::parse("a").unwrap(), Accept::default());
        let expected = Expected {
            allowed: &allowed,
            binding: TokenBinding::Unbound,
            assumed_lifetime: Duration::from_secs(60),
            accept: &accept,
            not_applicable: false,
        };
        *judge(&answer, &expected).err().unwrap()
    }

    // rows: TOK-04 TOK-06 TOK-14
    #[test]
    fn a_malformed_answer_names_the_rule_it_breaks() {
        let good = r#""access_token":"at","token_type":"Bearer""#;
        let json = "application/json";
        for (status, kind, body, rule) in [
            (200, json, "nothing".to_owned(), "not_json"),
            (200, json, format!("{{{good}}} x"), "not_json"),
            (200, json, format!("[{{{good}}}]"), "not_json"),
            (200, json, format!("{{{good}"), "not_json"),
            (200, json, format!("\u{feff}{{{good}}}"), "byte_order_mark"),
            (200, json, format!("{{{good},\"scope\":\"a\",\"scope\":\"a\"}}"), "duplicate_member"),
            (200, json, format!("{{{good},\"x\":{{\"a\":1,\"a\":1}}}}"), "duplicate_member"),
            (200, json, format!("{{{good},\"access_token\":\"bt\"}}"), "duplicate_member"),
            (200, "text/html", format!("{{{good}}}"), "content_type"),
            (201, json, format!("{{{good}}}"), "status"),
            (400, json, format!("{{{good},\"error\":\"invalid_grant\"}}"), "status"),
            (204, json, String::new(), "status"),
            (200, json, format!("{{{good},\"error\":\"x\"}}"), "error"),
            (200, json, r#"{"access_token":"at","token_type":7}"#.to_owned(), "token_type"),
            (200, json, format!("{{{good},\"expires_in\":\"3600\"}}"), "expires_in"),
            (200, json, format!("{{{good},\"expires_in\":-1}}"), "expires_in"),
            (200, json, format!("{{{good},\"scope\":[]}}"), "scope"),
            (200, json, r#"{"token_type":"Bearer"}"#.to_owned(), "access_token"),
            (200, json, r#"{"access_token":7,"token_type":"Bearer"}"#.to_owned(), "access_token"),
            (200, json, r#"{"access_token":"a b","token_type":"Bearer"}"#.to_owned(), "access_token"),
            (200, json, format!("{{{good},\"refresh_token\":null}}"), "refresh_token"),
            (200, json, format!("{{{good},\"refresh_token\":\"\"}}"), "refresh_token"),
            (200, json, format!("{{{good},\"refresh_token\":\"at\"}}"), "same_token"),
        ] {
            let fault = refused(status, kind, &body).fault;
            assert_eq!(fault.reason, Reason::AsResponseMalformed, "{body}");
            assert_eq!(fault.metadata.get(RULE).map(String::as_str), Some(rule), "{body}");
            assert!(include_str!("../../deploy/issuers.md").contains(&format!("`{rule}`")), "{rule} is not documented");
        }
    }

    // rows: TOK-04 TOK-06 TOK-12 TOK-14 SCOP-04
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

    // rows: TOK-05
    #[test]
    fn token_types_other_than_bearer_are_refused() {
        for kind in [r#""mac""#, r#""N_A""#, r#""DPoP""#] {
            let body = format!(r#"{{"access_token":"at","token_type":{kind}}}"#);
            assert_eq!(reason(&body), Some(Reason::TokenTypeUnsupported), "{kind}");
        }
        assert_eq!(reason(r#"{"access_token":"at"}"#), Some(Reason::TokenTypeUnsupported));
    }

    // rows: SCOP-05
    #[test]
    fn more_scope_than_allowed_is_an_upgrade() {
        for scope in ["a c", "c", "A"] {
            let body = format!(r#"{{"access_token":"at","token_type":"Bearer","scope":"{scope}"}}"#);
            assert_eq!(reason(&body), Some(Reason::ScopeUpgraded), "{scope}");
        }
        assert_eq!(reason(r#"{"access_token":"at","token_type":"Bearer","scope":"b"}"#), None);
    }

    // rows: INTR-01 TOK-11
    #[test]
    fn a_token_in_a_refused_answer_is_left_over_to_be_revoked() {
        let leftover = |status, kind: &str, body: &str| {
            let Bad { fault, leftover } = refused(status, kind, body);
            let first = |tokens: Vec<Zeroizing<String>>| tokens.first().map(|token| token.to_string());
            (fault.reason, first(leftover.access), first(leftover.refresh))
        };
        let (at, rt) = (Some("at".to_owned()), Some("rt".to_owned()));
        let both = r#"{"access_token":"at","refresh_token":"rt","token_type":"Bearer"}"#;
        for status in [201, 400, 429, 500, 503] {
            let expected = (Reason::AsResponseMalformed, at.clone(), rt.clone());
            assert_eq!(leftover(status, "application/json", both), expected, "{status}");
        }
        assert_eq!(leftover(200, "text/html", both), (Reason::AsResponseMalformed, at.clone(), rt.clone()));
        assert_eq!(leftover(307, "application/json", both), (Reason::AsRedirectRefused, at, rt));
        let odd = r#"{"access_token":"1|a b","token_type":"Bearer"}"#;
        let expected = (Reason::AsResponseMalformed, Some("1|a b".to_owned()), None);
        assert_eq!(leftover(200, "application/json", odd), expected);
        assert_eq!(leftover(503, "application/json", "{}"), (Reason::AsUnavailable, None, None));
    }

    // rows: TOK-09 TOK-11
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
