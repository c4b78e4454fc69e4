//! The archive of a bundle: tar (POSIX.1 ustar) in gzip (RFC 1952), in one form: the same texts are the same bytes of
//! tar, and what is in any other form is not taken, wherever its bytes differ.

use super::{
    BUNDLE_BYTES_MAX, Contents,
    manifest::Manifest,
    names::{MANIFEST, require_proper},
};
use flate2::{Compression, GzBuilder, bufread::GzDecoder};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};
use tar::{EntryType, Header};

/// Bytes of an unpacked archive.
const UNPACKED_BYTES_MAX: usize = 64 << 20;
/// How many times its packed bytes an archive may be long. Rules made by a program pack 50 times and more.
const RATIO_MAX: usize = 250;
/// Up to here nobody asks how well it packs.
const RATIO_FROM: usize = 1 << 20;
/// Files of an archive.
const ENTRIES_MAX: usize = 10_004;
/// Bytes of the manifest.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Bytes that are unpacked at a time.
const STEP: usize = 64 << 10;

/// Packs texts under their manifest. What is packed is unpacked again, so that no bundle is made that nobody takes.
///
/// # Errors
/// What cannot be packed, for a person.
pub(super) fn pack(manifest: &Manifest, files: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    let cannot = |e: io::Error| format!("cannot be packed: {e}");
    let text = serde_json::to_string_pretty(manifest).map_err(|e| format!("cannot be packed: {e}"))? + "\n";
    let tar = tar_of(&text, files).map_err(cannot)?;
    // No name, no time, and the system "unknown" (RFC 1952 §2.3.1).
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    gzip.write_all(&tar).map_err(cannot)?;
    let packed = gzip.finish().map_err(cannot)?;
    unpack(&packed)?;
    Ok(packed)
}

/// The tar of a manifest's text and files, in order of name.
fn tar_of(manifest: &str, files: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut builder = tar::Builder::new(&mut bytes);
    let all = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    for (name, text) in [(MANIFEST, manifest)].into_iter().chain(all) {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        builder.append(&header, text.as_bytes())?;
    }
    builder.finish()?;
    drop(builder);
    Ok(bytes)
}

/// Unpacks an archive, within bounds, and holds it against its manifest.
///
/// # Errors
/// What is wrong with it, for a person.
pub(super) fn unpack(archive: &[u8]) -> Result<Contents, String> {
    read(&inflate(archive)?)
}

/// What a tar holds.
pub(super) fn read(tar: &[u8]) -> Result<Contents, String> {
    let (text, manifest, files) = entries(tar)?;
    manifest.require_files(&files)?;
    let canonical = tar_of(&text, &files).map_err(|e| format!("cannot be read: {e}"))?;
    if tar == canonical {
        return Ok(Contents { manifest, files });
    }
    match tar.strip_prefix(canonical.as_slice()) {
        Some(rest) => Err(format!("goes on for {} bytes after its last file", rest.len())),
        None => {
            Err("is no archive in the one form that `narrowgate policy bundle` writes: owner, mode, time, order or \
                     padding of a file differ"
                .to_owned())
        }
    }
}

fn inflate(archive: &[u8]) -> Result<Vec<u8>, String> {
    if archive.len() as u64 > BUNDLE_BYTES_MAX {
        return Err(format!("is {} bytes long, and a bundle may have {BUNDLE_BYTES_MAX}", archive.len()));
    }
    let mut decoder = GzDecoder::new(archive);
    let (mut tar, mut step) = (Vec::new(), vec![0; STEP]);
    loop {
        let read = decoder.read(&mut step).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => "is cut short".to_owned(),
            _ => format!("is no gzip, or is damaged: {e}"),
        })?;
        tar.extend_from_slice(step.get(..read).unwrap_or_default());
        if read == 0 {
            break;
        }
        if tar.len() > UNPACKED_BYTES_MAX {
            return Err(format!("has more than {UNPACKED_BYTES_MAX} bytes when it is unpacked"));
        }
        if tar.len() > RATIO_FROM && tar.len() / RATIO_MAX > archive.len() {
            return Err(format!("unpacks to more than {RATIO_MAX} times its length"));
        }
    }
    match decoder.get_ref().len() {
        0 => Ok(tar),
        rest => Err(format!("is followed by {rest} bytes that do not belong to it")),
    }
}

/// The manifest with its text, and the files. The manifest is read before the rest is: a bundle that is for a later
/// narrowgate may hold what this one does not know.
fn entries(tar: &[u8]) -> Result<(String, Manifest, BTreeMap<String, String>), String> {
    let damaged = |e: io::Error| format!("is no tar, is damaged, or is cut short: {e}");
    let mut archive = tar::Archive::new(tar);
    let (mut manifest, mut files) = (None, BTreeMap::new());
    // As they are: extended headers are entries too, of kinds that no bundle has.
    for (number, entry) in archive.entries().map_err(damaged)?.raw(true).enumerate() {
        let mut entry = entry.map_err(damaged)?;
        if number >= ENTRIES_MAX {
            return Err(format!("holds more than {ENTRIES_MAX} files"));
        }
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|e| format!("holds a name that is not UTF-8: {:?}", String::from_utf8_lossy(e.as_bytes())))?;
        if let Some(kind) = irregular(entry.header().entry_type()) {
            return Err(format!("holds {kind}: {name:?}"));
        }
        let is_manifest = number == 0 && name == MANIFEST;
        if number == 0 && !is_manifest {
            return Err(format!("begins with {name:?}, and the first file of a bundle is {MANIFEST}"));
        }
        if is_manifest && entry.size() > MANIFEST_BYTES_MAX {
            let size = entry.size();
            return Err(format!("has a {MANIFEST} of {size} bytes, and {MANIFEST_BYTES_MAX} are the most"));
        }
        if !is_manifest {
            if files.contains_key(&name) || name == MANIFEST {
                return Err(format!("holds {name:?} twice"));
            }
            require_proper(&name)?;
        }
        let size = entry.size();
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => format!("holds {name:?}, which is not UTF-8"),
            _ => damaged(e),
        })?;
        if text.len() as u64 != size {
            return Err(format!("is cut short in {name:?}"));
        }
        match is_manifest {
            true => manifest = Some((Manifest::parse(&text)?, text)),
            false => drop(files.insert(name, text)),
        }
    }
    let (manifest, text) = manifest.ok_or("is empty")?;
    Ok((text, manifest, files))
}

/// What it is, if it is no plain file.
const fn irregular(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Regular => None,
        EntryType::Link => Some("a hard link"),
        EntryType::Symlink => Some("a symbolic link"),
        EntryType::Char | EntryType::Block | EntryType::Fifo => Some("a device or pipe"),
        EntryType::Directory => Some("a folder of its own"),
        _ => Some("an entry of a kind that no bundle has"),
    }
}
