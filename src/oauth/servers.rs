//! The authorization servers of the configuration, ready to be talked to.

use super::{discovery, http, jose::jwks::KeySet, keys::Keys, tls};
use crate::{
    audit::Recorder,
    config::{Client, Config, Endpoints, Finding, Issuer, about},
    model::{Boot, ClientAlias, Fault, IssuerAlias, Reason},
    platform::{Clock, Work},
    transaction::Begun,
};
use rustls::ClientConfig;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::sync::{Mutex, Semaphore};
use url::Url;

/// Revocations waiting to be tried again.
const RETRIES_MAX: usize = 256;

/// Every issuer and client.
pub struct AuthorizationServers {
    servers: BTreeMap<IssuerAlias, Server>,
    mutual: BTreeMap<ClientAlias, Arc<ClientConfig>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) recorder: Recorder,
    pub(super) retries: Arc<Semaphore>,
    /// Revocations count as work, so that a stop waits for them.
    pub(super) work: Arc<Work>,
    pub(super) retry_base: Duration,
}

struct Server {
    issuer: Arc<Issuer>,
    /// Without a client certificate: metadata is fetched as anyone would.
    plain: Arc<ClientConfig>,
    keys: Arc<Keys>,
    /// What discovery found, and when. The lock makes concurrent calls share one fetch.
    found: Mutex<Option<(Arc<Endpoints>, Boot)>>,
}

impl AuthorizationServers {
    /// Makes TLS configurations for every issuer and client.
    ///
    /// # Errors
    /// Every certificate or key that cannot be used.
    pub fn new(
        config: &Config,
        file: &Path,
        clock: Arc<dyn Clock>,
        recorder: Recorder,
        work: Arc<Work>,
    ) -> Result<Arc<Self>, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut servers = BTreeMap::new();
        for (alias, issuer) in &config.issuers {
            match tls::client_config(&issuer.roots, None) {
                Ok(plain) => {
                    let (clock, recorder) = (Arc::clone(&clock), recorder.clone());
                    let keys = Arc::new(Keys::new(Arc::clone(issuer), Arc::clone(&plain), clock, recorder));
                    let found = Mutex::new(None);
                    servers.insert(alias.clone(), Server { issuer: Arc::clone(issuer), plain, keys, found });
                }
                Err(wrong) => findings.push(about(file, format!("issuer `{alias}`: {wrong}"))),
            }
        }
        let mut mutual = BTreeMap::new();
        for (alias, client) in &config.clients {
            let Some(issuer) = config.issuers.get(&client.issuer) else { continue };
            match tls::client_config(&issuer.roots, Some(&client.identity)) {
                Ok(tls) => {
                    mutual.insert(alias.clone(), tls);
                }
                Err(wrong) => findings.push(about(file, format!("client `{alias}`: {wrong}"))),
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let (retries, retry_base) = (Arc::new(Semaphore::new(RETRIES_MAX)), config.limits.revocation_retry);
        Ok(Arc::new(Self { servers, mutual, clock, recorder, retries, work, retry_base }))
    }

    /// The endpoints of an issuer: from the configuration, or discovered and believed for a while.
    ///
    /// # Errors
    /// [`Reason::IssuerUnknown`], or as discovery fails.
    pub async fn endpoints(&self, alias: &IssuerAlias) -> Result<Arc<Endpoints>, Fault> {
        let server = self.servers.get(alias).ok_or(Reason::IssuerUnknown)?;
        if let Some(fixed) = &server.issuer.endpoints {
            return Ok(Arc::new(fixed.clone()));
        }
        let mut found = server.found.lock().await;
        let now = self.clock.boot();
        if let Some((endpoints, _)) = found.as_ref().filter(|(_, at)| now < at.plus(server.issuer.metadata_ttl)) {
            return Ok(Arc::clone(endpoints));
        }
        let fetch = discovery::discover(&server.issuer, &server.plain);
        let fetched = tokio::time::timeout(server.issuer.deadline, fetch).await;
        let endpoints = Arc::new(fetched.map_err(|_| Fault::new(Reason::MetadataUnavailable))??);
        *found = Some((Arc::clone(&endpoints), now));
        Ok(endpoints)
    }

    /// Opens a connection to the token endpoint of a transaction: the one captured when it began. Nothing is sent. Where
    /// an ID token will come, the keys for it are at hand then, so that no code is spent on one that nobody can verify.
    ///
    /// # Errors
    /// [`Reason::AsUnreachable`], [`Reason::AsTlsUntrusted`], [`Reason::JwksUnavailable`].
    pub async fn connect(&self, begun: &Begun) -> Result<http::Line, Fault> {
        let opening = &begun.opening;
        let line = self.line(&opening.client, &opening.endpoints.token, opening.issuer.deadline);
        let (line, keys) = tokio::join!(line, self.keys(begun));
        let mut line = line?;
        line.keys = keys?;
        Ok(line)
    }

    /// The current keys of a transaction's issuer; `None` where no ID token is asked for.
    async fn keys(&self, begun: &Begun) -> Result<Option<Arc<KeySet>>, Fault> {
        if !begun.opening.scopes.asks_identity() {
            return Ok(None);
        }
        let (keys, url) = self.keys_of(begun).ok_or(Reason::JwksUnavailable)?;
        keys.current(url).await.map(Some)
    }

    /// The keys after a token named one that is not there, if they may be fetched again.
    pub(super) async fn sought_keys(&self, begun: &Begun) -> Option<Result<Arc<KeySet>, Fault>> {
        let (keys, url) = self.keys_of(begun)?;
        keys.sought(url).await
    }

    fn keys_of<'b>(&self, begun: &'b Begun) -> Option<(&Arc<Keys>, &'b str)> {
        let server = self.servers.get(&begun.opening.issuer.alias)?;
        Some((&server.keys, begun.opening.endpoints.jwks.as_deref()?))
    }

    pub(super) async fn line(&self, client: &Client, endpoint: &str, deadline: Duration) -> Result<http::Line, Fault> {
        let tls = self.mutual.get(&client.alias).ok_or(Reason::Internal)?;
        let url = Url::parse(endpoint).map_err(|_| Fault::new(Reason::Internal))?;
        let begun = self.clock.boot();
        let connected = tokio::time::timeout(deadline, http::connect(&url, tls)).await;
        let mut line = connected.map_err(|_| Fault::new(Reason::AsUnreachable))??;
        line.spent = self.clock.boot().since(begun);
        Ok(line)
    }
}
