//! The kill switch: what operators have frozen. It stands before Cedar and depends on no policy: where a permit or a
//! release would be minted for something frozen, the answer is no.
//!
//! A freeze also ends what was begun before it, for good: a transaction or grant that is older than the latest freeze
//! of its agent, client or issuer stays refused after the unfreeze, whatever was under way in between.
//!
//! Freezes are kept in a small file beside the audit log, replaced whole, so that a crash undoes none. They are not
//! replayed from the log: its segments are shipped and removed, and a kill switch must not hang on old ones.

use super::Refused;
use crate::{
    model::{AgentId, Boot, ClientAlias, DecisionId, Fault, FreezeTarget, IssuerAlias, OperatorId, Reason, Wall},
    platform::files,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// The longest file that is read: every agent of a large registry.
const FILE_BYTES_MAX: u64 = 16 << 20;
const NAME: &str = "freezes.json";
const VERSION: u64 = 1;

/// One freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Since when.
    pub since: Wall,
    /// Who did it.
    pub by: OperatorId,
    /// Their ticket, such as `incident-4711`; in the characters of an id.
    pub ticket: Option<String>,
    /// The decision that allowed it.
    pub decision: DecisionId,
}

/// Everything that is frozen.
#[derive(Default)]
pub struct Freezes {
    state: RwLock<State>,
    /// One writer of the file at a time, and the file itself; `None` keeps freezes in memory alone.
    file: Mutex<Option<PathBuf>>,
    /// The last write failed, so that the file may be the list of before or of after it.
    dirty: AtomicBool,
}

#[derive(Default)]
struct State {
    frozen: BTreeMap<FreezeTarget, Freeze>,
    agents: BTreeMap<AgentId, Mark>,
    clients: BTreeMap<ClientAlias, Mark>,
    issuers: BTreeMap<IssuerAlias, Mark>,
}

/// The latest freeze of one thing in this process.
#[derive(Clone, Copy)]
struct Mark {
    at: Boot,
    is_frozen: bool,
}

impl Mark {
    /// Whether what was begun then may go on; `None` is what is only about to begin.
    fn admits(mark: Option<&Self>, begun: Option<Boot>) -> bool {
        mark.is_none_or(|mark| !mark.is_frozen && begun.is_none_or(|begun| begun > mark.at))
    }
}

impl Freezes {
    /// Reads the freezes kept in this folder, and keeps them there from now on.
    ///
    /// # Errors
    /// Why the file cannot be used. The daemon must not start then: it would undo what it cannot read.
    pub fn open(folder: &Path, now: Boot) -> Result<Self, String> {
        let path = folder.join(NAME);
        let mut state = State::default();
        match files::read_text(&path, FILE_BYTES_MAX) {
            Ok(text) => {
                files::require_private(&path)?;
                for (target, freeze) in read(&text)
                    .ok_or("is not a list of freezes; correct it, or remove it and freeze anew what must stay frozen")?
                {
                    state.mark(&target, Mark { at: now, is_frozen: true });
                    state.frozen.insert(target, freeze);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot be read: {error}")),
        }
        Ok(Self { state: RwLock::new(state), file: Mutex::new(Some(path)), dirty: AtomicBool::new(false) })
    }

    /// Whether something of this agent, by this client at this issuer, may be done; `begun` is when its transaction
    /// began, where there is one.
    ///
    /// # Errors
    /// [`Reason::Frozen`].
    pub fn admit(&self, agent: &AgentId, at: (&ClientAlias, &IssuerAlias), begun: Option<Boot>) -> Result<(), Fault> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let marks = [
            ("agent", state.agents.get(agent)),
            ("client", state.clients.get(at.0)),
            ("issuer", state.issuers.get(at.1)),
        ];
        refuse(marks.into_iter().find(|(_, mark)| !Mark::admits(*mark, begun)).map(|(kind, _)| kind))
    }

    /// Whether an agent may call at all.
    ///
    /// # Errors
    /// [`Reason::Frozen`].
    pub fn admit_agent(&self, agent: &AgentId) -> Result<(), Fault> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        refuse((!Mark::admits(state.agents.get(agent), None)).then_some("agent"))
    }

