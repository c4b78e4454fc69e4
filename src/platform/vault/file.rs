//! The file: made, opened, judged, moved aside.

use super::{
    Id, Vault, VaultKey,
    seal::{KIND, SALT_BYTES, Sealer, VERSION},
    writer::{self, Store},
};
use crate::platform::{Clock, Entropy, files};
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, backends::FileBackend};
use rustix::fs::{Mode, OFlags};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// The cache of the database: it is read once and then written to.
const CACHE_BYTES: usize = 4 << 20;

/// Why a vault could not be opened. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be used.
    #[error("{0} cannot be used: {1}")]
    Unusable(PathBuf, String),
    /// Another process has it.
    #[error("{0} is in use by another narrowgate")]
    InUse(PathBuf),
    /// It was written with another key.
    #[error(
        "{0} was written with another key; give the key it was written with, or move the file away: what is in it is lost then"
    )]
    WrongKey(PathBuf),
    /// It was written by a later version.
    #[error("{0} was written by a later version of narrowgate (format {1}); start that version, or move the file away")]
    Later(PathBuf, u8),
}

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy)]
pub enum Unread {
    /// It is none of ours.
    Damaged,
    /// A later version wrote it, in this format.
    Later(u8),
}

/// A file that was moved aside.
#[derive(Debug)]
pub struct Rejected {
    /// What is wrong with it, in our words.
    pub why: &'static str,
    /// Where it is now.
    pub moved_to: PathBuf,
}

/// An open vault and what is in it.
pub struct Opened<T> {
    /// The vault.
    pub vault: Arc<Vault>,
    /// Its records, read.
    pub records: Vec<(Id, T)>,
    /// What was there before, if that could not be used.
    pub rejected: Option<Rejected>,
}

/// What is wrong with a file.
enum Bad {
    /// Damaged, or something else.
    Rejected(&'static str),
    Fatal(OpenError),
}

/// A file that was found sound: its database, its keys, its records as they are in it.
struct Sound<T> {
    database: Database,
    sealer: Sealer,
    salt: Vec<u8>,
    sealed: BTreeMap<Id, Vec<u8>>,
    records: Vec<(Id, T)>,
}

/// Opens a vault, or makes it. Every record must be what `read` can read, or the file is not used at all.
///
/// # Errors
/// See [`OpenError`].
pub fn open<T>(
    path: &Path,
    key: &VaultKey,
    clock: Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    read: impl Fn(&[u8]) -> Result<T, Unread>,
) -> Result<Opened<T>, OpenError> {
    let unusable = |e: &dyn ToString| OpenError::Unusable(path.to_owned(), e.to_string());
    let folder = path.parent().ok_or_else(|| unusable(&"it is not in a folder"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| unusable(&e))?;
    files::require_guarded(folder).map_err(|wrong| OpenError::Unusable(folder.to_owned(), wrong))?;
    // Held beside the file: the file itself may be replaced.
    let lock = files::exclusive(&beside(path, ".lock")).map_err(|e| unusable(&e))?;
    let lock = lock.ok_or_else(|| OpenError::InUse(path.to_owned()))?;
    let (mut rejected, mut sound) = (None, None);
    if path.symlink_metadata().is_ok() {
        match judge(path, key, entropy, &read) {
            Ok(found) => sound = Some(found),
            Err(Bad::Fatal(error)) => return Err(error),
            Err(Bad::Rejected(why)) => {
                let stamp = clock.wall().rfc3339().replace([':', '-'], "");
                let moved_to = beside(path, &format!(".corrupt-{stamp}"));
                fs::rename(path, &moved_to).map_err(|e| unusable(&e))?;
                rejected = Some(Rejected { why, moved_to });
            }
        }
    }
    let sound = match sound {
        Some(sound) => sound,
        None => {
            let mut salt = vec![0u8; SALT_BYTES];
            entropy.fill(&mut salt).map_err(|_| unusable(&"there is no entropy"))?;
            let sealer = Sealer::new(key, &salt, Arc::clone(entropy)).ok_or_else(|| unusable(&"its key"))?;
            let database = write_anew(path, &salt, sealer.check(), &BTreeMap::new()).map_err(|e| unusable(&e))?;
            Sound { database, sealer, salt, sealed: BTreeMap::new(), records: Vec::new() }
        }
    };
    let Sound { database, sealer, salt, sealed, records } = sound;
    let store = Store::new(lock, path.to_owned(), (salt, *sealer.check()), database, sealed);
    let vault = writer::start(store, sealer, clock).map_err(|e| unusable(&e))?;
    Ok(Opened { vault, records, rejected })
}

/// The path with something after its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Opens a file and looks at every page and every record of it. redb may panic at a file that was tampered with: that is
/// a judgement too.
fn judge<T>(
    path: &Path,
    key: &VaultKey,
    entropy: &Arc<dyn Entropy>,
    read: impl Fn(&[u8]) -> Result<T, Unread>,
) -> Result<Sound<T>, Bad> {
    let look = AssertUnwindSafe(|| look(path, key, entropy, &read));
    catch_unwind(look).unwrap_or(Err(Bad::Rejected("it is damaged")))
}

fn look<T>(
    path: &Path,
    key: &VaultKey,
    entropy: &Arc<dyn Entropy>,
    read: impl Fn(&[u8]) -> Result<T, Unread>,
) -> Result<Sound<T>, Bad> {
    let unusable = |e: io::Error| Bad::Fatal(OpenError::Unusable(path.to_owned(), e.to_string()));
    let file = open_file(path, OFlags::empty()).map_err(unusable)?;
    if !file.metadata().map_err(unusable)?.is_file() {
        return Err(Bad::Fatal(OpenError::Unusable(path.to_owned(), "it is not a regular file".to_owned())));
    }
    if file.metadata().map_err(unusable)?.len() == 0 {
        // redb would make a database of it.
        return Err(Bad::Rejected("it is empty"));
    }
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let backend = FileBackend::new(file).map_err(|e| of_database(path, e))?;
    let database = builder.create_with_backend(backend).map_err(|e| of_database(path, e))?;
    let reading = database.begin_read().map_err(|e| of_storage(path, e.into()))?;
    let about = reading.open_table(ABOUT).map_err(|_| Bad::Rejected("it is a database of something else"))?;
    let told = |what: &str| match about.get(what) {
        Ok(Some(value)) => Ok(value.value().to_vec()),
        Ok(None) => Err(Bad::Rejected("it is a database of something else")),
        Err(error) => Err(of_storage(path, error.into())),
    };
    if told("kind")? != KIND {
        return Err(Bad::Rejected("it is a database of something else"));
    }
    match told("version")?.as_slice() {
        [VERSION] => {}
        [later] => return Err(Bad::Fatal(OpenError::Later(path.to_owned(), *later))),
        _ => return Err(Bad::Rejected("it is damaged")),
    }
    let salt = told("salt")?;
    let sealer = Sealer::new(key, &salt, Arc::clone(entropy)).ok_or(Bad::Rejected("it is damaged"))?;
    if !sealer.is_of(&told("check")?) {
        return Err(Bad::Fatal(OpenError::WrongKey(path.to_owned())));
    }
    let table = reading.open_table(RECORDS).map_err(|_| Bad::Rejected("it is damaged"))?;
    let (mut sealed, mut records) = (BTreeMap::new(), Vec::new());
    for entry in table.iter().map_err(|e| of_storage(path, e.into()))? {
        let (id, value) = entry.map_err(|e| of_storage(path, e.into()))?;
        let id = Id::try_from(id.value()).map_err(|_| Bad::Rejected("a record in it is damaged"))?;
        let plain = sealer.open(&id, value.value()).ok_or(Bad::Rejected("a record in it is damaged"))?;
        let record = read(&plain).map_err(|unread| match unread {
            Unread::Damaged => Bad::Rejected("a record in it cannot be read"),
            Unread::Later(format) => Bad::Fatal(OpenError::Later(path.to_owned(), format)),
        })?;
        records.push((id, record));
        sealed.insert(id, value.value().to_vec());
    }
    drop((table, about));
    reading.close().map_err(|e| of_storage(path, e.into()))?;
    Ok(Sound { database, sealer, salt, sealed, records })
}

fn of_database(path: &Path, error: DatabaseError) -> Bad {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Bad::Fatal(OpenError::InUse(path.to_owned())),
        DatabaseError::Storage(error) => of_storage(path, error.into()),
        DatabaseError::UpgradeRequired(_) => Bad::Rejected("it is a database of something else"),
        _ => Bad::Rejected("it is damaged"),
    }
}

fn of_storage(path: &Path, error: redb::Error) -> Bad {
    match error {
        redb::Error::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData => Bad::Rejected("it is no database"),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => Bad::Rejected("it is cut short"),
            // The disk's fault, not the file's: it may be read tomorrow.
            _ => Bad::Fatal(OpenError::Unusable(path.to_owned(), error.to_string())),
        },
        _ => Bad::Rejected("it is damaged"),
    }
}

