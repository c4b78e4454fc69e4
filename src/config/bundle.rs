//! `[policy.bundle]`: policies, agents and APIs from one signed archive in place of a folder and files.

use super::{Config, Estate, EstateTexts, pem, reader::Table, resource::plain_https};
use crate::platform::{
    bundle::{self, AGENTS, APIS, CUSTOM_SCHEMA, Contents, Signed},
    ed25519::{KEY_FILE_BYTES_MAX, VerifyingKey},
    files::{read_text, require_guarded},
};
use rustls::pki_types::CertificateDer;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use url::Url;

/// Keys that are pinned at a time: the one in use, the next, and a few of other teams.
const KEYS_MAX: usize = 16;

/// Where the bundle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleOrigin {
    /// In a file, its signature beside it.
    File(PathBuf),
    /// At an https URL, its signature at the same with `.sig` at the end of the path.
    Url {
        /// The bundle's.
        url: Url,
        /// Whose certificates its server may show.
        roots: Vec<CertificateDer<'static>>,
    },
}

/// A bundle, and whose signatures count.
#[derive(Debug, Clone)]
pub struct PolicyBundle {
    /// Where it is.
    pub origin: BundleOrigin,
    /// Who may have signed it.
    pub keys: Vec<VerifyingKey>,
    /// The folder in which the one that was taken last is kept: that of the audit log.
    pub state: PathBuf,
    /// Whom the main file belongs to, and so may the bundle.
    pub owner: Option<u32>,
    /// What was fetched from the URL before the start.
    fetched: Option<Arc<Signed>>,
}

/// A bundle that may be taken, with what is in it.
pub type OpenedBundle = (Arc<Signed>, Contents);

/// A file, and what is wrong with it.
pub type WrongBundle = (PathBuf, String);

/// What `[policy]` names.
pub(super) enum PolicyOrigin {
    Folder(PathBuf),
    Bundle(BundleOrigin, Vec<VerifyingKey>),
}

/// Reads `directory` or `bundle` of `[policy]`.
pub(super) fn policy_origin(table: &Table<'_>) -> Option<PolicyOrigin> {
    if !table.holds("bundle") {
        return table.required_path("directory").map(PolicyOrigin::Folder);
    }
    if table.holds("directory") {
        table.wrong_at("directory", "and [policy.bundle] exclude each other", Some("take one of them out"));
    }
    table.table("bundle", origin).flatten()
}

fn origin(table: &Table<'_>) -> Option<PolicyOrigin> {
    let mut keys: Vec<VerifyingKey> = Vec::new();
    let files = table.paths("public_keys");
    if table.is_bare("public_keys") || files.len() > KEYS_MAX {
        let hint =
            "add public_keys = [\"policy-signing.pem\"]: openssl pkey -in signing.key -pubout -out policy-signing.pem";
        table.wrong_at("public_keys", format!("must name 1 to {KEYS_MAX} files of public keys"), Some(hint));
    }
    for path in files {
        let text = read_text(&path, KEY_FILE_BYTES_MAX).map_err(|e| format!("cannot be read: {e}"));
        let key = require_guarded(&path).and(text).and_then(|text| VerifyingKey::parse(&text));
        match key {
            Ok(key) if keys.contains(&key) => {
                table.wrong_at("public_keys", format!("names key {} twice", key.id()), None);
            }
            Ok(key) => keys.push(key),
            Err(wrong) => table.wrong_at("public_keys", format!("{} {wrong}", path.display()), None),
        }
    }
    let file = table.path("file");
    let url = table.optional("url", |text| match plain_https(text) {
        Some(url) if !url.path().ends_with('/') => Ok(url),
        _ => Err("must be an https URL of a file, without userinfo or fragment".to_owned()),
    });
    let ca = table.path("ca");
    let roots = ca.and_then(|ca| pem::authorities(&ca).map_err(|wrong| table.wrong_at("ca", wrong, None)).ok());
    let origin = match (table.holds("file"), table.holds("url")) {
        (true, false) => {
            if table.holds("ca") {
                table.wrong_at("ca", "is of no use for a file", Some("it is for `url`"));
            }
            BundleOrigin::File(file?)
        }
        (false, true) => {
            if !table.holds("ca") {
                table.wrong_at(
                    "url",
                    "needs `ca`, whose certificates its server may show",
                    Some("add ca = \"bundles-ca.pem\""),
                );
            }
            BundleOrigin::Url { url: url?, roots: roots? }
        }
        _ => {
            table.wrong(
                "needs either `file` or `url`",
                Some("add file = \"policies.tar.gz\", with policies.tar.gz.sig beside it"),
            );
            return None;
        }
    };
    Some(PolicyOrigin::Bundle(origin, keys))
}