    /// Freezes, from this moment on; what is frozen already stays as it was recorded. Nothing is waited for: call
    /// [`Self::keep`] to have it survive. Returns the freeze that holds, and whether it is new.
    #[must_use]
    pub fn freeze(&self, target: &FreezeTarget, freeze: Freeze, now: Boot) -> (Freeze, bool) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.mark(target, Mark { at: now, is_frozen: true });
        let is_new = !state.frozen.contains_key(target);
        (state.frozen.entry(target.clone()).or_insert(freeze).clone(), is_new)
    }

    /// Unfreezes, once that is on disk: a crash in between leaves it frozen. What was begun before the freeze stays
    /// ended. Blocks on the disk. Returns the freeze that was lifted, if there was one.
    ///
    /// # Errors
    /// [`Reason::FreezeNotKept`]; it is frozen still.
    pub fn unfreeze(&self, target: &FreezeTarget) -> Result<Option<Freeze>, Fault> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut frozen = self.table();
        let Some(lifted) = frozen.remove(target) else { return Ok(None) };
        self.write(file.as_deref(), &frozen)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.frozen.remove(target);
        state.thaw(target);
        Ok(Some(lifted))
    }

    /// Writes the list to disk, durably. Blocks on the disk.
    ///
    /// # Errors
    /// [`Reason::FreezeNotKept`].
    pub fn keep(&self) -> Result<(), Fault> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(file.as_deref(), &self.table())
    }

    /// Whether the list on disk is not known to be the one that is in force.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Writes the list if the last write failed and nobody else does. Blocks on the disk.
    pub fn keep_again(&self) {
        // Where it is being written already, that may hang.
        let Ok(file) = self.file.try_lock() else { return };
        if self.is_dirty() && self.write(file.as_deref(), &self.table()).is_ok() {
            tracing::warn!("the list of freezes is written again");
        }
    }

    /// A write may fail after the file is in its place: on any error it is written again later.
    fn write(&self, file: Option<&Path>, frozen: &BTreeMap<FreezeTarget, Freeze>) -> Result<(), Fault> {
        let written = write(file, frozen);
        self.dirty.store(written.is_err(), Ordering::Release);
        written
    }

    /// What is frozen, in order.
    #[must_use]
    pub fn list(&self) -> Vec<(FreezeTarget, Freeze)> {
        self.table().into_iter().collect()
    }

    /// How much is frozen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.read().unwrap_or_else(PoisonError::into_inner).frozen.len()
    }

    /// Whether nothing is frozen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&self) -> BTreeMap<FreezeTarget, Freeze> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).frozen.clone()
    }
}

impl State {
    fn mark(&mut self, target: &FreezeTarget, mark: Mark) {
        match target {
            FreezeTarget::Agent(id) => drop(self.agents.insert(id.clone(), mark)),
            FreezeTarget::Client(alias) => drop(self.clients.insert(alias.clone(), mark)),
            FreezeTarget::Issuer(alias) => drop(self.issuers.insert(alias.clone(), mark)),
        }
    }

    fn thaw(&mut self, target: &FreezeTarget) {
        let mark = match target {
            FreezeTarget::Agent(id) => self.agents.get_mut(id),
            FreezeTarget::Client(alias) => self.clients.get_mut(alias),
            FreezeTarget::Issuer(alias) => self.issuers.get_mut(alias),
        };
        if let Some(mark) = mark {
            mark.is_frozen = false;
        }
    }
}

fn refuse(frozen: Option<&'static str>) -> Result<(), Fault> {
    frozen.map_or(Ok(()), |kind| Err(Fault::new(Reason::Frozen).with("frozen", kind)))
}

impl From<Fault> for Refused {
    /// A no before any policy was asked.
    fn from(fault: Fault) -> Self {
        Self { verdict: None, fault }
    }
}

