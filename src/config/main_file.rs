//! `narrowgate.toml`.

use super::{
    AuditLog, Client, Config, CustomSchema, Estate, EstateFiles, Finding, Issuer, Keeping, Limits, TcpListener,
    UnixListener,
    assertion::unfit,
    bundle::{BundleOrigin, PolicyBundle, PolicyOrigin, bundled_estate, policy_origin},
    estate::Referring,
    grant_store::{GrantStore, grant_store},
    issuers::{client, issuer},
    keeping::keeping,
    named::Named,
    pem,
    reader::{Document, Table},
    registry::environment,
    reloading::{FETCH_EVERY, Reloading, reloading, shadow},
};
use crate::{
    model::{ClientAlias, Environment, IssuerAlias},
    platform::{
        bundle::{AGENTS, APIS, CUSTOM_SCHEMA, POLICIES},
        sandbox::Sandbox,
    },
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);

/// Reads the configuration and the files it names.
///
/// # Errors
/// Every mistake in any of them.
pub fn load(path: &Path) -> Result<Config, Vec<Finding>> {
    let document = Document::open(path).map_err(|finding| vec![finding])?;
    let files = document.files();
    let (draft, mut findings) = document.read(draft);
    let Some(draft) = draft else { return Err(findings) };
    let (policies, bundle) = match draft.policies {
        PolicyOrigin::Folder(folder) => (folder, None),
        PolicyOrigin::Bundle(origin, keys) => {
            let bundle = PolicyBundle::new(origin, keys, &draft.audit.directory, path);
            (bundle.place().join(POLICIES), Some(bundle))
        }
    };
    let estate_files = match (&bundle, draft.data) {
        (None, Some(data)) => EstateFiles::of(path, data),
        (bundle, _) => {
            let place = bundle.as_ref().map(PolicyBundle::place).unwrap_or_default();
            let base = path.parent().map(Path::to_owned);
            let [agents, apis, custom_schema] = [AGENTS, APIS, CUSTOM_SCHEMA].map(|name| place.join(name));
            EstateFiles { base, ..EstateFiles::of(path, (agents, apis, Some(custom_schema))) }
        }
    };
    let referring = Referring {
        file: path,
        apis: &estate_files.apis,
        clients: &draft.clients,
        issuers: &draft.issuers,
        is_named: &|issuer| draft.named.may_be(issuer),
        administered: (draft.environment, draft.admin.is_some()),
    };
    let estate = match &bundle {
        None => {
            let documents = [&estate_files.agents, &estate_files.apis].map(|file| Document::open(file));
            let custom_schema = estate_files.custom_schema.as_deref();
            let custom_schema = custom_schema.map(|file| CustomSchema::open(file, estate_files.owner));
            let (estate, more) = Estate::read(documents, custom_schema, &referring);
            findings.extend(more);
            estate
        }
        // Held against the rest below.
        Some(_) => Estate::default(),
    };
    if !findings.is_empty() {
        return Err(findings);
    }
    let mut config = Config {
        environment: draft.environment,
        unix: draft.unix,
        serves_people: draft.serves_people,
        tcp: draft.tcp,
        admin: draft.admin,
        metrics: draft.metrics,
        audit: draft.audit,
        policies,
        bundle,
        shadow: draft.shadow,
        reloading: draft.reloading,
        estate: Arc::new(estate),
        estate_files,
        issuers: draft.issuers,
        clients: draft.clients,
        limits: draft.limits,
        keeping: draft.keeping,
        grant_store: draft.grant_store,
        sandbox: draft.sandbox,
        files: files.take(),
    };
    if config.bundle.is_some() {
        config.estate = Arc::new(bundled_estate(&config));
    }
    let mut mixed_up = undefended(path, &config);
    mixed_up.extend(unfit(path, &config));
    if mixed_up.is_empty() { Ok(config) } else { Err(mixed_up) }
}

