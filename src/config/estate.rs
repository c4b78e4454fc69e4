//! Who may call and what may be asked for: agents.toml and apis.toml together. They belong to the generation of policy,
//! and are swapped with it whole.

use super::{
    Catalog, Client, Config, CustomSchema, Finding, Issuer, Registry, ScopeHome, about, delegation,
    leniency::past_policy, operators::misplaced, reader::Document,
};
use crate::{
    model::{ClientAlias, Environment, IssuerAlias},
    platform::sandbox::Sandbox,
};
use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Who may call, and what may be asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Estate {
    /// The agents and the operators.
    pub registry: Registry,
    /// The APIs and the scopes.
    pub catalog: Catalog,
    /// What their custom attributes are, where they may have any.
    pub custom_schema: Option<CustomSchema>,
}

/// The texts that an estate is read from.
pub struct EstateTexts {
    /// The agents and operators.
    pub agents: String,
    /// The APIs and scopes.
    pub apis: String,
    /// The schema of custom attributes, if there is one.
    pub custom_schema: Option<String>,
}

/// Where an estate is read from.
#[derive(Debug, Clone)]
pub struct EstateFiles {
    /// The main file, which mistakes between files are told of.
    pub main: PathBuf,
    /// Whom the main file belongs to: besides the daemon's user and root, the one who may own what it names.
    pub owner: Option<u32>,
    /// The agents and operators.
    pub agents: PathBuf,
    /// The APIs and scopes.
    pub apis: PathBuf,
    /// The schema of custom attributes, where one is named. A bundle may have one.
    pub custom_schema: Option<PathBuf>,
    /// The folder that paths in them start from, where that is not their own: those of a bundle have none.
    pub base: Option<PathBuf>,
}

impl EstateFiles {
    pub(super) fn of(main: &Path, (agents, apis, custom_schema): (PathBuf, PathBuf, Option<PathBuf>)) -> Self {
        let owner = std::fs::metadata(main).ok().map(|meta| meta.uid());
        Self { main: main.to_owned(), owner, agents, apis, custom_schema, base: None }
    }
}

/// What of the main file refers to an estate, and what an estate refers to.
pub(super) struct Referring<'a> {
    pub(super) file: &'a Path,
    pub(super) apis: &'a Path,
    pub(super) clients: &'a BTreeMap<ClientAlias, Arc<Client>>,
    pub(super) issuers: &'a BTreeMap<IssuerAlias, Arc<Issuer>>,
    /// Whether an issuer has this alias, or may have: one that is mistaken elsewhere is told of there.
    pub(super) is_named: &'a dyn Fn(&IssuerAlias) -> bool,
    /// Where the daemon belongs, and whether operators are served.
    pub(super) administered: (Environment, bool),
}

impl Estate {
    /// Reads the agents and the APIs, and holds them against what refers to them.
    pub(super) fn read(
        [agents, apis]: [Result<Document, Finding>; 2],
        custom_schema: Option<Result<CustomSchema, Finding>>,
        referring: &Referring<'_>,
    ) -> (Self, Vec<Finding>) {
        let unread = |finding: Finding| vec![finding];
        let (registry, mut findings) =
            agents.map_or_else(|finding| (Registry::default(), unread(finding)), Registry::read);
        let registered = findings.is_empty();
        let (catalog, more) = apis.map_or_else(|finding| (Catalog::default(), unread(finding)), Catalog::read);
        let is_whole = more.is_empty();
        findings.extend(more);
        let Referring { file, apis, clients, issuers, .. } = *referring;
        findings.extend(dangling(apis, &catalog, referring.is_named));
        findings.extend(delegation::dangling(file, clients, issuers, (&registry, &catalog)));
        // Held against a catalogue that lacks what is mistaken in it, every switch would look wrong.
        let each = issuers.values().filter(|_| is_whole);
        findings.extend(each.flat_map(|issuer| past_policy(file, &issuer.alias, &issuer.accept, &catalog)));
        if registered {
            findings.extend(misplaced(file, &registry, referring.administered));
        }
        if custom_schema.is_none() {
            findings.extend(unknown_custom((&registry, &catalog), file));
        }
        let custom_schema = custom_schema.and_then(|read| read.map_err(|finding| findings.push(finding)).ok());
        (Self { registry, catalog, custom_schema }, findings)
    }