fn write(file: Option<&Path>, frozen: &BTreeMap<FreezeTarget, Freeze>) -> Result<(), Fault> {
    let Some(path) = file else { return Ok(()) };
    let freezes = frozen.iter().map(|(target, freeze)| {
        json!({
            "kind": target.kind(), "name": target.name(), "since_ms": freeze.since.0, "by": freeze.by.as_str(),
            "ticket": freeze.ticket, "decision_id": freeze.decision.to_string(),
        })
    });
    let document = json!({ "version": VERSION, "freezes": freezes.collect::<Vec<_>>() });
    files::replace(path, format!("{document:#}\n").as_bytes()).map_err(|error| {
        tracing::error!(file = %path.display(), %error, "the list of freezes cannot be written");
        Fault::new(Reason::FreezeNotKept)
    })
}

fn read(text: &str) -> Option<Vec<(FreezeTarget, Freeze)>> {
    let document: Value = serde_json::from_str(text).ok()?;
    if document.get("version")?.as_u64()? != VERSION {
        return None;
    }
    let freeze = |entry: &Value| {
        let word = |key: &str| entry.get(key).and_then(Value::as_str);
        let target = FreezeTarget::parse(word("kind")?, word("name")?)?;
        let (by, since) = (OperatorId::parse(word("by")?)?, Wall(entry.get("since_ms")?.as_i64()?));
        let decision = DecisionId(uuid::Uuid::try_parse(word("decision_id")?).ok()?);
        Some((target, Freeze { since, by, ticket: word("ticket").map(str::to_owned), decision }))
    };
    document.get("freezes")?.as_array()?.iter().map(freeze).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (AgentId, ClientAlias, IssuerAlias) {
        (AgentId::parse("a").unwrap(), ClientAlias::parse("c").unwrap(), IssuerAlias::parse("i").unwrap())
    }

    fn freeze() -> Freeze {
        let (by, decision) = (OperatorId::parse("ana").unwrap(), DecisionId(uuid::Uuid::nil()));
        Freeze { since: Wall(7), by, ticket: Some("incident-4711".to_owned()), decision }
    }

    fn targets() -> [FreezeTarget; 3] {
        let (agent, client, issuer) = names();
        [FreezeTarget::Agent(agent), FreezeTarget::Client(client), FreezeTarget::Issuer(issuer)]
    }

    // rows: INTR-03 CACH-08
    #[test]
    fn what_was_begun_before_a_freeze_stays_ended_after_it() {
        let (agent, client, issuer) = names();
        for target in targets() {
            let freezes = Freezes::default();
            let admits = |begun| freezes.admit(&agent, (&client, &issuer), begun).is_ok();
            assert!(admits(None) && admits(Some(Boot(1))));
            let _ = freezes.freeze(&target, freeze(), Boot(5));
            assert!(!admits(None) && !admits(Some(Boot(1))) && !admits(Some(Boot(9))), "{target}");
            assert_eq!(freezes.unfreeze(&target).unwrap(), Some(freeze()));
            assert!(admits(None) && admits(Some(Boot(6))), "{target}");
            assert!(!admits(Some(Boot(1))) && !admits(Some(Boot(5))), "{target}");
            assert_eq!(freezes.unfreeze(&target).unwrap(), None);
        }
    }

    #[test]
    fn the_file_holds_every_freeze_and_nothing_half_read() {
        let folder = tempfile::tempdir().unwrap();
        let freezes = Freezes::open(folder.path(), Boot(0)).unwrap();
        for target in targets() {
            let _ = freezes.freeze(&target, freeze(), Boot(1));
        }
        freezes.keep().unwrap();
        let again = Freezes::open(folder.path(), Boot(0)).unwrap();
        assert_eq!(again.list(), freezes.list());
        let (agent, client, issuer) = names();
        assert!(again.admit(&agent, (&client, &issuer), None).is_err());
        let path = folder.path().join(NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        for wrong in
            ["", "{", "[]", &text.replace("\"version\": 1", "\"version\": 2"), &text.replace("agent", "agents")]
        {
            std::fs::write(&path, wrong).unwrap();
            assert!(Freezes::open(folder.path(), Boot(0)).is_err(), "{wrong}");
        }
    }
}
