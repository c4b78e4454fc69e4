//! gRPC health v1, per service. tonic-health's own server ends a watch on an unknown service; the protocol says to
//! answer SERVICE_UNKNOWN and stay.

use crate::model::IssuerAlias;
use std::{collections::BTreeMap, pin::Pin, sync::Arc};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

/// The services whose health can be asked for: the whole, and the token service.
const SERVICES: [&str; 2] = ["", "narrowgate.v1.TokenService"];
/// And each issuer, by its alias after this: not serving while it is left alone. The others stay as they are, since a
/// dead authorization server is no reason to restart narrowgate, or to send its agents elsewhere.
const ISSUER: &str = "issuer/";
/// The header of an answer about the whole that says how each issuer is, as `alias=SERVING`: the protocol has no list.
pub(crate) const ISSUERS_HEADER: &str = "narrowgate-issuer";

/// Whether calls are served, and why not.
#[derive(Clone)]
pub struct Readiness {
    why_not: watch::Receiver<Option<&'static str>>,
    left_alone: Arc<BTreeMap<IssuerAlias, watch::Receiver<bool>>>,
}

/// One service whose health is asked for.
enum Asked {
    Whole(watch::Receiver<Option<&'static str>>),
    Issuer(watch::Receiver<bool>),
}

impl Readiness {
    /// Follows this: `None` while serving, or the reason why not; and of each issuer, whether it is left alone.
    #[must_use]
    pub fn new(
        why_not: watch::Receiver<Option<&'static str>>,
        left_alone: BTreeMap<IssuerAlias, watch::Receiver<bool>>,
    ) -> Self {
        Self { why_not, left_alone: Arc::new(left_alone) }
    }

    fn find(&self, service: &str) -> Option<Asked> {
        if SERVICES.contains(&service) {
            return Some(Asked::Whole(self.why_not.clone()));
        }
        let alias = IssuerAlias::parse(service.strip_prefix(ISSUER)?)?;
        self.left_alone.get(&alias).cloned().map(Asked::Issuer)
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
        let service = request.get_ref().service.as_str();
        let status = match self.find(service).ok_or_else(|| Status::not_found("no such service"))? {
            Asked::Whole(why_not) => whole(*why_not.borrow()),
            Asked::Issuer(left_alone) => issuer(*left_alone.borrow()),
        };
        let mut answer = Response::new(response(status));
        if service.is_empty() {
            for (alias, left_alone) in self.left_alone.iter() {
                // An alias is ASCII, so that it always fits.
                if let Ok(value) = format!("{alias}={}", issuer(*left_alone.borrow()).as_str_name()).parse() {
                    answer.metadata_mut().append(ISSUERS_HEADER, value);
                }
            }
        }
        Ok(answer)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(match self.find(&request.get_ref().service) {
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
