//! What a generation is made of: named texts, all of them read before any is looked at. Where they come from is this
//! file's alone to know; `load.rs` builds a set from texts.

use crate::{
    config::{
        BundleOrigin, CUSTOM_SCHEMA_BYTES_MAX, Config, EstateTexts, FILE_BYTES_MAX, Finding, OpenedBundle, WrongBundle,
        about,
    },
    platform::{
        bundle::{Signed, signature_of},
        digest::{hex, sha256},
        files::{read_guarded, refuse_open_link, require_owned},
    },
};
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Bytes of one policy file.
pub(super) const POLICY_FILE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of all policies and cases together.
const SET_BYTES_MAX: u64 = 32 << 20;
/// Files of a set.
const POLICY_FILES_MAX: usize = 10_000;
/// Policies of a set, counted by the semicolons that end them: a parsed policy takes many times its text.
const POLICIES_MAX: usize = 50_000;
/// Entries of all folders together, hidden ones and others included.
const ENTRIES_MAX: usize = 4 * POLICY_FILES_MAX;
/// Folders in folders. Symbolic links may lead in circles.
const DEPTH_MAX: usize = 16;
/// The pause between two readings that must be the same: whoever writes has gone on by then.
const SETTLE: Duration = Duration::from_millis(50);
/// Readings until a set counts as one that does not settle.
const READINGS_MAX: usize = 40;

/// Readings until a bundle's signature counts as one of another archive, and not as one that is on its way.
const TORN_READINGS_MAX: usize = 20;

/// A text, and where it is from.
#[derive(PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Every text of a set.
#[derive(PartialEq, Eq)]
pub struct Sources {
    pub(super) policies: Vec<Source>,
    pub(super) cases: Vec<Source>,
    pub(super) agents: Source,
    pub(super) apis: Source,
    pub(super) custom_schema: Option<Source>,
    /// The bundle that they are from, if they are from one.
    pub(super) bundle: Option<Arc<Signed>>,
}

impl Sources {
    /// Reads them from the files or the bundle that the configuration names.
    ///
    /// # Errors
    /// What cannot be read, or may not be trusted.
    pub fn read(config: &Config) -> Result<Self, Vec<Finding>> {
        match &config.bundle {
            None => Self::of(config, Reader::of(config)),
            Some(bundle) => Self::unpacked(config, bundle.read().map_err(told)?),
        }
    }

