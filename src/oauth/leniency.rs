//! An answer read by what `[issuer.accept]` declares of its server. Strict where nothing is declared; and whatever is
//! declared, nothing here widens what policy allowed.

use super::answer::{RULE, broken};
use crate::{
    config::{Accept, Issuer},
    model::{Fault, Reason, Scope, ScopeSet, fault::Detection},
};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// The longest `expires_in` that is believed to be meant, in seconds: about 31 years.
const EXPIRES_IN_MAX: u64 = 1_000_000_000;

/// The key of a fault's fact that names the switch which would have let the answer pass.
pub(super) const CURE: &str = "cure";

/// Reads `expires_in` (RFC 6749 §5.1): a number of seconds, and a string of digits where that is declared.
pub(super) fn lifetime(value: &Value, accept: &Accept) -> Result<Duration, Fault> {
    let digits = |text: &&str| !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    let text = value.as_str().filter(digits).and_then(|text| text.parse().ok());
    let seconds = value.as_u64().or(text).filter(|seconds| (1..=EXPIRES_IN_MAX).contains(seconds));
    match seconds {
        Some(_) if value.is_string() && !accept.expires_in_string => {
            Err(broken("expires_in").with(CURE, "[issuer.accept] expires_in_string"))
        }
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(broken("expires_in")),
    }
}

/// What of an answered scope is granted, and what the token carries besides that is tolerated.
///
/// Names that the configuration maps to a scope of the catalogue count as that scope. No other likeness does: `repo`
/// is not `repo:read`, though a server may think so.
pub(super) fn scopes(
    answered: &ScopeSet,
    allowed: &ScopeSet,
    accept: &Accept,
) -> Result<(ScopeSet, Vec<Scope>), Fault> {
    let ours = |scope: &Scope| {
        let alias = accept.scope_aliases.get(scope).filter(|_| !allowed.contains(scope));
        alias.unwrap_or(scope).clone()
    };
    let (granted, extra): (BTreeSet<Scope>, BTreeSet<Scope>) =
        answered.iter().map(ours).partition(|scope| allowed.contains(scope));
    let beyond = extra.iter().filter(|scope| !accept.tolerated_extra_scopes.contains(scope));
    let beyond: Vec<String> = beyond.map(ToString::to_string).collect();
    if !beyond.is_empty() {
        let fault = Fault::new(Reason::ScopeUpgraded).with("scopes", beyond.join(" "));
        let fault = fault.detected(Detection::ScopeEscalation);
        return Err(fault.with(CURE, "[issuer.accept] tolerated_extra_scopes or scope_aliases"));
    }
    // With nothing granted there is nothing to hand out, whatever else the token carries.
    let granted = ScopeSet::new(granted).ok_or_else(|| broken("scope"))?;
    Ok((granted, extra.into_iter().collect()))
}

/// Tells the operator which rule an answer broke, and the line that would have let it pass, for the case that this is
/// how the server is.
pub(super) fn tell_cure(issuer: &Issuer, fault: &Fault) {
    if let (Reason::AsResponseMalformed, Some(rule)) = (fault.reason, fault.metadata.get(RULE)) {
        tracing::error!(
            issuer = %issuer.alias, rule,
            "its token endpoint's answer breaks RFC 6749 §5, and every token in it is revoked"
        );
    }
    let curable = fault.metadata.contains_key(CURE);
    let invalid_request = fault.metadata.get("oauth_error").is_some_and(|error| error == "invalid_request");
    let line = match fault.reason {
        Reason::ScopeUpgraded if curable => {
            let names = fault.metadata.get("scopes").map(|names| names.replace(' ', "\", \"")).unwrap_or_default();
            format!("tolerated_extra_scopes = [\"{names}\"]")
        }
        Reason::AsResponseMalformed if curable => "expires_in_string = true".to_owned(),
        Reason::TokenBindingMismatch if curable => "access_token_typ = \"JWT\"".to_owned(),
        Reason::AsRejected if invalid_request && !issuer.accept.redirect_uri_omitted => {
            "redirect_uri_omitted = true".to_owned()
        }
        _ => return,
    };
    tracing::error!(
        issuer = %issuer.alias, reason = fault.reason.name(),
        "if this is how the server is, and it is to be trusted so, add to the issuer: [issuer.accept] {line}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap()
    }

    // rows: SCOP-09 SCOP-05
    #[test]
    fn no_hierarchy_is_assumed_beyond_what_is_declared() {
        let strict = Accept::default();
        let of = |answered: &str, allowed: &str, accept: &Accept| scopes(&set(answered), &set(allowed), accept);
        for other in ["repo", "repo:*", "repo:read:all", "repo.read", "REPO:READ", "repo:read/"] {
            let fault = of(other, "repo:read", &strict).err().unwrap();
            assert_eq!((fault.reason, fault.metadata["scopes"].as_str()), (Reason::ScopeUpgraded, other));
            assert!(fault.metadata[CURE].contains("scope_aliases"));
        }
        let scope = |text: &str| Scope::parse(text).unwrap();
        let accept = Accept {
            scope_aliases: [(scope("repo"), scope("repo:read"))].into(),
            tolerated_extra_scopes: [scope("openid"), scope("profile")].into(),
            ..Accept::default()
        };
        assert_eq!(of("repo", "repo:read", &accept), Ok((set("repo:read"), Vec::new())));
        assert_eq!(of("repo repo:read", "repo:read", &accept), Ok((set("repo:read"), Vec::new())));
        // An equivalence is no permission: what it stands for was not allowed here.
        assert_eq!(of("repo", "repo:write", &accept).err().unwrap().reason, Reason::ScopeUpgraded);
        let (granted, extra) = of("profile repo:read openid", "repo:read repo:write", &accept).unwrap();
        assert_eq!((granted, extra), (set("repo:read"), vec![scope("openid"), scope("profile")]));
        assert_eq!(of("openid admin repo:read", "repo:read", &accept).err().unwrap().metadata["scopes"], "admin");
        assert_eq!(of("openid", "repo:read", &accept).err().unwrap().reason, Reason::AsResponseMalformed);
    }

    // rows: TOK-06
    #[test]
    fn a_lifetime_may_be_a_string_only_where_that_is_declared() {
        let lenient = Accept { expires_in_string: true, ..Accept::default() };
        let fault = lifetime(&json!("3600"), &Accept::default()).err().unwrap();
        let cure = Some("[issuer.accept] expires_in_string");
        assert_eq!((fault.reason, fault.metadata.get(CURE).map(String::as_str)), (Reason::AsResponseMalformed, cure));
        for right in [json!("3600"), json!(3600)] {
            assert_eq!(lifetime(&right, &lenient), Ok(Duration::from_secs(3600)));
        }
        for wrong in ["", "0", "-1", "+1", " 60", "60s", "6e2", "0x10", "99999999999", "9999999999"] {
            let fault = lifetime(&json!(wrong), &lenient).err().unwrap();
            assert_eq!((fault.reason, fault.metadata.get(CURE)), (Reason::AsResponseMalformed, None), "{wrong}");
        }
        assert!(lifetime(&json!([60]), &lenient).is_err() && lifetime(&json!(1.5), &lenient).is_err());
    }
}
