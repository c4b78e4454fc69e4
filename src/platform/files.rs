//! Files: an append-only journal that knows what is durable, and reads that are bounded.

use rustix::fs::{FlockOperation, Mode, OFlags};
use std::{
    fs::{File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// An append-only file. What [`Journal::sync`] has confirmed survives a crash.
pub trait Journal: Send {
    /// Writes at the end.
    ///
    /// # Errors
    /// As the system says; what was written may be there in part until [`Journal::rollback`].
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended durable (fdatasync).
    ///
    /// # Errors
    /// As the system says. The journal must not be used again: Linux reports a lost page once only.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts off what was appended since the last sync.
    ///
    /// # Errors
    /// As the system says.
    fn rollback(&mut self) -> io::Result<()>;
    /// Bytes that are durable.
    fn durable_bytes(&self) -> u64;
    /// What others have done to the file since the last sync.
    fn condition(&self) -> Condition;
}

/// The condition of a [`Journal`] between two commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// As it was left.
    Whole,
    /// The path leads to no file, or to another one.
    Gone,
    /// It is longer or shorter than what was made durable.
    Changed,
}

/// Opens journals.
pub trait Files: Send + Sync + 'static {
    /// Opens or creates a journal with mode 0640, never through a symbolic link.
    ///
    /// # Errors
    /// As the system says.
    fn journal(&self, path: &Path) -> io::Result<Box<dyn Journal>>;
}

/// Takes a lock file for this process, until the handle is dropped or the process ends, however it ends. `None`: another
/// process has it.
///
/// # Errors
/// As the system says.
pub fn exclusive(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?);
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The real file system.
pub struct Disk;

impl Files for Disk {
    fn journal(&self, path: &Path) -> io::Result<Box<dyn Journal>> {
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o640))?);
        file.sync_data()?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        let durable = file.metadata()?.len();
        Ok(Box::new(DiskJournal { file, path: path.to_owned(), durable, pending: 0 }))
    }
}

struct DiskJournal {
    file: File,
    path: PathBuf,
    durable: u64,
    pending: u64,
}

impl Journal for DiskJournal {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.pending += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        rustix::fs::fdatasync(&self.file)?;
        self.durable += self.pending;
        self.pending = 0;
        Ok(())
    }

    fn rollback(&mut self) -> io::Result<()> {
        self.pending = 0;
        self.file.set_len(self.durable)
    }

    fn durable_bytes(&self) -> u64 {
        self.durable
    }

    fn condition(&self) -> Condition {
        let (Ok(ours), Ok(there)) = (self.file.metadata(), std::fs::symlink_metadata(&self.path)) else {
            return Condition::Gone;
        };
        match () {
            () if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) => Condition::Gone,
            () if ours.len() != self.durable + self.pending => Condition::Changed,
            () => Condition::Whole,
        }
    }
}

/// Puts a private file (0600) in the place of another, durably: whoever reads sees the old one or the new one, whole,
/// after a crash too.
///
/// # Errors
/// As the system says; the old file stays.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let draft = PathBuf::from(name);
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(&draft, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads a UTF-8 file of at most `bytes_max`.
///
/// # Errors
/// As the system says; `InvalidData` if it is longer or not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        // Opening a pipe would wait for a writer for ever.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("is longer than {bytes_max} bytes")));
    }
    Ok(text)
}

