//! What operators ask about policy. It is answered from a look at the current set: nothing is permitted by it and nothing
//! comes of it but the record of the call.

use super::Corridor;
use crate::{
    audit::{LOOKUP_BYTES_MAX, look_up},
    caller::AttestedOperator,
    config::Config,
    model::{AgentId, ClientAlias, DecisionId, Fault, Reason, fault::cut},
    policy::{
        AdminAction, Snapshot,
        workbench::{Explanation, Inquiry},
    },
};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of what is said to be wrong: it travels in the trailers.
const WRONG_BYTES_MAX: usize = 1000;

/// What is to be explained.
pub enum ExplainInput {
    /// A decision of the log: an event's uid, or a `decision_id`.
    Decision(String),
    /// A request, by these agent and client.
    Inquiry(Box<Inquiry>, AgentId, ClientAlias),
}

/// An explanation, and the set that was asked.
pub struct ExplainReply {
    /// The explanation.
    pub explanation: Explanation,
    /// The set.
    pub policy: Arc<Snapshot>,
    /// The decision about the call.
    pub decision: DecisionId,
}

impl Corridor {
    /// Explains. `facts_changed`: some of them are others than they are, which is an action of its own.
    ///
    /// # Errors
    /// What the operator is told; recorded.
    pub async fn explain(
        &self,
        operator: AttestedOperator,
        (input, one): (ExplainInput, OwnedSemaphorePermit),
        facts_changed: bool,
    ) -> Result<ExplainReply, Fault> {
        let (operation, action) =
            if facts_changed { ("WhatIf", AdminAction::WhatIf) } else { ("Explain", AdminAction::Explain) };
        let permitted = self.admit(operator, operation, action).await?;
        // The names have been looked at: the log takes no text from outside.
        let about = match &input {
            ExplainInput::Decision(id) => uuid::Uuid::parse_str(id).ok().map(|id| format!("decision {id}")),
            ExplainInput::Inquiry(_, agent, client) => Some(format!("{agent} by {client}")),
        };
        let permitted = match about {
            Some(about) => permitted.about(about),
            None => permitted,
        };
        let recorded = self.recorder.record(permitted).await.map_err(|unrecorded| unrecorded.1)?;
        let decision = recorded.into_inner().verdict().id;
        let policy = self.policies.current().ok_or(Reason::PolicyNotLoaded)?;
        let note = self.frozen(&input);
        let (snapshot, config) = (Arc::clone(&policy), Arc::clone(&self.config));
        let explained = tokio::task::spawn_blocking(move || {
            // Whoever hangs up does not end the work.
            let _one = one;
            explain(&snapshot, &config, &input)
        })
        .await;
        let mut explanation = explained.map_err(|_| Fault::new(Reason::Internal))??;
        explanation.notes.extend(note);
        Ok(ExplainReply { explanation, policy, decision })
    }

    /// A freeze says no before any policy is asked.
    fn frozen(&self, input: &ExplainInput) -> Option<String> {
        let ExplainInput::Inquiry(_, agent, client) = input else { return None };
        let client = self.config.clients.get(client)?;
        let admitted = self.policies.freezes().admit(agent, (&client.alias, &client.issuer), None);
        admitted.is_err().then(|| "the agent, the client or its issuer is frozen: policy is not asked".to_owned())
    }
}

fn explain(snapshot: &Snapshot, config: &Config, input: &ExplainInput) -> Result<Explanation, Fault> {
    match input {
        ExplainInput::Decision(id) => from_log(snapshot, config, id),
        ExplainInput::Inquiry(inquiry, ..) => snapshot
            .explain(config, inquiry)
            .map_err(|wrong| Fault::field(Reason::FieldInvalid, "inquiry", cut(wrong.join("; "), WRONG_BYTES_MAX))),
    }
}

/// What this daemon's own log has under this id.
fn from_log(snapshot: &Snapshot, config: &Config, id: &str) -> Result<Explanation, Fault> {
    let found = look_up(&config.audit.directory, id, Some(LOOKUP_BYTES_MAX)).map_err(|error| {
        tracing::warn!(%error, "the audit log cannot be read back");
        Fault::new(Reason::AuditUnavailable)
    })?;
    if found.is_empty() {
        let unknown = "is no decision of the newest part of the audit log";
        return Err(Fault::field(Reason::FieldInvalid, "decision", unknown));
    }
    let decisions = found.iter().map(|found| found.explained(snapshot, |asked| snapshot.explain_asked(asked)));
    let decisions = decisions.collect::<Result<_, _>>();
    decisions
        .map(Explanation::of)
        .map_err(|wrong| Fault::field(Reason::FieldInvalid, "decision", cut(wrong, WRONG_BYTES_MAX)))
}
