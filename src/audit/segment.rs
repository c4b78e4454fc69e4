//! The log's files: `audit-<first sequence>.jsonl`, one event a line.

use crate::platform::files::{Files, Journal};
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
}

impl Segment {
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

/// Opens a segment that does not exist yet: one that failed before is never written again, for Linux may have lost
/// pages of it while reporting success later.
pub(super) fn create(files: &dyn Files, directory: &Path, first: u64) -> io::Result<Segment> {
    for attempt in 0..1000 {
        let path = path(directory, first, attempt);
        if fs::symlink_metadata(&path).is_err() {
            return files.journal(&path).map(|journal| Segment { journal, path });
        }
    }
    Err(io::Error::other("too many failed segments"))
}
