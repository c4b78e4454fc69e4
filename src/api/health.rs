//! gRPC health v1, per service. tonic-health's own server ends a watch on an unknown service; the protocol says to
//! answer SERVICE_UNKNOWN and stay.

use super::calls::refused;
use crate::{
    caller::{Caller, Peer},
    exchange::Corridor,
    model::{Fault, IssuerAlias, Reason},
};
use std::{collections::BTreeMap, pin::Pin, sync::Arc};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::{Request, Response, Status, metadata::MetadataValue};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

/// The services whose health can be asked for: the whole, and the token service.
const SERVICES: [&str; 2] = ["", "narrowgate.v1.TokenService"];

/// And each issuer, by its alias after this: not serving while it is left alone. The others stay as they are, since a
/// dead authorization server is no reason to restart narrowgate, or to send its agents elsewhere.
///
/// Which issuers there are is for registered agents to know, and for the daemon's own user. To every other peer, such as
/// a probe, no issuer exists: it learns how the whole is.
const ISSUER: &str = "issuer/";
/// The header of an answer about the whole that says how each issuer is, as `alias=SERVING`: the protocol has no list.
pub(crate) const ISSUERS_HEADER: &str = "narrowgate-issuer";
/// The header of an answer about the whole that says that the newest policy files were not taken, and that the set before
/// them goes on: the status says nothing of it.
pub(crate) const POLICY_HEADER: &str = "narrowgate-policy";
/// What it says.
const NOT_TAKEN: &str = "the last reload was refused; the set before it goes on";
/// Why calls are not served, in the header of a check's answer: one of a closed list of sentences.
pub const WHY: &str = "narrowgate-why";

/// The header of an answer about the whole that names each issuer whose metadata cannot be renewed, as `alias=REASON`.
/// The last good document may stand in, so that calls are served all the same: the status says nothing of it.
const METADATA_HEADER: &str = "narrowgate-metadata";

/// Whether calls are served, and why not.
#[derive(Clone)]
pub struct Readiness {
    why_not: watch::Receiver<Option<&'static str>>,
    corridor: Arc<Corridor>,
    own_uid: u32,
    left_alone: Arc<BTreeMap<IssuerAlias, watch::Receiver<bool>>>,
}

/// One service whose health is asked for.
enum Asked {
    Whole(watch::Receiver<Option<&'static str>>),
    Issuer(watch::Receiver<bool>),
}

impl Readiness {
    /// Follows this: `None` while serving, or the reason why not; and what is wrong with the corridor's issuers.
    #[must_use]
    pub fn new(why_not: watch::Receiver<Option<&'static str>>, corridor: Arc<Corridor>) -> Self {
        let left_alone = Arc::new(corridor.servers.left_alone());
        Self { why_not, corridor, own_uid: rustix::process::geteuid().as_raw(), left_alone }
    }

    /// Whether the caller may learn which issuers there are. Its credential counts as it does at every other call.
    fn may_know_issuers<T>(&self, request: &Request<T>) -> bool {
        match request.extensions().get::<Peer>() {
            Some(Peer::Unix(Some(peer))) if peer.uid == self.own_uid => true,
            Some(peer) => {
                Caller::attest(peer, &self.corridor.policies.estate().registry, self.corridor.clock.wall()).is_ok()
            }
            None => false,
        }
    }

    fn find(&self, request: &Request<HealthCheckRequest>) -> Option<Asked> {
        let service = request.get_ref().service.as_str();
        if SERVICES.contains(&service) {
            return Some(Asked::Whole(self.why_not.clone()));
        }
        if !self.may_know_issuers(request) {
            return None;
        }
        let alias = IssuerAlias::parse(service.strip_prefix(ISSUER)?)?;
        self.left_alone.get(&alias).cloned().map(Asked::Issuer)
    }

    /// What an answer about the whole says of the issuers, by header.
    fn of_issuers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let status = |open: &watch::Receiver<bool>| issuer(*open.borrow()).as_str_name();
        let left_alone = self.left_alone.iter().map(move |(a, open)| (ISSUERS_HEADER, format!("{a}={}", status(open))));
        let troubled = self.corridor.servers.not_renewed().into_iter();
        left_alone.chain(troubled.map(|(alias, why)| (METADATA_HEADER, format!("{alias}={}", why.name()))))
    }
}

const fn whole(why_not: Option<&'static str>) -> ServingStatus {
    serving(why_not.is_none())
}

const fn issuer(left_alone: bool) -> ServingStatus {
    serving(!left_alone)
}

const fn serving(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let (status, why) = match self.find(&request).ok_or_else(|| refused(&Fault::new(Reason::ServiceUnknown)))? {
            Asked::Whole(why_not) => {
                let why = *why_not.borrow();
                (whole(why), why)
            }
            Asked::Issuer(left_alone) => {
                let open = *left_alone.borrow();
                (issuer(open), open.then_some("the authorization server fails again and again"))
            }
        };
        let mut answer = Response::new(response(status));
        if let Some(why) = why {
            answer.metadata_mut().insert(WHY, MetadataValue::from_static(why));
        }
        if why.is_none()
            && SERVICES.contains(&request.get_ref().service.as_str())
            && self.corridor.policies.has_failed()
        {
            answer.metadata_mut().insert(POLICY_HEADER, MetadataValue::from_static(NOT_TAKEN));
        }
        if request.get_ref().service.is_empty() && self.may_know_issuers(&request) {
            for (header, value) in self.of_issuers() {
                // Aliases and our own words are ASCII, so that it always fits.
                if let Ok(value) = value.parse() {
                    answer.metadata_mut().append(header, value);
                }
            }
        }
        Ok(answer)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(match self.find(&request) {
            Some(Asked::Whole(why_not)) => Box::pin(WatchStream::new(why_not).map(|now| Ok(response(whole(now))))),
            Some(Asked::Issuer(open)) => Box::pin(WatchStream::new(open).map(|now| Ok(response(issuer(now))))),
            None => {
                let unknown = tokio_stream::once(Ok(response(ServingStatus::ServiceUnknown)));
                Box::pin(unknown.chain(tokio_stream::pending()))
            }
        }))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
