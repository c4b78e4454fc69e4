//! Decisions found in a log by their id, with the questions that made them.

use super::{Decision, replay::LINE_BYTES_MAX, segment};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// How much of its own log a daemon reads to find a decision: two segments, the newest first.
pub const LOOKUP_BYTES_MAX: u64 = 2 * segment::SEGMENT_BYTES_MAX;
/// Events of one exchange at most.
const EVENTS_MAX: usize = 64;

/// A decision that a log has, with its questions.
pub struct RecordedDecision {
    /// Its event.
    pub event: Value,
    /// The questions that made it; `None` where they are in an earlier event that was not found, or the event is of a
    /// narrowgate that did not keep them.
    pub asked: Option<Value>,
}

/// The decisions with this event uid or `decision_id`, in the order written, in a file or the segments of a folder. No more
/// than so many bytes are read, those of the newest segments.
///
/// # Errors
/// As the system says.
pub fn look_up(path: &Path, id: &str, bytes_max: Option<u64>) -> io::Result<Vec<RecordedDecision>> {
    let is_id = id.len() >= 8 && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_id {
        return Ok(Vec::new());
    }
    let events = scan(path, id, bytes_max)?;
    let is_it = |event: &Value| Decision::of(event).is_some_and(|it| it.uid() == id || it.exchange() == id);
    let mut found = Vec::new();
    for event in events.into_iter().filter(is_it) {
        let asked = match fact(&event, "asked") {
            Some(asked) => Some(asked.clone()),
            None => match fact(&event, "answered_by").and_then(Value::as_str) {
                Some(by) => earlier(path, by, bytes_max)?,
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
