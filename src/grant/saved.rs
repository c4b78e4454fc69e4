//! A grant as it is written, and read again: everything that decisions about it look at. Access tokens are not: they can
//! be had anew, and what is not there cannot be taken.

use super::{Grant, HANDLE_PREFIX, reckoning::Stamp};
use crate::{
    config::Endpoints,
    model::{
        DecisionId, Handle, LoginDemand, Nonce, Prompt, ProofDemand, RefreshToken, Scope, ScopeSet, Subject, Terms,
        TokenBinding, Wall,
    },
    oauth::Standing,
    platform::{ProofKey, vault::Unread},
    transaction::{HANDLE_PREFIX as TRANSACTION, KeyHolder},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::Zeroizing;

/// The format of records that is written, before each of them: the container's own says nothing of what is in it.
const FORMAT: u8 = 1;

/// A record of the store.
pub(super) enum Record {
    /// A grant and its secrets.
    Grant(Box<Saved>, Secrets),
    /// How late it was when there was nothing else to write.
    Clock(Stamp),
}

/// What of a grant is secret.
pub(super) struct Secrets {
    pub(super) token: RefreshToken,
    /// The key that its tokens are bound to, where narrowgate has it: without it the refresh token is of no use.
    pub(super) key: Option<ProofKey>,
    /// The nonce of the person's ID token.
    pub(super) nonce: Option<Nonce>,
}

/// The facts of a grant.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    handle: String,
    transaction: String,
    /// Its first outcome never came on record, so that nobody has its handle: it waits to be revoked.
    #[serde(default)]
    pub(super) unanswered: bool,
    pub(super) agent: String,
    /// The team that answered for the agent: what is revoked after the agent is gone is told with it.
    pub(super) owner: String,
    pub(super) client: String,
    pub(super) client_id: String,
    pub(super) issuer: String,
    pub(super) issuer_url: String,
    /// The API's alias and identifier.
    pub(super) api: Option<(String, String)>,
    endpoints: SavedEndpoints,
    pub(super) redirect: String,
    pub(super) told_by_redirect: bool,
    pub(super) offline_refused: bool,
    /// The front end that registered the request, where narrowgate did not begin it.
    pub(super) registered_by: Option<String>,
    /// The thumbprint of a key that its agent has.
    pub(super) agent_jkt: Option<String>,
    login: SavedLogin,
    begun_scopes: String,
    begin_decision: String,
    decision: String,
    scopes: String,
    /// The authorization details granted, as JSON.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) details: String,
    tolerated: Vec<String>,
    /// What the first token lived, and the last one.
    first_lifetime: u64,
    lifetime: u64,
    bound: String,
    subject: Option<SavedSubject>,
    terms: SavedTerms,
    pub(super) refreshes: u64,
    pub(super) uses: u64,
    pub(super) jitter: u8,
    /// When the grant was given, by the wall clock.
    since: i64,
    /// When this was written, and how old the grant was then, and how long it had not been asked for.
    pub(super) stamp: Stamp,
    age: u64,
    idle: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedEndpoints {
    authorization: String,
    token: String,
    revocation: Option<String>,
    introspection: Option<String>,
    jwks: Option<String>,
    iss_parameter: bool,
}

/// What was asked of the login and holds on. Not `login_hint`: it named a person for the authorization request alone.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedLogin {
    prompt: Vec<String>,
    max_age: Option<u64>,
    acr_values: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSubject {
    issuer: String,
    sub: String,
    acr: Option<String>,
    auth_time: Option<i64>,
    mfa: bool,
    groups: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTerms {
    max_lifetime: Option<u64>,
    proof: Option<String>,
    no_refresh: bool,
    single_audience: bool,
    audit_high: bool,
    notify: bool,
    max_uses: Option<u64>,
}

/// What is parsed of a [`Saved`]: all of it, or the file is not used.
pub(super) struct Parsed {
    pub(super) handle: Handle,
    pub(super) transaction: Handle,
    pub(super) endpoints: Endpoints,
    pub(super) login: LoginDemand,
    pub(super) bound: TokenBinding,
    pub(super) begun_scopes: ScopeSet,
    pub(super) begin_decision: DecisionId,
    pub(super) decision: DecisionId,
    pub(super) scopes: ScopeSet,
    pub(super) tolerated: Vec<Scope>,
    pub(super) first_lifetime: Duration,
    pub(super) lifetime: Duration,
    pub(super) subject: Option<Subject>,
    pub(super) terms: Terms,
    pub(super) since: Wall,
    pub(super) age: Duration,
    pub(super) idle: Duration,
}

/// The bytes of a grant's record, wiped when dropped.
#[expect(clippy::disallowed_methods, reason = "the refresh token goes into its sealed record")]
pub(super) fn of_grant(
    grant: &Grant,
    standing: &Standing<'_>,
    stamp: Stamp,
    ages: (Duration, Duration),
) -> Option<Zeroizing<Vec<u8>>> {
    let facts = serde_json::to_vec(&facts(grant, standing, stamp, ages)).ok()?;
    let key = match grant.kept.begun.bound_key.as_ref().map(|bound| &bound.key) {
        Some(KeyHolder::Daemon(key)) => key.to_pkcs8()?,
        Some(KeyHolder::Agent) | None => Zeroizing::default(),
    };
    let nonce = grant.kept.nonce.as_ref().map_or("", |nonce| nonce.reveal());
    bytes(b'g', [&facts, &key, nonce.as_bytes(), standing.token.reveal().as_bytes()])
}

/// The bytes of a record that was read, wiped when dropped.
#[expect(clippy::disallowed_methods, reason = "the refresh token goes back into its sealed record")]
pub(super) fn of_saved(saved: &Saved, secrets: &Secrets) -> Option<Zeroizing<Vec<u8>>> {
    let facts = serde_json::to_vec(saved).ok()?;
    let key = match &secrets.key {
        Some(key) => key.to_pkcs8()?,
        None => Zeroizing::default(),
    };
    let nonce = secrets.nonce.as_ref().map_or("", |nonce| nonce.reveal());
    bytes(b'g', [&facts, &key, nonce.as_bytes(), secrets.token.reveal().as_bytes()])
}

/// The bytes of a record of how late it is.
pub(super) fn of_clock(stamp: &Stamp) -> Option<Zeroizing<Vec<u8>>> {
    bytes(b'c', [&serde_json::to_vec(stamp).ok()?, b"", b"", b""])
}

/// Format and kind, and facts, key, nonce and token, each after its length. Made with room from the beginning: a buffer
/// that grows leaves copies behind.
fn bytes(kind: u8, parts: [&[u8]; 4]) -> Option<Zeroizing<Vec<u8>>> {
    let lengths: usize = parts.iter().map(|part| 4 + part.len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 + lengths));
    bytes.push(FORMAT);
    bytes.push(kind);
    for part in parts {
        bytes.extend_from_slice(&u32::try_from(part.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Some(bytes)
}

/// One part, and what comes after it.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Reads a record.
///
/// # Errors
/// See [`Unread`].
pub(super) fn read(bytes: &[u8]) -> Result<Record, Unread> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => read_current(rest).ok_or(Unread::Damaged),
        Some((&later, _)) if later > FORMAT => Err(Unread::Later(later)),
        _ => Err(Unread::Damaged),
    }
}

fn read_current(bytes: &[u8]) -> Option<Record> {
    let (kind, rest) = bytes.split_first()?;
    let (facts, rest) = part(rest)?;
    let (key, rest) = part(rest)?;
    let (nonce, rest) = part(rest)?;
    let (token, rest) = part(rest)?;
    match kind {
        _ if !rest.is_empty() => None,
        b'g' => {
            let saved: Saved = serde_json::from_slice(facts).ok()?;
            // What cannot be parsed is found before anything of the file is used.
            saved.parsed()?;
            let token = RefreshToken::parse(std::str::from_utf8(token).ok()?.to_owned())?;
            let nonce = std::str::from_utf8(nonce).ok()?;
            let nonce = (!nonce.is_empty()).then(|| Nonce::new(nonce.to_owned()));
            let key = if key.is_empty() { None } else { Some(ProofKey::from_pkcs8(key)?) };
            Some(Record::Grant(Box::new(saved), Secrets { token, key, nonce }))
        }
        b'c' if [key, nonce, token].iter().all(|part| part.is_empty()) => {
            serde_json::from_slice(facts).ok().map(Record::Clock)
        }
        _ => None,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn facts(grant: &Grant, standing: &Standing<'_>, stamp: Stamp, (age, idle): (Duration, Duration)) -> Saved {
    let (kept, begun) = (&grant.kept, &grant.kept.begun);
    let (opening, terms) = (&begun.opening, &grant.terms);
    Saved {
        handle: grant.handle.text(HANDLE_PREFIX),
        transaction: begun.handle.text(TRANSACTION),
        unanswered: false,
        agent: grant.agent.id.to_string(),
        owner: grant.agent.owner.to_string(),
        client: opening.client.alias.to_string(),
        client_id: opening.client.client_id.clone(),
        issuer: opening.issuer.alias.to_string(),
        issuer_url: opening.issuer.url.clone(),
        api: opening.api.as_ref().map(|api| (api.alias.to_string(), api.identifier.clone())),
        endpoints: SavedEndpoints {
            authorization: opening.endpoints.authorization.clone(),
            token: opening.endpoints.token.clone(),
            revocation: opening.endpoints.revocation.clone(),
            introspection: opening.endpoints.introspection.clone(),
            jwks: opening.endpoints.jwks.clone(),
            iss_parameter: opening.endpoints.iss_parameter,
        },
        redirect: opening.redirect.as_str().to_owned(),
        told_by_redirect: opening.told_by_redirect,
        offline_refused: opening.offline_refused,
        registered_by: opening.registered_by.as_ref().map(ToString::to_string),
        agent_jkt: opening.agent_jkt.clone(),
        login: SavedLogin {
            prompt: opening.login.prompt.iter().map(|prompt| prompt.as_str().to_owned()).collect(),
            max_age: opening.login.max_age.map(millis),
            acr_values: opening.login.acr_values.clone(),
        },
        begun_scopes: opening.scopes.joined(),
        begin_decision: opening.decision.to_string(),
        decision: kept.decided.id.to_string(),
        scopes: kept.scopes.joined(),
        details: kept.details.to_json(),
        tolerated: kept.tolerated.iter().map(ToString::to_string).collect(),
        first_lifetime: millis(kept.lifetime),
        lifetime: millis(standing.lifetime),
        bound: kept.bound.proof().to_owned(),
        subject: kept.subject.as_ref().map(|person| SavedSubject {
            issuer: person.issuer.clone(),
            sub: person.sub.clone(),
            acr: person.acr.clone(),
            auth_time: person.auth_time.map(|at| at.0),
            mfa: person.mfa,
            groups: person.groups.clone(),
        }),
        terms: SavedTerms {
            max_lifetime: terms.max_lifetime.map(millis),
            proof: terms.proof.map(|proof| proof.as_str().to_owned()),
            no_refresh: terms.no_refresh,
            single_audience: terms.single_audience,
            audit_high: terms.audit_high,
            notify: terms.notify,
            max_uses: terms.max_uses,
        },
        refreshes: standing.refreshes,
        uses: grant.uses(),
        jitter: standing.jitter,
        since: kept.at.1.0,
        stamp,
        age: millis(age),
        idle: millis(idle),
    }
}

impl Saved {
    pub(super) fn parsed(&self) -> Option<Parsed> {
        let decision = |text: &str| uuid::Uuid::try_parse(text).ok().map(DecisionId);
        let tolerated: Option<Vec<Scope>> = self.tolerated.iter().map(|name| Scope::parse(name)).collect();
        Some(Parsed {
            handle: Handle::parse(HANDLE_PREFIX, &self.handle)?,
            transaction: Handle::parse(TRANSACTION, &self.transaction)?,
            endpoints: Endpoints {
                authorization: self.endpoints.authorization.clone(),
                token: self.endpoints.token.clone(),
                revocation: self.endpoints.revocation.clone(),
                // Nothing more is pushed for a grant, and these are its client's own already.
                pushed: None,
                details_types: std::collections::BTreeSet::new(),
                introspection: self.endpoints.introspection.clone(),
                push_required: false,
                without_certificate: None,
                jwks: self.endpoints.jwks.clone(),
                iss_parameter: self.endpoints.iss_parameter,
            },
            login: self.login.demand()?,
            bound: TokenBinding::of_proof(&self.bound)?,
            begun_scopes: ScopeSet::parse(&self.begun_scopes)?,
            begin_decision: decision(&self.begin_decision)?,
            decision: decision(&self.decision)?,
            scopes: ScopeSet::parse(&self.scopes)?,
            tolerated: tolerated?,
            first_lifetime: Duration::from_millis(self.first_lifetime),
            lifetime: Duration::from_millis(self.lifetime),
            subject: self.subject.as_ref().map(SavedSubject::subject),
            terms: self.terms.terms()?,
            since: Wall(self.since),
            age: Duration::from_millis(self.age),
            idle: Duration::from_millis(self.idle),
        })
    }
}

impl SavedLogin {
    fn demand(&self) -> Option<LoginDemand> {
        Some(LoginDemand {
            prompt: self.prompt.iter().map(|word| Prompt::parse(word)).collect::<Option<_>>()?,
            max_age: self.max_age.map(Duration::from_millis),
            acr_values: self.acr_values.clone(),
            hint: None,
        })
    }
}

impl SavedSubject {
    fn subject(&self) -> Subject {
        Subject {
            issuer: self.issuer.clone(),
            sub: self.sub.clone(),
            acr: self.acr.clone(),
            auth_time: self.auth_time.map(Wall),
            mfa: self.mfa,
            groups: self.groups.clone(),
        }
    }
}

impl SavedTerms {
    /// `None` where a word is unknown: terms are never loosened by not being understood.
    fn terms(&self) -> Option<Terms> {
        let proof = match self.proof.as_deref() {
            None => None,
            Some(word) => Some(ProofDemand::parse(word)?),
        };
        Some(Terms {
            max_lifetime: self.max_lifetime.map(Duration::from_millis),
            proof,
            no_refresh: self.no_refresh,
            single_audience: self.single_audience,
            audit_high: self.audit_high,
            notify: self.notify,
            max_uses: self.max_uses,
        })
    }
}
