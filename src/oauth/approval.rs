//! Verifies approval records: a configured approver's signed word about one request, under one policy set, for a while.
//!
//! A record is a compact JWS (RFC 7515 §7.1) of `typ` `narrowgate-approval+jwt`, signed with EdDSA or ES256, whose claims
//! are `iss` (the approver's id), `request_digest`, `policy_digest`, `iat`, `exp`, `jti`, and `ticket`, which may be left
//! out. What the approver's teams are is in the configuration: no record says so.

use super::jose::{
    Kind,
    delegated::claimed_issuer,
    jwks::KeySet,
    jws::{Verified, verify},
};
use crate::{
    config::{Approver, Approvers, SigningKey},
    model::{
        APPROVAL_LIFETIME_MAX, Algorithm, Algorithms, Approval, ApprovalRecord, ApproverId, Boot, Fault, Reason,
        ScopeSet, Wall, fault::Detection,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::time::Duration;

/// How far an approver's clock may be ahead.
const SKEW: Duration = Duration::from_secs(60);
/// Bytes of a `jti`, and of a ticket.
const WORD_BYTES_MAX: usize = 128;
/// The last second of the year 9999.
const SECONDS_MAX: i64 = 253_402_300_799;

/// What a record is held against.
pub struct ApprovalExpected<'a> {
    /// The digest of the request that it comes with.
    pub request_digest: &'a str,
    /// The scopes of that request.
    pub scopes: &'a ScopeSet,
    /// The digest of the current policy set.
    pub policy_digest: &'a str,
    /// Whose records count.
    pub approvers: &'a Approvers,
}

/// A record whose signature and claims are good. Whether it was used before is yet to be seen.
pub struct VerifiedApproval {
    /// The approval.
    pub approval: Approval,
    /// The record's own name: `jti`.
    pub id: String,
}

/// Verifies a record.
///
/// # Errors
/// [`Reason::ApprovalInvalid`], with the rule that it breaks.
#[expect(clippy::disallowed_methods, reason = "a record is read to be judged")]
pub fn verify_approval(
    record: &ApprovalRecord,
    expected: &ApprovalExpected<'_>,
    now: (Boot, Wall),
) -> Result<VerifiedApproval, Fault> {
    let text = record.reveal();
    let named = claimed_issuer(text).and_then(|name| ApproverId::parse(&name));
    // Unverified as yet: it chooses whose key must have signed, and so who has spoken.
    let approver = named.and_then(|id| expected.approvers.get(&id)).ok_or_else(|| invalid("approver"))?;
    let keys = KeySet::parse(format!("{{\"keys\":[{}]}}", approver.jwk).as_bytes()).map_err(|_| invalid("key"))?;
    let algorithms = Algorithms::new([Algorithm::EdDsa, Algorithm::Es256]).ok_or(Reason::Internal)?;
    let verified = verify(text, &keys, &algorithms, Kind::Approval).map_err(|rejected| invalid(rejected.rule()))?;
    judge(&verified, approver, expected, now).map_err(invalid)
}

/// Judges the claims; the error is the rule that is broken.
fn judge(
    verified: &Verified,
    approver: &Approver,
    expected: &ApprovalExpected<'_>,
    (boot, now): (Boot, Wall),
) -> Result<VerifiedApproval, &'static str> {
    let text = |name: &str| verified.claim(name).and_then(Value::as_str);
    let word = |name: &str| text(name).filter(|word| is_word(word)).map(str::to_owned);
    let instant = |name: &str| {
        let seconds = verified.claim(name).and_then(Value::as_i64).filter(|n| (0..=SECONDS_MAX).contains(n));
        seconds.map(|seconds| Wall(seconds.saturating_mul(1000)))
    };
    if text("request_digest") != Some(expected.request_digest) {
        return Err("request_digest");
    }
    if text("policy_digest") != Some(expected.policy_digest) {
        return Err("policy_digest");
    }
    let at = instant("iat").filter(|at| *at <= now.plus(SKEW)).ok_or("iat")?;
    let until = instant("exp").filter(|until| *until > now).ok_or("exp")?;
    if until <= at || until > at.plus(APPROVAL_LIFETIME_MAX) {
        return Err("lifetime");
    }
    let id = word("jti").ok_or("jti")?;
    let ticket = match verified.claim("ticket") {
        None => None,
        Some(_) => Some(word("ticket").ok_or("ticket")?),
    };
    let approval = Approval {
        approver: approver.id.clone(),
        key: approver.thumbprint.clone(),
        // What lies ahead of our clock by a difference of clocks was signed now.
        at: at.min(now),
        until: (boot.plus(until.since(now)), until),
        scopes: expected.scopes.clone(),
        ticket,
        policy_digest: expected.policy_digest.to_owned(),
    };
    Ok(VerifiedApproval { approval, id })
}

fn is_word(word: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic())
}

/// The record is not good, by this rule.
#[must_use]
pub fn invalid(rule: &'static str) -> Fault {
    // Told apart, they would say who is an approver, and what kind of key is theirs.
    let rule = if matches!(rule, "approver" | "key" | "unknown_key" | "wrong_key") { "signature" } else { rule };
    let wrong = format!("breaks the rule {rule}");
    let fault = Fault::field(Reason::ApprovalInvalid, "approval", wrong).with("rule", rule);
    // Made up, made for something else, or brought again: no mere slip.
    match rule {
        "signature" | "alg" | "request_digest" | "used" => fault.detected(Detection::ApprovalMisuse),
        _ => fault,
    }
}

/// What an approver signs.
pub struct ApprovalClaims<'a> {
    /// The approver's id.
    pub approver: &'a ApproverId,
    /// What is approved.
    pub request_digest: &'a str,
    /// The policy set that it is approved under.
    pub policy_digest: &'a str,
    /// Where it was talked about.
    pub ticket: Option<&'a str>,
    /// The record's own name.
    pub id: &'a str,
    /// When it is signed.
    pub at: Wall,
    /// How long it counts.
    pub lifetime: Duration,
}

/// Signs a record with an approver's key, for the approver to print. `None` if the library cannot sign.
#[must_use]
pub fn sign_approval(key: &SigningKey, claims: &ApprovalClaims<'_>) -> Option<String> {
    let seconds = claims.at.0.div_euclid(1000);
    let ends = seconds.saturating_add(i64::try_from(claims.lifetime.as_secs()).unwrap_or(i64::MAX));
    let mut payload = json!({
        "iss": claims.approver.as_str(),
        "request_digest": claims.request_digest,
        "policy_digest": claims.policy_digest,
        "iat": seconds,
        "exp": ends,
        "jti": claims.id,
    });
    if let (Some(ticket), Some(members)) = (claims.ticket, payload.as_object_mut()) {
        members.insert("ticket".to_owned(), json!(ticket));
    }
    let header = json!({ "typ": Kind::Approval.typ(), "alg": key.algorithm().name() });
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(&header), part(&payload));
    let signature = key.sign(signed.as_bytes())?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
