//! What an API says of itself (RFC 9728), as far as that is asked for and may be believed.
//!
//! What this protects: the document comes from the API's own server, under trust roots that the catalogue names for it,
//! and from nowhere else; it is asked for without certificate, cookie or credential, and at well-known places alone, so
//! that no agent can have us request anything else there. It adds no trust: it chooses among issuers of the
//! configuration. The host is written in the catalogue, so its addresses may be private (decisions 19), as an issuer's
//! own may. `signed_metadata` (§2.2) is not read: it would be signed by a key of the same server.

use super::{
    demand::{RequestedUrl, URL_BYTES_MAX},
    http::{self, Broken},
    lane::Places,
    names::Names,
    strict_json,
    tls::client_config,
};
use crate::{
    config::{Api, Config, Finding, Reach, about, plain_https},
    model::{AgentId, AgentQuota, ApiAlias, Boot, Fault, Reason},
    platform::Clock,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use rustls::ClientConfig;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Mutex as Turn;
use url::Url;

/// Bytes of a document.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Nesting of a document.
const DOCUMENT_DEPTH_MAX: usize = 32;
/// Issuers or scopes that a document lists.
const LIST_MAX: usize = 256;
/// The whole time for one document.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a document is believed, whatever its headers ask for.
const BELIEVED: Duration = Duration::from_secs(300);
/// How long a failure is.
const FAILURE_BELIEVED: Duration = Duration::from_secs(30);
/// Documents of one API that are remembered.
const PLACES_MAX: usize = 32;
/// Documents of one API that are being fetched: for one agent, and for all. One that names slow places has them to itself.
const FETCHES_MAX: (usize, usize) = (2, 8);
/// What a caller is told to wait when there are so many.
const BUSY_WAIT: Duration = Duration::from_secs(1);
/// Documents that are fetched for one agent: a minute, and at once after a pause.
const AGENT_FETCHES: (u32, u32) = (30, 10);
/// Agents remembered before those that have been quiet are forgotten.
const AGENTS_MAX: usize = 10_000;
/// The path of the well-known place (RFC 9728 §3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A document.
#[derive(Debug)]
pub struct ResourceMetadata {
    /// The resource it says it is about. It is compared before anything of the document is used.
    resource: String,
    /// The issuer identifiers of the authorization servers that it names; `None` if it says nothing of them.
    pub authorization_servers: Option<Vec<String>>,
    /// The scopes it lists.
    pub scopes_supported: Vec<String>,
}

/// A document that is about the resource it was asked for.
#[derive(Debug)]
pub struct Found {
    /// The document.
    pub document: Arc<ResourceMetadata>,
    /// Whether it was fetched just now: what is odd about it is told once.
    pub is_news: bool,
}

/// The APIs whose metadata is read.
pub struct ProtectedResources {
    /// Each for its API as it was declared: one that is declared otherwise is another.
    sources: Mutex<BTreeMap<ApiAlias, (Api, Arc<Source>)>>,
    budget: DefaultKeyedRateLimiter<String>,
    clock: Arc<dyn Clock>,
}

/// The server of one API.
struct Source {
    well_known: Url,
    tls: Arc<ClientConfig>,
    names: Names,
    room: Places,
    places: Mutex<HashMap<String, Place>>,
}

/// One place of documents: what is believed of it, and when it was asked for last. The lock of what is believed makes
/// concurrent calls share one fetch.
struct Place(Arc<Turn<Option<Believed>>>, Boot);

/// What came of a fetch, and until when that counts.
struct Believed(Result<Arc<ResourceMetadata>, Fault>, Boot);

impl Believed {
    fn of(outcome: Result<Arc<ResourceMetadata>, Fault>, now: Boot) -> Self {
        let span = if outcome.is_ok() { BELIEVED } else { FAILURE_BELIEVED };
        Self(outcome, now.plus(span))
    }

    /// What counts now.
    fn answer(&self, now: Boot) -> Option<Result<Arc<ResourceMetadata>, Fault>> {
        let left = self.1.since(now);
        (now < self.1).then(|| self.0.clone().map_err(|fault| fault.retry_after(left)))
    }
}

impl ProtectedResources {
    /// Those of the catalogue that have trust roots.
    ///
    /// # Errors
    /// Every trust root that cannot be used.
    pub fn new(config: &Config, file: &Path, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Vec<Finding>> {
        let mut findings = Vec::new();
        for api in config.estate.catalog.apis.values() {
            if let Some(Err(wrong)) = Source::of(api) {
                findings.push(about(file, format!("api `{}`: {wrong}", api.alias)));
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let number = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(number(AGENT_FETCHES.0)).allow_burst(number(AGENT_FETCHES.1));
        Ok(Arc::new(Self { sources: Mutex::default(), budget: RateLimiter::keyed(quota), clock }))
    }

    /// The trust roots that [`Self::new`] would refuse.
    #[must_use]
    pub fn refused(config: &Config, file: &Path) -> Vec<Finding> {
        Self::new(config, file, Arc::new(crate::platform::SystemClock)).err().unwrap_or_default()
    }

    /// Whether an API's metadata is read.
    #[must_use]
    pub fn reads(api: &Api) -> bool {
        api.metadata_roots.is_some() && well_known(&api.identifier).is_some()
    }

    fn source(&self, api: &Api) -> Result<Arc<Source>, Fault> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((declared, source)) = sources.get(&api.alias)
            && declared == api
        {
            return Ok(Arc::clone(source));
        }
        let source = match Source::of(api) {
            Some(Ok(source)) => Arc::new(source),
            Some(Err(wrong)) => {
                tracing::error!(api = %api.alias, %wrong, "its trust roots cannot be used");
                return Err(unavailable(api));
            }
            None => return Err(Reason::Internal.into()),
        };
        sources.insert(api.alias.clone(), (api.clone(), Arc::clone(&source)));
        Ok(source)
    }

    /// The metadata of an API whose metadata is read, for a request to one of its URLs: at the place that its challenge
    /// named, which [`place`] let through, or at the well-known one (RFC 9728 §3.1).
    ///
    /// # Errors
    /// [`Reason::PrmUnavailable`], [`Reason::PrmRejected`], [`Reason::PrmResourceMismatch`], [`Reason::QuotaExceeded`].
    pub async fn metadata(
        &self,
        agent: &AgentId,
        api: &Api,
        requested: &RequestedUrl,
        named: Option<&Url>,
    ) -> Result<Found, Fault> {
        let source = self.source(api)?;
        let place = named.unwrap_or(&source.well_known);
        let turn = source.place(place, self.clock.boot());
        let mut believed = turn.lock().await;
        let known = believed.as_ref().and_then(|known| known.answer(self.clock.boot()));
        let is_news = known.is_none();
        let document = match known {
            Some(known) => known?,
            None => {
                let busy = || unavailable(api).retry_after(BUSY_WAIT);
                let _room = source.room.take(agent).map_err(|_| busy())?;
                self.admit(agent)?;
                let fetch = source.fetch(api, place);
                let fetched = tokio::time::timeout(DEADLINE, fetch).await.unwrap_or_else(|_| Err(unavailable(api)));
                *believed = Some(Believed::of(fetched.clone(), self.clock.boot()));
                fetched.map_err(|fault| fault.retry_after(FAILURE_BELIEVED))?
            }
        };
        drop(believed);
        // RFC 9728 §3.3: by the well-known place of an identifier it is that identifier's; by a challenge it is that of
        // the very URL that was requested.
        let by_identifier = *place == source.well_known && document.resource == api.identifier;
        let by_challenge = named.is_some() && document.resource == requested.text;
        if by_identifier || by_challenge {
            return Ok(Found { document, is_news });
        }
        tracing::error!(api = %api.alias, "its metadata is about another resource than its identifier and the URL requested; nothing of it is used");
        Err(Fault::new(Reason::PrmResourceMismatch).with("api", api.alias.as_str()))
    }

    /// Counts a fetch for an agent.
    fn admit(&self, agent: &AgentId) -> Result<(), Fault> {
        if self.budget.len() > AGENTS_MAX {
            self.budget.retain_recent();
        }
        self.budget.check_key(&agent.as_str().to_owned()).map_err(|early| {
            let wait = early.wait_time_from(governor::clock::DefaultClock::default().now());
            AgentQuota::MetadataFetches.met(wait.max(Duration::from_millis(1)))
        })
    }
}

impl Source {
    /// The server of an API that has trust roots.
    fn of(api: &Api) -> Option<Result<Self, String>> {
        let (roots, well_known) = (api.metadata_roots.as_ref()?, well_known(&api.identifier)?);
        Some(client_config(roots, None).map(|tls| Self::new(well_known, tls)).map_err(|wrong| wrong.to_string()))
    }

    fn new(well_known: Url, tls: Arc<ClientConfig>) -> Self {
        let (names, room) = (Names::new(), Places::new(FETCHES_MAX.0, FETCHES_MAX.1));
        Self { well_known, tls, names, room, places: Mutex::default() }
    }

    /// What is believed of a place. Of too many, the one that was asked for longest ago is forgotten.
    fn place(&self, url: &Url, now: Boot) -> Arc<Turn<Option<Believed>>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= PLACES_MAX && !places.contains_key(url.as_str()) {
            let oldest = places.iter().min_by_key(|(_, place)| place.1).map(|(url, _)| url.clone());
            oldest.and_then(|url| places.remove(&url));
        }
        let place = places.entry(url.as_str().to_owned()).or_insert_with(|| Place(Arc::default(), now));
        place.1 = now;
        Arc::clone(&place.0)
    }

    /// Fetches and reads a document. No redirect is followed, and nothing of what came is logged.
    async fn fetch(&self, api: &Api, url: &Url) -> Result<Arc<ResourceMetadata>, Fault> {
        // The host is the identifier's own, which is written in the catalogue.
        let line = http::connect(url, &self.tls, Reach::Anywhere, &self.names).await;
        let line = line.map_err(|_| unavailable(api))?;
        let answer = match http::get(line, DOCUMENT_BYTES_MAX).await {
            Ok(answer) => answer,
            Err(Broken::Connection) => return Err(unavailable(api)),
            Err(Broken::TooLong) => return Err(rejected(api, "size")),
        };
        if answer.status != 200 {
            tracing::warn!(api = %api.alias, status = answer.status.as_u16(), "no metadata here: the answer is not 200; if the API has none, take out its `metadata_ca`");
            return Err(unavailable(api));
        }
        if !answer.is_json() {
            return Err(rejected(api, "content_type"));
        }
        read(&answer.body).map(Arc::new).map_err(|rule| rejected(api, rule))
    }
}

/// Reads a document; the rule that it breaks if it cannot be used.
fn read(bytes: &[u8]) -> Result<ResourceMetadata, &'static str> {
    let document = strict_json::parse(bytes).filter(|document| strict_json::depth(document) <= DOCUMENT_DEPTH_MAX);
    let document = document.filter(Value::is_object).ok_or("json")?;
    let resource = document.get("resource").and_then(Value::as_str).ok_or("resource")?;
    // RFC 9728 §2: a list without elements must not be there.
    let list = |name: &'static str| match document.get(name) {
        None => Ok(None),
        Some(Value::Array(items)) if (1..=LIST_MAX).contains(&items.len()) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            texts.map(Some).ok_or(name)
        }
        Some(_) => Err(name),
    };
    Ok(ResourceMetadata {
        resource: resource.to_owned(),
        authorization_servers: list("authorization_servers")?,
        scopes_supported: list("scopes_supported")?.unwrap_or_default(),
    })
}

