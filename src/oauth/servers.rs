//! The authorization servers of the configuration, ready to be talked to.

use super::{
    believed::Believed,
    capabilities::judge,
    discovery, http,
    jose::jwks::KeySet,
    keys::Keys,
    lane::{Passage, Ways},
    rejected::{Cause, rejected},
    tls::Tls,
};
use crate::{
    audit::{Code, Event, Recorder, Severity},
    config::{Client, Config, Contract, Endpoints, Finding, Issuer},
    model::{AgentId, Boot, ClientAlias, Fault, IssuerAlias, Reason, fault::Detection},
    platform::{Clock, Entropy, Work, trace},
    transaction::Begun,
};
use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use url::Url;

/// The longest wait for newer metadata while the last good document may stand in: callers' deadlines can be short.
const NEWS_WAIT: Duration = Duration::from_millis(500);

/// Every issuer and client.
pub struct AuthorizationServers {
    servers: BTreeMap<IssuerAlias, Arc<Server>>,
    mutual: BTreeMap<ClientAlias, Arc<ClientConfig>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) recorder: Recorder,
    /// Revocations count as work, so that a stop waits for them.
    pub(super) work: Arc<Work>,
    pub(super) retry_base: Duration,
}

struct Server {
    issuer: Arc<Issuer>,
    /// Without a client certificate: metadata is fetched as anyone would.
    plain: Arc<ClientConfig>,
    keys: Arc<Keys>,
    /// What requests to it may use up.
    ways: Ways,
    /// How our clients authenticate there.
    methods: BTreeSet<&'static str>,
    /// What discovery found. The lock makes concurrent calls share one fetch.
    found: Arc<Mutex<Believed>>,
    /// The endpoints last found and until when they may stand in, for those who must not wait.
    known: ArcSwapOption<(Arc<Endpoints>, Boot)>,
    /// Why the latest document could not be had or used, for those who must not wait.
    trouble: ArcSwapOption<Reason>,
}

impl AuthorizationServers {
    /// Makes TLS configurations for every issuer and client.
    ///
    /// # Errors
    /// Every certificate or key that cannot be used.
    pub fn new(
        config: &Config,
        file: &Path,
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
        recorder: Recorder,
        work: Arc<Work>,
    ) -> Result<Arc<Self>, Vec<Finding>> {
        let Tls { plain, mutual } = Tls::of(config, file)?;
        let mut servers = BTreeMap::new();
        for (issuer, plain) in config.issuers.values().zip(plain) {
            let ours = config.clients.values().filter(|client| client.issuer == issuer.alias);
            let methods = ours.map(|client| client.auth.as_str()).collect();
            let (found, known, trouble) = (Arc::default(), ArcSwapOption::empty(), ArcSwapOption::empty());
            let issuer = Arc::clone(issuer);
            let (to_clock, to_log) = (Arc::clone(&clock), recorder.clone());
            let ways = Ways::new(&issuer, &config.limits, &clock, &recorder);
            let names = ways.names.clone();
            let (of, roots, to_work) = (Arc::clone(&issuer), Arc::clone(&plain), Arc::clone(&work));
            let keys = Arc::new(Keys::new(of, roots, names, to_clock, to_log, to_work));
            let alias = issuer.alias.clone();
            let server = Server { issuer, plain, ways, keys, methods, found, known, trouble };
            servers.insert(alias, Arc::new(server));
        }
        let retry_base = config.limits.revocation_retry;
        Ok(Arc::new(Self { servers, mutual, clock, entropy, recorder, work, retry_base }))
    }

    /// The certificates and keys that [`Self::new`] would refuse.
    #[must_use]
    pub fn refused(config: &Config, file: &Path) -> Vec<Finding> {
        Tls::of(config, file).err().unwrap_or_default()
    }

    /// The endpoints of an issuer as they are for one of its clients: from the configuration, or discovered and
    /// believed for a while. When news is slow
    /// to come, the last good document is the answer while it may be.
    ///
    /// # Errors
    /// [`Reason::IssuerUnknown`], [`Reason::IssuerBusy`] if too many calls of the agent wait for it already, or as
    /// discovery fails.
    pub async fn endpoints(self: &Arc<Self>, client: &Client, agent: &AgentId) -> Result<Arc<Endpoints>, Fault> {
        let endpoints = self.all_endpoints(&client.issuer, agent).await?;
        endpoints.of(client).ok_or_else(|| {
            tracing::error!(client = %client.alias, "it has no certificate, and its issuer's token_endpoint beside the aliases for mutual TLS is missing or on a host or port that is not allowed");
            Fault::new(Reason::MetadataRejected).with("issuer", client.issuer.as_str()).with("field", "token_endpoint")
        })
    }