impl PolicyBundle {
    pub(super) fn new(origin: BundleOrigin, keys: Vec<VerifyingKey>, state: &Path, main: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let owner = std::fs::metadata(main).ok().map(|meta| meta.uid());
        Self { origin, keys, state: state.to_owned(), owner, fetched: None }
    }

    /// What mistakes in it are told of: its file or URL, as if it were a folder of its files.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        match &self.origin {
            BundleOrigin::File(path) => path.clone(),
            BundleOrigin::Url { url, .. } => PathBuf::from(url.as_str()),
        }
    }

    /// What was fetched from the URL before the start.
    #[must_use]
    pub const fn fetched(&self) -> Option<&Arc<Signed>> {
        self.fetched.as_ref()
    }

    /// The bundle that is there now: in its file; or what was fetched before the start, or else what is kept.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn read(&self) -> Result<OpenedBundle, WrongBundle> {
        let signed = match (&self.origin, &self.fetched) {
            (BundleOrigin::File(path), _) => Arc::new(Signed::read(path, self.owner)?),
            (BundleOrigin::Url { .. }, Some(fetched)) => Arc::clone(fetched),
            (BundleOrigin::Url { .. }, None) => {
                let none = || (self.place(), "was not fetched yet, and none of before is kept".to_owned());
                return self.kept()?.ok_or_else(none);
            }
        };
        let contents = self.open(&signed)?;
        Ok((signed, contents))
    }

    /// Whether the files are an archive and a signature that do not belong together: one of them may be on its way.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        let BundleOrigin::File(path) = &self.origin else { return false };
        Signed::read(path, self.owner).is_ok_and(|it| it.signature.require_for(&it.archive).is_err())
    }

    /// Whether a newer bundle than this one was taken.
    #[must_use]
    pub fn is_over(&self, signature: &bundle::Signature) -> bool {
        bundle::latest(&self.state).ok().flatten().is_some_and(|latest| signature.serial < latest.serial)
    }

    /// Opens a bundle as one that may be taken.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn open(&self, signed: &Signed) -> Result<Contents, WrongBundle> {
        let latest = bundle::latest(&self.state).map_err(|wrong| (bundle::kept_in(&self.state), wrong))?;
        signed.open(&self.keys, latest.as_ref()).map_err(|wrong| (self.place(), wrong))
    }

    /// The bundle that was taken last, if there was one. It is verified as any other.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn kept(&self) -> Result<Option<OpenedBundle>, WrongBundle> {
        let told = |wrong| (bundle::kept_in(&self.state), wrong);
        let Some(signed) = bundle::load(&self.state).map_err(told)? else { return Ok(None) };
        let contents = signed.open(&self.keys, None).map_err(told)?;
        Ok(Some((Arc::new(signed), contents)))
    }
}

impl Config {
    /// With what was fetched from the bundle's URL before the start.
    #[must_use]
    pub fn with_fetched(mut self, signed: Signed) -> Self {
        if let Some(bundle) = &mut self.bundle {
            bundle.fetched = Some(Arc::new(signed));
            self.estate = Arc::new(bundled_estate(&self));
        }
        self
    }
}

/// The agents and APIs that a daemon starts with: the bundle's, or those of the one that was taken last; none, and then
/// nothing is served until there is a bundle. What is wrong is told where the whole set is read.
pub(super) fn bundled_estate(config: &Config) -> Estate {
    let Some(bundle) = &config.bundle else { return Estate::default() };
    let of = |contents: Contents| {
        let text = |name| contents.files.get(name).cloned();
        let texts = EstateTexts { agents: text(AGENTS)?, apis: text(APIS)?, custom_schema: text(CUSTOM_SCHEMA) };
        let (estate, findings) = Estate::of_texts(texts, config);
        findings.is_empty().then_some(estate)
    };
    let now = bundle.read().ok().and_then(|(_, contents)| of(contents));
    let kept = || bundle.kept().ok().flatten().and_then(|(_, contents)| of(contents));
    now.or_else(kept).unwrap_or_default()
}
