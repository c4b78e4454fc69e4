//! Approval: what a person can approve of a request, and the record that says they did. A record is taken once, with the
//! request that it is about; from then on it is a fact of what was begun with it.

use super::Corridor;
use crate::{
    caller::Caller,
    config::{Api, Client},
    model::{
        AgentId, Approvable, ApprovalRecord, ApproverId, AuthorizationDetails, Boot, Fault, LoginDemand, Reason,
        ScopeSet, Wall,
    },
    oauth::{ApprovalExpected, VerifiedSubject, invalid_approval, verify_approval},
    platform::{
        Entropy, KeyedHash,
        digest::{hex, sha256},
    },
    policy::BeginAsk,
    transaction::Flow,
};
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What the digest of a request begins with, so that it is the digest of nothing else.
const DOMAIN: &str = "narrowgate approval request v1\n";
/// Records remembered as used. Each is at most an hour old, and somebody signed it.
const USED_MAX: usize = 65_536;

/// The digest of a request, as a record names it: SHA-256 of a fixed line and the request's text, in hex.
#[must_use]
pub fn request_digest(request: &str) -> String {
    hex(&sha256(format!("{DOMAIN}{request}").as_bytes()))
}

/// The records that were taken, and what makes digests this run's own.
pub struct Approvals {
    /// In every digest: which records were used is known to this run alone, so no other may take them.
    run: String,
    /// This run's references to what is not told.
    keyed: KeyedHash,
    used: Mutex<Used>,
}

/// The records that were taken: until when each is remembered, and by which taking.
#[derive(Default)]
struct Used {
    records: HashMap<(ApproverId, String), (Boot, Wall, u64)>,
    takings: u64,
}

/// A record that is being taken: given back if what it is for does not come about.
pub(super) struct Taken {
    approvals: Arc<Approvals>,
    key: Option<(ApproverId, String)>,
    taking: u64,
}

impl Approvals {
    /// Of a run that begins.
    ///
    /// # Errors
    /// [`Reason::Internal`] without entropy.
    pub fn start(entropy: &dyn Entropy) -> Result<Arc<Self>, Fault> {
        let (mut bits, mut key) = ([0; 16], [0; 32]);
        entropy.fill(&mut bits)?;
        entropy.fill(&mut key)?;
        Ok(Arc::new(Self { run: hex(&bits), keyed: KeyedHash::new(&key), used: Mutex::default() }))
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(
        self: &Arc<Self>,
        key: (ApproverId, String),
        now: (Boot, Wall),
        until: (Boot, Wall),
    ) -> Result<Taken, Fault> {
        let mut used = self.used();
        // By both clocks: after a step back of the wall clock a record is good again for those who go by it alone.
        used.records.retain(|_, (boot, wall, _)| *boot > now.0 || *wall > now.1);
        if used.records.contains_key(&key) {
            return Err(invalid_approval("used"));
        }
        if used.records.len() >= USED_MAX {
            return Err(Fault::new(Reason::QuotaExceeded).with("quota", "approvals"));
        }
        used.takings += 1;
        let taking = used.takings;
        used.records.insert(key.clone(), (until.0, until.1, taking));
        Ok(Taken { approvals: Arc::clone(self), key: Some(key), taking })
    }
}

impl Taken {
    /// It has served.
    pub(super) fn keep(mut self) {
        self.key = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut used = self.approvals.used();
        if used.records.get(&key).is_some_and(|(.., taking)| *taking == self.taking) {
            used.records.remove(&key);
        }
    }
}

/// What of a request is approved. Not its times, nor the agent's words about it.
struct Asked<'a> {
    agent: &'a AgentId,
    client: &'a Client,
    flow: &'a Flow,
    scopes: &'a ScopeSet,
    api: Option<&'a Api>,
    details: &'a AuthorizationDetails,
    subject: Option<&'a VerifiedSubject>,
    login: Option<&'a LoginDemand>,
}

impl Asked<'_> {
    /// The text that is digested: JSON, its members in the order of their names. Whose rights are used, and whom a login is
    /// to be of, is told apart, not told.
    fn text(&self, Approvals { run, keyed, .. }: &Approvals) -> String {
        let mut scopes = self.scopes.to_strings();
        scopes.sort();
        let mut text = json!({
            "agent": self.agent.as_str(),
            "client": self.client.alias.as_str(),
            "grant_type": self.flow.grant_type(),
            "issuer": self.client.issuer.as_str(),
            "run": run,
            "scopes": scopes,
        });
        // In full: an approver signs what they can read.
        let details = (!self.details.is_empty()).then(|| serde_json::from_str(&self.details.to_json()));
        let wanted = if let Flow::TokenExchange(_, wanted) = self.flow { Some(wanted.urn()) } else { None };
        let more = [
            ("authorization_details", details.and_then(Result::ok)),
            ("login", self.login.and_then(|login| demanded(login, keyed))),
            ("requested_token_type", wanted.map(Into::into)),
            ("resource", self.api.map(|api| api.identifier.as_str().into())),
            ("actors", (!self.flow.actors().chain.is_empty()).then(|| json!(self.flow.actors().chain))),
            ("audiences", (!self.flow.audiences().is_empty()).then(|| json!(self.flow.audiences()))),
            ("subject", self.subject.map(|subject| subject.reference(keyed).into())),
            ("subject_issuer", self.subject.map(|subject| subject.issuer().as_str().into())),
            ("subject_token_type", self.subject.map(|subject| subject.token_type().urn().into())),
        ];
        if let Some(members) = text.as_object_mut() {
            members.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
            members.sort_keys();
        }
        text.to_string()
    }
}

