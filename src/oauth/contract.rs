//! Access tokens held to what was agreed on with their issuer (`[issuer.access_token]`). Without an agreement nobody
//! looks into them (RFC 9068 §6). What a token says of itself may only tighten: it can be refused, and it can turn out
//! to carry less or to end earlier than its answer said.

use super::{
    AuthorizationServers,
    answer::Success,
    jose::{
        Kind,
        jwks::KeySet,
        jws::{Rejected, Verified, verify_typed},
    },
    leniency::{self, CURE},
    redeem::{Failed, unkept},
};
use crate::{
    config::{Accept, CLOCK_SKEW_MAX, Contract, Issuer},
    model::{
        AccessToken, Algorithm, Algorithms, Fault, Reason, Scope, ScopeSet, TokenBinding, Wall,
        fault::Detection,
        scope::{OFFLINE_ACCESS, OPENID},
    },
    transaction::Begun,
};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Entries of an `aud`.
const AUDIENCES_MAX: usize = 16;
/// The last second of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// What the claims are held against.
pub(super) struct Expect<'a> {
    /// The issuer that was asked.
    pub(super) issuer: &'a str,
    /// Our client identifier there.
    pub(super) client_id: &'a str,
    /// The resource that was asked for (RFC 8707), and the names it was asked for by (RFC 8693 §2.1). None: it may be
    /// for anything.
    pub(super) targets: Vec<&'a str>,
    /// The scopes that were asked for.
    pub(super) asked: &'a ScopeSet,
    /// Where the issuer may stray.
    pub(super) accept: &'a Accept,
    /// How far the clocks may differ.
    pub(super) skew: Duration,
    /// The confirmation method and the thumbprint of what it must be bound to (RFC 8705 §3, RFC 9449 §6), where it must.
    pub(super) confirmation: Option<(&'static str, &'a str)>,
    /// Whether it must say who issued it for whom and until when: an introspection answer need not.
    pub(super) says_all: bool,
}

impl<'a> Expect<'a> {
    /// What the tokens of a transaction are held against, where these scopes are asked for.
    pub(super) fn of(begun: &'a Begun, asked: &'a ScopeSet) -> Self {
        let (issuer, client) = (&begun.opening.issuer, &begun.opening.client);
        Self {
            issuer: &issuer.url,
            client_id: &client.client_id,
            targets: begun
                .opening
                .flow
                .audiences()
                .iter()
                .map(String::as_str)
                .chain(begun.opening.resource())
                .collect(),
            asked,
            accept: &issuer.accept,
            skew: issuer.id_tokens.clock_skew,
            confirmation: client.bound_tokens.is_bound().then(|| {
                let key = begun.bound_key.as_ref().map(|bound| bound.jkt.as_str());
                let of = if client.bound_tokens == TokenBinding::Dpop { key } else { client.thumbprint() };
                (client.bound_tokens.confirmation(), of.unwrap_or_default())
            }),
            says_all: issuer.access_tokens.contract == Contract::Jwt,
        }
    }
}

/// What is learnt of a token that fits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Learnt {
    /// The scopes it carries, and those it carries besides; `None` where it does not say.
    pub(super) scopes: Option<(ScopeSet, Vec<Scope>)>,
    /// How long it still lives.
    pub(super) left: Duration,
    /// The authorization details it carries (RFC 9396 §9); `None` where it does not say.
    pub(super) details: Option<Value>,
}

/// How a token breaks the contract.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// By this rule: `AT_CONTRACT_VIOLATION`.
    Rule(&'static str),
    /// It is for another resource than was asked for: `AUDIENCE_MISMATCH`.
    Audience,
    /// It carries these scopes, which were not asked for: `AT_CONTRACT_VIOLATION`.
    Scopes(String),
    /// The issuer's keys cannot be had.
    NoKeys,
    /// The issuer could not be asked.
    Unknown(Fault),
}

impl From<Rejected> for Breach {
    fn from(rejected: Rejected) -> Self {
        Self::Rule(rejected.rule())
    }
}