/// The well-known place of an identifier (RFC 9728 §3.1): between its host and its path.
fn well_known(identifier: &str) -> Option<Url> {
    let mut url = plain_https(identifier)?;
    let path = if url.path() == "/" { "" } else { url.path() };
    let path = format!("{WELL_KNOWN}{path}");
    url.set_path(&path);
    Some(url)
}

/// A place that a challenge may name (`resource_metadata`, RFC 9728 §5.1): a well-known one at the server that was
/// requested. Whoever can make an agent believe in another one could have it log in for him.
///
/// # Errors
/// [`Reason::PrmRejected`].
pub fn place(requested: &RequestedUrl, named: &str) -> Result<Url, Fault> {
    let rejected = |rule| Fault::new(Reason::PrmRejected).with("rule", rule);
    let url = plain_https(named).filter(|_| named.len() <= URL_BYTES_MAX).ok_or_else(|| rejected("url"))?;
    if url.origin() != requested.url.origin() {
        return Err(rejected("origin"));
    }
    // Some servers decode these, or cut off at a semicolon, before they resolve dot segments.
    let (path, odd) = (url.path().to_ascii_lowercase(), ["%2f", "%5c", "%2e", "%25", "%3b", "%00", ";", "//"]);
    if !url.path().starts_with("/.well-known/") || odd.iter().any(|odd| path.contains(odd)) {
        return Err(rejected("well_known"));
    }
    Ok(url)
}

