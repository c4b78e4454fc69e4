//! The context of a question, built natively. Attested facts stand beside what the caller claims, never in it.

use super::{
    BeginAsk, IssuedFacts,
    entities::{uid, user_uid},
};
use crate::{
    caller::{Attestation, AttestedOperator, Caller, Transport},
    config::Api,
    model::{Claimed, IssuerAlias, LoginDemand, Scope, Subject, TokenBinding, Wall},
    transaction::{Actors, Opening},
};
use cedar_policy::{Context, RestrictedExpression as Expr};
use std::{net::IpAddr, time::Duration};

/// The attested facts of a caller.
#[derive(Clone, Debug)]
pub struct Facts {
    /// How it came.
    pub transport: Transport,
    /// Its uid, by Unix socket.
    pub uid: Option<u32>,
    /// Its address, by mutual TLS.
    pub ip: Option<IpAddr>,
    /// Whether its identity is proven.
    pub verified: bool,
    /// Its trust domain, by SVID.
    pub trust_domain: Option<String>,
    /// When its credential ends.
    pub expires_at: Option<Wall>,
    /// Whether the call comes from a person's login session, where that is known.
    pub interactive: Option<bool>,
}

impl From<&Caller> for Facts {
    fn from(caller: &Caller) -> Self {
        let (uid, ip, trust_domain) = match caller.attestation() {
            Attestation::UnixPeer(peer) => (Some(peer.uid), None, None),
            Attestation::SpiffeX509 { svid, ip } => (None, Some(*ip), Some(svid.trust_domain.clone())),
        };
        let (transport, expires_at) = (caller.transport(), caller.credential_end());
        Self { transport, uid, ip, verified: true, trust_domain, expires_at, interactive: caller.interactive() }
    }
}

impl From<&AttestedOperator> for Facts {
    fn from(operator: &AttestedOperator) -> Self {
        let (transport, uid) = (Transport::Uds, Some(operator.peer().uid));
        let interactive = operator.interactive();
        Self { transport, uid, ip: None, verified: true, trust_domain: None, expires_at: None, interactive }
    }
}

/// What every question about an exchange knows.
#[derive(Clone)]
pub(super) struct Base<'a> {
    pub(super) now: Wall,
    pub(super) caller: &'a Facts,
    pub(super) scopes: Vec<&'a Scope>,
    pub(super) api: Option<&'a Api>,
    pub(super) bound: TokenBinding,
    pub(super) lifetime: Duration,
    pub(super) claimed: &'a Claimed,
    pub(super) approval: Option<Expr>,
    pub(super) actors: &'a Actors,
}

impl<'a> Base<'a> {
    /// Of a request to begin, or to register, an authorization.
    pub(super) fn asked(ask: &'a BeginAsk, now: Wall, caller: &'a Facts) -> Self {
        Self {
            now,
            caller,
            scopes: ask.scopes.iter().collect(),
            api: ask.api.as_deref(),
            bound: ask.client.bound_tokens,
            lifetime: ask.client.lifetime_ceiling,
            claimed: &ask.claimed,
            approval: None,
            actors: Actors::NONE,
        }
    }

    /// Of what was begun, before there is a token.
    pub(super) fn of(opening: &'a Opening, now: Wall, caller: &'a Facts, claimed: &'a Claimed) -> Self {
        Self {
            now,
            caller,
            scopes: opening.scopes.iter().collect(),
            api: opening.api.as_deref(),
            bound: opening.client.bound_tokens,
            lifetime: opening.client.lifetime_ceiling,
            claimed,
            approval: None,
            actors: opening.flow.actors(),
        }
    }

    /// Of a token that there is, or is to be.
    pub(super) fn of_token(
        token: &IssuedFacts<'a>,
        actors: &'a Actors,
        now: Wall,
        (caller, claimed): (&'a Facts, &'a Claimed),
    ) -> Self {
        Self {
            now,
            caller,
            scopes: token.allowed.iter().collect(),
            api: token.api,
            bound: token.bound,
            lifetime: token.lifetime,
            claimed,
            approval: None,
            actors,
        }
    }

    pub(super) fn expression(&self) -> Result<Expr, String> {
        let mut fields = vec![
            ("now", datetime(self.now)),
            ("caller", caller(self.caller)?),
            ("scopes", scopes(self.scopes.iter().copied())?),
            ("audiences", audiences(self.api)?),
            ("proof", proof(self.bound)?),
            ("lifetime", duration(self.lifetime)),
            ("claimed", claimed(self.claimed)?),
            ("actors", actors(self.actors)?),
        ];
        if let Some(approval) = &self.approval {
            fields.push(("approval", approval.clone()));
        }
        record(fields)
    }
}

