//! The log's files: `audit-<first sequence>.jsonl`, one event a line.

use crate::platform::files::{Files, Journal};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A segment is closed when it has grown to this.
pub(super) const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// The path of the segment that begins with this sequence number.
pub(super) fn path(directory: &Path, first: u64, attempt: u32) -> PathBuf {
    let suffix = if attempt == 0 { String::new() } else { format!("-{attempt:03}") };
    directory.join(format!("audit-{first:012}{suffix}.jsonl"))
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
pub(super) fn create(files: &dyn Files, directory: &Path, first: u64) -> io::Result<Box<dyn Journal>> {
    for attempt in 0..1000 {
        let path = path(directory, first, attempt);
        if fs::symlink_metadata(&path).is_err() {
            return files.journal(&path);
        }
    }
    Err(io::Error::other("too many failed segments"))
}