/// Clients whose answers could be taken for another issuer's: no `iss` by configuration, and a shared redirect URI.
fn undefended(path: &Path, config: &Config) -> Vec<Finding> {
    let silent = |client: &Client| {
        let endpoints = config.issuers.get(&client.issuer).and_then(|issuer| issuer.endpoints.as_ref());
        endpoints.is_some_and(|endpoints| !endpoints.iss_parameter)
    };
    let clients = config.clients.values().filter(|client| silent(client));
    clients
        .filter_map(|client| config.shares_redirect(client).map(|other| (client, other)))
        .map(|(client, other)| Finding {
            hint: Some("give each its own redirect URI (RFC 9700 \u{a7}4.4.2.2)".to_owned()),
            ..super::about(
                path,
                format!(
                    "clients `{}` and `{}` share a redirect URI, and issuer `{}` sends no iss",
                    client.alias, other.alias, client.issuer
                ),
            )
        })
        .collect()
}

/// The main file before the files it names are read.
struct Draft {
    environment: Environment,
    unix: Option<UnixListener>,
    serves_people: bool,
    tcp: Option<TcpListener>,
    admin: Option<UnixListener>,
    metrics: Option<UnixListener>,
    audit: AuditLog,
    policies: PolicyOrigin,
    shadow: Option<PathBuf>,
    reloading: Reloading,
    /// The agents, the APIs and what is custom of them, unless they are in a bundle.
    data: Option<(PathBuf, PathBuf, Option<PathBuf>)>,
    issuers: BTreeMap<IssuerAlias, Arc<Issuer>>,
    named: Named<IssuerAlias>,
    clients: BTreeMap<ClientAlias, Arc<Client>>,
    limits: Limits,
    keeping: Keeping,
    grant_store: Option<GrantStore>,
    sandbox: Sandbox,
}

fn draft(root: &Table<'_>) -> Option<Draft> {
    let declared = root.required("environment", environment);
    let daemon = declared.unwrap_or(Environment::Prod);
    let mut listens = false;
    let listeners = root.table("listen", |t| {
        listens = t.holds("unix") || t.holds("tcp");
        let unix = t.table("unix", |t| (unix_socket(t), t.optional("interactive", interactive)));
        (unix, t.table("tcp", tcp).flatten(), t.table("admin", unix_socket).flatten())
    });
    let (unix, tcp, admin) = listeners.unwrap_or_default();
    let (unix, serves_people) = unix.unwrap_or_default();
    if !listens {
        root.wrong("nothing to listen on", Some("add [listen.unix] with a path, or [listen.tcp] with certificates"));
    }
    let metrics = root.table("metrics", unix_socket).flatten();
    let sockets = [("metrics", &metrics), ("listen.unix", &unix), ("listen.admin", &admin)];
    let mut taken: BTreeMap<&Path, &str> = BTreeMap::new();
    for (name, socket) in sockets.into_iter().filter_map(|(name, socket)| Some((name, socket.as_ref()?))) {
        if let Some(other) = taken.insert(&socket.path, name) {
            root.wrong(format!("[{other}] and [{name}] have the same path"), Some("give each its own socket"));
        }
    }
    let audit = section(root, "audit", audit).flatten();
    let policies = section(root, "policy", |t| {
        let origin = policy_origin(t);
        let is_fetched = matches!(origin, Some(PolicyOrigin::Bundle(BundleOrigin::Url { .. }, _)));
        let active = if let Some(PolicyOrigin::Folder(folder)) = &origin { Some(folder) } else { None };
        let shadow = shadow(t, active);
        (origin, shadow, t.holds("bundle"), reloading(t, is_fetched.then_some(FETCH_EVERY)))
    });
    let is_bundled = policies.as_ref().is_some_and(|(.., is_bundled, _)| *is_bundled);
    let data = registry_files(root, is_bundled);
    let limits = root.table("limits", limits).unwrap_or_default();
    let (keeping, grant_store) = root.table("grants", |t| (keeping(t), grant_store(t))).unwrap_or_default();
    let sandbox = root.table("process", |t| t.optional("sandbox", sandbox)).flatten().unwrap_or_default();
    let (issuers, named) = issuers(root, daemon);
    let clients = clients(root, daemon, &named);
    let (policies, shadow, _, reloading) = policies?;
    Some(Draft {
        environment: declared?,
        unix,
        serves_people: serves_people.unwrap_or(daemon == Environment::Dev),
        tcp,
        admin,
        metrics,
        audit: audit?,
        policies: policies?,
        shadow,
        reloading,
        data: if is_bundled { None } else { Some(data?) },
        issuers,
        named,
        clients,
        limits,
        keeping,
        grant_store,
        sandbox,
    })
}