/// The caller's record.
pub(super) fn caller(facts: &Facts) -> Result<Expr, String> {
    let method = match facts.transport {
        Transport::Uds => "unix-peer",
        Transport::Mtls => "spiffe-x509",
    };
    let mut attestation = vec![("method", text(method)), ("verified", Expr::new_bool(facts.verified))];
    if let Some(domain) = &facts.trust_domain {
        attestation.push(("trustDomain", text(domain)));
    }
    if let Some(end) = facts.expires_at {
        attestation.push(("expiresAt", datetime(end)));
    }
    let mut fields = vec![("transport", text(facts.transport.as_str())), ("attestation", record(attestation)?)];
    if let Some(uid) = facts.uid {
        fields.push(("uid", Expr::new_long(i64::from(uid))));
    }
    if let Some(interactive) = facts.interactive {
        fields.push(("interactive", boolean(interactive)));
    }
    if let Some(ip) = facts.ip {
        fields.push(("ip", Expr::new_ip(ip.to_string())));
    }
    record(fields)
}

/// The actors' record. Only agents of ours are members: a name of somebody else's is none that policies know.
fn actors(actors: &Actors) -> Result<Expr, String> {
    let members: Result<Vec<_>, _> =
        actors.agents.iter().map(|agent| uid("Agent", agent.as_str()).map(Expr::new_entity_uid)).collect();
    let depth = u64::try_from(actors.chain.len()).unwrap_or(u64::MAX);
    record([("depth", count(depth)), ("members", Expr::new_set(members?))])
}

/// The person's record.
pub(super) fn subject(issuer: &IssuerAlias, subject: &Subject) -> Result<Expr, String> {
    let mut fields =
        vec![("user", Expr::new_entity_uid(user_uid(issuer, &subject.sub)?)), ("mfa", Expr::new_bool(subject.mfa))];
    if let Some(acr) = &subject.acr {
        fields.push(("acr", text(acr)));
    }
    if let Some(at) = subject.auth_time {
        fields.push(("authTime", datetime(at)));
    }
    record(fields)
}

/// What is asked of a login. Whom it is hinted at stays between agent and server: the log keeps every question.
pub(super) fn login(login: &LoginDemand) -> Result<Expr, String> {
    let mut fields = vec![
        ("prompt", Expr::new_set(login.prompt.iter().map(|prompt| text(prompt.as_str())))),
        ("acrValues", Expr::new_set(login.acr_values.iter().map(|acr| text(acr)))),
        ("hinted", boolean(login.hint.is_some())),
    ];
    if let Some(age) = login.max_age {
        fields.push(("maxAge", duration(age)));
    }
    record(fields)
}

fn claimed(claimed: &Claimed) -> Result<Expr, String> {
    let words = [("purpose", &claimed.purpose), ("task", &claimed.task), ("session", &claimed.session)];
    let mut fields: Vec<(&str, Expr)> =
        words.into_iter().filter_map(|(k, v)| v.as_ref().map(|v| (k, text(v)))).collect();
    if !claimed.tags.is_empty() {
        fields.push(("tags", Expr::new_set(claimed.tags.iter().map(|t| text(t)))));
    }
    record(fields)
}

pub(super) fn scopes<'a>(scopes: impl IntoIterator<Item = &'a Scope>) -> Result<Expr, String> {
    let members: Result<Vec<_>, _> =
        scopes.into_iter().map(|s| uid("Scope", s.as_str()).map(Expr::new_entity_uid)).collect();
    Ok(Expr::new_set(members?))
}

pub(super) fn audiences(api: Option<&Api>) -> Result<Expr, String> {
    let members: Result<Vec<_>, _> =
        api.iter().map(|a| uid("Api", a.alias.as_str()).map(Expr::new_entity_uid)).collect();
    Ok(Expr::new_set(members?))
}

pub(super) fn proof(bound: TokenBinding) -> Result<Expr, String> {
    record([("method", text(bound.proof()))])
}

pub(super) fn record<'a>(fields: impl IntoIterator<Item = (&'a str, Expr)>) -> Result<Expr, String> {
    Expr::new_record(fields.into_iter().map(|(k, v)| (k.to_owned(), v))).map_err(|e| e.to_string())
}

pub(super) fn context<'a>(fields: impl IntoIterator<Item = (&'a str, Expr)>) -> Result<Context, String> {
    Context::from_pairs(fields.into_iter().map(|(k, v)| (k.to_owned(), v))).map_err(|e| e.to_string())
}

pub(super) fn text(value: &str) -> Expr {
    Expr::new_string(value.to_owned())
}

pub(super) fn boolean(value: bool) -> Expr {
    Expr::new_bool(value)
}

pub(super) fn count(number: u64) -> Expr {
    Expr::new_long(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn duration(span: Duration) -> Expr {
    // A day count beyond i64 milliseconds would be an evaluation error, which is a deny.
    Expr::new_duration(format!("{}ms", span.as_millis()))
}

pub(super) fn datetime(at: Wall) -> Expr {
    Expr::new_datetime(at.rfc3339())
}
