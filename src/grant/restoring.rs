//! Grants of the run before: found again in the file, judged against the configuration of this run, and then as they were.

use super::{
    Grant, Grants,
    durable::{Mark, Records},
    held::Shelf,
    reckoning::Reckoning,
    saved::{Parsed, Record, Saved, Secrets},
    watching::Signal,
};
use crate::{
    config::{Api, Client, Config, Issuer},
    model::{
        Agent, AgentId, ApiAlias, Approvable, AuthorizationDetails, Boot, ClientAlias, DecisionId, Environment,
        IssuerAlias, Nonce, PinnedRedirect, TeamId, Terms, TokenBinding, agent::Identity,
    },
    oauth::{Disposal, Family, Kept, ResourceNonces, Tokens, Vouched, kept_details},
    platform::{
        ProofKey,
        vault::{Id, Saving},
    },
    policy::Verdict,
    transaction::{Begun, BoundKey, Flow, Opening},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
};
use url::Url;

/// A grant that was in the file and is not held any more.
pub struct Departed {
    /// Its record in the file.
    pub record: Id,
    /// What is no longer configured: `agent`, `api` or `client`, or `binding`, where its client's tokens are bound to keys now
    /// and this one's are not, or the other way round; or `outcome`, where its first outcome never came on record, so that
    /// nobody has its handle; or `authorization_details`, where their type is not declared any more as it was.
    pub why: &'static str,
    /// Its agent, by the name it had.
    pub agent: String,
    /// The alias of its client.
    pub client: String,
    /// The alias of its issuer.
    pub issuer: String,
    /// The decision that it began with.
    pub decision: DecisionId,
    /// Its refresh token, where its issuer can still be told.
    pub disposal: Option<Disposal>,
    /// Its time is up: nothing is gained by keeping its record.
    pub over: bool,
}

/// Where a grant belongs now.
struct Home {
    client: Arc<Client>,
    issuer: Arc<Issuer>,
    api: Option<Arc<Api>>,
    /// The authorization details granted, of types as they are declared now.
    details: AuthorizationDetails,
    /// Why it is not held although it can be revoked.
    departed: Option<&'static str>,
}

impl Grants {
    /// Takes over what was in the file: how many are held, and those that are not. `open` are the exchanges that the run
    /// before left without an outcome: their replies never left. Those that are not held stay in the file until
    /// [`Self::depart`]. What the log says of open exchanges may be closed once what is returned with them is done: until
    /// then only the log tells these from grants that agents have.
    pub fn restore(
        &self,
        records: Records,
        config: &Config,
        open: &BTreeSet<DecisionId>,
    ) -> ((usize, Vec<Departed>), Saving) {
        let Some(durable) = &self.durable else { return ((0, Vec::new()), Saving::nothing()) };
        let (mut held, mut departed, mut marked) = (0, Vec::new(), Saving::nothing());
        for (id, record) in records.0 {
            let Record::Grant(mut saved, secrets) = record else { continue };
            if !saved.unanswered && saved.parsed().is_some_and(|parsed| open.contains(&parsed.decision)) {
                saved.unanswered = true;
                marked = marked.then(durable.put_unanswered(id, &saved, &secrets));
            }
            let since = saved.parsed().map(|parsed| durable.reckoning().when(&saved.stamp, parsed.age));
            let over = since.is_none_or(|since| self.clock.boot() >= since.plus(self.keeping.absolute_lifetime));
            match self.revive(&saved, secrets, config, durable.reckoning()) {
                Some((grant, None)) => {
                    held += 1;
                    self.insert(grant);
                }
                gone => {
                    let (disposal, why) = match &gone {
                        Some((grant, why)) => (grant.remains(), *why),
                        None => (None, None),
                    };
                    departed.push(Departed {
                        record: id,
                        why: why.unwrap_or("client"),
                        agent: saved.agent.clone(),
                        client: saved.client.clone(),
                        issuer: saved.issuer.clone(),
                        decision: saved.parsed().map_or(DecisionId(uuid::Uuid::nil()), |parsed| parsed.decision),
                        disposal,
                        over,
                    });
                }
            }
        }
        ((held, departed), marked)
    }

    /// Removes from the file what is not held any more. Only once it is revoked: a crash before that revokes it again.
    pub fn depart(&self, record: Id) {
        if let Some(durable) = &self.durable {
            drop(durable.remove(record));
        }
    }

    /// A grant as it was, and why it is not held, if it is not. `None` if its issuer cannot be spoken to about it.
    fn revive(
        &self,
        saved: &Saved,
        Secrets { token, key, nonce }: Secrets,
        config: &Config,
        reckoning: &Reckoning,
    ) -> Option<(Arc<Grant>, Option<&'static str>)> {
        let (parsed, home) = (saved.parsed()?, home(saved, config)?);
        let agent = AgentId::parse(&saved.agent).and_then(|id| config.estate.registry.agent(&id).cloned());
        let departed = match &agent {
            _ if saved.unanswered => Some("outcome"),
            None => Some("agent"),
            Some(_) if key.is_some() != (home.client.bound_tokens == TokenBinding::Dpop) => Some("binding"),
            Some(_) => home.departed,
        };
        let agent = agent.or_else(|| stand_in(saved))?;
        let since = reckoning.when(&saved.stamp, parsed.age);
        let used = reckoning.when(&saved.stamp, parsed.idle);
        let (handle, lifetime) = (parsed.handle, parsed.lifetime);
        let terms = parsed.terms.clone();
        let kept = Arc::new(kept(saved, parsed, (home, key, nonce), &agent, since)?);
        let family = Family::again(Arc::clone(&kept), token, saved.jitter, (saved.refreshes, lifetime));
        let mark = Mark::written(family.generation(), saved.uses, used);
        let grant = Grant {
            handle,
            agent,
            family: Some(family),
            nonces: ResourceNonces::default(),
            shelf: Mutex::new(Shelf::new(self.keeping.tokens_per_grant)),
            used: AtomicU64::new(used.0),
            kept,
            terms,
            uses: AtomicU64::new(saved.uses),
            delivered: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            died: Mutex::default(),
            mark: Mutex::new(mark),
            restored: true,
            signal: Signal::default(),
        };
        Some((Arc::new(grant), departed))
    }
}

