//! The files' shape turned into a checked [`Config`]; every mistake at once, with file, line and hint.
//!
//! Invariant: a `Config` that exists is consistent. Nothing later looks at a file's text again.

mod access_token;
mod approvers;
mod assertion;
mod authorization_details;
mod binding;
mod bundle;
mod catalog;
mod client_auth;
mod custom;
mod delegation;
mod distinguished_name;
mod estate;
mod findings;
mod grant_store;
mod hosts;
mod id_token;
mod issuers;
mod keeping;
mod leniency;
mod main_file;
mod named;
mod operators;
mod par;
mod pem;
mod published;
mod reader;
mod registry;
mod reloading;
mod request_object;
mod resource;
mod share;
mod signing;

pub use access_token::{AccessTokens, Contract};
pub use approvers::{Approver, Approvers};
pub(crate) use assertion::AssertionKeyPair;
pub use assertion::{AssertionKey, ClientAssertions};
pub use bundle::{BundleOrigin, OpenedBundle, PolicyBundle, WrongBundle};
pub use catalog::{Api, Catalog, DeclaredScope, ScopeHome};
pub use client_auth::{ClientAuth, SubjectValue};
pub use custom::CustomSchema;
pub(crate) use custom::{CUSTOM_DEPTH_MAX, CUSTOM_SCHEMA_BYTES_MAX, custom};
pub use delegation::{Delegations, Subjects, TokenExchange};
pub use estate::{Estate, EstateFiles, EstateTexts};
pub use findings::{Finding, about, nearest, position};
pub use grant_store::GrantStore;
pub(crate) use hosts::repeats_ours;
pub use hosts::{AllowedHosts, NotAllowed, Reach};
pub(crate) use id_token::CLOCK_SKEW_MAX;
pub use id_token::IdTokens;
pub(crate) use issuers::https;
pub use issuers::{Client, Endpoints, Issuer, WithoutCertificate};
pub use keeping::{Keeping, Narrowing};
pub use leniency::{Accept, Profile};
pub use main_file::load;
pub use operators::Operators;
pub use par::ParUse;
pub(crate) use pem::certificates;
pub use pem::{CertificateAndKey, Mistake as PemMistake, thumbprint};
pub(crate) use reader::FILE_BYTES_MAX;
pub use reader::{Document, Table};
pub use registry::Registry;
pub use reloading::Reloading;
pub(crate) use resource::plain_https;
pub use share::Share;
pub use signing::SigningKey;

