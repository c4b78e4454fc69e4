//! What a metadata document promises for security, and what becomes of it when a later document promises less.
//!
//! A server that is taken over, or whoever answers in its place, would rather be believed with less: no `iss`, no
//! PKCE, no mutual TLS. So what was promised once stays demanded for as long as this process runs; every promise that
//! is missing later is an event. Whoever has really taken a promise back restarts narrowgate.

use super::{
    discovery::{Document, PUSHED},
    rejected::{Cause, rejected},
};
use crate::{
    config::{Endpoints, Issuer, ParUse, Profile},
    model::{Fault, Reason},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// The metadata members (RFC 8414 §2, RFC 9207 §3, RFC 8705 §3.3 and §5) that are watched.
const ISS: &str = "authorization_response_iss_parameter_supported";
const PKCE: &str = "code_challenge_methods_supported";
const BOUND: &str = "tls_client_certificate_bound_access_tokens";
const ALIASES: &str = "mtls_endpoint_aliases";
const METHODS: &str = "token_endpoint_auth_methods_supported";

/// What a document promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    iss: bool,
    pkce: Pkce,
    bound: bool,
    /// Pushed authorization requests (RFC 9126 §5).
    pushed: bool,
    /// The endpoints that have an alias for mutual TLS.
    aliases: BTreeSet<&'static str>,
    /// The methods of client authentication that it names; absent means `client_secret_basic`.
    methods: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pkce {
    /// Nothing is said of PKCE.
    #[default]
    Absent,
    /// Methods are named, S256 is not among them.
    Other,
    /// S256.
    S256,
}

impl Capabilities {
    /// Reads what a document promises.
    pub(super) fn of(document: &Value) -> Self {
        let is_true = |name: &str| document.get(name) == Some(&Value::Bool(true));
        let pkce = match document.get(PKCE) {
            None => Pkce::Absent,
            Some(Value::Array(methods)) if methods.iter().any(|m| m.as_str() == Some("S256")) => Pkce::S256,
            Some(_) => Pkce::Other,
        };
        let aliased = |name: &&str| document.get(ALIASES).is_some_and(|aliases| aliases.get(name).is_some());
        let methods = match document.get(METHODS) {
            None => BTreeSet::from(["client_secret_basic".to_owned()]),
            Some(list) => list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        };
        Self {
            iss: is_true(ISS),
            pkce,
            bound: is_true(BOUND),
            pushed: document.get(PUSHED).is_some(),
            aliases: ["token_endpoint", "revocation_endpoint", PUSHED].into_iter().filter(aliased).collect(),
            methods,
        }
    }

    /// The members in which a later document promises less than this. Of the methods only those count that our
    /// clients use.
    fn weakened_in(&self, later: &Self, used: &BTreeSet<&'static str>) -> Vec<&'static str> {
        let lost = |method: &&&str| self.methods.contains(**method) && !later.methods.contains(**method);
        let members = [
            (ISS, self.iss && !later.iss),
            (PKCE, self.pkce == Pkce::S256 && later.pkce != Pkce::S256),
            (BOUND, self.bound && !later.bound),
            (PUSHED, self.pushed && !later.pushed),
            (ALIASES, !self.aliases.is_subset(&later.aliases)),
            (METHODS, used.iter().any(|method| lost(&method))),
        ];
        members.into_iter().filter_map(|(member, weaker)| weaker.then_some(member)).collect()
    }

    /// The most that either promises.
    fn strongest(self, earlier: &Self) -> Self {
        Self {
            iss: self.iss || earlier.iss,
            pkce: if earlier.pkce == Pkce::S256 { Pkce::S256 } else { self.pkce },
            bound: self.bound || earlier.bound,
            pushed: self.pushed || earlier.pushed,
            aliases: &self.aliases | &earlier.aliases,
            methods: &self.methods | &earlier.methods,
        }
    }
}

/// What becomes of a document that is well-formed.
pub(super) struct Judged {
    /// The members that promise less than an earlier document.
    pub(super) weakened: Vec<&'static str>,
    /// What may be used of it, and what is demanded from now on.
    pub(super) usable: Result<(Endpoints, Capabilities), Fault>,
}

/// Judges a document against what the issuer is held to, and against what it promised earlier.
pub(super) fn judge(
    issuer: &Issuer,
    used: &BTreeSet<&'static str>,
    earlier: Option<&Capabilities>,
    document: Document,
) -> Judged {
    let Document { mut endpoints, capabilities } = document;
    let weakened = earlier.map(|earlier| earlier.weakened_in(&capabilities, used)).unwrap_or_default();
    if let Err(fault) = demands(issuer, used, &capabilities, earlier.is_none()) {
        return Judged { weakened, usable: Err(fault) };
    }
    // Requests that were pushed would go through the browser, where they can be read and changed.
    // Without its alias an endpoint would move to where no certificate is asked for; without our method the code would
    // be spent for nothing. What is only promised less of (iss, binding) is demanded as before.
    let unpushed = |member: &str| member == PUSHED && issuer.par != ParUse::Off;
    if let Some(member) = weakened.iter().find(|member| [ALIASES, METHODS].contains(member) || unpushed(member)) {
        return Judged { usable: Err(rejected(&issuer.alias, member, &Cause::TakenBack)), weakened };
    }
    let capabilities = match earlier {
        Some(earlier) => capabilities.strongest(earlier),
        None => capabilities,
    };
    endpoints.iss_parameter = capabilities.iss;
    Judged { weakened, usable: Ok((endpoints, capabilities)) }
}

/// What every document must promise.
fn demands(issuer: &Issuer, used: &BTreeSet<&'static str>, found: &Capabilities, first: bool) -> Result<(), Fault> {
    if found.pkce != Pkce::S256 {
        let curable = found.pkce == Pkce::Absent && issuer.profile == Profile::OAuth;
        if !(curable && issuer.accept.pkce_unadvertised) {
            let fault = Fault::new(Reason::PkceUnsupported).with("issuer", issuer.alias.as_str());
            if !curable {
                tracing::error!(issuer = %issuer.alias, "the metadata does not offer PKCE with S256");
                return Err(fault);
            }
            tracing::error!(
                issuer = %issuer.alias,
                "the metadata says nothing of PKCE; if the server supports S256 all the same, add to it: \
                 [issuer.accept] pkce_unadvertised = true"
            );
            return Err(fault.with("cure", "[issuer.accept] pkce_unadvertised"));
        }
    }
    let missing: Vec<&str> = used.iter().filter(|method| !found.methods.contains(**method)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    if issuer.strict_metadata {
        return Err(rejected(&issuer.alias, METHODS, &Cause::StrictMethods));
    }
    if first {
        tracing::warn!(issuer = %issuer.alias, missing, "the metadata does not offer how a client authenticates; strict_metadata = true would refuse it");
    }
    Ok(())
}