/// Reads a file of at most `bytes_max`; the bytes are wiped when dropped.
///
/// # Errors
/// As the system says; `InvalidData` if it is longer.
pub fn read_bytes(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // With room from the beginning: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(bytes_max).unwrap_or(0).saturating_add(32)));
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Reads a UTF-8 file of at most `bytes_max` that nobody may change but its owner and group: root, the daemon's user, or
/// this one. What is looked at is the file that is open, so that no swap comes between the look and the reading; what is
/// too long is not read at all.
///
/// # Errors
/// What is wrong and what to do, for a person.
pub fn read_guarded(path: &Path, bytes_max: u64, owner: Option<u32>) -> Result<String, String> {
    let bytes = read_guarded_bytes(path, bytes_max, owner)?;
    String::from_utf8(bytes).map_err(|_| "cannot be read: is not UTF-8".to_owned())
}

/// As [`read_guarded`], of any bytes.
///
/// # Errors
/// What is wrong and what to do, for a person.
pub fn read_guarded_bytes(path: &Path, bytes_max: u64, owner: Option<u32>) -> Result<Vec<u8>, String> {
    let cannot = |e: io::Error| format!("cannot be read: {e}");
    // Opening a pipe would wait for a writer for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| cannot(e.into()))?);
    let meta = file.metadata().map_err(cannot)?;
    if !meta.is_file() {
        return Err("cannot be read: is not a regular file".to_owned());
    }
    unwritable(&meta)?;
    owned(&meta, owner)?;
    let too_long = |bytes: u64| format!("is {bytes} bytes long, and {bytes_max} may be read");
    if meta.len() > bytes_max {
        return Err(too_long(meta.len()));
    }
    let mut bytes = Vec::new();
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(cannot)? as u64;
    if read > bytes_max { Err(too_long(read)) } else { Ok(bytes) }
}

/// Refuses a link into a folder in which anyone may put another file.
///
/// # Errors
/// What is wrong, for a person.
pub fn refuse_open_link(path: &Path) -> Result<(), String> {
    let cannot = |e: io::Error| format!("cannot be read: {e}");
    if !std::fs::symlink_metadata(path).map_err(cannot)?.is_symlink() {
        return Ok(());
    }
    let real = path.canonicalize().map_err(cannot)?;
    let folder = real.parent().unwrap_or(Path::new("/"));
    require_guarded(folder).map_err(|wrong| format!("is a link into {}, which {wrong}", folder.display()))
}

/// Refuses a file or folder that anyone may change: who gets tokens is written in it.
///
/// # Errors
/// What is wrong and what to do, for a person.
pub fn require_guarded(path: &Path) -> Result<(), String> {
    unchanging(path, &std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?)
}

/// As [`require_guarded`], and it belongs to root, the daemon's user, or this one: whoever owns a folder takes files away.
///
/// # Errors
/// What is wrong and what to do, for a person.
pub fn require_owned(path: &Path, owner: Option<u32>) -> Result<(), String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    unchanging(path, &meta).and_then(|()| owned(&meta, owner))
}

/// As [`unwritable`], but that a folder on a read-only mount is nobody's to change: a Kubernetes volume of a ConfigMap is
/// one, and of mode 0777.
fn unchanging(path: &Path, meta: &Metadata) -> Result<(), String> {
    let read_only = || {
        let flags = rustix::fs::statvfs(path).map(|mount| mount.f_flag);
        flags.is_ok_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    };
    if meta.is_dir() && read_only() { Ok(()) } else { unwritable(meta) }
}

fn owned(meta: &Metadata, owner: Option<u32>) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    if ![Some(0), Some(own), owner].contains(&Some(meta.uid())) {
        return Err(format!(
            "belongs to uid {}; it must belong to root, to the daemon's user, or to whom the main file belongs: run chown on it",
            meta.uid()
        ));
    }
    Ok(())
}

fn unwritable(meta: &Metadata) -> Result<(), String> {
    if meta.mode() & 0o002 != 0 {
        return Err(format!("has mode {:04o}: anyone may change it; run chmod o-w on it", meta.mode() & 0o7777));
    }
    Ok(())
}

/// Whether a file holding a secret is a regular file of ours (or root's) that nobody else may read.
///
/// # Errors
/// What is wrong and what to do, for a person.
pub fn require_private(path: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    let owner = meta.uid();
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if owner != rustix::process::geteuid().as_raw() && owner != 0 {
        return Err(format!("belongs to uid {owner}; it must belong to the daemon's user"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(format!("has mode {:04o}; run chmod 0600 on it", meta.mode() & 0o7777));
    }
    Ok(())
}

/// Whether a file that systemd hands over (a credential) is a regular file that not everyone may read. It may be root's,
/// with an entry for us in its access control list, which the mode shows as one for its group.
///
/// # Errors
/// What is wrong, for a person.
pub fn require_handed_over(path: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if meta.mode() & 0o027 != 0 {
        return Err(format!("has mode {:04o}: others may use it", meta.mode() & 0o7777));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt, process::Command};

    // rows: POL-04
    #[test]
    fn a_folder_that_anyone_may_change_is_trusted_where_nobody_can() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(require_guarded(folder).unwrap_err().contains("anyone may change it"));
        let mount = |arguments: &[&str]| {
            Command::new("mount").args(arguments).arg(folder).output().is_ok_and(|done| done.status.success())
        };
        if !mount(&["-t", "tmpfs", "-o", "mode=0777", "none"]) {
            eprintln!("SKIPPED: this machine does not let tests mount");
            return;
        }
        let writable = require_guarded(folder);
        std::fs::write(folder.join("file"), "").unwrap();
        std::fs::set_permissions(folder.join("file"), std::fs::Permissions::from_mode(0o666)).unwrap();
        let remounted = mount(&["-o", "remount,ro"]);
        let (read_only, file) = (require_guarded(folder), require_guarded(&folder.join("file")));
        Command::new("umount").arg(folder).status().unwrap();
        assert!(writable.is_err() && remounted);
        assert_eq!(read_only, Ok(()));
        assert!(file.is_err(), "the mode of a file is its own");
    }
}
