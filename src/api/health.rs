//! gRPC health v1, per service. tonic-health's own server ends a watch on an unknown service; the protocol says to
//! answer SERVICE_UNKNOWN and stay.

use super::calls::refused;
use crate::{
    model::{Fault, Reason},
    oauth::AuthorizationServers,
};
use std::{pin::Pin, sync::Arc};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::{Request, Response, Status, metadata::MetadataValue};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

/// The services whose health can be asked for: the whole, and the token service.
const SERVICES: [&str; 2] = ["", "narrowgate.v1.TokenService"];

/// Why calls are not served, in the header of a check's answer: one of a closed list of sentences.
pub const WHY: &str = "narrowgate-why";

/// The header of an answer about the whole that names each issuer whose metadata cannot be renewed, as `alias=REASON`.
/// The last good document may stand in, so that calls are served all the same: the status says nothing of it.
const METADATA_HEADER: &str = "narrowgate-metadata";

/// Whether calls are served, and why not.
#[derive(Clone)]
pub struct Readiness(watch::Receiver<Option<&'static str>>, Arc<AuthorizationServers>);

impl Readiness {
    /// Follows this: `None` while serving, or the reason why not; and what is wrong with the metadata of these.
    #[must_use]
    pub const fn new(why_not: watch::Receiver<Option<&'static str>>, servers: Arc<AuthorizationServers>) -> Self {
        Self(why_not, servers)
    }

    fn status(why_not: Option<&'static str>) -> ServingStatus {
        if why_not.is_none() { ServingStatus::Serving } else { ServingStatus::NotServing }
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !SERVICES.contains(&request.get_ref().service.as_str()) {
            return Err(refused(&Fault::new(Reason::ServiceUnknown)));
        }
        let why_not = *self.0.borrow();
        let mut answer = Response::new(response(Self::status(why_not)));
        if let Some(why) = why_not {
            answer.metadata_mut().insert(WHY, MetadataValue::from_static(why));
        }
        if request.get_ref().service.is_empty() {
            for (alias, reason) in self.1.not_renewed() {
                // An alias and a reason are ASCII, so that it always fits.
                if let Ok(value) = format!("{alias}={}", reason.name()).parse() {
                    answer.metadata_mut().append(METADATA_HEADER, value);
                }
            }
        }
        Ok(answer)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if SERVICES.contains(&request.get_ref().service.as_str()) {
            let changes = WatchStream::new(self.0.clone()).map(|why_not| Ok(response(Self::status(why_not))));
            return Ok(Response::new(Box::pin(changes)));
        }
        let unknown = tokio_stream::once(Ok(response(ServingStatus::ServiceUnknown)));
        Ok(Response::new(Box::pin(unknown.chain(tokio_stream::pending()))))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
