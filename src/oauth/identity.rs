//! Who logged in: the ID token of an answer, verified, judged and dropped. It goes to nobody (OIDC Core §3.1.3.7).

use super::{
    AuthorizationServers,
    jose::{
        Kind,
        id_token::{Expect, IdTokenFault, validate},
        jwks::KeySet,
        jws::{Rejected, Verified, verify},
    },
    leniency::CURE,
};
use crate::{
    config::{CLOCK_SKEW_MAX, Issuer},
    model::{
        AccessToken, Advice, Algorithm, Algorithms, Fault, IdToken, Nonce, Reason, Subject, Wall, fault::Detection,
    },
    transaction::Begun,
};
use serde_json::Value;
use std::sync::Arc;

/// What an answer brought, and what it must fit.
pub(super) struct Presented<'a> {
    /// The keys that were current before the code left.
    pub(super) keys: Option<Arc<KeySet>>,
    /// The transaction's nonce.
    pub(super) nonce: Option<&'a Nonce>,
    /// Who logged in, where it comes with a refresh.
    pub(super) origin: Option<&'a Subject>,
    /// The ID token, if there is one.
    pub(super) id_token: Option<&'a IdToken>,
    /// The access token that came with it.
    pub(super) access: &'a AccessToken,
}

impl AuthorizationServers {
    /// Verifies and judges an ID token.
    ///
    /// # Errors
    /// [`Reason::IdTokenInvalid`] with its `rule`, [`Reason::NonceMismatch`], [`Reason::AtHashMismatch`],
    /// [`Reason::StepUpRequired`]: nothing of the answer may be kept.
    pub(super) async fn identify(&self, begun: &Begun, presented: Presented<'_>) -> Result<Subject, Fault> {
        let (issuer, client) = (&begun.opening.issuer, &begun.opening.client);
        let settings = &issuer.id_tokens;
        let verified = self.verified(begun, &presented).await;
        let now = self.clock.wall();
        let expect = Expect {
            issuer: &issuer.url,
            client_id: &client.client_id,
            nonce: presented.nonce,
            origin: presented.origin,
            skew: settings.clock_skew,
            access_token: presented.access,
            max_age: begun.opening.login.max_age,
            acr_values: &begun.opening.login.acr_values,
            trusted_audiences: &settings.trusted_audiences,
            groups: &settings.groups,
        };
        let (fault, cure) = match verified {
            Ok(verified) => match validate(&verified, &expect, now) {
                Ok(subject) => return Ok(subject),
                Err(fault) => (fault, cure(&verified, fault, &expect, now)),
            },
            Err(fault) => (fault, cure_of_algorithm(&presented, fault, &expect, now)),
        };
        let (told, login) = (refusal(issuer, fault, cure), &begun.opening.login);
        Err(match told.reason {
            Reason::StepUpRequired => told.advising(Advice::step_up(login.acr_values.clone(), login.max_age)),
            _ => told,
        })
    }

    /// Verifies the signature. A key that is not there may be new: the keys are fetched once more, if that may be.
    #[expect(clippy::disallowed_methods, reason = "an ID token is read to be judged")]
    async fn verified(&self, begun: &Begun, presented: &Presented<'_>) -> Result<Verified, IdTokenFault> {
        let token = presented.id_token.ok_or(IdTokenFault::Invalid("missing"))?.reveal();
        let keys = presented.keys.as_ref().ok_or(IdTokenFault::Invalid("keys_unavailable"))?;
        let algorithms = &begun.opening.issuer.id_tokens.algorithms;
        match verify(token, keys, algorithms, Kind::IdToken) {
            Err(Rejected::UnknownKey) => match self.sought_keys(begun).await {
                Some(Ok(keys)) => Ok(verify(token, &keys, algorithms, Kind::IdToken)?),
                Some(Err(_)) => Err(IdTokenFault::Invalid("keys_unavailable")),
                None => Err(Rejected::UnknownKey.into()),
            },
            answer => Ok(answer?),
        }
    }
}

/// Whether an ID token that came with a refresh says that its session is another one: then the grant is over.
pub(super) fn ends_grant(fault: &Fault) -> bool {
    let rule = fault.metadata.get("rule").map(String::as_str).unwrap_or_default();
    let about_it = matches!(fault.reason, Reason::IdTokenInvalid | Reason::NonceMismatch);
    about_it && matches!(rule, "another_person" | "another_login" | "iss" | "aud" | "azp" | "nonce")
}