/// What is demanded of the person's login, if anything is.
fn demanded(login: &LoginDemand, keyed: &KeyedHash) -> Option<Value> {
    let prompt: Vec<&str> = login.prompt.iter().map(|prompt| prompt.as_str()).collect();
    let hint = login.hint.as_ref().map(|hint| keyed.reference("approvable hint", hint.as_bytes()));
    let members = [
        ("acr_values", (!login.acr_values.is_empty()).then(|| json!(login.acr_values))),
        ("login_hint", hint.map(Into::into)),
        ("max_age", login.max_age.map(|age| age.as_secs().into())),
        ("prompt", (!prompt.is_empty()).then(|| json!(prompt))),
    ];
    let members: Map<String, Value> =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    (!members.is_empty()).then(|| members.into())
}

impl Corridor {
    /// What can be approved of a request to begin or to register, for this agent.
    pub(super) fn approvable(&self, agent: &AgentId, ask: &BeginAsk) -> Approvable {
        self.of(&Asked {
            agent,
            client: &ask.client,
            flow: &Flow::AuthorizationCode,
            scopes: &ask.scopes,
            api: ask.api.as_deref(),
            details: &ask.details,
            subject: None,
            login: Some(&ask.login),
        })
    }

    /// What can be approved of a token request.
    pub(super) fn approvable_request(
        &self,
        caller: &Caller,
        (client, api): (&Client, Option<&Api>),
        (scopes, flow): (&ScopeSet, &Flow),
        subject: Option<&VerifiedSubject>,
    ) -> Approvable {
        let (agent, details) = (&caller.agent().id, &AuthorizationDetails::default());
        self.of(&Asked { agent, client, flow, scopes, api, details, subject, login: None })
    }

    fn of(&self, asked: &Asked<'_>) -> Approvable {
        let request = asked.text(&self.approvals);
        Approvable { request_digest: request_digest(&request), request, approval: None }
    }

    /// Takes the record that came with a request, where one came. It is used up once what is returned is kept.
    ///
    /// # Errors
    /// [`Reason::ApprovalInvalid`] with the rule; [`Reason::PolicyNotLoaded`].
    pub(super) fn take_approval(
        &self,
        approvable: &mut Approvable,
        scopes: &ScopeSet,
        record: Option<&ApprovalRecord>,
    ) -> Result<Option<Taken>, Fault> {
        let Some(record) = record else { return Ok(None) };
        let set = self.policies.current().ok_or(Reason::PolicyNotLoaded)?;
        let now = (self.clock.boot(), self.clock.wall());
        let expected = ApprovalExpected {
            request_digest: &approvable.request_digest,
            scopes,
            policy_digest: &set.set_digest(),
            approvers: &set.estate.registry.approvers,
        };
        let verified = verify_approval(record, &expected, now)?;
        let key = (verified.approval.approver.clone(), verified.id);
        let taken = self.approvals.take(key, now, verified.approval.until)?;
        approvable.approval = Some(verified.approval);
        Ok(Some(taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::SystemEntropy;

    fn key() -> (ApproverId, String) {
        (ApproverId::parse("ann").unwrap(), "record-1".to_owned())
    }

    #[test]
    fn a_record_is_used_up_by_both_clocks() {
        let approvals = Approvals::start(&SystemEntropy::new()).unwrap();
        let (now, until) = ((Boot(0), Wall(1_000_000)), (Boot(900_000), Wall(1_900_000)));
        approvals.take(key(), now, until).unwrap().keep();
        // The wall clock was set back by ten minutes: the record's own time is not over.
        let set_back = (Boot(960_000), Wall(1_360_000));
        assert!(approvals.take(key(), set_back, until).is_err());
        // Nor may the boot clock alone bring it back.
        assert!(approvals.take(key(), (Boot(1), Wall(9_000_000)), until).is_err());
        drop(approvals.take(key(), (Boot(900_000), Wall(1_900_000)), until).unwrap());
    }

    #[test]
    fn only_what_was_taken_is_given_back() {
        let approvals = Approvals::start(&SystemEntropy::new()).unwrap();
        let first = approvals.take(key(), (Boot(0), Wall(0)), (Boot(10), Wall(10))).unwrap();
        // Over and taken anew, while the first is still under way.
        approvals.take(key(), (Boot(20), Wall(20)), (Boot(90), Wall(90))).unwrap().keep();
        drop(first);
        assert!(approvals.take(key(), (Boot(30), Wall(30)), (Boot(90), Wall(90))).is_err());
        let second = approvals.take(key(), (Boot(100), Wall(100)), (Boot(190), Wall(190))).unwrap();
        drop(second);
        approvals.take(key(), (Boot(101), Wall(101)), (Boot(190), Wall(190))).unwrap();
    }
}