    /// Those of a bundle that was fetched.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn of_bundle(config: &Config, signed: Arc<Signed>) -> Result<Self, Vec<Finding>> {
        let Some(bundle) = &config.bundle else { return Self::read(config) };
        let contents = bundle.open(&signed).map_err(told)?;
        Self::unpacked(config, (signed, contents))
    }

    /// Those of the bundle that was taken last, if there was one.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn kept(config: &Config) -> Result<Option<Self>, Vec<Finding>> {
        let Some(bundle) = &config.bundle else { return Ok(None) };
        let kept = bundle.kept().map_err(told)?;
        kept.map(|kept| Self::unpacked(config, kept)).transpose()
    }

    /// The bundle that they are from, if they are from one.
    #[must_use]
    pub const fn bundle(&self) -> Option<&Arc<Signed>> {
        self.bundle.as_ref()
    }

    /// What of a bundle says the same as files in a folder do, within the same bounds.
    fn unpacked(config: &Config, (signed, contents): OpenedBundle) -> Result<Self, Vec<Finding>> {
        let place = config.bundle.as_ref().map(|bundle| bundle.place()).unwrap_or_default();
        // In the order in which a folder would be read: the digest of the set goes by it.
        let files = contents.files.into_iter().map(|(name, text)| (place.join(name), text)).collect();
        let sources = Self::of(config, Reader { bundled: Some(files), ..Reader::of(config) })?;
        Ok(Self { bundle: Some(signed), ..sources })
    }

    fn of(config: &Config, mut reader: Reader<'_>) -> Result<Self, Vec<Finding>> {
        let files = reader.files();
        let policies = reader.texts(files.policies, POLICY_FILE_BYTES_MAX);
        let cases = reader.texts(files.cases, FILE_BYTES_MAX);
        let estate = &config.estate_files;
        let [agents, apis] = [&estate.agents, &estate.apis].map(|path| reader.text(path, FILE_BYTES_MAX));
        let custom_schema = estate.custom_schema.as_ref().filter(|path| reader.may_have(path));
        let custom_schema = custom_schema.and_then(|path| reader.text(path, CUSTOM_SCHEMA_BYTES_MAX));
        match (agents, apis) {
            (Some(agents), Some(apis)) if reader.findings.is_empty() => {
                Ok(Self { policies, cases, agents, apis, custom_schema, bundle: None })
            }
            _ => Err(reader.findings),
        }
    }

    /// Reads them until two readings in a row say the same: a file that is being written, or a folder in which one
    /// link after the other is swapped, is not taken; nor is a bundle without its signature.
    ///
    /// # Errors
    /// As [`Self::read`]; that they do not settle.
    pub async fn settled(config: &Arc<Config>) -> Result<Self, Vec<Finding>> {
        let mut before = None;
        for reading in 0..READINGS_MAX {
            let config = Arc::clone(config);
            // Never on the threads that serve calls.
            let reading = tokio::task::spawn_blocking(move || {
                let now = Self::read(&config);
                let is_torn = || config.bundle.as_ref().is_some_and(|bundle| bundle.is_torn());
                let may_go_on = now.is_ok() || reading >= TORN_READINGS_MAX || !is_torn();
                let is_settled = before.as_ref() == Some(&now) && may_go_on;
                (now, is_settled)
            });
            match reading.await {
                Ok((now, true)) => return now,
                Ok((now, false)) => before = Some(now),
                Err(_) => before = None,
            }
            tokio::time::sleep(SETTLE).await;
        }
        let changing = "keeps changing while it is read: write files beside it and rename them into place";
        Err(vec![about(&config.policies, changing)])
    }

    /// SHA-256 of all of it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut all = Vec::new();
        let estate = [&self.agents, &self.apis].into_iter().chain(&self.custom_schema);
        for source in self.policies.iter().chain(&self.cases).chain(estate) {
            append(&mut all, source.path.as_os_str().as_encoded_bytes());
            append(&mut all, source.text.as_bytes());
        }
        sha256(&all)
    }

    /// Those of the estate.
    #[must_use]
    pub fn estate(&self) -> EstateTexts {
        let [agents, apis] = [&self.agents, &self.apis].map(|source| source.text.clone());
        EstateTexts { agents, apis, custom_schema: self.custom_schema.as_ref().map(|source| source.text.clone()) }
    }

    /// What the files look like from outside, without reading them: another one wherever something was written, swapped,
    /// or given to somebody else.
    #[must_use]
    pub fn glance(config: &Config) -> [u8; 32] {
        let mut reader = Reader::of(config);
        let mut seen = String::new();
        let mut shadow = config.shadow.as_ref().map(|folder| Reader { folder, ..Reader::of(config) });
        let beside = shadow.as_mut().map(|reader| (reader.files(), reader.folder.to_owned()));
        let beside = beside
            .into_iter()
            .flat_map(|(files, folder)| files.policies.into_iter().chain(files.cases).chain([folder]));
        for path in reader.looked_at(config).into_iter().chain(beside) {
            // Writing to a text cannot fail.
            let _ = match fs::metadata(&path) {
                Ok(it) => {
                    let times = (it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
                    writeln!(seen, "{path:?} {:?}", (it.dev(), it.ino(), it.len(), it.mode(), it.uid(), times))
                }
                Err(e) => writeln!(seen, "{path:?} {:?}", e.kind()),
            };
        }
        let _ = write!(seen, "{:?} {:?}", reader.findings, shadow.map(|reader| reader.findings));
        sha256(seen.as_bytes())
    }
}