    pub(super) async fn all_endpoints(
        self: &Arc<Self>,
        alias: &IssuerAlias,
        agent: &AgentId,
    ) -> Result<Arc<Endpoints>, Fault> {
        let server = self.servers.get(alias).ok_or(Reason::IssuerUnknown)?;
        if let Some(fixed) = &server.issuer.endpoints {
            return Ok(Arc::new(fixed.clone()));
        }
        let _place = server.ways.beginning(agent)?;
        let news = self.news(server);
        let known = server.known.load_full();
        let Some(known) = known.filter(|known| self.clock.boot().plus(NEWS_WAIT) < known.1) else { return news.await };
        tokio::time::timeout(NEWS_WAIT, news).await.unwrap_or_else(|_| {
            tracing::warn!(issuer = %alias, "the metadata is slow to come: the last good document is used");
            Ok(Arc::clone(&known.0))
        })
    }

    /// What is believed, fetched first where that is due. The fetch lives on when its caller goes: however short the
    /// callers' deadlines are, one of them learns how it ended.
    async fn news(self: &Arc<Self>, server: &Arc<Server>) -> Result<Arc<Endpoints>, Fault> {
        let asked = self.clock.boot();
        let found = Arc::clone(&server.found).lock_owned().await;
        if let Some(answer) = found.answer(&server.issuer, asked, self.clock.boot()) {
            return answer;
        }
        let (this, server, underway) = (Arc::clone(self), Arc::clone(server), self.work.enter_always());
        let fetching = trace::spawn(async move {
            let answer = this.fetch(&server, found).await;
            drop(underway);
            answer
        });
        fetching.await.unwrap_or_else(|_| Err(Reason::Internal.into()))
    }

    /// Fetches and judges. The guard is the turn.
    async fn fetch(&self, server: &Server, mut found: OwnedMutexGuard<Believed>) -> Result<Arc<Endpoints>, Fault> {
        let issuer = &server.issuer;
        let fetch = discovery::discover(issuer, &server.plain, &server.ways.names);
        let fetched = tokio::time::timeout(issuer.deadline, fetch).await;
        let fetched = fetched.unwrap_or_else(|_| Err(Reason::MetadataUnavailable.into()));
        let usable = fetched.and_then(|document| {
            let judged = judge(issuer, &server.methods, found.capabilities(), document);
            if found.is_news(&judged.weakened) {
                self.report_downgrade(issuer, &judged.weakened);
            }
            judged.usable
        });
        server.trouble.store(usable.as_ref().err().map(|fault| Arc::new(fault.reason)));
        let now = self.clock.boot();
        match usable {
            Ok((endpoints, capabilities)) => {
                let endpoints = found.believe(endpoints, capabilities, now);
                let until = now.plus(issuer.metadata_ttl).plus(issuer.metadata_stale);
                server.known.store(Some(Arc::new((Arc::clone(&endpoints), until))));
                Ok(endpoints)
            }
            Err(fault) => found.fail(issuer, fault, now),
        }
    }

    /// The issuers whose metadata could not be had or used when it was last asked for, and why.
    pub fn not_renewed(&self) -> Vec<(IssuerAlias, Reason)> {
        let trouble = self.servers.iter().map(|(alias, server)| (alias, server.trouble.load_full()));
        trouble.filter_map(|(alias, reason)| reason.map(|reason| (alias.clone(), *reason))).collect()
    }

