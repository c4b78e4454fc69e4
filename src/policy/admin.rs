//! Where an [`AdminPermitted`] is minted: Cedar allowed this operator this action. Nothing is allowed unless a policy
//! permits it.

use super::{Facts, Policies, Refused, Verdict, entities::DAEMON, panel::Panel, value::Uid};
use crate::{caller::AttestedOperator, model::DecisionId};

/// What operators do, each an action of its own in Cedar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminAction {
    /// Look at the state of the daemon, and at what is frozen.
    Status,
    /// List grants, by fingerprint.
    ListGrants,
    /// Revoke grants.
    Revoke,
    /// Freeze an agent, client or issuer.
    Freeze,
    /// Lift a freeze.
    Unfreeze,
    /// Stop the daemon in an orderly way.
    Drain,
    /// Take policies, agents and APIs anew.
    Reload,
    /// Ask why policy answers as it does.
    Explain,
    /// Ask what policy would answer if facts were others.
    WhatIf,
}

impl AdminAction {
    /// The action in Cedar.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "admin_status",
            Self::ListGrants => "admin_list_grants",
            Self::Revoke => "admin_revoke",
            Self::Freeze => "admin_freeze",
            Self::Unfreeze => "admin_unfreeze",
            Self::Drain => "admin_drain",
            Self::Reload => "admin_reload",
            Self::Explain => "admin_explain",
            Self::WhatIf => "admin_what_if",
        }
    }
}

/// Cedar allowed exactly this operator exactly this action.
pub struct AdminPermitted {
    operator: AttestedOperator,
    operation: &'static str,
    action: AdminAction,
    target: Option<String>,
    verdict: Verdict,
}

impl AdminPermitted {
    /// The operator.
    #[must_use]
    pub const fn operator(&self) -> &AttestedOperator {
        &self.operator
    }

    /// The same, about this: what is frozen, unfrozen or revoked.
    #[must_use]
    pub fn about(self, target: String) -> Self {
        Self { target: Some(target), ..self }
    }

    /// What it is about, where it is about one thing.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// The RPC it is for.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// What is allowed.
    #[must_use]
    pub const fn action(&self) -> AdminAction {
        self.action
    }

    /// The decision.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

impl Policies {
    /// Asks whether this operator may do this.
    ///
    /// # Errors
    /// The operator, and the decision.
    pub fn admin(
        &self,
        operator: AttestedOperator,
        operation: &'static str,
        action: AdminAction,
        id: DecisionId,
    ) -> Result<AdminPermitted, Box<(AttestedOperator, Refused)>> {
        let Some(snapshot) = self.current() else { return Err(Box::new((operator, Refused::not_loaded()))) };
        let facts = Facts::from(&operator);
        let principal = Uid::new("Operator", operator.operator().id.as_str());
        let mut panel = Panel::between(&snapshot, principal, Uid::new("Daemon", DAEMON), id);
        panel.bare_gate(action.as_str(), self.clock.wall(), &facts);
        match panel.close_gate() {
            Ok(verdict) => Ok(AdminPermitted { operator, operation, action, target: None, verdict }),
            Err(refused) => Err(Box::new((operator, *refused))),
        }
    }
}