impl AuthorizationServers {
    /// Holds the token of an answer to its issuer's contract.
    ///
    /// # Errors
    /// [`Reason::AtContractViolation`] with its `rule`, [`Reason::AudienceMismatch`], or that the issuer could not be
    /// asked about it: nothing of the answer may be kept.
    pub(super) async fn keep_to_contract(
        &self,
        success: Success,
        begun: &Begun,
        asked: &ScopeSet,
        keys: Option<&Arc<KeySet>>,
    ) -> Result<Success, Box<Failed>> {
        let issuer = &begun.opening.issuer;
        let expect = Expect::of(begun, asked);
        let learnt = match issuer.access_tokens.contract {
            Contract::Opaque => return Ok(success),
            Contract::Jwt => match self.signed_by_issuer(&success.access, begun, keys).await {
                Ok(verified) => judge(verified.claims(), &expect, self.clock.wall()),
                Err(breach) => Err(breach),
            },
            // A login or a refresh token has been spent for it: one failure is not the last word.
            Contract::Introspection => match self.introspect(begun, &success.access, &expect).await {
                Err(Breach::Unknown(_)) => self.introspect(begun, &success.access, &expect).await,
                answer => answer,
            },
        };
        let cure = match &learnt {
            Err(Breach::Rule(rule)) => cure(rule, &success.access, keys, issuer, &expect, self.clock.wall()),
            _ => None,
        };
        match learnt {
            Ok(learnt) => {
                tighten(success, learnt).map_err(|(success, breach)| unkept(refusal(issuer, &breach, None), &success))
            }
            Err(breach) => Err(unkept(refusal(issuer, &breach, cure), &success)),
        }
    }

    /// The keys that the contract needs, where it needs any: asked for before anything is spent.
    pub(super) async fn contract_keys(&self, begun: &Begun) -> Result<Option<Arc<KeySet>>, Fault> {
        match begun.opening.issuer.access_tokens.contract {
            Contract::Jwt => self.keys(begun).await,
            Contract::Opaque | Contract::Introspection => Ok(None),
        }
    }

    /// Verifies the signature. A key that is not there may be new: the keys are fetched once more, if that may be.
    #[expect(clippy::disallowed_methods, reason = "by contract, the token is read to be judged")]
    async fn signed_by_issuer(
        &self,
        access: &AccessToken,
        begun: &Begun,
        keys: Option<&Arc<KeySet>>,
    ) -> Result<Verified, Breach> {
        let issuer = &begun.opening.issuer;
        let (algorithms, typ) = (&issuer.access_tokens.algorithms, Some(issuer.accept.access_token_typ.as_str()));
        let verify = |keys: &KeySet| verify_typed(access.reveal(), keys, algorithms, Kind::AccessToken, typ);
        match verify(keys.ok_or(Breach::NoKeys)?) {
            Err(Rejected::UnknownKey) => match self.sought_keys(begun).await {
                Some(Ok(keys)) => Ok(verify(&keys)?),
                Some(Err(_)) => Err(Breach::NoKeys),
                None => Err(Rejected::UnknownKey.into()),
            },
            answer => Ok(answer?),
        }
    }
}