/// The policies alone.
///
/// # Errors
/// As [`Sources::read`].
pub(super) fn policies(config: &Config) -> Result<Vec<Source>, Vec<Finding>> {
    if config.bundle.is_some() {
        return Ok(Sources::read(config)?.policies);
    }
    let mut reader = Reader::of(config);
    let files = reader.files();
    let policies = reader.texts(files.policies, POLICY_FILE_BYTES_MAX);
    if reader.findings.is_empty() { Ok(policies) } else { Err(reader.findings) }
}

/// The policies and the cases of another folder.
///
/// # Errors
/// As [`Sources::read`].
pub(super) fn folder(config: &Config, folder: &Path) -> Result<(Vec<Source>, Vec<Source>), Vec<Finding>> {
    let mut reader = Reader { folder, ..Reader::of(config) };
    let files = reader.files();
    let policies = reader.texts(files.policies, POLICY_FILE_BYTES_MAX);
    let cases = reader.texts(files.cases, FILE_BYTES_MAX);
    if reader.findings.is_empty() { Ok((policies, cases)) } else { Err(reader.findings) }
}

/// SHA-256 of policy files, in hex: of their paths below the folder and their texts.
pub(super) fn digest<'s>(folder: &Path, sources: impl IntoIterator<Item = &'s Source>) -> String {
    let mut all = Vec::new();
    for source in sources {
        let name = source.path.strip_prefix(folder).unwrap_or(&source.path).to_string_lossy().into_owned();
        append(&mut all, name.as_bytes());
        append(&mut all, source.text.as_bytes());
    }
    hex(&sha256(&all))
}

/// What is wrong with a bundle or its signature.
fn told((file, wrong): WrongBundle) -> Vec<Finding> {
    vec![about(&file, wrong)]
}

/// With its length, so that no two parts run into each other.
fn append(all: &mut Vec<u8>, part: &[u8]) {
    all.extend_from_slice(&(part.len() as u64).to_be_bytes());
    all.extend_from_slice(part);
}

/// The files of a set, in order of path; hidden ones are skipped.
#[derive(Default)]
struct Files {
    /// `*.cedar`.
    policies: Vec<PathBuf>,
    /// `*.cases.toml`.
    cases: Vec<PathBuf>,
    entries: usize,
}

/// Reads a set, within its bounds.
struct Reader<'c> {
    folder: &'c Path,
    owner: Option<u32>,
    /// The texts, where they are not read from disk.
    bundled: Option<BTreeMap<PathBuf, String>>,
    bytes_left: u64,
    policies_left: usize,
    findings: Vec<Finding>,
}

impl<'c> Reader<'c> {
    fn of(config: &'c Config) -> Self {
        Self {
            folder: &config.policies,
            owner: config.estate_files.owner,
            bundled: None,
            bytes_left: SET_BYTES_MAX,
            policies_left: POLICIES_MAX,
            findings: Vec::new(),
        }
    }

    fn files(&mut self) -> Files {
        let mut files = Files::default();
        let walked = match &self.bundled {
            Some(texts) => {
                let below = texts.keys().filter(|path| path.starts_with(self.folder)).cloned();
                let is_policies = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cedar");
                (files.policies, files.cases) = below.partition(is_policies);
                true
            }
            None => self.walk(self.folder, 0, &mut files),
        };
        if walked && files.policies.len() + files.cases.len() > POLICY_FILES_MAX {
            self.wrong(self.folder, format!("holds more than {POLICY_FILES_MAX} policy files"));
        }
        if self.findings.is_empty() { files } else { Files::default() }
    }