fn unavailable(api: &Api) -> Fault {
    Fault::new(Reason::PrmUnavailable).with("api", api.alias.as_str())
}

fn rejected(api: &Api, rule: &'static str) -> Fault {
    tracing::error!(api = %api.alias, rule, "its metadata cannot be used");
    Fault::new(Reason::PrmRejected).with("api", api.alias.as_str()).with("rule", rule)
}

/// Reads a document as if an API had sent it, for the fuzzer: it must never panic. The resource it is about.
#[must_use]
pub fn fuzz_resource_metadata(bytes: &[u8]) -> Option<String> {
    read(bytes).ok().map(|document| document.resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: SSRF-01
    #[test]
    fn the_well_known_place_is_between_host_and_path() {
        for (identifier, place) in [
            ("https://h", "https://h/.well-known/oauth-protected-resource"),
            ("https://h/", "https://h/.well-known/oauth-protected-resource"),
            ("https://h:8443/api", "https://h:8443/.well-known/oauth-protected-resource/api"),
            ("https://h/api/", "https://h/.well-known/oauth-protected-resource/api/"),
            ("https://h/a?k=v", "https://h/.well-known/oauth-protected-resource/a?k=v"),
        ] {
            assert_eq!(well_known(identifier).unwrap().as_str(), place);
        }
        assert!(well_known("urn:h").is_none() && well_known("http://h").is_none());
    }

    // rows: SSRF-01
    #[test]
    fn a_challenge_names_a_well_known_place_of_the_same_server() {
        let requested = RequestedUrl::parse("https://h.example:8443/api/x").unwrap();
        place(&requested, "https://h.example:8443/.well-known/oauth-protected-resource/api").unwrap();
        for (named, rule) in [
            ("https://h.example/.well-known/oauth-protected-resource", "origin"),
            ("https://evil.example:8443/.well-known/oauth-protected-resource", "origin"),
            ("https://h.example.:8443/.well-known/oauth-protected-resource", "origin"),
            ("http://h.example:8443/.well-known/oauth-protected-resource", "url"),
            ("//h.example:8443/.well-known/oauth-protected-resource", "url"),
            ("https://u@h.example:8443/.well-known/oauth-protected-resource", "url"),
            ("https://h.example:8443@evil.example/.well-known/x", "url"),
            ("https://h.example:8443/.well-known/x#y", "url"),
            ("https://h.example:8443/admin/delete?all=1", "well_known"),
            ("https://h.example:8443/.well-known/../admin", "well_known"),
            ("https://h.example:8443/.well-known/%2e%2e/admin", "well_known"),
        ] {
            let fault = place(&requested, named).err().unwrap_or_else(|| panic!("{named} was taken"));
            assert_eq!((fault.reason, fault.metadata["rule"].as_str()), (Reason::PrmRejected, rule), "{named}");
        }
    }

    #[test]
    fn a_document_and_a_failure_are_believed_for_a_while() {
        let now = Boot(1_000_000);
        let document = || Ok(Arc::new(read(br#"{"resource":"https://h"}"#).unwrap()));
        let good = Believed::of(document(), now);
        assert!(good.answer(now).is_some() && good.answer(now.plus(BELIEVED)).is_none());
        let failed = Believed::of(Err(Reason::PrmUnavailable.into()), now);
        let later = now.plus(FAILURE_BELIEVED / 2);
        assert_eq!(failed.answer(later).unwrap().unwrap_err().retry_after, Some(FAILURE_BELIEVED / 2));
        assert!(failed.answer(now.plus(FAILURE_BELIEVED)).is_none());
    }

    #[test]
    fn a_place_that_is_not_asked_for_is_forgotten_first() {
        let config = client_config(&[], None).unwrap();
        let source = Source::new(well_known("https://h/api").unwrap(), config);
        let url = |n: usize| Url::parse(&format!("https://h/.well-known/{n}")).unwrap();
        let at = |n: usize| Boot(i64::try_from(n).unwrap().try_into().unwrap());
        let main = source.place(&url(0), at(0));
        for n in 1..200 {
            source.place(&url(n), at(n));
            assert!(Arc::ptr_eq(&main, &source.place(&url(0), at(n))), "what is in use stays");
        }
        assert_eq!(source.places.lock().unwrap().len(), PLACES_MAX);
    }
}
