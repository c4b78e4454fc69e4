//! Decisions found in a log by their id, with the questions that made them.

use super::{Decision, replay::LINE_BYTES_MAX, segment};
use crate::policy::{Snapshot, workbench::ExplainedDecision};
use serde_json::Value;
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// How much of its own log a daemon reads to find a decision: two segments, the newest first.
pub const LOOKUP_BYTES_MAX: u64 = 2 * segment::SEGMENT_BYTES_MAX;
/// Events of one exchange at most.
const EVENTS_MAX: usize = 64;
/// Decisions that a daemon tells of one exchange. There are two, or three.
const DECISIONS_MAX: usize = 8;

/// A decision that a log has, with its questions.
pub struct RecordedDecision {
    /// Its event.
    pub event: Value,
    /// The questions that made it; `None` where they are in an earlier event that was not found, or the event is of a
    /// narrowgate that did not keep them.
    pub asked: Option<Value>,
}

impl RecordedDecision {
    /// Explains it by a set, and says what that set decides otherwise.
    ///
    /// # Errors
    /// Why it cannot be asked again.
    pub fn explained(
        &self,
        set: &Snapshot,
        explain: impl FnOnce(&Value) -> Result<ExplainedDecision, String>,
    ) -> Result<ExplainedDecision, String> {
        let decision = Decision::of(&self.event).ok_or("is no decision")?;
        let missing = || format!("event {}: its questions are not in what was read of the log", decision.uid());
        let asked = self.asked.as_ref().ok_or_else(missing)?;
        let differences = decision.against(set, asked)?;
        let differs = differences.iter().map(|d| format!("{}: {} -> {}", d.what, d.recorded, d.replayed));
        Ok(ExplainedDecision {
            event: Some(decision.uid().to_owned()),
            decision_id: Some(decision.exchange().to_owned()),
            differs: differs.collect(),
            ..explain(asked)?
        })
    }
}

/// The decisions with this event uid or `decision_id`, in the order written, in a file or the segments of a folder. No
/// more than so many bytes are read at a time, those of the newest segments.
///
/// # Errors
/// As the system says.
pub fn look_up(path: &Path, id: &str, bytes_max: Option<u64>) -> io::Result<Vec<RecordedDecision>> {
    let is_id = id.len() >= 8 && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_id {
        return Ok(Vec::new());
    }
    let events = scan(path, id, bytes_max)?;
    // A hand-out is decided under an id of its own, which a refused caller is told.
    let of_release = |event: &Value| fact(event, "release_decision_id").and_then(Value::as_str) == Some(id);
    let is_it = |event: &Value| {
        Decision::of(event).is_some_and(|it| it.uid() == id || it.exchange() == id || of_release(event))
    };
    let (mut found, mut known) = (Vec::new(), HashMap::new());
    let most = if bytes_max.is_some() { DECISIONS_MAX } else { EVENTS_MAX };
    for event in events.into_iter().filter(is_it).take(most) {
        let asked = match fact(&event, "asked") {
            Some(asked) => Some(asked.clone()),
            None => match fact(&event, "answered_by").and_then(Value::as_str) {
                // To find one reads the log again.
                Some(by) => match known.get(by) {
                    Some(asked) => Option::clone(asked),
                    None => known.entry(by.to_owned()).or_insert(earlier(path, by, bytes_max)?).clone(),
                },
                None => None,
            },
        };
        found.push(RecordedDecision { event, asked });
    }
    Ok(found)
}

/// The questions of the decision that answered first.
fn earlier(path: &Path, by: &str, bytes_max: Option<u64>) -> io::Result<Option<Value>> {
    let events = scan(path, by, bytes_max)?;
    let asked_by = events.into_iter().find(|event| fact(event, "asked_by").and_then(Value::as_str) == Some(by));
    Ok(asked_by.and_then(|event| fact(&event, "asked").cloned()))
}

fn fact<'e>(event: &'e Value, name: &str) -> Option<&'e Value> {
    event.pointer("/unmapped/narrowgate")?.get(name)
}

/// The events with this text in them, oldest first.
fn scan(path: &Path, text: &str, bytes_max: Option<u64>) -> io::Result<Vec<Value>> {
    let mut files: Vec<PathBuf> =
        if fs::metadata(path)?.is_dir() { segment::list(path)? } else { vec![path.to_owned()] };
    files.reverse();
    let (mut left, mut found, mut rest) = (bytes_max, Vec::new(), usize::MAX);
    for file in files {
        let bytes = fs::metadata(&file)?.len();
        if rest == 0 || left.is_some_and(|left| left < bytes) {
            break;
        }
        left = left.map(|left| left - bytes);
        let here = in_file(&file, text)?;
        rest = rest.saturating_sub(1);
        if !here.is_empty() && bytes_max.is_some() {
            // One exchange reaches over two segments at most, or it is none of moments ago.
            rest = rest.min(1);
        }
        found.splice(0..0, here);
        found.truncate(EVENTS_MAX);
    }
    Ok(found)
}

fn in_file(path: &Path, text: &str) -> io::Result<Vec<Value>> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut found, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        // What has no line feed is being written, or is no line of a log.
        if !line.ends_with(b"\n") || found.len() == EVENTS_MAX {
            return Ok(found);
        }
        if std::str::from_utf8(&line).is_ok_and(|line| line.contains(text)) {
            found.extend(serde_json::from_slice::<Value>(&line).ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(uid: &str, exchange: &str, facts: Value) -> String {
        let mut narrowgate = json!({ "schema_digest": "s" });
        narrowgate.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
        let event = json!({
            "metadata": { "uid": uid, "correlation_uid": exchange }, "policy": {}, "unmapped": { "narrowgate": narrowgate },
        });
        format!("{event}\n")
    }

    #[test]
    fn a_decision_is_found_with_its_questions_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        let asked = json!({ "asked": { "a": 1 }, "asked_by": "decision-1" });
        write("audit-000000000001-000.jsonl", event("uid-000001", "decision-1", asked));
        let text = event("uid-000002", "decision-2", json!({ "answered_by": "decision-1" }));
        let cut = event("uid-000003", "decision-2", json!({}));
        write("audit-000000000002-000.jsonl", format!("{text}no json decision-2\n{}", cut.trim_end()));
        for id in ["decision-2", "uid-000002"] {
            let found = look_up(folder.path(), id, None).unwrap();
            let asked: Vec<_> = found.into_iter().map(|found| found.asked).collect();
            assert_eq!(asked, [Some(json!({ "a": 1 }))], "{id}");
        }
        assert_eq!(look_up(folder.path(), "decision-1", Some(10_000)).unwrap().len(), 1);
        // No more is read than may be: the newest.
        let newest = fs::metadata(folder.path().join("audit-000000000002-000.jsonl")).unwrap().len();
        assert!(look_up(folder.path(), "decision-1", Some(newest)).unwrap().is_empty());
        assert_eq!(look_up(folder.path(), "decision-2", Some(newest)).unwrap()[0].asked, None);
        // What is no id is not looked for.
        for id in ["", "dec", "decision \"", "{}[]{}[]"] {
            assert!(look_up(folder.path(), id, None).unwrap().is_empty());
        }
    }
}