/// The client and issuer of a grant. `None` unless both are the ones it was given by: the same client_id at the same
/// issuer, whose token endpoint is still at a place that the configuration trusts with a refresh token.
fn home(saved: &Saved, config: &Config) -> Option<Home> {
    let client = config.clients.get(&ClientAlias::parse(&saved.client)?)?;
    let issuer = config.issuers.get(&IssuerAlias::parse(&saved.issuer)?)?;
    let same = client.client_id == saved.client_id && client.issuer == issuer.alias && issuer.url == saved.issuer_url;
    let trusted = |endpoint: &str| Url::parse(endpoint).is_ok_and(|url| issuer.allowed_hosts.reach(&url).is_ok());
    let endpoints = saved.parsed()?.endpoints;
    if !same
        || ![Some(&endpoints.token), endpoints.revocation.as_ref(), endpoints.introspection.as_ref()]
            .into_iter()
            .flatten()
            .all(|e| trusted(e))
    {
        return None;
    }
    let api = saved.api.as_ref().and_then(|(alias, identifier)| {
        let known = config.estate.catalog.apis.get(&ApiAlias::parse(alias)?);
        known.filter(|api| api.identifier == *identifier && api.issuer == issuer.alias).cloned()
    });
    let details = kept_details(&saved.details, &config.estate.catalog);
    let departed = (saved.api.is_some() && api.is_none()).then_some("api");
    let departed = departed.or_else(|| details.is_none().then_some("authorization_details"));
    let details = details.unwrap_or_default();
    Some(Home { client: Arc::clone(client), issuer: Arc::clone(issuer), api, details, departed })
}

/// An agent that is not registered any more, to say whose token is revoked. Nobody can come as it.
fn stand_in(saved: &Saved) -> Option<Arc<Agent>> {
    Some(Arc::new(Agent {
        id: AgentId::parse(&saved.agent)?,
        identity: Identity::Spiffe(String::new()),
        executable: None,
        owner: TeamId::parse(&saved.owner)?,
        groups: Vec::new(),
        environment: Environment::Dev,
        trust: 0,
        quarantined: true,
        custom: crate::model::Custom::new(),
    }))
}

/// What the first token was, but for the token itself.
fn kept(
    saved: &Saved,
    parsed: Parsed,
    (home, key, nonce): (Home, Option<ProofKey>, Option<Nonce>),
    agent: &Arc<Agent>,
    since: Boot,
) -> Option<Kept> {
    let Home { client, issuer, api, details, .. } = home;
    let begun = Begun {
        opening: Opening {
            // No other has a refresh token that may be used.
            flow: Flow::AuthorizationCode,
            agent: Arc::clone(agent),
            client,
            issuer,
            endpoints: Arc::new(parsed.endpoints),
            redirect: PinnedRedirect::parse(&saved.redirect).ok()?.admit(&saved.redirect)?,
            told_by_redirect: saved.told_by_redirect,
            scopes: parsed.begun_scopes,
            details: details.clone(),
            api,
            login: parsed.login,
            agent_jkt: saved.agent_jkt.clone(),
            offline_refused: saved.offline_refused,
            decision: parsed.begin_decision,
            registered_by: saved.registered_by.as_deref().and_then(AgentId::parse),
            // An approval is for the run that took it: a grant that needs one is begun anew.
            approvable: Approvable::default(),
        },
        handle: parsed.transaction,
        at: since,
        ends: since,
        ends_wall: parsed.since,
        bound_key: key.map(BoundKey::of_daemon),
    };
    // The token itself is not here, and nobody asks after it.
    let vouched = Vouched::at(since, &begun);
    Some(Kept {
        begun: Arc::new(begun),
        tokens: Tokens::none(),
        scopes: parsed.scopes,
        details,
        tolerated: parsed.tolerated,
        lifetime: parsed.first_lifetime,
        at: (since, parsed.since),
        bound: parsed.bound,
        vouched,
        nonce,
        subject: parsed.subject,
        decided: decided(parsed.decision, parsed.terms.clone()),
        terms: parsed.terms,
    })
}

/// A decision by its id: the rest of it is in the log of the run that made it.
fn decided(id: DecisionId, terms: Terms) -> Verdict {
    Verdict {
        id,
        policy_digest: "".into(),
        schema_digest: "".into(),
        entities_digest: "".into(),
        generation: 0,
        determining: Vec::new(),
        granted: Vec::new(),
        refused: Vec::new(),
        denied: None,
        errors: 0,
        terms,
        asked: None,
        answered_by: None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{grant::saved::read, platform::vault::Unread};

    // rows: RT-02
    #[test]
    fn a_record_of_a_later_format_is_no_damage() {
        assert!(matches!(read(b"\x02c"), Err(Unread::Later(2))));
        assert!(matches!(read(b"\x01x"), Err(Unread::Damaged)));
        assert!(matches!(read(b""), Err(Unread::Damaged)));
    }
}
