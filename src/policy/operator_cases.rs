//! Test cases about operators: who may do what to the daemon.

use super::{
    Facts, Snapshot,
    cases::{instant, owned},
    context::{caller, context, now},
    entities::{DAEMON, operator as entity},
    expected::Expected,
    question::Question,
    value::Uid,
};
use crate::{
    caller::Transport,
    config::{Estate, Table},
    model::{Operator, OperatorId, TeamId, Wall},
};

/// One case: `operator` instead of `agent` and `client`.
pub(super) struct OperatorCase {
    pub(super) name: String,
    action: String,
    operator: Operator,
    interactive: bool,
    now: Wall,
    expected: Expected,
}

/// 2026-11-22T10:00:00Z, as in the cases about agents.
const NOW: Wall = Wall(1_795_341_600_000);

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
        let (interactive, now) = (table.boolean("interactive", true), table.optional("now", instant));
        let expected = Expected::read(table);
        let mut operator = operator?;
        if table.holds("teams") {
            operator.teams = teams;
        }
        Some(Self { name, action: action?, operator, interactive, now: now.unwrap_or(NOW), expected: expected? })
    }

    pub(super) fn run(&self, snapshot: &Snapshot) -> Result<(), String> {
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
            context: context([("now", now(self.now)), ("caller", caller(&facts))]),
        };
        let answer = snapshot.ask(&question, &snapshot.entities_with(vec![entity(&self.operator)?])?);
        self.expected.hold(&answer, snapshot)
    }
}