/// What the caller is told, and the operator.
fn refusal(issuer: &Issuer, fault: IdTokenFault, cure: Option<&'static str>) -> Fault {
    let rule = match fault {
        IdTokenFault::Invalid(rule) => rule,
        IdTokenFault::Nonce => "nonce",
        IdTokenFault::AtHash => "at_hash",
        IdTokenFault::StepUp => "step_up",
    };
    let (alias, hint) = (&issuer.alias, hint(rule, cure.is_some()));
    tracing::error!(issuer = %alias, rule, hint, "the ID token is refused, and every token that came with it revoked");
    let reason = match fault {
        IdTokenFault::Invalid(_) => Reason::IdTokenInvalid,
        IdTokenFault::Nonce => Reason::NonceMismatch,
        IdTokenFault::AtHash => Reason::AtHashMismatch,
        IdTokenFault::StepUp => return Fault::new(Reason::StepUpRequired).with("issuer", alias.as_str()),
    };
    let told = Fault::new(reason).with("issuer", alias.as_str()).with("rule", rule);
    let told = match cure {
        Some(key) => told.with(CURE, format!("[issuer.id_token] {key}")),
        None => told,
    };
    // Made for someone or something else, or by someone else: no mere slip of an issuer.
    match rule {
        "nonce" | "at_hash" | "signature" | "wrong_key" | "iss" | "aud" | "azp" | "another_person"
        | "another_login" => told.detected(Detection::IdTokenForged),
        _ => told,
    }
}

/// The key of `[issuer.id_token]` that would let these claims pass: they are judged again with it set as far as it goes.
fn cure(verified: &Verified, fault: IdTokenFault, expect: &Expect<'_>, now: Wall) -> Option<&'static str> {
    let IdTokenFault::Invalid(rule) = fault else { return None };
    let named: Vec<String>;
    let (key, relaxed) = match rule {
        "aud" => {
            let all = verified.claim("aud").and_then(Value::as_array)?;
            named = all.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            ("trusted_audiences", Expect { trusted_audiences: &named, ..*expect })
        }
        "exp" | "iat" | "nbf" | "auth_time" => ("clock_skew", Expect { skew: CLOCK_SKEW_MAX, ..*expect }),
        _ => return None,
    };
    validate(verified, &relaxed, now).is_ok().then_some(key)
}

/// The same for a token that is signed with an algorithm which is not listed: whether it would pass if all were.
#[expect(clippy::disallowed_methods, reason = "an ID token is read to be judged")]
fn cure_of_algorithm(
    presented: &Presented<'_>,
    fault: IdTokenFault,
    expect: &Expect<'_>,
    now: Wall,
) -> Option<&'static str> {
    if fault != IdTokenFault::Invalid(Rejected::Algorithm.rule()) {
        return None;
    }
    let (token, keys) = (presented.id_token?.reveal(), presented.keys.as_ref()?);
    let verified = verify(token, keys, &Algorithms::new(Algorithm::ALL)?, Kind::IdToken).ok()?;
    validate(&verified, expect, now).is_ok().then_some("algs")
}

/// What to look at: the setting that would cure it, where the issuer may be right and the configuration not.
fn hint(rule: &str, curable: bool) -> &'static str {
    match rule {
        "alg" if curable => {
            "if the issuer signs with another algorithm, such as RS256, add to its [[issuer]]: id_token = { algs = [\"RS256\"] }"
        }
        "aud" if curable => "if the other audience is to be trusted, add it to trusted_audiences in [issuer.id_token]",
        "exp" | "iat" | "nbf" | "auth_time" if curable => {
            "compare the clocks; clock_skew in [issuer.id_token] may be at most 60s"
        }
        "exp" | "iat" | "nbf" | "auth_time" => {
            "no clock_skew makes it good: the issuer must correct it, unless a clock is far off"
        }
        "groups" => "the issuer's `groups` is no list of texts; leave groups out of [issuer.id_token]",
        "step_up" => {
            "max_age and acr_values, of [issuer.id_token] or of the call that began this, say what is demanded"
        }
        "another_person" | "another_login" => "a refresh may not change who logged in, or when; the grant has ended",
        "unknown_key" => "the issuer's keys do not hold its key; they are fetched again after keys_refresh",
        "ambiguous_key" => "several keys fit; the issuer must name one by kid",
        _ => "the issuer must correct it",
    }
}

#[cfg(test)]
mod tests {
    use super::Rejected;

    #[test]
    fn every_rule_is_documented() {
        let of_signatures = [
            Rejected::Size,
            Rejected::Form,
            Rejected::Header,
            Rejected::Algorithm,
            Rejected::Extension,
            Rejected::Type,
            Rejected::KeyId,
            Rejected::UnknownKey,
            Rejected::WrongKey,
            Rejected::AmbiguousKey,
            Rejected::Signature,
            Rejected::Claims,
        ];
        let of_claims = ["iss", "sub", "aud", "azp", "exp", "iat", "nbf", "auth_time", "groups", "nonce", "at_hash"];
        let of_others = ["missing", "keys_unavailable", "kind"];
        for rule in of_signatures.map(Rejected::rule).into_iter().chain(of_claims).chain(of_others) {
            assert!(include_str!("../../deploy/issuers.md").contains(&format!("`{rule}`")), "{rule}");
        }
    }
}
