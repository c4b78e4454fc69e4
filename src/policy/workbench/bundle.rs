//! A set as a bundle ([`crate::platform::bundle`]): what a daemon would serve, packed to be signed and shipped.

use crate::{
    config::{Config, Finding, about},
    model::Wall,
    platform::bundle::{AGENTS, APIS, CUSTOM_SCHEMA, Contents, FORMAT, Manifest, POLICIES},
    policy::{
        Prepared, Snapshot, prepare, schema,
        sources::{Source, Sources, digest},
    },
};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

/// A set that is packed.
pub struct Bundled {
    /// The archive.
    pub archive: Vec<u8>,
    /// What is in it.
    pub contents: Contents,
    /// The set, as a daemon would serve it.
    pub snapshot: Snapshot,
    /// Cases of its own that it passed.
    pub cases_passed: usize,
}

/// Packs the set of a configuration, once it is found sound as a start would find it.
///
/// # Errors
/// Every mistake in the set; what cannot be packed.
pub fn bundle(
    config: &Config,
    (serial, created): (u64, Option<String>),
    minimum_version: &str,
    now: Wall,
) -> Result<Bundled, Vec<Finding>> {
    let sources = Sources::read(config)?;
    let Prepared { snapshot, cases_passed, .. } = prepare(config, &sources, 1, Some(now))?;
    let mut files = BTreeMap::new();
    for Source { path, text } in sources.policies.iter().chain(&sources.cases) {
        let name = name_in_bundle(&config.policies, path).map_err(|wrong| vec![about(path, wrong)])?;
        files.insert(name, text.clone());
    }
    files.insert(AGENTS.to_owned(), sources.agents.text);
    files.insert(APIS.to_owned(), sources.apis.text);
    files.extend(sources.custom_schema.map(|source| (CUSTOM_SCHEMA.to_owned(), source.text)));
    let manifest = Manifest {
        format: FORMAT,
        serial,
        created,
        minimum_version: minimum_version.to_owned(),
        schema_sha256: snapshot.schema_digest.to_string(),
        files: Manifest::list(&files),
    };
    let contents = Contents { manifest, files };
    let archive = contents.pack().map_err(|wrong| vec![about(&config.policies, format!("as a bundle {wrong}"))])?;
    Ok(Bundled { archive, contents, snapshot, cases_passed })
}

fn name_in_bundle(folder: &Path, path: &Path) -> Result<String, String> {
    let below = path.strip_prefix(folder).map_err(|_| "is not in the folder of policies")?;
    let mut name = POLICIES.to_owned();
    for part in below.components() {
        let Component::Normal(part) = part else { return Err("has a path that no bundle can hold".to_owned()) };
        name.push('/');
        name.push_str(part.to_str().ok_or("has a name that is not UTF-8, and a bundle holds no other")?);
    }
    Ok(name)
}

/// The digest of the policies in a bundle, as decisions made under it are recorded with: that of the folder it was made
/// from.
#[must_use]
pub fn policy_digest(contents: &Contents) -> String {
    let of_policies = contents.files.iter().filter(|(name, _)| name.ends_with(".cedar"));
    let mut sources: Vec<Source> =
        of_policies.map(|(name, text)| Source { path: PathBuf::from(name), text: text.clone() }).collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    digest(Path::new(POLICIES), &sources)
}

/// The digest of this narrowgate's schema with what a bundle adds to it: what the bundle says, where it was made for this
/// narrowgate.
#[must_use]
pub fn schema_digest(contents: &Contents) -> String {
    schema::digest(&schema::schema_text(contents.files.get(CUSTOM_SCHEMA).map(String::as_str)))
}