    /// Tells the SOC that a document promises less than the one before it. What was promised stays demanded.
    fn report_downgrade(&self, issuer: &Issuer, weakened: &[&'static str]) {
        let members = weakened.join(" ");
        tracing::error!(issuer = %issuer.alias, members, "METADATA_DOWNGRADE: the metadata promises less than before");
        let mut event = Event::new(Code::Detected(Detection::MetadataDowngrade), "Discovery");
        event.severity = Severity::High;
        self.recorder.report(event.with("issuer", issuer.alias.as_str()).with("members", members));
    }

    /// Whether the token endpoint is still where it was when the transaction began, as far as is known. The code goes
    /// to the endpoint captured then or nowhere: a server that has moved in between may not be the one that issued it.
    fn still_there(&self, begun: &Begun) -> Result<(), Fault> {
        let opening = &begun.opening;
        let server = self.servers.get(&opening.issuer.alias).ok_or(Reason::IssuerUnknown)?;
        let Some(known) = server.known.load_full() else { return Ok(()) };
        let origin = |endpoint: &str| Url::parse(endpoint).ok().map(|url| url.origin());
        // Where it can be had no more it has moved.
        let known = known.0.of(&opening.client).map(|endpoints| origin(&endpoints.token));
        if known == Some(origin(&opening.endpoints.token)) {
            return Ok(());
        }
        Err(Fault::new(Reason::IssuerEndpointChanged).with("issuer", opening.issuer.alias.as_str()))
    }

    /// Enters the lane to an issuer's token endpoint.
    ///
    /// # Errors
    /// [`Reason::IssuerUnknown`], [`Reason::IssuerBusy`], or [`Reason::AsUnreachable`] while the issuer is left alone.
    /// Nothing is spent, and the fault says when to try again.
    pub async fn enter(&self, alias: &IssuerAlias, agent: &AgentId) -> Result<Passage, Fault> {
        self.ways(alias)?.lane.enter(agent).await
    }

    /// What requests to an issuer may use up.
    pub(super) fn ways(&self, alias: &IssuerAlias) -> Result<&Ways, Fault> {
        Ok(&self.servers.get(alias).ok_or(Reason::IssuerUnknown)?.ways)
    }

    /// Whether each issuer is left alone, for health.
    #[must_use]
    pub fn left_alone(&self) -> BTreeMap<IssuerAlias, watch::Receiver<bool>> {
        self.servers.iter().map(|(alias, server)| (alias.clone(), server.ways.lane.follow())).collect()
    }

    /// Opens a connection to the token endpoint of a transaction: the one captured when it began. Nothing is sent. Where
    /// an ID token will come, the keys for it are at hand then, so that no code is spent on one that nobody can verify.
    ///
    /// # Errors
    /// [`Reason::AsUnreachable`], [`Reason::AsTlsUntrusted`], [`Reason::IssuerEndpointChanged`],
    /// [`Reason::JwksUnavailable`].
    pub async fn connect(&self, begun: &Begun, passage: Passage) -> Result<http::Line, Fault> {
        let (line, keys) = tokio::join!(self.token_line(begun, passage), self.keys(begun));
        let mut line = line?;
        line.keys = keys?;
        Ok(line)
    }

    /// Opens a connection to the token endpoint that a transaction captured, through the issuer's lane.
    pub(super) async fn token_line(&self, begun: &Begun, passage: Passage) -> Result<http::Line, Fault> {
        self.still_there(begun)?;
        self.can_authenticate(&begun.opening)?;
        let (opening, waited) = (&begun.opening, passage.taken());
        let left = opening.issuer.deadline.saturating_sub(waited);
        let mut line = match self.line(&opening.client, &opening.endpoints.token, left).await {
            Ok(line) => line,
            Err(fault) => {
                if matches!(fault.reason, Reason::AsUnreachable | Reason::AsTlsUntrusted) {
                    passage.failed(fault.reason, None);
                }
                return Err(fault);
            }
        };
        line.spent = line.spent.saturating_add(waited);
        line.passage = Some(passage);
        Ok(line)
    }

    /// The current keys of a transaction's issuer; `None` where nothing of its answers will be verified.
    pub(super) async fn keys(&self, begun: &Begun) -> Result<Option<Arc<KeySet>>, Fault> {
        let by_contract = begun.opening.issuer.access_tokens.contract == Contract::Jwt;
        if !by_contract && !begun.opening.scopes.asks_identity() {
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

    /// The current keys of any issuer, which are published at this URL.
    pub(super) async fn keys_at(&self, alias: &IssuerAlias, url: &str) -> Result<Arc<KeySet>, Fault> {
        self.servers.get(alias).ok_or(Reason::IssuerUnknown)?.keys.current(url).await
    }

    /// The same after a token named a key that is not there, if they may be fetched again.
    pub(super) async fn sought_at(&self, alias: &IssuerAlias, url: &str) -> Option<Result<Arc<KeySet>, Fault>> {
        self.servers.get(alias)?.keys.sought(url).await
    }

    fn keys_of<'b>(&self, begun: &'b Begun) -> Option<(&Arc<Keys>, &'b str)> {
        let server = self.servers.get(&begun.opening.issuer.alias)?;
        Some((&server.keys, begun.opening.endpoints.jwks.as_deref()?))
    }

    pub(super) async fn line(&self, client: &Client, endpoint: &str, deadline: Duration) -> Result<http::Line, Fault> {
        let tls = self.mutual.get(&client.alias).ok_or(Reason::Internal)?;
        let url = Url::parse(endpoint).map_err(|_| Fault::new(Reason::Internal))?;
        let Server { issuer, ways, .. } = &**self.servers.get(&client.issuer).ok_or(Reason::Internal)?;
        let reach = issuer.allowed_hosts.reach(&url);
        let reach = reach.map_err(|why| rejected(&issuer.alias, "endpoint", &Cause::NotAllowed(why)))?;
        let begun = self.clock.boot();
        let connected = tokio::time::timeout(deadline, http::connect(&url, tls, reach, &ways.names)).await;
        let mut line = connected.map_err(|_| Fault::new(Reason::AsUnreachable))??;
        line.spent = self.clock.boot().since(begun);
        Ok(line)
    }
}
