//! A log read back: each decision in it, asked again (POL-09).

use super::{decision, segment};
use crate::policy::Snapshot;
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// The longest line that is read: far more than any that is written.
pub(super) const LINE_BYTES_MAX: u64 = 1 << 20;

/// Questions kept at once: those of the ten minutes for which an answer counts, on a busy daemon.
const QUESTIONS_BYTES_MAX: usize = 256 << 20;

/// One line of a log.
pub struct Line {
    /// Where it stands: file, and line number from 1.
    pub place: (PathBuf, u64),
    /// The event, or what is wrong with the line.
    pub event: Result<Value, &'static str>,
}

/// Reads a log line by line: one file, or the segments in a folder, oldest first. Only one line is held at a time. A last
/// line without its line feed is being written, and is left out.
///
/// # Errors
/// As the system says.
pub fn read_log(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Line>> + use<>> {
    let files = if fs::metadata(path)?.is_dir() { segment::list(path)? } else { vec![path.to_owned()] };
    Ok(files.into_iter().flat_map(|path| match File::open(&path) {
        Ok(file) => Lines::Open { reader: BufReader::new(file), path, number: 0 },
        Err(error) => Lines::Failed(Some(error)),
    }))
}

enum Lines {
    Open { reader: BufReader<File>, path: PathBuf, number: u64 },
    Failed(Option<io::Error>),
}

impl Iterator for Lines {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        let (reader, path, number) = match self {
            Self::Open { reader, path, number } => (reader, path, number),
            Self::Failed(error) => return error.take().map(Err),
        };
        let mut bytes = Vec::new();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
            Ok(0) => return None,
            Ok(_) => *number += 1,
            Err(error) => {
                *self = Self::Failed(None);
                return Some(Err(error));
            }
        }
        let place = (path.clone(), *number);
        let event = if bytes.ends_with(b"\n") {
            serde_json::from_slice(&bytes).map_err(|_| "is not JSON")
        } else if bytes.len() as u64 == LINE_BYTES_MAX {
            *self = Self::Failed(None);
            Err("is longer than any line of this log; the rest of the file is not read")
        } else {
            return None;
        };
        Some(Ok(Line { place, event }))
    }
}

/// A decision, as its event has it.
pub struct Decision<'e>(&'e Value);

/// The questions of the decisions read so far, for those that were answered as an earlier one was. Bounded: such an
/// earlier one is never far back.
#[derive(Default)]
pub struct Questions {
    asked: HashMap<String, String>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Questions {
    /// Keeps the questions of an event, if it holds any.
    pub fn note(&mut self, event: &Value) {
        let facts = event.pointer("/unmapped/narrowgate");
        let Some((asked, by)) = facts.and_then(|facts| Some((facts.get("asked")?, facts.get("asked_by")?.as_str()?)))
        else {
            return;
        };
        let text = asked.to_string();
        self.bytes += text.len();
        if let Some(before) = self.asked.insert(by.to_owned(), text) {
            self.bytes = self.bytes.saturating_sub(before.len());
        } else {
            self.order.push_back(by.to_owned());
        }
        while self.bytes > QUESTIONS_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            let gone = self.asked.remove(&oldest).map_or(0, |text| text.len());
            self.bytes = self.bytes.saturating_sub(gone);
        }
    }
}

/// Something that a decision says otherwise now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What: `answer`, `policies`, `granted`, `removed`, `terms` or `evaluation`.
    pub what: &'static str,
    /// What the event says.
    pub recorded: String,
    /// What the policies say now.
    pub replayed: String,
}

impl<'e> Decision<'e> {
    /// The decision that this event is the record of, if it is one.
    #[must_use]
    pub fn of(event: &'e Value) -> Option<Self> {
        let detection = event.get("class_uid").and_then(Value::as_u64) == Some(2004);
        let decided = event.pointer("/unmapped/narrowgate/schema_digest").is_some() && event.get("policy").is_some();
        (decided && !detection).then_some(Self(event))
    }

    /// The event's uid.
    #[must_use]
    pub fn uid(&self) -> &'e str {
        self.text("/metadata/uid")
    }

    /// The id under which the exchange goes, which the agent was told as `decision_id`.
    #[must_use]
    pub fn exchange(&self) -> &'e str {
        self.text("/metadata/correlation_uid")
    }

    /// The event's code.
    #[must_use]
    pub fn code(&self) -> &'e str {
        self.text("/metadata/event_code")
    }

    /// The agent it was about.
    #[must_use]
    pub fn agent(&self) -> &'e str {
        self.text("/actor/user/uid")
    }

    /// The client that it went by, if it went by one.
    #[must_use]
    pub fn client(&self) -> &'e str {
        self.text("/actor/app_name")
    }

    /// The scopes asked for; for a grant that is held, those it has.
    #[must_use]
    pub fn scopes(&self) -> Vec<&'e str> {
        let list = |key: &str| self.0.pointer(&format!("/unmapped/narrowgate/{key}")).and_then(Value::as_array);
        let scopes = list("requested_scopes").or_else(|| list("granted_scopes"));
        scopes.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Which of policies, schema and entities are not those that it was made under, with the digest recorded and the one
    /// at hand. None: a replay is exact.
    #[must_use]
    pub fn elsewhere(&self, snapshot: &Snapshot) -> Vec<(&'static str, String, String)> {
        let digests = [
            ("policies", "/unmapped/narrowgate/policy_digest", &*snapshot.policy_digest),
            ("schema", "/unmapped/narrowgate/schema_digest", &*snapshot.schema_digest),
            ("entities", "/unmapped/narrowgate/entities_digest", &*snapshot.entities_digest),
        ];
        let differ = digests.into_iter().filter(|(_, pointer, at_hand)| self.text(pointer) != *at_hand);
        differ.map(|(word, pointer, at_hand)| (word, self.text(pointer).to_owned(), at_hand.to_owned())).collect()
    }

    /// Its questions. A decision that was answered from the cache has them in an earlier event.
    ///
    /// # Errors
    /// Where they are missing.
    pub fn asked(&self, earlier: &Questions) -> Result<Cow<'e, Value>, String> {
        let by = self.text("/unmapped/narrowgate/answered_by");
        match (self.0.pointer("/unmapped/narrowgate/asked"), by) {
            (Some(asked), _) => Ok(Cow::Borrowed(asked)),
            (None, "") => Err("the event holds no questions: an earlier narrowgate wrote it".to_owned()),
            (None, by) => {
                let asked = earlier.asked.get(by).and_then(|text| serde_json::from_str(text).ok());
                asked
                    .map(Cow::Owned)
                    .ok_or_else(|| format!("its questions are those of decision {by}, which is not in this log"))
            }
        }
    }

    /// Asks it again.
    ///
    /// # Errors
    /// Why it cannot be asked: its questions are missing or do not fit the schema.
    pub fn again(&self, snapshot: &Snapshot, earlier: &Questions) -> Result<Vec<Difference>, String> {
        self.against(snapshot, &*self.asked(earlier)?)
    }

    /// Holds it against what this set says to the same questions.
    ///
    /// # Errors
    /// As [`Self::again`].
    pub fn against(&self, snapshot: &Snapshot, asked: &Value) -> Result<Vec<Difference>, String> {
        let verdict = snapshot.replay(asked)?;
        let pairs = decision::read(self.0).into_iter().zip(decision::said(&verdict));
        let differ = pairs.filter(|((_, recorded), (_, replayed))| recorded != replayed);
        Ok(differ.map(|((what, recorded), (_, replayed))| Difference { what, recorded, replayed }).collect())
    }

    fn text(&self, pointer: &str) -> &'e str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}