/// Judges the claims of a token that its issuer has signed (RFC 9068 §2.2, §4).
pub(super) fn judge(claims: &Map<String, Value>, expect: &Expect<'_>, now: Wall) -> Result<Learnt, Breach> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let may_lack = |name: &str| !expect.says_all && !claims.contains_key(name);
    for (name, right) in [("iss", expect.issuer), ("client_id", expect.client_id)] {
        if text(name) != Some(right) && !may_lack(name) {
            return Err(Breach::Rule(name));
        }
    }
    if !may_lack("aud") {
        audience(claims.get("aud"), &expect.targets)?;
    }
    let bound_to = |method| claims.get("cnf")?.get(method)?.as_str();
    if expect.confirmation.is_some_and(|(method, ours)| ours.is_empty() || bound_to(method) != Some(ours)) {
        return Err(Breach::Rule("cnf"));
    }
    let skew = expect.skew.min(CLOCK_SKEW_MAX);
    let left = match instant(claims, "exp")? {
        None if expect.says_all => return Err(Breach::Rule("exp")),
        None => Duration::MAX,
        Some(exp) => {
            let left = u64::try_from(exp.0.saturating_sub(now.0)).ok().filter(|left| *left > 0);
            Duration::from_millis(left.ok_or(Breach::Rule("exp"))?)
        }
    };
    for name in ["iat", "nbf"] {
        if instant(claims, name)?.is_some_and(|at| at > now.plus(skew)) {
            return Err(Breach::Rule(name));
        }
    }
    let details = claims.get("authorization_details").cloned();
    Ok(Learnt { scopes: scopes(claims.get("scope"), expect)?, left, details })
}

/// `aud` names what was asked for and nothing else (RFC 9068 §3): with one more the token would be good where nobody
/// asked for it.
fn audience(aud: Option<&Value>, targets: &[&str]) -> Result<(), Breach> {
    let is_right = |entry: &Value| match entry.as_str() {
        // Nothing was asked for by name; it is for something, and that is all that can be said.
        Some(entry) if targets.is_empty() => !entry.is_empty(),
        Some(entry) => targets.contains(&entry),
        None => false,
    };
    let right = match aud {
        Some(Value::Array(all)) => (1..=AUDIENCES_MAX).contains(&all.len()) && all.iter().all(is_right),
        Some(one) => is_right(one),
        None => false,
    };
    if right { Ok(()) } else { Err(Breach::Audience) }
}

/// A claim in whole seconds since 1970, up to the year 9999.
fn instant(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Wall>, Breach> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_u64().filter(|seconds| *seconds <= SECONDS_MAX).ok_or(Breach::Rule(name))?;
    Ok(Some(Wall(0).plus(Duration::from_secs(seconds))))
}

/// `scope` (RFC 9068 §2.2.3): within what was asked, by the same switches that its answer is read by.
fn scopes(claim: Option<&Value>, expect: &Expect<'_>) -> Result<Option<(ScopeSet, Vec<Scope>)>, Breach> {
    let Some(claim) = claim else { return Ok(None) };
    let said = claim.as_str().and_then(ScopeSet::parse).ok_or(Breach::Rule("scope"))?;
    match leniency::scopes(&said, expect.asked, expect.accept) {
        Ok(split) => Ok(Some(split)),
        Err(fault) => Err(match fault.metadata.get("scopes") {
            Some(beyond) => Breach::Scopes(beyond.clone()),
            None => Breach::Rule("scope"),
        }),
    }
}

/// Lowers what an answer said to what its token says. Those scopes stay that are for the issuer itself, which tokens
/// for a resource need not carry.
fn tighten(success: Success, learnt: Learnt) -> Result<Success, (Box<Success>, Breach)> {
    let mut success = success;
    success.lifetime = success.lifetime.min(learnt.left);
    success.details_carried = learnt.details;
    let Some((said, extra)) = learnt.scopes else { return Ok(success) };
    let Some(scopes) = ScopeSet::new(success.scopes.iter().filter(|scope| stays(scope, &said)).cloned()) else {
        return Err((Box::new(success), Breach::Rule("scope")));
    };
    let tolerated: BTreeSet<Scope> = success.tolerated.drain(..).chain(extra).collect();
    success.tolerated = tolerated.into_iter().collect();
    // The token's own word counts like that of its answer: a refresh has narrowed.
    success.scope_named = true;
    success.scopes = scopes;
    Ok(success)
}

/// Whether a scope of an answer is one of its token too.
pub(super) fn stays(scope: &Scope, said: &ScopeSet) -> bool {
    said.contains(scope) || [OPENID, OFFLINE_ACCESS].contains(&scope.as_str())
}

