//! `agents.toml`: who may call, and how each proves itself.

use super::{
    approvers::Approvers,
    custom::custom,
    findings::Finding,
    operators::Operators,
    reader::{Document, Table},
};
use crate::model::{Agent, AgentId, Environment, TeamId, agent::Identity};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

/// What the kernel shows for a uid that has no mapping in this user namespace.
pub(super) const OVERFLOW_UID: u64 = 65_534;

/// The agents, by what proves them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Registry {
    agents: BTreeMap<AgentId, Arc<Agent>>,
    by_uid: HashMap<u32, AgentId>,
    by_spiffe_id: HashMap<String, AgentId>,
    /// Who may administer the daemon.
    pub operators: Operators,
    /// Whose approval of a request counts.
    pub approvers: Approvers,
}

impl Registry {
    /// Reads the file's text.
    pub(super) fn read(document: Document) -> (Self, Vec<Finding>) {
        let (registry, findings) = document.read(|root| {
            let (operators, approvers) = (Operators::read(root), Approvers::read(root));
            let mut registry = Self { operators, approvers, ..Self::default() };
            let mut written = false;
            root.tables("agent", |table| {
                written = true;
                if let Some(agent) = agent(table) {
                    registry.add(agent, table);
                }
                Some(())
            });
            if !written {
                root.wrong(
                    "no agent is registered",
                    Some("add an [[agent]] table with id, uid or spiffe_id, owner, environment, trust"),
                );
            }
            Some(registry)
        });
        (registry.unwrap_or_default(), findings)
    }

    /// Every agent.
    pub fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.agents.values()
    }

    /// The agent with this id.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        self.agents.get(id)
    }

    /// The agent that a Unix peer is.
    #[must_use]
    pub fn by_unix_peer(&self, uid: u32, gid: u32) -> Option<&Arc<Agent>> {
        let agent = self.agents.get(self.by_uid.get(&uid)?)?;
        let admitted =
            matches!(agent.identity, Identity::UnixPeer { gid: wanted, .. } if wanted.is_none_or(|w| w == gid));
        admitted.then_some(agent)
    }

    /// The agent with this SPIFFE ID.
    #[must_use]
    pub fn by_spiffe_id(&self, id: &str) -> Option<&Arc<Agent>> {
        self.agents.get(self.by_spiffe_id.get(id)?)
    }

    fn add(&mut self, agent: Agent, table: &Table<'_>) {
        let taken = match &agent.identity {
            Identity::UnixPeer { uid, .. } => self.by_uid.insert(*uid, agent.id.clone()),
            Identity::Spiffe(id) => self.by_spiffe_id.insert(id.clone(), agent.id.clone()),
        };
        if let Some(other) = taken {
            table.wrong(
                format!("agents `{other}` and `{}` prove themselves the same way, so they would be one", agent.id),
                Some("give each its own uid, or an SVID"),
            );
        }
        if let Some(other) = self.agents.insert(agent.id.clone(), Arc::new(agent)) {
            table.wrong(format!("agent `{}` is registered twice", other.id), None);
        }
    }
}

fn agent(table: &Table<'_>) -> Option<Agent> {
    let id = table.required("id", |t| AgentId::parse(t).ok_or_else(|| "is not an id".to_owned()));
    let identity = identity(table);
    let executable = table.optional("executable", |t| {
        if t.starts_with('/') { Ok(PathBuf::from(t)) } else { Err("must be an absolute path".to_owned()) }
    });
    if executable.is_some() && matches!(identity, Some(Identity::Spiffe(_))) {
        table.wrong_at("executable", "is known of Unix peers alone", None);
    }
    let owner = table.required("owner", team);
    let groups = table.list("groups", |t| team(t).map(|t| t.as_str().to_owned()));
    let environment = table.required("environment", environment);
    let trust = table.integer("trust", 0..=4).unwrap_or(0);
    let quarantined = table.boolean("quarantined", false);
    Some(Agent {
        id: id?,
        identity: identity?,
        executable,
        owner: owner?,
        groups,
        environment: environment?,
        trust: u8::try_from(trust).unwrap_or(0),
        quarantined,
        custom: custom(table),
    })
}

fn identity(table: &Table<'_>) -> Option<Identity> {
    let uid = table.integer("uid", 0..=4_294_967_294);
    if uid == Some(OVERFLOW_UID) {
        table.wrong_at("uid", "is the kernel's stand-in for a uid of another user namespace, so it names nobody", None);
    }
    let gid = table.integer("gid", 0..=4_294_967_294).and_then(|g| u32::try_from(g).ok());
    let spiffe = table.optional("spiffe_id", |text| {
        crate::model::id::parse_spiffe_id(text)
            .map(|_| text.to_owned())
            .map_err(|wrong| format!("is not a SPIFFE ID: {wrong}"))
    });
    match (uid.and_then(|u| u32::try_from(u).ok()), spiffe) {
        (Some(uid), None) => Some(Identity::UnixPeer { uid, gid }),
        (None, Some(id)) => Some(Identity::Spiffe(id)),
        _ => {
            // One that is there and wrong has its own mistake.
            if table.holds("uid") == table.holds("spiffe_id") {
                table.wrong("an agent needs exactly one of `uid` and `spiffe_id`", None);
            }
            None
        }
    }
}

pub(super) fn team(text: &str) -> Result<TeamId, String> {
    TeamId::parse(text).ok_or_else(|| "is not a name of letters, digits and . _ : / -".to_owned())
}

pub(super) fn environment(text: &str) -> Result<Environment, String> {
    Environment::parse(text).ok_or_else(|| "must be \"dev\", \"staging\" or \"prod\"".to_owned())
}
