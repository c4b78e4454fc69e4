//! Approval: what a person can approve of a request, and the record that says they did. A record is taken once, with the
//! request that it is about; from then on it is a fact of what was begun with it.

use super::Corridor;
use crate::{
    caller::Caller,
    config::{Api, Client},
    model::{AgentId, Approvable, ApprovalRecord, ApproverId, AuthorizationDetails, Boot, Fault, Reason, ScopeSet},
    oauth::{ApprovalExpected, VerifiedSubject, invalid_approval, verify_approval},
    platform::{
        Entropy,
        digest::{hex, sha256},
    },
    policy::BeginAsk,
    transaction::Flow,
};
use serde_json::json;
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
    used: Mutex<HashMap<(ApproverId, String), Boot>>,
}

/// A record that is being taken: given back if what it is for does not come about.
pub(super) struct Taken {
    approvals: Arc<Approvals>,
    key: Option<(ApproverId, String)>,
}

impl Approvals {
    /// Of a run that begins.
    ///
    /// # Errors
    /// [`Reason::Internal`] without entropy.
    pub fn start(entropy: &dyn Entropy) -> Result<Arc<Self>, Fault> {
        let mut bits = [0; 16];
        entropy.fill(&mut bits)?;
        Ok(Arc::new(Self { run: hex(&bits), used: Mutex::default() }))
    }

    fn used(&self) -> MutexGuard<'_, HashMap<(ApproverId, String), Boot>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, key: (ApproverId, String), (now, until): (Boot, Boot)) -> Result<Taken, Fault> {
        let mut used = self.used();
        used.retain(|_, until| *until > now);
        if used.contains_key(&key) {
            return Err(invalid_approval("used"));
        }
        if used.len() >= USED_MAX {
            return Err(Fault::new(Reason::QuotaExceeded).with("quota", "approvals"));
        }
        used.insert(key.clone(), until);
        Ok(Taken { approvals: Arc::clone(self), key: Some(key) })
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
        if let Some(key) = self.key.take() {
            self.approvals.used().remove(&key);
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
}

impl Asked<'_> {
    /// The text that is digested: JSON, its members in the order of their names.
    fn text(&self, run: &str) -> String {
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
        let details = (!self.details.is_empty()).then(|| hex(&sha256(self.details.to_json().as_bytes())));
        let subject = self.subject.and_then(VerifiedSubject::person);
        let more = [
            ("authorization_details_sha256", details.map(Into::into)),
            ("resource", self.api.map(|api| api.identifier.as_str().into())),
            ("actors", (!self.flow.actors().chain.is_empty()).then(|| json!(self.flow.actors().chain))),
            ("audiences", (!self.flow.audiences().is_empty()).then(|| json!(self.flow.audiences()))),
            // Whose rights: told apart, not told.
            ("subject_sha256", subject.map(|person| hex(&sha256(person.as_bytes())).into())),
        ];
        if let Some(members) = text.as_object_mut() {
            members.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
            members.sort_keys();
        }
        text.to_string()
    }
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
        self.of(&Asked { agent, client, flow, scopes, api, details, subject })
    }

    fn of(&self, asked: &Asked<'_>) -> Approvable {
        let request = asked.text(&self.approvals.run);
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
            policy_digest: &set.policy_digest,
            approvers: &set.estate.registry.approvers,
        };
        let verified = verify_approval(record, &expected, now)?;
        let key = (verified.approval.approver.clone(), verified.id);
        let taken = self.approvals.take(key, (now.0, verified.approval.until.0))?;
        approvable.approval = Some(verified.approval);
        Ok(Some(taken))
    }
}
