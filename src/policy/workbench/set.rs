//! A policy set as those who write it see it: each policy with the text it stands in.

pub(super) use crate::policy::load::causes;
use crate::{
    config::{Config, FILE_BYTES_MAX, Finding, about, position},
    platform::files::read_text,
    policy::{
        Snapshot,
        load::{self, finding, place},
        sources::{self, POLICY_FILE_BYTES_MAX, Source},
    },
};
use cedar_policy::{Entities, Policy, PolicyId, PolicySet, Schema};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// A set that parses: narrowgate's own, loaded as the daemon loads it, or any other of Cedar's.
pub struct Set {
    pub(super) policies: PolicySet,
    pub(super) schema: Schema,
    pub(super) entities: Entities,
    /// The files, in order of path.
    pub(super) sources: Vec<Source>,
    /// Where each policy stands: its file, by its number in `sources`, and the byte at which it begins.
    pub(super) places: BTreeMap<String, (usize, usize)>,
    /// What a set of narrowgate's has besides.
    pub(super) own: Option<Own>,
}

/// What a set of narrowgate's has besides: the configuration, and the set as the daemon would serve it.
pub(super) struct Own {
    pub(super) config: Config,
    pub(super) snapshot: Snapshot,
}

/// The files of a set that is not narrowgate's.
pub struct Files {
    /// Cedar files, or folders of them.
    pub policies: Vec<PathBuf>,
    /// The schema, in Cedar's own form.
    pub schema: PathBuf,
    /// Entities, in Cedar's JSON; none if not given.
    pub entities: Option<PathBuf>,
}

impl Set {
    /// The set that a configuration names, valid in every way that the daemon asks for but for its cases and `@expires`.
    ///
    /// # Errors
    /// Every mistake, with file, line and hint.
    pub fn own(config: Config) -> Result<Self, Vec<Finding>> {
        let snapshot = load::load(&config, 1, None)?;
        let sources = sources::policies(&config)?;
        let (policies, places) = parse(&sources)?;
        let (schema, entities) = (snapshot.schema.clone(), snapshot.entities.clone());
        Ok(Self { policies, schema, entities, sources, places, own: Some(Own { config, snapshot }) })
    }

    /// What a configuration's set would be with the policies of another folder or file in place of its own. As these are
    /// somebody's at a terminal, nobody asks who else may write them.
    ///
    /// # Errors
    /// Every mistake, with file, line and hint.
    pub fn own_with(mut config: Config, policies: &Path) -> Result<Self, Vec<Finding>> {
        let sources = texts(&[policies.to_owned()])?;
        config.bundle = None;
        config.policies = if policies.is_dir() { policies.to_owned() } else { folder_of(policies) };
        let snapshot = load::build(&config, Arc::clone(&config.estate), &sources, 1, None)?;
        let (policies, places) = parse(&sources)?;
        let (schema, entities) = (snapshot.schema.clone(), snapshot.entities.clone());
        Ok(Self { policies, schema, entities, sources, places, own: Some(Own { config, snapshot }) })
    }

    /// The set as the daemon would serve it, if it is one of narrowgate's.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.own.as_ref().map(|own| &own.snapshot)
    }

    /// Any other set. A policy without `@id` is called by its file and number, as `crm.cedar#1`. It parses; whether it is
    /// valid is not asked here.
    ///
    /// # Errors
    /// Every mistake, with file, line and hint.
    pub fn of_files(files: &Files) -> Result<Self, Vec<Finding>> {
        let sources = texts(&files.policies)?;
        let schema = read(&files.schema, FILE_BYTES_MAX).map_err(|finding| vec![finding])?;
        let (schema, _) = Schema::from_cedarschema_str(&schema.text)
            .map_err(|e| vec![finding(&schema, &format!("is no schema: {e}"), &e)])?;
        let entities = match &files.entities {
            None => Entities::empty(),
            Some(path) => {
                let text = read(path, FILE_BYTES_MAX).map_err(|finding| vec![finding])?.text;
                Entities::from_json_str(&text, Some(&schema))
                    .map_err(|e| vec![about(path, format!("these entities do not fit the schema: {}", causes(&e)))])?
            }
        };
        let (policies, places) = parse(&sources)?;
        Ok(Self { policies, schema, entities, sources, places, own: None })
    }

    /// The file in which a policy stands, its line and column, and its text.
    #[must_use]
    pub fn excerpt(&self, id: &str) -> Option<(&Path, (usize, usize), String)> {
        let (file, position) = self.place_in(id, 0)?;
        let text = self.policies.policy(&PolicyId::new(id))?.to_cedar()?;
        Some((file, position, text))
    }

    /// The file, line and column of this byte of a policy's text.
    pub(super) fn place_in(&self, id: &str, offset: usize) -> Option<(&Path, (usize, usize))> {
        let (source, at) = self.places.get(id)?;
        let source = self.sources.get(*source)?;
        Some((&source.path, position(&source.text, at + offset)))
    }
}