use crate::{
    model::{ClientAlias, Environment, IssuerAlias, PinnedRedirect},
    platform::sandbox::{Places, Sandbox},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Everything the daemon was told.
#[derive(Debug)]
pub struct Config {
    /// Where this daemon belongs.
    pub environment: Environment,
    /// The Unix socket, if agents may come by it.
    pub unix: Option<UnixListener>,
    /// Whether people's login sessions are served on the Unix socket like any other caller.
    pub serves_people: bool,
    /// The mutual TLS listener, if agents may come by it.
    pub tcp: Option<TcpListener>,
    /// The operators' Unix socket, if the daemon is administered by one.
    pub admin: Option<UnixListener>,
    /// The socket on which the daemon's numbers are read, if they are.
    pub metrics: Option<UnixListener>,
    /// The audit log.
    pub audit: AuditLog,
    /// The folder of Cedar policies, on disk or in the bundle.
    pub policies: PathBuf,
    /// The signed bundle that policies, agents and APIs are in, where they are in one.
    pub bundle: Option<PolicyBundle>,
    /// The folder of policies that are compared with them and decide nothing, if there is one.
    pub shadow: Option<PathBuf>,
    /// How policies, agents and APIs are taken anew.
    pub reloading: Reloading,
    /// Who may call and what may be asked for, as it was at the start: a reload brings another
    /// ([`crate::policy::Policies::estate`]).
    pub estate: Arc<Estate>,
    /// Where that is read from.
    pub estate_files: EstateFiles,
    /// The authorization servers we trust.
    pub issuers: BTreeMap<IssuerAlias, Arc<Issuer>>,
    /// Our registrations at them.
    pub clients: BTreeMap<ClientAlias, Arc<Client>>,
    /// Bounds.
    pub limits: Limits,
    /// How long grants are kept.
    pub keeping: Keeping,
    /// The file they are kept in; `None`: they end with the process.
    pub grant_store: Option<GrantStore>,
    /// How much the process takes away from itself.
    pub sandbox: Sandbox,
    /// Every file and folder that the main file names.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Where the daemon uses files, the main file included.
    #[must_use]
    pub fn places(&self, file: &Path) -> Places {
        let sockets = self.unix.iter().chain(&self.metrics).chain(&self.admin).map(|socket| socket.path.clone());
        let grants = self.grant_store.iter().map(|store| store.file.clone());
        Places {
            read: self.files.iter().cloned().chain([file.to_owned()]).collect(),
            // The folder above the log's; those of the sockets are made by the daemon if they are missing.
            write: [self.audit.directory.clone()].into_iter().chain(grants).chain(sockets).collect(),
            sees_peers: self.estate.registry.agents().any(|agent| agent.executable.is_some()),
        }
    }

    /// A client of another issuer that shares a redirect URI with this one. Without `iss` in the answer nothing would
    /// tell apart whose code came back (RFC 9700 §4.4.2.2).
    #[must_use]
    pub fn shares_redirect(&self, client: &Client) -> Option<&Arc<Client>> {
        let others = self.clients.values().filter(|other| other.issuer != client.issuer);
        let overlap =
            |a: &PinnedRedirect, b: &PinnedRedirect| a.admit(b.as_str()).is_some() || b.admit(a.as_str()).is_some();
        others.into_iter().find(|other| other.redirects.iter().any(|a| client.redirects.iter().any(|b| overlap(a, b))))
    }
}

/// A Unix socket.
#[derive(Debug, Clone)]
pub struct UnixListener {
    /// Its path.
    pub path: PathBuf,
    /// Its mode: 0600, or 0660 with a group.
    pub mode: u32,
    /// The group that owns it.
    pub group: Option<u32>,
}

/// The agents' mutual TLS listener.
#[derive(Debug)]
pub struct TcpListener {
    /// Its address.
    pub address: SocketAddr,
    /// The daemon's own certificate and key.
    pub identity: CertificateAndKey,
    /// The trust bundle of the agents' trust domain.
    pub trust_bundle: Vec<rustls::pki_types::CertificateDer<'static>>,
    /// The agents' trust domain.
    pub trust_domain: String,
    /// Host names accepted in `:authority`.
    pub authorities: Vec<String>,
}

/// Where and how the audit log is kept.
#[derive(Debug, Clone)]
pub struct AuditLog {
    /// Its folder.
    pub directory: PathBuf,
    /// How long a decision may wait to become durable.
    pub commit_timeout: Duration,
    /// How long an issued token may wait for its record before it is revoked and dropped.
    pub outcome_hold: Duration,
}

/// Bounds on what one agent, one call and one answer may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open transactions per agent.
    pub transactions_per_agent: usize,
    /// Grants per agent.
    pub grants_per_agent: usize,
    /// How long a transaction lives.
    pub transaction_ttl: Duration,
    /// How long a code may be held from receipt to the authorization server.
    pub code_hold: Duration,
    /// How long a redeemed code is remembered, and a lost reply can be asked for again.
    pub replay_window: Duration,
    /// The longest a call may take.
    pub call_deadline: Duration,
    /// How long a connection of an agent may live before it is asked to come anew.
    pub connection_age: Duration,
    /// How often a silent peer of a connection is pinged. One that does not answer is gone.
    pub keepalive: Duration,
    /// Calls a second of one agent.
    pub calls_per_second: u32,
    /// Calls of one agent that may come at once after a pause.
    pub calls_burst: u32,
    /// Calls of one agent under way.
    pub calls_in_flight: u32,
    /// Streams of one agent: tokens it watches.
    pub streams_per_agent: u32,
    /// How long until a failed revocation is tried again; it doubles each time.
    pub revocation_retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions_per_agent: 32,
            grants_per_agent: 256,
            transaction_ttl: Duration::from_secs(600),
            code_hold: Duration::from_secs(60),
            replay_window: Duration::from_secs(600),
            call_deadline: Duration::from_secs(30),
            connection_age: Duration::from_secs(3600),
            keepalive: Duration::from_secs(60),
            calls_per_second: 1000,
            calls_burst: 2000,
            calls_in_flight: 128,
            streams_per_agent: 256,
            revocation_retry: Duration::from_secs(1),
        }
    }
}