    /// Reads an estate anew, from these texts, for a daemon that runs with this configuration.
    ///
    /// # Errors
    /// Every mistake in them, and what of the configuration refers to nothing in them.
    pub fn reread(texts: EstateTexts, config: &Config) -> Result<Self, Vec<Finding>> {
        let (estate, mut findings) = Self::of_texts(texts, config);
        findings.extend(estate.hidden_programs(config));
        if findings.is_empty() { Ok(estate) } else { Err(findings) }
    }

    /// An estate of these texts, held against a configuration; and every mistake.
    pub(super) fn of_texts(texts: EstateTexts, config: &Config) -> (Self, Vec<Finding>) {
        let EstateTexts { agents, apis, custom_schema } = texts;
        let files = &config.estate_files;
        let referring = Referring {
            file: &files.main,
            apis: &files.apis,
            clients: &config.clients,
            issuers: &config.issuers,
            is_named: &|issuer| config.issuers.contains_key(issuer),
            administered: (config.environment, config.admin.is_some()),
        };
        let document = |path, text| Ok(Document::of(path, text).based_on(files.base.clone()));
        let custom_schema = files.custom_schema.clone().zip(custom_schema);
        let custom_schema = custom_schema.map(|(path, text)| Ok(CustomSchema { path, text }));
        Self::read([document(&files.agents, agents), document(&files.apis, apis)], custom_schema, &referring)
    }

    /// Agents whose programs the sandbox hides, which was closed when there were none ([`Config::places`]).
    fn hidden_programs(&self, config: &Config) -> Option<Finding> {
        let known = |estate: &Self| estate.registry.agents().any(|agent| agent.executable.is_some());
        let hidden = config.sandbox != Sandbox::Off && known(self) && !known(&config.estate);
        hidden.then(|| Finding {
            hint: Some("restart the daemon with this file, or leave `executable` out".to_owned()),
            ..about(
                &config.estate_files.agents,
                "an agent has an `executable`, and the sandbox of the running daemon hides the programs of others",
            )
        })
    }
}

/// Issuers that the catalogue names and nobody has configured.
fn dangling(file: &Path, catalog: &Catalog, is_named: &dyn Fn(&IssuerAlias) -> bool) -> Vec<Finding> {
    let unknown = catalog.apis.values().filter(|api| !is_named(&api.issuer));
    let unknown = unknown.map(|api| format!("api `{}` names no configured issuer: \"{}\"", api.alias, api.issuer));
    let capabilities = catalog.scopes.values().filter_map(|scope| match &scope.home {
        ScopeHome::Api(_) => None,
        ScopeHome::Issuers(issuers) => {
            let issuer = issuers.iter().find(|issuer| !is_named(issuer))?;
            Some(format!("scope `{}` names no configured issuer: \"{issuer}\"", scope.name))
        }
    });
    unknown.chain(capabilities).map(|wrong| about(file, wrong)).collect()
}

/// Custom attributes that nobody has said the types of.
fn unknown_custom((registry, catalog): (&Registry, &Catalog), main: &Path) -> Option<Finding> {
    let agent = registry.agents().find(|it| !it.custom.is_empty()).map(|it| format!("agent `{}`", it.id));
    let api = catalog.apis.values().find(|it| !it.custom.is_empty()).map(|it| format!("api `{}`", it.alias));
    let scope = catalog.scopes.values().find(|it| !it.custom.is_empty()).map(|it| format!("scope `{}`", it.name));
    agent.or(api).or(scope).map(|named| Finding {
        hint: Some(
            "add custom_schema = \"custom.cedarschema\" to [registry]; see the end of `narrowgate policy schema`"
                .to_owned(),
        ),
        ..about(main, format!("{named} has `custom`, and no schema says what may stand there"))
    })
}