/// Opens a file for reading and writing, never through a symbolic link, readable by nobody else.
fn open_file(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?);
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600))?;
    Ok(file)
}

/// Writes a file with these records beside its place, whole, and puts it there.
pub(super) fn write_anew(
    path: &Path,
    salt: &[u8],
    check: &[u8],
    records: &BTreeMap<Id, Vec<u8>>,
) -> Result<Database, redb::Error> {
    let draft = beside(path, ".new");
    let file = open_file(&draft, OFlags::CREATE | OFlags::TRUNC)?;
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let database = builder.create_with_backend(FileBackend::new(file)?)?;
    let writing = database.begin_write()?;
    {
        let mut about = writing.open_table(ABOUT)?;
        for (what, value) in [("kind", KIND), ("version", &[VERSION]), ("salt", salt), ("check", check)] {
            about.insert(what, value)?;
        }
        let mut table = writing.open_table(RECORDS)?;
        for (id, sealed) in records {
            table.insert(id.as_slice(), sealed.as_slice())?;
        }
    }
    writing.commit()?;
    // The draft is durable: a commit waits for the disk. From here on the database follows the file under its new name.
    fs::rename(&draft, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(database)
}

/// Commits changes: a record, or nothing in its place.
pub(super) fn commit(database: &Database, changes: &BTreeMap<Id, Option<Vec<u8>>>) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    {
        let mut table = writing.open_table(RECORDS)?;
        for (id, change) in changes {
            match change {
                Some(sealed) => drop(table.insert(id.as_slice(), sealed.as_slice())?),
                None => drop(table.remove(id.as_slice())?),
            }
        }
    }
    // Durability::Immediate is how every transaction begins: this returns once the disk has it.
    writing.commit()?;
    Ok(())
}
