//! Grants as operators see them: listed by fingerprint, ended by what they belong to; and the word that goes out when
//! one ends.

use super::{Grant, Grants};
use crate::{
    config::Api,
    model::{AgentId, Boot, ClientAlias, FreezeTarget, Handle, IssuerAlias, Scope, Wall},
    platform::{KeyedHash, vault::Saving},
};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::broadcast;

/// Endings that a slow follower may lag behind before it must look for itself.
const ENDINGS_KEPT: usize = 1024;

/// Who ended a grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndedBy {
    /// Its agent gave it back.
    Agent,
    /// An operator took it away.
    Operator,
    /// Its server refuses it, or cannot be trusted with it.
    Server,
    /// Its time was up, or it never reached its agent.
    Itself,
}

/// A grant has ended: nothing of it is handed out from here on.
#[derive(Clone)]
pub struct Ending {
    /// Its handle.
    pub handle: Handle,
    /// Its agent.
    pub agent: AgentId,
    /// Its client.
    pub client: ClientAlias,
    /// Its issuer.
    pub issuer: IssuerAlias,
    /// Who ended it.
    pub by: EndedBy,
}

/// Which grants are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GrantFilter {
    /// Every grant.
    All,
    /// The one with this fingerprint.
    Fingerprint(String),
    /// Those for an API as it was: of this alias, with this identifier, at this issuer.
    Api(Arc<Api>),
    /// Those of an agent, a client or an issuer; an agent's are also those of requests that it registered for others.
    Of(FreezeTarget),
}

/// What an operator may know of a grant: no handle, no token.
#[derive(Clone, Debug)]
pub struct GrantSummary {
    /// The keyed reference of its handle, the `grant_ref` of the audit log.
    pub fingerprint: String,
    /// Its agent.
    pub agent: AgentId,
    /// Its client.
    pub client: ClientAlias,
    /// Its issuer.
    pub issuer: IssuerAlias,
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// Its resource, where it has one.
    pub resource: Option<String>,
    /// When it was given.
    pub created: Wall,
    /// When it ends by itself, if nobody asks for it any more.
    pub ends: Wall,
    /// Whether a refresh token is held for it.
    pub refreshable: bool,
    /// How often its tokens were handed out.
    pub uses: u64,
}

pub(super) fn endings() -> broadcast::Sender<Ending> {
    broadcast::channel(ENDINGS_KEPT).0
}

impl GrantFilter {
    fn takes(&self, grant: &Grant, keyed: &KeyedHash) -> bool {
        let opening = &grant.kept.begun.opening;
        match self {
            Self::All => true,
            Self::Fingerprint(wanted) => fingerprint(grant, keyed) == *wanted,
            Self::Api(gone) => opening.api.as_ref().is_some_and(|api| api.is_the_same(gone)),
            // Whoever registered its request is gone, and so is what came of it.
            Self::Of(target) => [&grant.agent.id]
                .into_iter()
                .chain(&opening.registered_by)
                .any(|agent| target.covers(agent, &opening.client.alias, &opening.issuer.alias)),
        }
    }
}

fn fingerprint(grant: &Grant, keyed: &KeyedHash) -> String {
    keyed.reference("grant", grant.handle.bits())
}

impl Grants {
    /// Follows the endings of grants. Whoever lags behind must look for the grants themselves.
    #[must_use]
    pub fn endings(&self) -> broadcast::Receiver<Ending> {
        self.endings.subscribe()
    }

    /// At most `most` grants in order of fingerprint, after this one; and whether there are more.
    #[must_use]
    pub fn list(&self, filter: &GrantFilter, after: &str, most: usize) -> (Vec<GrantSummary>, bool) {
        let taken = self
            .copied()
            .into_iter()
            .filter(|grant| !grant.is_ended())
            .filter(|grant| filter.takes(grant, &self.keyed));
        let mut listed: Vec<(String, Arc<Grant>)> = taken
            .map(|grant| (fingerprint(&grant, &self.keyed), grant))
            .filter(|(it, _)| it.as_str() > after)
            .collect();
        listed.sort_by(|a, b| a.0.cmp(&b.0));
        let more = listed.len() > most;
        let (now, wall) = (self.clock.boot(), self.clock.wall());
        let summary = |(fingerprint, grant): (String, Arc<Grant>)| self.summary(fingerprint, &grant, now, wall);
        (listed.into_iter().take(most).map(summary).collect(), more)
    }

    /// Takes out every grant that is meant: none is handed out again, also by calls under way; nor after a restart, once
    /// what is returned with them is done. What is left of each must be revoked.
    pub fn end_where(&self, filter: &GrantFilter) -> (Vec<Arc<Grant>>, Saving) {
        let mut ended: Vec<Arc<Grant>> = self.copied();
        ended.retain(|grant| filter.takes(grant, &self.keyed));
        let mut table = self.table_mut();
        ended.retain(|grant| {
            grant.finish();
            table.remove(&grant.handle).is_some()
        });
        drop(table);
        ended.iter().for_each(|grant| self.tell(grant, EndedBy::Operator));
        let forgotten = ended.iter().map(|grant| self.forget(grant)).fold(Saving::nothing(), Saving::then);
        // Those that its server had ended already are forgotten, and nothing of them is left.
        ended.retain(|grant| !grant.is_dead());
        (ended, forgotten)
    }

    /// All of them, copied out: to look at each takes time, and agents wait for the table.
    pub(super) fn copied(&self) -> Vec<Arc<Grant>> {
        self.table().values().map(Arc::clone).collect()
    }

    /// Tells those who follow.
    pub(super) fn tell(&self, grant: &Grant, by: EndedBy) {
        let opening = &grant.kept.begun.opening;
        // Nobody may be there.
        let _ = self.endings.send(Ending {
            handle: grant.handle,
            agent: grant.agent.id.clone(),
            client: opening.client.alias.clone(),
            issuer: opening.issuer.alias.clone(),
            by,
        });
    }

    fn summary(&self, fingerprint: String, grant: &Grant, now: Boot, wall: Wall) -> GrantSummary {
        let opening = &grant.kept.begun.opening;
        GrantSummary {
            fingerprint,
            agent: grant.agent.id.clone(),
            client: opening.client.alias.clone(),
            issuer: opening.issuer.alias.clone(),
            scopes: grant.kept.scopes.iter().cloned().collect(),
            resource: opening.resource().map(str::to_owned),
            created: grant.kept.at.1,
            ends: wall.plus(grant.ends(&self.keeping).since(now)),
            refreshable: grant.is_refreshable(),
            uses: grant.uses.load(Ordering::Relaxed),
        }
    }
}
