//! The context of a question, built natively. Attested facts stand beside what the caller claims, never in it.

use super::{
    BeginAsk, IssuedFacts,
    value::{Fields, Pace, Uid, Value},
};
use crate::{
    caller::{Attestation, AttestedOperator, Caller, Transport},
    config::Api,
    model::{Claimed, IssuerAlias, LoginDemand, Scope, Subject, TokenBinding, Wall},
    transaction::{Actors, Opening},
};
use std::{borrow::Cow, net::IpAddr, time::Duration};

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
    /// Still where it is a ceiling, moving where it is what is left of a token's life.
    pub(super) lifetime: Value<'static>,
    pub(super) claimed: &'a Claimed,
    pub(super) approval: Option<Value<'a>>,
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
            lifetime: duration(ask.client.lifetime_ceiling),
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
            lifetime: duration(opening.client.lifetime_ceiling),
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
            lifetime: moving(token.lifetime),
            claimed,
            approval: None,
            actors,
        }
    }

    /// The record of it.
    pub(super) fn value(&self) -> Value<'a> {
        let mut fields = Vec::with_capacity(9);
        fields.extend([
            ("now", now(self.now)),
            ("caller", caller(self.caller)),
            ("scopes", scopes(self.scopes.iter().copied())),
            ("audiences", audiences(self.api)),
            ("proof", proof(self.bound)),
            ("lifetime", self.lifetime.clone()),
            ("claimed", claimed(self.claimed)),
            ("actors", actors(self.actors)),
        ]);
        if let Some(approval) = &self.approval {
            fields.push(("approval", approval.clone()));
        }
        record(fields)
    }
}

/// The caller's record.
pub(super) fn caller(facts: &Facts) -> Value<'_> {
    let method = match facts.transport {
        Transport::Uds => "unix-peer",
        Transport::Mtls => "spiffe-x509",
    };
    let attestation = [
        Some(("method", text(method))),
        Some(("verified", boolean(facts.verified))),
        facts.trust_domain.as_deref().map(|domain| ("trustDomain", text(domain))),
        facts.expires_at.map(|end| ("expiresAt", datetime(end))),
    ];
    let fields = [
        Some(("transport", text(facts.transport.as_str()))),
        Some(("attestation", record(attestation.into_iter().flatten()))),
        facts.uid.map(|uid| ("uid", Value::Long(i64::from(uid)))),
        facts.interactive.map(|interactive| ("interactive", boolean(interactive))),
        facts.ip.map(|ip| ("ip", Value::Ip(ip))),
    ];
    record(fields.into_iter().flatten())
}

/// The actors' record. Only agents of ours are members: a name of somebody else's is none that policies know.
fn actors(actors: &Actors) -> Value<'_> {
    let members = actors.agents.iter().map(|agent| entity("Agent", agent.as_str()));
    let depth = u64::try_from(actors.chain.len()).unwrap_or(u64::MAX);
    // A class is what the registry says of an agent. Nothing is inferred from a name, or from what a token says of it.
    let classified = actors.agents.len() == actors.chain.len();
    let classified = (!actors.chain.is_empty()).then(|| ("classified", boolean(classified)));
    record([("depth", count(depth)), ("members", Value::set(members))].into_iter().chain(classified))
}

/// The person's record.
pub(super) fn subject<'a>(issuer: &IssuerAlias, subject: &'a Subject) -> Value<'a> {
    let fields = [
        Some(("user", Value::Entity(user(issuer, &subject.sub)))),
        Some(("mfa", boolean(subject.mfa))),
        subject.acr.as_deref().map(|acr| ("acr", text(acr))),
        subject.auth_time.map(|at| ("authTime", datetime(at))),
    ];
    record(fields.into_iter().flatten())
}

/// The entity of a person: the issuer's alias, `|`, and its name for them. An alias has no `|`, so no two people of two
/// issuers are one, whatever an issuer calls them (OIDC Core §5.7).
pub(super) fn user(issuer: &IssuerAlias, sub: &str) -> Uid<'static> {
    Uid::new("User", format!("{issuer}|{sub}"))
}

/// What is asked of a login. Whom it is hinted at stays between agent and server: the log keeps every question.
pub(super) fn login(login: &LoginDemand) -> Value<'_> {
    let fields = [
        Some(("prompt", Value::set(login.prompt.iter().map(|prompt| text(prompt.as_str()))))),
        Some(("acrValues", Value::set(login.acr_values.iter().map(|acr| text(acr))))),
        Some(("hinted", boolean(login.hint.is_some()))),
        login.max_age.map(|age| ("maxAge", duration(age))),
    ];
    record(fields.into_iter().flatten())
}

fn claimed(claimed: &Claimed) -> Value<'_> {
    let words = [("purpose", &claimed.purpose), ("task", &claimed.task), ("session", &claimed.session)];
    let words = words.into_iter().filter_map(|(name, word)| word.as_deref().map(|word| (name, text(word))));
    let tags = (!claimed.tags.is_empty()).then(|| ("tags", Value::set(claimed.tags.iter().map(|tag| text(tag)))));
    record(words.chain(tags))
}

pub(super) fn scopes<'a>(scopes: impl IntoIterator<Item = &'a Scope>) -> Value<'a> {
    Value::set(scopes.into_iter().map(|scope| entity("Scope", scope.as_str())))
}

pub(super) fn audiences(api: Option<&Api>) -> Value<'_> {
    Value::set(api.map(|api| entity("Api", api.alias.as_str())))
}

pub(super) fn proof(bound: TokenBinding) -> Value<'static> {
    record([("method", text(bound.proof()))])
}

pub(super) fn record<'a>(fields: impl IntoIterator<Item = (&'static str, Value<'a>)>) -> Value<'a> {
    Value::Record(context(fields))
}

pub(super) fn context<'a>(fields: impl IntoIterator<Item = (&'static str, Value<'a>)>) -> Fields<'a> {
    fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect()
}

pub(super) fn entity<'a>(kind: &'static str, id: &'a str) -> Value<'a> {
    Value::Entity(Uid::new(kind, id))
}

pub(super) fn text(value: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(value))
}

pub(super) const fn boolean(value: bool) -> Value<'static> {
    Value::Bool(value)
}

pub(super) fn count(number: u64) -> Value<'static> {
    Value::Long(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A span that stays as it is.
pub(super) fn duration(span: Duration) -> Value<'static> {
    Value::Span(millis(span), Pace::Still)
}

/// A span that grows or shrinks with the clock: an age, or what is left of a life.
pub(super) fn moving(span: Duration) -> Value<'static> {
    Value::Span(millis(span), Pace::Moving)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// An instant that stays as it is.
pub(super) fn datetime(at: Wall) -> Value<'static> {
    Value::Instant(at.dated().0, Pace::Still)
}

/// The clock.
pub(super) fn now(at: Wall) -> Value<'static> {
    Value::Instant(at.dated().0, Pace::Moving)
}
