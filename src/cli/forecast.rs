//! What `narrowgate check` warns of: nothing is wrong yet, and a bad day is in sight.

use crate::{
    config::{Config, Finding, about},
    exchange,
    platform::{Clock, SystemClock},
};
use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, path::Path};

/// Less room than this for the audit log is a warning: when there is none, nothing is issued.
const ROOM_MIN: u64 = 256 << 20;

/// Everything that is in sight.
pub(super) fn of(config: &Config, file: &Path) -> Vec<Finding> {
    let mut warnings: Vec<Finding> = around_the_log(&config.audit.directory);
    let named = config.files.iter().map(std::path::PathBuf::as_path).chain([file]);
    let folders: BTreeSet<&Path> = named.filter_map(Path::parent).collect();
    warnings.extend(folders.into_iter().filter_map(open_folder));
    if !exchange::is_plausible(SystemClock.wall()) {
        let wrong = "the clock of this machine is before narrowgate was built: nothing is issued";
        warnings.push(hinted(file, wrong.to_owned(), "set the clock"));
    }
    warnings
}

fn hinted(file: &Path, message: String, hint: &str) -> Finding {
    Finding { hint: Some(hint.to_owned()), ..about(file, message) }
}

fn around_the_log(directory: &Path) -> Vec<Finding> {
    let mut warnings = Vec::new();
    if let Ok(meta) = fs::metadata(directory)
        && meta.mode() & 0o007 != 0
    {
        let text = format!("the audit log's folder has mode {:04o}: anyone may look into it", meta.mode() & 0o7777);
        warnings.push(hinted(directory, text, "run chmod o-rwx on it"));
    }
    // At the first start it is not made yet.
    let there = directory.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    if let Ok(disk) = rustix::fs::statvfs(there) {
        let room = disk.f_bavail.saturating_mul(disk.f_frsize);
        if room < ROOM_MIN {
            let text = format!("{} MiB are left for the audit log: when it is full, nothing is issued", room >> 20);
            warnings.push(hinted(directory, text, "make room, or give the log a disk of its own"));
        }
    }
    warnings
}

/// A folder whose files others can replace, whatever the files' own modes.
fn open_folder(folder: &Path) -> Option<Finding> {
    const STICKY: u32 = 0o1000;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mode = fs::metadata(folder).ok()?.mode();
    if mode & 0o022 == 0 || mode & STICKY != 0 {
        return None;
    }
    let text = format!("has mode {:04o}: others can replace the keys, policies or settings in it", mode & 0o7777);
    Some(hinted(folder, text, "run chmod go-w on it"))
}