/// `[registry]`: the agents and the APIs. A bundle has its own.
fn registry_files(root: &Table<'_>, is_bundled: bool) -> Option<(PathBuf, PathBuf, Option<PathBuf>)> {
    let read = |t: &Table<'_>| {
        let (files, custom_schema) = (t.required_path("agents").zip(t.required_path("apis")), t.path("custom_schema"));
        files.map(|(agents, apis)| (agents, apis, custom_schema))
    };
    if !is_bundled {
        return section(root, "registry", read).flatten();
    }
    if root.table("registry", read).is_some() {
        root.wrong_at(
            "registry",
            "is in the bundle, with the policies",
            Some("take [registry] out, or [policy.bundle]"),
        );
    }
    None
}

fn section<'d, T>(root: &Table<'d>, key: &'static str, read: impl FnOnce(&Table<'d>) -> T) -> Option<T> {
    let value = root.table(key, read);
    if value.is_none() {
        root.absent(key, format!("[{key}] is missing"));
    }
    value
}

fn unix_socket(table: &Table<'_>) -> Option<UnixListener> {
    let path = table.required("path", |text| {
        if text.starts_with('@') || text.contains('\0') {
            return Err("is in the abstract namespace, where anyone can take its place".to_owned());
        }
        if !text.starts_with('/') {
            return Err("must be absolute".to_owned());
        }
        // sockaddr_un holds 108 bytes with the closing NUL.
        if text.len() > 107 { Err("is longer than 107 bytes".to_owned()) } else { Ok(PathBuf::from(text)) }
    });
    let mode = table.optional("mode", |text| match text {
        "0600" => Ok(0o600),
        "0660" => Ok(0o660),
        _ => Err("must be \"0600\" or \"0660\"".to_owned()),
    });
    let group = table.integer("gid", 0..=4_294_967_294).and_then(|g| u32::try_from(g).ok());
    if mode == Some(0o660) && !table.holds("gid") {
        table.wrong_at(
            "mode",
            "\"0660\" needs `gid`, the group that may connect: without it that would be whatever group the daemon has",
            Some("add gid = 1234, or write mode = \"0600\""),
        );
    }
    Some(UnixListener { path: path?, mode: mode.unwrap_or(0o600), group })
}

/// Whether people's login sessions are served.
fn interactive(word: &str) -> Result<bool, String> {
    match word {
        "allow" => Ok(true),
        "deny" => Ok(false),
        _ => Err("must be \"allow\" or \"deny\"".to_owned()),
    }
}

fn tcp(table: &Table<'_>) -> Option<TcpListener> {
    let address = table.required("address", |t| t.parse().map_err(|_| "must be an IP address and port".to_owned()));
    let identity = pem::identity(table);
    if ["certificate", "key", "trust_bundle", "trust_domain"].into_iter().all(|key| !table.holds(key)) {
        table.wrong(
            "TCP needs mutual TLS, on loopback too",
            Some("set certificate, key, trust_bundle and trust_domain"),
        );
    }
    let bundle = table.required_path("trust_bundle");
    let trust_bundle =
        bundle.and_then(|b| pem::authorities(&b).map_err(|w| table.wrong_at("trust_bundle", w, None)).ok());
    let trust_domain = table.required("trust_domain", |t| {
        crate::model::id::parse_spiffe_id(&format!("spiffe://{t}/x")).map(|_| t.to_owned()).map_err(str::to_owned)
    });
    let mut authorities = table.list("authorities", |t| Ok(t.to_ascii_lowercase()));
    authorities.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
    Some(TcpListener {
        address: address?,
        identity: identity?,
        trust_bundle: trust_bundle?,
        trust_domain: trust_domain?,
        authorities,
    })
}

