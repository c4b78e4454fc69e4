//! What the log says of the run before: where the sequence stands, and which exchanges were decided and never closed.

use super::{Code, segment};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// The least that is read where no start is found: an exchange lasts minutes, two full segments far longer.
const BYTES_READ_MIN: u64 = 2 * segment::SEGMENT_BYTES_MAX;

const DECIDED: &str = Code::ExchangeDecided.as_str();
const STARTED: &str = Code::DaemonStarted.as_str();
const CLOSING: [&str; 3] = [Code::TokenIssued.as_str(), Code::ExchangeFailed.as_str(), Code::ExchangeUnknown.as_str()];

/// An exchange that was decided, and of whose outcome nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenExchange {
    /// Its id.
    pub id: String,
    /// The agent it was for.
    pub agent: String,
    /// The keyed reference of its code.
    pub code_ref: Option<String>,
}

#[derive(Default)]
pub(super) struct Past {
    pub(super) next_sequence: u64,
    pub(super) open: Vec<OpenExchange>,
}

#[derive(Deserialize)]
struct Line {
    metadata: Metadata,
    action_id: Option<u8>,
    actor: Option<Actor>,
    unmapped: Option<Unmapped>,
}

#[derive(Deserialize)]
struct Metadata {
    event_code: String,
    sequence: u64,
    correlation_uid: Option<String>,
}

#[derive(Deserialize)]
struct Actor {
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    uid: Option<String>,
}

#[derive(Deserialize)]
struct Unmapped {
    narrowgate: Option<Narrowgate>,
}

#[derive(Deserialize)]
struct Narrowgate {
    code_ref: Option<String>,
}

/// Reads the newest segments, back to the last start: before a start is put on record, everything that was open is.
/// Sets bytes after the last line feed aside.
pub(super) fn scan(directory: &Path) -> io::Result<Past> {
    let mut past = Past::default();
    let (mut newest, mut bytes) = (Vec::new(), 0);
    // Starts that crashed, and disks that fail, leave many small files behind, some of them empty.
    for path in segment::list(directory)?.iter().rev() {
        set_torn_tail_aside(path)?;
        past.next_sequence = past.next_sequence.max(segment::first_of(path).unwrap_or(0));
        bytes += fs::metadata(path)?.len();
        let lines = read(path, &mut past.next_sequence)?;
        let started = lines.iter().any(|line| line.metadata.event_code == STARTED);
        newest.push(lines);
        if started || (newest.len() > 1 && bytes >= BYTES_READ_MIN) {
            break;
        }
    }
    let mut open: HashMap<String, OpenExchange> = HashMap::new();
    for line in newest.into_iter().rev().flatten() {
        follow(&mut open, line);
    }
    past.open = open.into_values().collect();
    past.open.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(past)
}

/// The lines of a segment that open or close something, and where its sequence ends.
fn read(path: &Path, next_sequence: &mut u64) -> io::Result<Vec<Line>> {
    let (mut reader, mut lines) = (BufReader::new(File::open(path)?), Vec::new());
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        // A line that is not ours to read is the verifier's business; the sequence goes on after it.
        if let Ok(parsed) = serde_json::from_slice::<Line>(&line) {
            *next_sequence = parsed.metadata.sequence.saturating_add(1).max(*next_sequence);
            let code = parsed.metadata.event_code.as_str();
            if code == DECIDED || code == STARTED || CLOSING.contains(&code) {
                lines.push(parsed);
            }
        }
        line.clear();
    }
    Ok(lines)
}

fn follow(open: &mut HashMap<String, OpenExchange>, line: Line) {
    let Some(id) = line.metadata.correlation_uid else { return };
    match (line.metadata.event_code.as_str(), line.action_id) {
        (DECIDED, Some(1)) => {
            let agent = line.actor.and_then(|a| a.user).and_then(|u| u.uid).unwrap_or_default();
            let code_ref = line.unmapped.and_then(|u| u.narrowgate).and_then(|n| n.code_ref);
            open.insert(id.clone(), OpenExchange { id, agent, code_ref });
        }
        (code, _) if CLOSING.contains(&code) => {
            open.remove(&id);
        }
        _ => {}
    }
}

/// Moves an incomplete last line into a file of its own: nobody was told that it is durable.
fn set_torn_tail_aside(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut end = length;
    let mut block = vec![0u8; 64 * 1024];
    while end > 0 {
        let size = end.min(block.len() as u64);
        let start = end - size;
        let part = block.get_mut(..usize::try_from(size).unwrap_or(0)).unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|b| *b == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end == length {
        return Ok(());
    }
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(end))?;
    file.read_to_end(&mut tail)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    fs::write(path.with_file_name(format!("torn-{name}-{end}.bin")), &tail)?;
    file.set_len(end)?;
    file.sync_all()?;
    tracing::warn!(file = %path.display(), bytes = tail.len(), "set an incomplete last audit line aside");
    Ok(())
}
