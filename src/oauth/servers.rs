//! The authorization servers of the configuration, ready to be talked to.

use super::{
    discovery, http,
    lane::{Lane, Passage, Place, Places, busy},
    names::Names,
    tls,
};
use crate::{
    audit::Recorder,
    config::{Client, Config, Endpoints, Finding, Issuer, about},
    model::{AgentId, Boot, ClientAlias, Fault, IssuerAlias, Reason},
    platform::{Clock, Work},
    transaction::Begun,
};
use rustls::ClientConfig;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use url::Url;

/// Revocations at one issuer waiting to be tried again.
const RETRIES_MAX: usize = 256;
/// Revocation requests to one issuer under way at once.
const REVOCATIONS_IN_FLIGHT: usize = 16;

/// Every issuer and client.
pub struct AuthorizationServers {
    servers: BTreeMap<IssuerAlias, Server>,
    mutual: BTreeMap<ClientAlias, Arc<ClientConfig>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) recorder: Recorder,
    /// Revocations count as work, so that a stop waits for them.
    pub(super) work: Arc<Work>,
    pub(super) retry_base: Duration,
}

struct Server {
    issuer: Arc<Issuer>,
    /// Without a client certificate: metadata is fetched as anyone would.
    plain: Arc<ClientConfig>,
    /// The way to its token endpoint.
    lane: Arc<Lane>,
    /// The way to its metadata.
    beginnings: Places,
    /// The way to its hosts' addresses.
    names: Names,
    retries: Arc<Semaphore>,
    revocations: Arc<Semaphore>,
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
                    // One slow issuer never has more than half of what an agent may have under way.
                    let per_agent = usize::try_from(config.limits.calls_in_flight / 2).unwrap_or(usize::MAX).max(1);
                    let server = Server {
                        issuer: Arc::clone(issuer),
                        plain,
                        lane: Lane::new(issuer, per_agent, &clock, &recorder),
                        beginnings: Places::new(per_agent, usize::MAX),
                        names: Names::new(),
                        retries: Arc::new(Semaphore::new(RETRIES_MAX)),
                        revocations: Arc::new(Semaphore::new(REVOCATIONS_IN_FLIGHT)),
                        found: Mutex::new(None),
                    };
                    servers.insert(alias.clone(), server);
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
        let retry_base = config.limits.revocation_retry;
        Ok(Arc::new(Self { servers, mutual, clock, recorder, work, retry_base }))
    }

    /// The endpoints of an issuer: from the configuration, or discovered and believed for a while.
    ///
    /// # Errors
    /// [`Reason::IssuerUnknown`], [`Reason::IssuerBusy`], or as discovery fails.
    pub async fn endpoints(&self, alias: &IssuerAlias, agent: &AgentId) -> Result<Arc<Endpoints>, Fault> {
        let _place = self.beginning(alias, agent)?;
        let server = self.servers.get(alias).ok_or(Reason::IssuerUnknown)?;
        if let Some(fixed) = &server.issuer.endpoints {
            return Ok(Arc::new(fixed.clone()));
        }
        let mut found = server.found.lock().await;
        let now = self.clock.boot();
        if let Some((endpoints, _)) = found.as_ref().filter(|(_, at)| now < at.plus(server.issuer.metadata_ttl)) {
            return Ok(Arc::clone(endpoints));
        }
        let fetch = discovery::discover(&server.issuer, &server.plain, &server.names);
        let fetched = tokio::time::timeout(server.issuer.deadline, fetch).await;
        let endpoints = Arc::new(fetched.map_err(|_| Fault::new(Reason::MetadataUnavailable))??);
        *found = Some((Arc::clone(&endpoints), now));
        Ok(endpoints)
    }

    /// A place for an agent that is about to begin at this issuer: waiting for its metadata is bounded as well.
    ///
    /// # Errors
    /// [`Reason::IssuerUnknown`], [`Reason::IssuerBusy`].
    fn beginning(&self, alias: &IssuerAlias, agent: &AgentId) -> Result<Place, Fault> {
        let server = self.servers.get(alias).ok_or(Reason::IssuerUnknown)?;
        server.beginnings.take(agent).ok_or_else(|| busy(&server.issuer))
    }

    /// Enters the lane to an issuer's token endpoint.
    ///
    /// # Errors
    /// [`Reason::IssuerUnknown`], [`Reason::IssuerBusy`], or [`Reason::AsUnreachable`] while the issuer is left alone.
    /// Nothing is spent, and the fault says when to try again.
    pub async fn enter(&self, alias: &IssuerAlias, agent: &AgentId) -> Result<Passage, Fault> {
        self.servers.get(alias).ok_or(Reason::IssuerUnknown)?.lane.enter(agent).await
    }

    /// Whether each issuer is left alone, for health.
    #[must_use]
    pub fn left_alone(&self) -> BTreeMap<IssuerAlias, watch::Receiver<bool>> {
        self.servers.iter().map(|(alias, server)| (alias.clone(), server.lane.follow())).collect()
    }

    /// Room for one more revocation at this issuer to be tried again later.
    pub(super) fn room_to_retry(&self, alias: &IssuerAlias) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.servers.get(alias)?.retries).try_acquire_owned().ok()
    }

    /// A turn for a revocation at this issuer.
    pub(super) async fn revocation_turn(&self, alias: &IssuerAlias) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.servers.get(alias)?.revocations).acquire_owned().await.ok()
    }

    /// Opens a connection to the token endpoint of a transaction: the one captured when it began. Nothing is sent.
    ///
    /// # Errors
    /// [`Reason::AsUnreachable`], [`Reason::AsTlsUntrusted`].
    pub async fn connect(&self, begun: &Begun, passage: Passage) -> Result<http::Line, Fault> {
        let opening = &begun.opening;
        let left = opening.issuer.deadline.saturating_sub(passage.taken());
        match self.line(&opening.client, &opening.endpoints.token, left).await {
            Ok(mut line) => {
                line.spent = passage.taken();
                line.passage = Some(passage);
                Ok(line)
            }
            Err(fault) => {
                passage.failed(fault.reason, None);
                Err(fault)
            }
        }
    }

    pub(super) async fn line(&self, client: &Client, endpoint: &str, deadline: Duration) -> Result<http::Line, Fault> {
        let tls = self.mutual.get(&client.alias).ok_or(Reason::Internal)?;
        let url = Url::parse(endpoint).map_err(|_| Fault::new(Reason::Internal))?;
        let names = &self.servers.get(&client.issuer).ok_or(Reason::IssuerUnknown)?.names;
        let begun = self.clock.boot();
        let connected = tokio::time::timeout(deadline, http::connect(&url, tls, names)).await;
        let mut line = connected.map_err(|_| Fault::new(Reason::AsUnreachable))??;
        line.spent = self.clock.boot().since(begun);
        Ok(line)
    }
}