fn audit(table: &Table<'_>) -> Option<AuditLog> {
    let directory = table.required_path("directory");
    let commit_timeout = table.span("commit_timeout", SECOND, SECOND / 100..=30 * SECOND);
    let outcome_hold = table.span("outcome_hold", 10 * SECOND, SECOND / 100..=60 * SECOND);
    Some(AuditLog { directory: directory?, commit_timeout, outcome_hold })
}

fn sandbox(word: &str) -> Result<Sandbox, String> {
    match word {
        "on" => Ok(Sandbox::On),
        "required" => Ok(Sandbox::Required),
        "off" => Ok(Sandbox::Off),
        _ => Err("must be \"on\", \"required\" or \"off\"".to_owned()),
    }
}

fn limits(table: &Table<'_>) -> Limits {
    let default = Limits::default();
    let count = |key, fallback: usize| {
        table.integer(key, 1..=1_000_000).and_then(|n| usize::try_from(n).ok()).unwrap_or(fallback)
    };
    let calls =
        |key, fallback: u32| table.integer(key, 1..=1_000_000).and_then(|n| u32::try_from(n).ok()).unwrap_or(fallback);
    Limits {
        transactions_per_agent: count("transactions_per_agent", default.transactions_per_agent),
        grants_per_agent: count("grants_per_agent", default.grants_per_agent),
        transaction_ttl: table.span("transaction_ttl", default.transaction_ttl, SECOND..=3600 * SECOND),
        code_hold: table.span("code_hold", default.code_hold, SECOND / 10..=60 * SECOND),
        replay_window: table.span("replay_window", default.replay_window, SECOND..=3600 * SECOND),
        call_deadline: table.span("call_deadline", default.call_deadline, SECOND / 10..=300 * SECOND),
        connection_age: table.span("connection_age", default.connection_age, SECOND / 10..=24 * 3600 * SECOND),
        keepalive: table.span("keepalive", default.keepalive, SECOND..=3600 * SECOND),
        calls_per_second: calls("calls_per_second", default.calls_per_second),
        calls_burst: calls("calls_burst", default.calls_burst),
        calls_in_flight: calls("calls_in_flight", default.calls_in_flight),
        streams_per_agent: calls("streams_per_agent", default.streams_per_agent),
        revocation_retry: table.span("revocation_retry", default.revocation_retry, SECOND / 100..=60 * SECOND),
    }
}

/// The issuers, and the aliases of all that were named: what refers to one that is wrong elsewhere is no mistake of its
/// own.
fn issuers(root: &Table<'_>, daemon: Environment) -> (BTreeMap<IssuerAlias, Arc<Issuer>>, Named<IssuerAlias>) {
    let mut issuers: BTreeMap<IssuerAlias, Arc<Issuer>> = BTreeMap::new();
    let mut named = Named::default();
    root.tables("issuer", |table| {
        named.add(table.optional("alias", |text| Ok(IssuerAlias::parse(text))).flatten());
        let issuer = issuer(table, daemon)?;
        if issuers.values().any(|other| other.url == issuer.url) {
            table.wrong_at("issuer", "is configured twice", None);
        }
        if let Some(other) = issuers.insert(issuer.alias.clone(), Arc::new(issuer)) {
            table.wrong_at("alias", format!("`{}` is used twice", other.alias), None);
        }
        Some(())
    });
    (issuers, named)
}

fn clients(root: &Table<'_>, daemon: Environment, named: &Named<IssuerAlias>) -> BTreeMap<ClientAlias, Arc<Client>> {
    let mut clients = BTreeMap::new();
    let mut written = false;
    root.tables("client", |table| {
        written = true;
        let client = client(table, daemon)?;
        if !named.may_be(&client.issuer) {
            table.wrong_at("issuer", format!("names no valid [[issuer]]: \"{}\"", client.issuer), None);
        }
        if let Some(other) = clients.insert(client.alias.clone(), Arc::new(client)) {
            let other: Arc<Client> = other;
            table.wrong_at("alias", format!("`{}` is used twice", other.alias), None);
        }
        Some(())
    });
    if clients.is_empty() && !written {
        root.wrong(
            "no [[client]] is configured",
            Some("register narrowgate at the authorization server and add its alias, client_id and certificate"),
        );
    }
    clients
}