    /// The files whose metadata say whether anything was written. A bundle at a URL has none.
    fn looked_at(&mut self, config: &Config) -> Vec<PathBuf> {
        match config.bundle.as_ref().map(|bundle| &bundle.origin) {
            Some(BundleOrigin::File(path)) => vec![path.clone(), signature_of(path)],
            Some(BundleOrigin::Url { .. }) => Vec::new(),
            None => {
                let (files, estate) = (self.files(), &config.estate_files);
                let named = [&estate.agents, &estate.apis, &config.policies].map(Clone::clone);
                files.policies.into_iter().chain(files.cases).chain(named).chain(estate.custom_schema.clone()).collect()
            }
        }
    }

    /// Whether it goes on.
    fn walk(&mut self, folder: &Path, depth: usize, into: &mut Files) -> bool {
        let guarded = refuse_open_link(folder).and_then(|()| require_owned(folder, self.owner));
        let entries = guarded.and_then(|()| {
            let entries = fs::read_dir(folder).map_err(|e| format!("cannot be read: {e}"))?;
            let paths = entries.take(ENTRIES_MAX + 1).map(|e| e.map(|e| e.path()));
            paths.collect::<Result<Vec<PathBuf>, _>>().map_err(|e| format!("cannot be read: {e}"))
        });
        let mut paths = match entries {
            Ok(paths) => paths,
            Err(wrong) => return self.wrong(folder, wrong),
        };
        into.entries += paths.len();
        if depth > DEPTH_MAX || into.entries > ENTRIES_MAX {
            let bounds = format!("{DEPTH_MAX} folders in each other, or more than {ENTRIES_MAX} files");
            return self.wrong(self.folder, format!("has more than {bounds}"));
        }
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            match fs::metadata(&path) {
                // It may lead to a folder, whose rules would silently be gone.
                Err(e) => drop(self.wrong(&path, format!("cannot be read: {e}"))),
                Ok(meta) if meta.is_dir() => {
                    if !self.walk(&path, depth + 1, into) {
                        return false;
                    }
                }
                Ok(_) if name.ends_with(".cedar") => into.policies.push(path),
                Ok(_) if name.ends_with(".cases.toml") => into.cases.push(path),
                Ok(_) => {}
            }
        }
        true
    }

    fn texts(&mut self, paths: Vec<PathBuf>, bytes_max: u64) -> Vec<Source> {
        let mut texts = Vec::new();
        for path in paths {
            let before = self.bytes_left;
            let Some(source) = self.text(&path, bytes_max.min(before)) else { continue };
            self.bytes_left = before.saturating_sub(source.text.len() as u64);
            let is_policies = path.extension().is_some_and(|extension| extension == "cedar");
            let ends = source.text.bytes().filter(|byte| is_policies && *byte == b';').count();
            match self.policies_left.checked_sub(ends) {
                Some(left) => self.policies_left = left,
                None => {
                    self.wrong(self.folder, format!("holds more than {POLICIES_MAX} policies"));
                    break;
                }
            }
            texts.push(source);
        }
        texts
    }

    /// Whether a file is to be read that a bundle may do without.
    fn may_have(&self, path: &Path) -> bool {
        self.bundled.as_ref().is_none_or(|texts| texts.contains_key(path))
    }

    fn text(&mut self, path: &Path, bytes_max: u64) -> Option<Source> {
        let read = match &mut self.bundled {
            Some(texts) => match texts.remove(path) {
                Some(text) if text.len() as u64 > bytes_max => {
                    Err(format!("is {} bytes long, and {bytes_max} may be read", text.len()))
                }
                Some(text) => Ok(text),
                None => Err("is not in the bundle".to_owned()),
            },
            None => refuse_open_link(path).and_then(|()| read_guarded(path, bytes_max, self.owner)),
        };
        match read {
            Ok(text) => Some(Source { path: path.to_owned(), text }),
            Err(wrong) => {
                self.wrong(path, wrong);
                None
            }
        }
    }

    /// Always false.
    fn wrong(&mut self, path: &Path, message: String) -> bool {
        self.findings.push(about(path, message));
        false
    }
}
