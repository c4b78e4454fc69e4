//! What would turn a no into a yes, and the evidence that does: advice of the forbids that said no, and approvals.

use super::{
    Snapshot,
    ask::Answer,
    context::{datetime, entity, record, scopes, text},
    value::Value,
};
use crate::{
    model::{Advice, Approvable, Approval, ApprovalWanted, Reason, StepUp},
    platform::{
        Clock,
        digest::{hex, sha256},
    },
};

/// The advice that a person approves.
const APPROVAL: &str = "approval";
/// What the advice to log in by a method begins with.
const STEP_UP: &str = "step_up:";

impl Approval {
    /// Whether it counts under this set, now: not past its end, given for this very set, and by somebody who still is an
    /// approver with this very key.
    fn counts(&self, set: &Snapshot, clock: &dyn Clock) -> bool {
        let approver = set.estate.registry.approvers.get(&self.approver);
        clock.boot() < self.until.0
            && clock.wall() < self.until.1
            && self.policy_digest == set.set_digest()
            && approver.is_some_and(|approver| approver.thumbprint == self.key)
    }

    fn value(&self) -> Value<'_> {
        let fields = [
            Some(("approver", entity("User", self.approver.as_str()))),
            Some(("at", datetime(self.at))),
            Some(("scopes", scopes(self.scopes.iter()))),
            self.ticket.as_deref().map(|ticket| ("ticket", text(ticket))),
        ];
        record(fields.into_iter().flatten())
    }
}

impl Snapshot {
    /// Of these policies, this schema, and these agents, clients, APIs and scopes: what an approval is given under, and what
    /// an operator accepts. SHA-256 in hex; a set that decides as this one does has the same.
    #[must_use]
    pub fn set_digest(&self) -> String {
        let of = [&self.policy_digest, &self.schema_digest, &self.entities_digest].map(AsRef::as_ref).join("\n");
        hex(&sha256(of.as_bytes()))
    }
}

/// The approval's record (`context.base.approval`), while it counts.
pub(super) fn approved<'a>(approvable: &'a Approvable, set: &Snapshot, clock: &dyn Clock) -> Option<Value<'a>> {
    approvable.approval.as_ref().filter(|approval| approval.counts(set, clock)).map(Approval::value)
}

/// The reason and the advice of a no, where every forbid behind it says what would lift it. Whether anything permits it then
/// is not looked at here.
pub(super) fn advised<'a>(
    set: &Snapshot,
    refusing: impl Iterator<Item = &'a Answer>,
    approvable: Option<&Approvable>,
) -> Option<(Reason, Advice)> {
    let mut advice = Advice::default();
    for answer in refusing {
        let mut forbidden = false;
        for forbid in answer.determining.iter().filter(|determining| determining.forbids) {
            forbidden = true;
            match set.note(&forbid.policy)?.advice.as_deref()? {
                APPROVAL => {
                    let Approvable { request, request_digest, .. } = approvable.cloned().unwrap_or_default();
                    let policy_digest = set.set_digest();
                    advice.approval = Some(ApprovalWanted { request, request_digest, policy_digest });
                }
                other => {
                    let acr = other.strip_prefix(STEP_UP)?;
                    let step_up = advice.step_up.get_or_insert_with(StepUp::default);
                    // Two ways at once: no login is known to be both.
                    if step_up.acr_values.iter().any(|known| known != acr) {
                        return None;
                    }
                    step_up.acr_values = vec![acr.to_owned()];
                }
            }
        }
        if !forbidden {
            return None;
        }
    }
    // An approval is about the agent; a login that comes on top is in the advice.
    let reason = if advice.approval.is_some() { Reason::HumanApprovalRequired } else { Reason::StepUpRequired };
    (advice != Advice::default()).then_some((reason, advice))
}
