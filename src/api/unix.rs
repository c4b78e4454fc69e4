//! The Unix socket: in a folder of ours, never through a symbolic link, never abstract, stale ones taken over.

use crate::{
    caller::{Peer, Pin, UnixPeer},
    config::UnixListener as Settings,
    platform::files,
};
use rustix::process::{geteuid, umask};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::{UnixListener, UnixStream};

const IN_USE: &str = "is in use by another daemon; stop it or choose another path";

/// Why a door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The socket's folder is not safe.
    #[error("the folder {0} of the socket {1}")]
    Folder(PathBuf, String),
    /// The path is taken by something that is not a stale socket of ours.
    #[error("the socket path {0} {1}")]
    Taken(PathBuf, &'static str),
    /// The system refused.
    #[error("cannot listen on {0}: {1}")]
    System(String, io::Error),
    /// A certificate or key cannot be used.
    #[error("cannot listen on {0}: {1}")]
    Tls(String, String),
}

/// The bound socket; removes its path when dropped.
pub struct UnixDoor {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    /// Held for as long as the path is ours.
    _lock: File,
}

impl UnixDoor {
    /// Binds the socket.
    ///
    /// # Errors
    /// See [`BindError`]; nothing is bound then.
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        let path = settings.path.clone();
        let system = |e: io::Error| BindError::System(path.display().to_string(), e);
        let folder = path.parent().unwrap_or(Path::new("/"));
        safe_folder(folder)?;
        let lock = own(&path)?;
        clear_stale(&path)?;
        // Born with its final mode: between bind and chmod anyone could connect.
        let before = umask(rustix::fs::Mode::from_raw_mode(0o777 & !settings.mode));
        let bound = UnixListener::bind(&path);
        umask(before);
        let listener = bound.map_err(system)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(settings.mode)).map_err(system)?;
        if let Some(group) = settings.group {
            chown(&path, None, Some(group)).map_err(system)?;
        }
        let inode = fs::symlink_metadata(&path).map_err(system)?.ino();
        Ok(Self { listener, path, inode, _lock: lock })
    }

    /// Why [`Self::bind`] would refuse this socket's place, if it would. Nothing is made or removed: a folder that is
    /// missing is looked for where it would be made, and a daemon that has the socket now does not count.
    #[must_use]
    pub fn refused(settings: &Settings) -> Option<BindError> {
        let folder = settings.path.parent().unwrap_or(Path::new("/"));
        let above = folder.parent().unwrap_or(Path::new("/"));
        match fs::symlink_metadata(folder) {
            Ok(_) => guarded(folder).and_then(|()| socket_or_nothing(&settings.path).map(|_| ())).err(),
            Err(_) if above.is_dir() => None,
            Err(error) => Some(unmade(folder, &error)),
        }
    }

    /// Waits for a connection, and takes the kernel's word for who it is.
    pub(super) async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred().ok().map(|c| {
            let pin = Arc::new(Pin::of(&stream, c.pid()));
            UnixPeer { uid: c.uid(), gid: c.gid(), pid: c.pid(), pin }
        });
        Ok((stream, Peer::Unix(peer)))
    }

    /// The path it listens on.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        // Another daemon may have taken the path over; its socket is not ours to remove.
        if fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder that nobody else can put things into. It is made if it is missing.
fn safe_folder(folder: &Path) -> Result<(), BindError> {
    if fs::symlink_metadata(folder).is_err() {
        fs::DirBuilder::new().mode(0o750).create(folder).map_err(|e| unmade(folder, &e))?;
    }
    guarded(folder)
}

fn unmade(folder: &Path, error: &io::Error) -> BindError {
    BindError::Folder(folder.to_owned(), format!("is missing and cannot be made: {error}"))
}

fn guarded(folder: &Path) -> Result<(), BindError> {
    let unsafe_because = |why: String| BindError::Folder(folder.to_owned(), why);
    let meta = fs::symlink_metadata(folder).map_err(|e| unsafe_because(format!("cannot be read: {e}")))?;
    if meta.file_type().is_symlink() || !meta.is_dir() {
        return Err(unsafe_because(
            "is a symbolic link or no folder; give the socket a real folder of its own".to_owned(),
        ));
    }
    if meta.mode() & 0o022 != 0 {
        let mode = meta.mode() & 0o7777;
        return Err(unsafe_because(format!(
            "has mode {mode:04o}: others could replace the socket; use a folder of its own with mode 0750"
        )));
    }
    let owner = meta.uid();
    if owner != geteuid().as_raw() && owner != 0 {
        return Err(unsafe_because(format!(
            "belongs to uid {owner}, who could replace the socket; run narrowgate, its `check` too, as that user, or give \
             the socket a folder of its own"
        )));
    }
    Ok(())
}

/// Makes the path ours alone. Of two daemons that start at once, both could take a stale socket for theirs to remove,
/// and one would serve a socket that is gone. The lock file stays when its daemon ends: removed, it could be locked
/// twice.
fn own(path: &Path) -> Result<File, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    match files::exclusive(Path::new(&name)) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(BindError::Taken(path.to_owned(), IN_USE)),
        Err(error) => Err(BindError::System(PathBuf::from(name).display().to_string(), error)),
    }
}

/// Whether a socket is there; anything else must not be.
fn socket_or_nothing(path: &Path) -> Result<bool, BindError> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(false) };
    let taken = |why| Err(BindError::Taken(path.to_owned(), why));
    match meta.file_type() {
        found if found.is_symlink() => taken("is a symbolic link; remove it"),
        found if found.is_socket() => Ok(true),
        _ => taken("is not a socket; remove it or choose another path"),
    }
}

/// Removes a socket that nobody listens on; anything else is left alone.
fn clear_stale(path: &Path) -> Result<(), BindError> {
    if !socket_or_nothing(path)? {
        return Ok(());
    }
    let taken = |why| BindError::Taken(path.to_owned(), why);
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(taken(IN_USE)),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|_| taken("is a stale socket that cannot be removed"))
        }
        Err(_) => Err(taken("is a socket that cannot be examined; remove it")),
    }
}