type Parsed = (PolicySet, BTreeMap<String, (usize, usize)>);

/// The policies of these texts, each under its `@id`.
fn parse(sources: &[Source]) -> Result<Parsed, Vec<Finding>> {
    let (mut all, mut places, mut findings) = (PolicySet::new(), BTreeMap::new(), Vec::new());
    for (number, source) in sources.iter().enumerate() {
        let set = match PolicySet::from_str(&source.text) {
            Ok(set) => set,
            Err(errors) => {
                findings.extend(errors.iter().map(|e| finding(source, &e.to_string(), e)));
                continue;
            }
        };
        if let Some(template) = set.templates().next() {
            let at = source.text.find(template.to_cedar().as_str()).unwrap_or(0);
            findings.push(at_byte(source, at, "is a template; the workbench takes plain policies".to_owned()));
        }
        let mut policies: Vec<(usize, &Policy)> =
            set.policies().map(|policy| (place(source, policy), policy)).collect();
        policies.sort_by_key(|(at, _)| *at);
        for (nth, (at, policy)) in policies.into_iter().enumerate() {
            let name = source.path.file_name().unwrap_or_default().to_string_lossy();
            let id = policy.annotation("id").map_or_else(|| format!("{name}#{}", nth + 1), str::to_owned);
            match all.add(policy.new_id(PolicyId::new(&id))) {
                Ok(()) => drop(places.insert(id, (number, at))),
                Err(_) => findings.push(at_byte(source, at, format!("@id(\"{id}\") is used twice"))),
            }
        }
    }
    if findings.is_empty() { Ok((all, places)) } else { Err(findings) }
}

fn at_byte(source: &Source, at: usize, message: String) -> Finding {
    Finding { file: source.path.clone(), position: Some(position(&source.text, at)), message, hint: None }
}

/// The policy files at or below these paths, read.
fn texts(paths: &[PathBuf]) -> Result<Vec<Source>, Vec<Finding>> {
    let mut found = Vec::new();
    for path in paths {
        walk(path, true, &mut found).map_err(|e| vec![about(path, format!("cannot be read: {e}"))])?;
    }
    found.iter().map(|path| read(path, POLICY_FILE_BYTES_MAX).map_err(|finding| vec![finding])).collect()
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// The Cedar files at or below a path, sorted within each folder. Hidden ones are skipped.
pub(super) fn walk(path: &Path, is_named: bool, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        if is_named || path.extension().is_some_and(|extension| extension == "cedar") {
            into.push(path.to_owned());
        }
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    for entry in entries {
        let is_hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // A link to a folder above would lead in circles.
        let is_link_to_folder = fs::symlink_metadata(&entry)?.is_symlink() && entry.is_dir();
        if !is_hidden && !is_link_to_folder {
            walk(&entry, false, into)?;
        }
    }
    Ok(())
}

/// A file of somebody at a terminal: whoever may write it is not asked.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Source, Finding> {
    let text = read_text(path, bytes_max).map_err(|e| about(path, format!("cannot be read: {e}")))?;
    Ok(Source { path: path.to_owned(), text })
}
