//! What operators ask: policy first, then the record, then the effect. What makes things safer, a freeze or a
//! revocation, takes effect at the decision and does not wait for a disk; its record is waited for before the reply.

use super::Corridor;
use crate::{
    audit::{Auditable, Code, Event, Severity},
    caller::AttestedOperator,
    grant::{GrantFilter, GrantSummary},
    model::{DecisionId, Fault, FreezeTarget, Reason},
    policy::{AdminAction, AdminPermitted, Freeze, Snapshot, Standing},
};
use std::sync::Arc;

/// Grants that one page lists at most.
pub const PAGE_MAX: usize = 1000;
/// Grants of a page, where nobody says how many.
pub const PAGE: usize = 100;

/// The daemon at a moment.
pub struct StatusReply {
    /// The policy set; `None` if none is loaded.
    pub policy: Option<Arc<Snapshot>>,
    /// How the files stand to it.
    pub standing: Standing,
    /// Whether the audit log can be written.
    pub audit_writable: bool,
    /// Grants held.
    pub grants: usize,
    /// Open transactions.
    pub transactions: usize,
    /// Calls and revocations under way.
    pub under_way: usize,
    /// Agents, clients and issuers that are frozen.
    pub frozen: usize,
    /// The issuers, and whether each is left alone because it fails again and again.
    pub issuers: Vec<(String, bool)>,
    /// The decision.
    pub decision: DecisionId,
}

/// A page of grants.
pub struct GrantsReply {
    /// The grants, in order of fingerprint.
    pub grants: Vec<GrantSummary>,
    /// Whether there are more.
    pub more: bool,
    /// The decision.
    pub decision: DecisionId,
}

impl Corridor {
    /// Says how the daemon is.
    ///
    /// # Errors
    /// What the operator is told; recorded.
    pub async fn admin_status(&self, operator: AttestedOperator) -> Result<StatusReply, Fault> {
        let permitted = self.admit_recorded(operator, "GetStatus", AdminAction::Status).await?;
        let issuers = self.servers.left_alone().into_iter().map(|(alias, open)| (alias.to_string(), *open.borrow()));
        Ok(StatusReply {
            policy: self.policies.current(),
            standing: self.policies.standing(),
            audit_writable: self.recorder.is_writable(),
            grants: self.grants.len(),
            transactions: self.transactions.open_count(),
            under_way: self.work.under_way(),
            frozen: self.policies.freezes().len(),
            issuers: issuers.collect(),
            decision: permitted.verdict().id,
        })
    }

    /// Lists what is frozen.
    ///
    /// # Errors
    /// What the operator is told; recorded.
    pub async fn list_freezes(&self, operator: AttestedOperator) -> Result<Vec<(FreezeTarget, Freeze)>, Fault> {
        self.admit_recorded(operator, "ListFreezes", AdminAction::Status).await?;
        Ok(self.policies.freezes().list())
    }

    /// Lists grants, by fingerprint: at most `most`, after this one.
    ///
    /// # Errors
    /// What the operator is told; recorded.
    pub async fn list_grants(
        &self,
        operator: AttestedOperator,
        filter: &GrantFilter,
        after: &str,
        most: usize,
    ) -> Result<GrantsReply, Fault> {
        let permitted = self.admit_recorded(operator, "ListGrants", AdminAction::ListGrants).await?;
        let (grants, more) = self.grants.list(filter, after, most.clamp(1, PAGE_MAX));
        Ok(GrantsReply { grants, more, decision: permitted.verdict().id })
    }

    /// Begins an orderly stop, as SIGTERM would.
    ///
    /// # Errors
    /// What the operator is told; recorded.
    pub async fn drain(&self, operator: AttestedOperator) -> Result<DecisionId, Fault> {
        let permitted = self.admit_recorded(operator, "Drain", AdminAction::Drain).await?;
        let done = Self::completed(&permitted).with("under_way", self.work.under_way());
        self.recorder.durable(done).await?;
        self.work.drain();
        Ok(permitted.verdict().id)
    }

    /// Asks policy whether an operator may do this. A no is recorded.
    pub(super) async fn admit(
        &self,
        operator: AttestedOperator,
        operation: &'static str,
        action: AdminAction,
    ) -> Result<AdminPermitted, Fault> {
        match self.policies.admin(operator, operation, action, self.decision()?) {
            Ok(permitted) => Ok(permitted),
            Err(no) => {
                let (operator, refused) = *no;
                let event = Event::new(Code::AdminDecided, operation).by_operator(&operator);
                let event = Event { severity: Severity::Medium, ..event };
                Err(self.deny(event, refused).await)
            }
        }
    }

    /// The same, and makes the yes durable before anything comes of it.
    pub(super) async fn admit_recorded(
        &self,
        operator: AttestedOperator,
        operation: &'static str,
        action: AdminAction,
    ) -> Result<AdminPermitted, Fault> {
        let permitted = self.admit(operator, operation, action).await?;
        let recorded = self.recorder.record(permitted).await.map_err(|unrecorded| unrecorded.1)?;
        Ok(recorded.into_inner())
    }

    /// The event of an operator's call that was done.
    pub(super) fn completed(permitted: &AdminPermitted) -> Event {
        Event::new(Code::AdminCompleted, permitted.operation())
            .by_operator(permitted.operator())
            .of(permitted.verdict().id)
    }

    /// Refuses a name that the configuration does not have: a slip would look like a freeze that holds. Recorded.
    pub(super) async fn refuse_unknown(&self, permitted: &AdminPermitted, target: &FreezeTarget) -> Result<(), Fault> {
        match self.known(target) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.refuse(permitted.event(self.recorder.keyed()), fault).await),
        }
    }

    fn known(&self, target: &FreezeTarget) -> Result<(), Fault> {
        let is_known = match target {
            FreezeTarget::Agent(id) => self.policies.estate().registry.agent(id).is_some(),
            FreezeTarget::Client(alias) => self.config.clients.contains_key(alias),
            FreezeTarget::Issuer(alias) => self.config.issuers.contains_key(alias),
        };
        let nobody = || Fault::field(Reason::FieldInvalid, "target", format!("names no {} there is", target.kind()));
        if is_known { Ok(()) } else { Err(nobody()) }
    }
}
