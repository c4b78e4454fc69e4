//! Test cases about operators: who may do what to the daemon.

use super::{
    Facts, Snapshot,
    cases::owned,
    context::{caller, context, now},
    entities::{DAEMON, operator as entity},
    expected::{Step, steps},
    question::Question,
    value::Uid,
};
use crate::{
    caller::Transport,
    config::{Estate, Table},
    model::{Operator, OperatorId, TeamId, Wall},
};
use cedar_policy::Entities;

/// One case: `operator` instead of `agent` and `client`.
pub(super) struct OperatorCase {
    pub(super) name: String,
    action: String,
    operator: Operator,
    interactive: bool,
    pub(super) steps: Vec<Step>,
}

impl OperatorCase {
    pub(super) fn read(table: &Table<'_>, estate: &Estate) -> Option<Self> {
        let name = table.required("name", owned)?;
        let action = table.required("action", |text| {
            if text.starts_with("admin_") { Ok(text.to_owned()) } else { Err("is no action of operators".to_owned()) }
        });
        let operator = table.required("operator", |text| {
            let id = OperatorId::parse(text);
            let found = estate.registry.operators.iter().find(|operator| Some(&operator.id) == id.as_ref());
            found.map(|operator| Operator::clone(operator)).ok_or_else(|| format!("names no operator: {text:?}"))
        });
        let teams = table.list("teams", |text| TeamId::parse(text).ok_or_else(|| "is not a name".to_owned()));
        let interactive = table.boolean("interactive", true);
        let steps = steps(table);
        let mut operator = operator?;
        if table.holds("teams") {
            operator.teams = teams;
        }
        Some(Self { name, action: action?, operator, interactive, steps: steps? })
    }

    /// What is asked at this time, and about which entities.
    pub(super) fn question(&self, snapshot: &Snapshot, at: Wall) -> Result<(Question<'static>, Entities), String> {
        let facts = Facts {
            transport: Transport::Uds,
            uid: Some(self.operator.uid),
            ip: None,
            verified: true,
            trust_domain: None,
            expires_at: None,
            interactive: Some(self.interactive),
        };
        let question = Question {
            principal: Uid::new("Operator", self.operator.id.as_str()),
            action: Uid::new("Action", self.action.clone()),
            resource: Uid::new("Daemon", DAEMON),
            context: context([("now", now(at)), ("caller", caller(&facts))]),
        };
        Ok((question.to_owned(), snapshot.entities_with(vec![entity(&self.operator)?])?))
    }
}
