//! What the log says of the run before: where the sequence stands, and which exchanges were decided and never closed.

use super::segment;
use serde::Deserialize;
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// The last segments that are read: an exchange lasts minutes, a segment far longer.
const SEGMENTS_READ: usize = 2;

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

/// Reads the newest segments; sets bytes after the last line feed aside.
pub(super) fn scan(directory: &Path) -> io::Result<Past> {
    let segments = segment::list(directory)?;
    let mut past = Past::default();
    let mut open: HashMap<String, OpenExchange> = HashMap::new();
    // A start on a full disk leaves empty files behind: only those that hold something count.
    let mut newest: Vec<&PathBuf> = Vec::new();
    for path in segments.iter().rev() {
        set_torn_tail_aside(path)?;
        past.next_sequence = past.next_sequence.max(segment::first_of(path).unwrap_or(0));
        if fs::metadata(path)?.len() > 0 {
            newest.push(path);
        }
        if newest.len() == SEGMENTS_READ {
            break;
        }
    }
    for path in newest.into_iter().rev() {
        let mut reader = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            // A line that is not ours to read is the verifier's business; the sequence goes on after it.
            if let Ok(parsed) = serde_json::from_slice::<Line>(&line) {
                past.next_sequence = past.next_sequence.max(parsed.metadata.sequence.saturating_add(1));
                follow(&mut open, parsed);
            }
            line.clear();
        }
    }
    past.open = open.into_values().collect();
    past.open.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(past)
}

fn follow(open: &mut HashMap<String, OpenExchange>, line: Line) {
    let Some(id) = line.metadata.correlation_uid else { return };
    match (line.metadata.event_code.as_str(), line.action_id) {
        ("exchange.decided", Some(1)) => {
            let agent = line.actor.and_then(|a| a.user).and_then(|u| u.uid).unwrap_or_default();
            let code_ref = line.unmapped.and_then(|u| u.narrowgate).and_then(|n| n.code_ref);
            open.insert(id.clone(), OpenExchange { id, agent, code_ref });
        }
        ("token.issued" | "token.refreshed" | "exchange.failed" | "exchange.unknown", _) => {
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
