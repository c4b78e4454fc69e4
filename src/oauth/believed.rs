//! What is believed of an issuer's metadata, and for how long.
//!
//! A document is believed for `metadata_ttl`, whatever its headers ask for. When the next one cannot be had, or cannot
//! be used, the last good one stays for `metadata_stale` more; after that nothing is begun until there is a new one.
//! Failures are not believed for any time of their own: who waited while a fetch failed shares its failure, and while
//! a good document stands in, the server is asked again only every few seconds.

use super::capabilities::Capabilities;
use crate::{
    config::{Endpoints, Issuer},
    model::{Boot, Fault, Reason},
};
use std::{sync::Arc, time::Duration};

/// The pause before a server is asked again while its last good document stands in.
const PAUSE: Duration = Duration::from_secs(5);

/// What is believed of one issuer.
#[derive(Default)]
pub(super) struct Believed {
    good: Option<Good>,
    failed: Option<(Fault, Boot)>,
    /// What the latest document promised less of: reported once, until it changes.
    reported: Vec<&'static str>,
}

struct Good {
    endpoints: Arc<Endpoints>,
    capabilities: Capabilities,
    at: Boot,
}

impl Believed {
    /// What can be answered without asking the server: a call that came at `asked`, now.
    pub(super) fn answer(&self, issuer: &Issuer, asked: Boot, now: Boot) -> Option<Result<Arc<Endpoints>, Fault>> {
        if let Some(good) = self.good.as_ref().filter(|good| now < good.at.plus(issuer.metadata_ttl)) {
            return Some(Ok(Arc::clone(&good.endpoints)));
        }
        let (fault, at) = self.failed.as_ref()?;
        let pausing = self.stands_in(issuer, now).is_some() && now < at.plus(PAUSE.min(issuer.metadata_ttl));
        (*at > asked || pausing).then(|| self.fallback(issuer, now, fault.clone()))
    }

    /// What the issuer has promised so far.
    pub(super) fn capabilities(&self) -> Option<&Capabilities> {
        self.good.as_ref().map(|good| &good.capabilities)
    }

    /// Believes a document from now on.
    pub(super) fn believe(&mut self, endpoints: Endpoints, capabilities: Capabilities, now: Boot) -> Arc<Endpoints> {
        let endpoints = Arc::new(endpoints);
        self.good = Some(Good { endpoints: Arc::clone(&endpoints), capabilities, at: now });
        self.failed = None;
        endpoints
    }

    /// Notes a failure: the last good document stands in while it may.
    pub(super) fn fail(&mut self, issuer: &Issuer, fault: Fault, now: Boot) -> Result<Arc<Endpoints>, Fault> {
        self.failed = Some((fault.clone(), now));
        self.fallback(issuer, now, fault)
    }

    /// Whether this is not the weakening that was reported last.
    pub(super) fn is_news(&mut self, weakened: &[&'static str]) -> bool {
        let news = !weakened.is_empty() && self.reported != weakened;
        self.reported = weakened.to_vec();
        news
    }

    fn stands_in(&self, issuer: &Issuer, now: Boot) -> Option<&Arc<Endpoints>> {
        let usable = |good: &&Good| now < good.at.plus(issuer.metadata_ttl).plus(issuer.metadata_stale);
        self.good.as_ref().filter(usable).map(|good| &good.endpoints)
    }

    fn fallback(&self, issuer: &Issuer, now: Boot, fault: Fault) -> Result<Arc<Endpoints>, Fault> {
        if let Some(endpoints) = self.stands_in(issuer, now) {
            tracing::warn!(issuer = %issuer.alias, reason = fault.reason.name(), "the metadata cannot be renewed: the last good document is used");
            return Ok(Arc::clone(endpoints));
        }
        if self.good.is_none() {
            return Err(fault);
        }
        tracing::error!(issuer = %issuer.alias, reason = fault.reason.name(), "the metadata cannot be renewed, and the last good document is older than metadata_ttl and metadata_stale");
        Err(Fault::new(Reason::MetadataStale).with("issuer", issuer.alias.as_str()).with("cause", fault.reason.name()))
    }
}