/// What the caller is told, and the operator.
fn refusal(issuer: &Issuer, breach: &Breach, cure: Option<&'static str>) -> Fault {
    let rule = match breach {
        Breach::Rule(rule) => rule,
        Breach::Audience => "aud",
        Breach::Scopes(_) => "scope",
        Breach::NoKeys => "keys_unavailable",
        Breach::Unknown(fault) => {
            tracing::error!(issuer = %issuer.alias, reason = fault.reason.name(), "the issuer cannot be asked about its token, and every token that came with it is revoked");
            return Fault {
                retry_after: None,
                ..Fault::new(Reason::IntrospectionUnavailable).with("issuer", issuer.alias.as_str())
            };
        }
    };
    let (alias, hint) = (&issuer.alias, hint(rule, cure.is_some()));
    tracing::error!(issuer = %alias, rule, hint, "the access token breaks the issuer's contract, and every token that came with it is revoked");
    let reason = if *breach == Breach::Audience { Reason::AudienceMismatch } else { Reason::AtContractViolation };
    let fault = Fault::new(reason).with("issuer", alias.as_str()).with("rule", rule);
    match breach {
        Breach::Rule(_) => match cure {
            Some(key) => fault.with(CURE, key),
            None => fault,
        },
        Breach::Audience => fault.detected(Detection::ScopeEscalation),
        Breach::Scopes(beyond) => fault.with("scopes", beyond.as_str()).detected(Detection::ScopeEscalation),
        _ => fault,
    }
}

/// The line of the configuration that would let a token pass: it is judged again with that set as far as it goes.
#[expect(clippy::disallowed_methods, reason = "by contract, the token is read to be judged")]
fn cure(
    rule: &str,
    access: &AccessToken,
    keys: Option<&Arc<KeySet>>,
    issuer: &Issuer,
    expect: &Expect<'_>,
    now: Wall,
) -> Option<&'static str> {
    let (keys, all) = (keys?, Algorithms::new(Algorithm::ALL)?);
    let own = issuer.accept.access_token_typ.as_str();
    let (key, algorithms, typs) = match rule {
        "alg" => ("[issuer.access_token] algs", &all, [own, own]),
        "typ" => ("[issuer.accept] access_token_typ", &issuer.access_tokens.algorithms, ["JWT", "at+jwt"]),
        _ => return None,
    };
    let passes = |typ: &str| {
        let verified = verify_typed(access.reveal(), keys, algorithms, Kind::AccessToken, Some(typ));
        verified.is_ok_and(|verified| judge(verified.claims(), expect, now).is_ok())
    };
    typs.into_iter().any(passes).then_some(key)
}

/// What to look at: the setting that would cure it, where the issuer may be right and the configuration not.
fn hint(rule: &str, curable: bool) -> &'static str {
    match rule {
        "form" | "header" => "if its access tokens are opaque, take contract = \"jwt\" out of [issuer.access_token]",
        "typ" if curable => {
            "if its access tokens have another typ, such as JWT, say so with access_token_typ in [issuer.accept]"
        }
        "alg" if curable => {
            "if it signs with another algorithm, such as RS256, add to [issuer.access_token]: algs = [\"RS256\"]"
        }
        "aud" => "it ignores `resource` (RFC 8707): have it issue tokens for the API's identifier alone",
        "client_id" => "RFC 9068 §2.2 demands it; without it the issuer's tokens are opaque to narrowgate",
        "scope" => "tolerated_extra_scopes and scope_aliases in [issuer.accept] count for the token's scope too",
        "unknown_key" => "the issuer's keys do not hold its key; they are fetched again after keys_refresh",
        "exp" | "iat" | "nbf" => "compare the clocks",
        "active" => "the issuer does not stand by a token that it has just issued",
        "cnf" => {
            "the client's tokens are to be bound to its certificate or key, and this one is not (RFC 8705 §3, RFC 9449 §6)"
        }
        _ => "the issuer must correct it",
    }
}

#[cfg(test)]
#[path = "contract_tests.rs"]
mod tests;
