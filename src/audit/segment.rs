//! The log's files: `audit-<first sequence>.jsonl`, one event a line.

use super::{Code, Event, Severity};
use crate::platform::files::{Condition, Files, Journal};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A segment is closed when it has grown to this.
pub(super) const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// An open segment.
pub(super) struct Segment {
    pub(super) journal: Box<dyn Journal>,
    path: PathBuf,
    /// The sequence number it begins with.
    first: u64,
}

impl Segment {
    pub(super) fn condition(&self) -> Condition {
        self.journal.condition()
    }

    pub(super) fn is_full(&self) -> bool {
        self.journal.durable_bytes() >= SEGMENT_BYTES_MAX
    }

    /// The event of a segment that others removed or changed while it was in use: which events, confirmed to whoever
    /// waited for them, may be missing. Sequence numbers below `next` are given away.
    pub(super) fn loss(&self, condition: Condition, next: u64) -> Option<Event> {
        let how = match condition {
            Condition::Whole => return None,
            Condition::Gone => "removed_or_replaced",
            Condition::Changed => "changed",
        };
        tracing::error!(file = %self.path.display(), how, "somebody laid hands on the audit file in use");
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let event = Event { severity: Severity::Critical, ..Event::new(Code::AuditFileLost, "audit") };
        let event = event.with("file", name).with("how", how).with("durable_bytes", self.journal.durable_bytes());
        let last = next.checked_sub(1).filter(|last| *last >= self.first);
        Some(match last {
            Some(last) => event.with("first_sequence", self.first).with("last_sequence", last),
            None => event,
        })
    }

    /// Leaves a segment whose last sync failed. If nothing in it was ever confirmed, it goes: its events are written
    /// again elsewhere, and must not be there twice.
    pub(super) fn abandon(mut self) {
        let cut = self.journal.rollback();
        if self.journal.durable_bytes() == 0 && fs::remove_file(&self.path).is_err() {
            tracing::warn!(file = %self.path.display(), cut = cut.is_ok(), "an abandoned audit segment could not be removed");
        }
    }
}

/// The path of the segment that begins with this sequence number.
fn path(directory: &Path, first: u64, attempt: u32) -> PathBuf {
    directory.join(format!("audit-{first:012}-{attempt:03}.jsonl"))
}

/// The sequence number a segment's name says it begins with.
pub(super) fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("audit-")?.split(['-', '.']).next()?.parse().ok()
}

/// Every segment, oldest first.
pub(super) fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .filter(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("audit-") && name.ends_with(".jsonl")
        })
        .collect();
    paths.sort();
    Ok(paths)
}

/// Whether a folder holds a log with anything in it.
pub(super) fn has_log(directory: &Path) -> bool {
    let segments = list(directory).unwrap_or_default();
    segments.iter().any(|path| fs::metadata(path).is_ok_and(|meta| meta.len() > 0))
}

/// Opens a segment that does not exist yet: one that failed before is never written again, for Linux may have lost
/// pages of it while reporting success later.
pub(super) fn create(files: &dyn Files, directory: &Path, first: u64) -> io::Result<Segment> {
    for attempt in 0..1000 {
        let path = path(directory, first, attempt);
        if fs::symlink_metadata(&path).is_err() {
            return files.journal(&path).map(|journal| Segment { journal, path, first });
        }
    }
    Err(io::Error::other("too many failed segments"))
}
