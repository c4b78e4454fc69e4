//! `[[operator]]` of the agents file: who may administer the daemon, and how each proves it.

use super::{
    Finding, Registry,
    reader::Table,
    registry::{OVERFLOW_UID, team},
};
use crate::model::{Environment, Operator, OperatorId, agent::Identity};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// The operators, by uid: on a Unix socket it alone proves who they are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Operators(BTreeMap<u32, Arc<Operator>>);

impl Operators {
    /// Every operator.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Operator>> {
        self.0.values()
    }

    /// The operator that a Unix peer is.
    #[must_use]
    pub fn by_unix_peer(&self, uid: u32, gid: u32) -> Option<&Arc<Operator>> {
        self.0.get(&uid).filter(|operator| operator.gid.is_none_or(|wanted| wanted == gid))
    }

    /// Reads the tables of the file.
    pub(super) fn read(root: &Table<'_>) -> Self {
        let mut operators = Self::default();
        root.tables("operator", |table| {
            let operator = operator(table)?;
            if operators.iter().any(|other| other.id == operator.id) {
                table.wrong(format!("operator `{}` is registered twice", operator.id), None);
            }
            if let Some(other) = operators.0.insert(operator.uid, Arc::new(operator)) {
                table.wrong_at("uid", format!("is that of operator `{}` already", other.id), None);
            }
            Some(())
        });
        operators
    }
}

fn operator(table: &Table<'_>) -> Option<Operator> {
    let id = table.required("id", |t| OperatorId::parse(t).ok_or_else(|| "is not an id".to_owned()));
    let uid = table.integer("uid", 0..=4_294_967_294);
    if uid.is_none() {
        table.wrong("an operator needs a `uid`: the kernel's word is the only proof on the admin socket", None);
    }
    if uid == Some(OVERFLOW_UID) {
        table.wrong_at("uid", "is the kernel's stand-in for a uid of another user namespace, so it names nobody", None);
    }
    let gid = table.integer("gid", 0..=4_294_967_294).and_then(|g| u32::try_from(g).ok());
    let teams = table.list("teams", team);
    Some(Operator { id: id?, uid: uid.and_then(|u| u32::try_from(u).ok())?, gid, teams })
}

/// What is wrong with who may administer the daemon.
pub(super) fn misplaced(path: &Path, registry: &Registry, (daemon, served): (Environment, bool)) -> Vec<Finding> {
    let mut findings = Vec::new();
    let operators = &registry.operators;
    if served && operators.iter().next().is_none() {
        findings.push(Finding {
            hint: Some("add an [[operator]] table with id, uid and teams to the agents file".to_owned()),
            ..super::about(path, "[listen.admin] has nobody to serve: no operator is registered")
        });
    }
    if daemon == Environment::Dev {
        return findings;
    }
    for operator in operators.iter() {
        let is_same = |identity: &Identity| matches!(identity, Identity::UnixPeer { uid, .. } if *uid == operator.uid);
        if let Some(agent) = registry.agents().find(|agent| is_same(&agent.identity)) {
            let (operator, agent) = (&operator.id, &agent.id);
            findings.push(Finding {
                hint: Some("give the agent a uid of its own".to_owned()),
                ..super::about(
                    path,
                    format!(
                        "operator `{operator}` and agent `{agent}` have the same uid, so the agent could unfreeze itself"
                    ),
                )
            });
        }
    }
    findings
}
