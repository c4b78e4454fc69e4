//! The admin service: attest the operator, read, walk the corridor, write.

use super::{
    admin_wire as wire,
    calls::{Link, refused},
    proto::{
        DrainRequest, DrainResponse, FreezeRequest, FreezeResponse, GetStatusRequest, GetStatusResponse,
        ListFreezesRequest, ListFreezesResponse, ListGrantsRequest, ListGrantsResponse, ReloadRequest, ReloadResponse,
        RevokeGrantsRequest, RevokeGrantsResponse, UnfreezeRequest, UnfreezeResponse,
        admin_service_server::AdminService,
    },
    quota::{InFlight, Quotas},
    service::evidence,
    wire_reload,
};
use crate::{
    caller::{AttestedOperator, Peer},
    exchange::Corridor,
    model::Reason,
};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// The services that operators call.
#[derive(Clone)]
pub(super) struct Administration {
    pub(super) corridor: Arc<Corridor>,
    pub(super) quotas: Arc<Quotas>,
    /// Explaining is work: one call at a time.
    pub(super) explaining: Arc<Semaphore>,
}

impl Administration {
    /// Attests and meters the operator before anything of the message is looked at.
    pub(super) async fn operator<T>(
        &self,
        request: &Request<T>,
        operation: &'static str,
    ) -> Result<(AttestedOperator, InFlight), Status> {
        let peer = request.extensions().get::<Peer>().unwrap_or(&Peer::Unix(None));
        let operator = match AttestedOperator::attest(peer, &self.corridor.policies.estate().registry.operators) {
            Ok(operator) => operator,
            Err(fault) => {
                if fault.reason == Reason::PeerChanged {
                    request.extensions().get::<Link>().cloned().unwrap_or_default().end();
                }
                let evidence = evidence(peer);
                self.quotas.admit_stranger(&evidence).map_err(|f| refused(&f))?;
                return Err(refused(&self.corridor.reject(operation, evidence, fault).await));
            }
        };
        // No agent's id has a blank.
        let in_flight = self.quotas.admit(&format!("operator {}", operator.operator().id)).map_err(|f| refused(&f))?;
        Ok((operator, in_flight))
    }
}

#[tonic::async_trait]
impl AdminService for Administration {
    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let (operator, _in_flight) = self.operator(&request, "GetStatus").await?;
        let reply = self.corridor.admin_status(operator).await.map_err(|f| refused(&f))?;
        let shadow = self.corridor.config.shadow.as_ref().map(|_| &self.corridor.policies.witness().shadow);
        Ok(Response::new(wire::status(reply, shadow)))
    }

    async fn list_grants(&self, request: Request<ListGrantsRequest>) -> Result<Response<ListGrantsResponse>, Status> {
        let (operator, _in_flight) = self.operator(&request, "ListGrants").await?;
        let (filter, after, most) = wire::page(request.into_inner()).map_err(|f| refused(&f))?;
        let reply = self.corridor.list_grants(operator, &filter, &after, most).await.map_err(|f| refused(&f))?;
        Ok(Response::new(wire::grants(reply)))
    }

    async fn revoke_grants(
        &self,
        request: Request<RevokeGrantsRequest>,
    ) -> Result<Response<RevokeGrantsResponse>, Status> {
        let (operator, _in_flight) = self.operator(&request, "RevokeGrants").await?;
        let filter = wire::which(request.into_inner()).map_err(|f| refused(&f))?;
        let (toll, decision) = self.corridor.revoke_grants(operator, filter).await.map_err(|f| refused(&f))?;
        Ok(Response::new(RevokeGrantsResponse { toll: Some(wire::toll(toll)), decision_id: decision.to_string() }))
    }

    async fn freeze(&self, request: Request<FreezeRequest>) -> Result<Response<FreezeResponse>, Status> {
        let (operator, _in_flight) = self.operator(&request, "Freeze").await?;
        let FreezeRequest { target, ticket } = request.into_inner();
        let (target, ticket) =
            wire::target(target).and_then(|t| Ok((t, wire::ticket(ticket)?))).map_err(|f| refused(&f))?;
        let reply = self.corridor.freeze(operator, target.clone(), ticket).await.map_err(|f| refused(&f))?;
        Ok(Response::new(wire::frozen(&target, reply)))
    }

    async fn unfreeze(&self, request: Request<UnfreezeRequest>) -> Result<Response<UnfreezeResponse>, Status> {
        let (operator, _in_flight) = self.operator(&request, "Unfreeze").await?;
        let target = wire::target(request.into_inner().target).map_err(|f| refused(&f))?;
        let (lifted, decision) = self.corridor.unfreeze(operator, target).await.map_err(|f| refused(&f))?;
        Ok(Response::new(UnfreezeResponse { was_frozen: lifted.is_some(), decision_id: decision.to_string() }))
    }

    async fn list_freezes(
        &self,
        request: Request<ListFreezesRequest>,
    ) -> Result<Response<ListFreezesResponse>, Status> {
        let (operator, _in_flight) = self.operator(&request, "ListFreezes").await?;
        let freezes = self.corridor.list_freezes(operator).await.map_err(|f| refused(&f))?;
        Ok(Response::new(wire::freezes(freezes)))
    }

    async fn reload(&self, request: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        let (operator, _in_flight) = self.operator(&request, "Reload").await?;
        let accepted = Some(request.into_inner().accept_weakening).filter(|digest| !digest.is_empty());
        let reply = self.corridor.admin_reload(operator, accepted).await.map_err(|f| refused(&f))?;
        Ok(Response::new(wire_reload::reloaded(&reply)))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        let (operator, _in_flight) = self.operator(&request, "Drain").await?;
        let decision = self.corridor.drain(operator).await.map_err(|f| refused(&f))?;
        Ok(Response::new(DrainResponse { decision_id: decision.to_string() }))
    }
}
