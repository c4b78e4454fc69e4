//! The token service: attest, read, walk the corridor, write.

use super::{
    calls::{Patience, refused},
    proto::{
        BeginAuthorizationRequest, BeginAuthorizationResponse, GetTokenRequest, GetTokenResponse, RedeemCodeRequest,
        RedeemCodeResponse, RevokeGrantRequest, RevokeGrantResponse, token_service_server::TokenService,
    },
    quota::{InFlight, Quotas},
    wire,
};
use crate::{
    caller::{Caller, Peer},
    exchange::Corridor,
    model::{Boot, Fault, Reason},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service that agents call.
pub(super) struct Tokens {
    pub(super) corridor: Arc<Corridor>,
    pub(super) quotas: Arc<Quotas>,
}

impl Tokens {
    /// Until when the caller waits.
    fn until<T>(&self, request: &Request<T>) -> Boot {
        let patience = request.extensions().get::<Patience>().map(|patience| patience.0);
        self.corridor.clock.boot().plus(patience.unwrap_or(self.corridor.config.limits.call_deadline))
    }

    /// Attests and meters the caller before anything of the message is looked at.
    async fn caller<T>(
        &self,
        request: &Request<T>,
        operation: &'static str,
        named: impl Fn(&T) -> &str,
    ) -> Result<(Caller, InFlight), Status> {
        let peer = request.extensions().get::<Peer>().unwrap_or(&Peer::Unix(None));
        let now = self.corridor.clock.wall();
        let caller = match Caller::attest(peer, &self.corridor.config.registry, now) {
            Ok(caller) => caller,
            Err(fault) => {
                let evidence = evidence(peer);
                // Metered too: strangers must not fill the log.
                self.quotas.admit_stranger(&evidence).map_err(|f| refused(&f))?;
                return Err(refused(&self.corridor.reject(operation, evidence, fault).await));
            }
        };
        let in_flight = self.quotas.admit(caller.agent().id.as_str()).map_err(|f| refused(&f))?;
        caller.refuse_other_name(named(request.get_ref())).map_err(|fault| refused(&fault))?;
        if self.corridor.policies.current().is_none() {
            return Err(refused(&Fault::new(Reason::PolicyNotLoaded)));
        }
        Ok((caller, in_flight))
    }
}

fn evidence(peer: &Peer) -> String {
    match peer {
        Peer::Unix(None) => "unix peer without credentials".to_owned(),
        Peer::Unix(Some(peer)) => format!("unix uid {} gid {}", peer.uid, peer.gid),
        Peer::Mtls { svid, ip } => format!("{} from {ip}", svid.spiffe_id),
    }
}

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn begin_authorization(
        &self,
        request: Request<BeginAuthorizationRequest>,
    ) -> Result<Response<BeginAuthorizationResponse>, Status> {
        let (caller, _in_flight) = self.caller(&request, "BeginAuthorization", |r| &r.agent).await?;
        let input = wire::begin(request.into_inner()).map_err(|f| refused(&f))?;
        let reply = self.corridor.begin(caller, input).await.map_err(|f| refused(&f))?;
        Ok(Response::new(wire::begun(reply)))
    }

    async fn redeem_code(&self, request: Request<RedeemCodeRequest>) -> Result<Response<RedeemCodeResponse>, Status> {
        let received = self.corridor.clock.boot();
        let (caller, _in_flight) = self.caller(&request, "RedeemCode", |r| &r.agent).await?;
        let input = wire::redeem(request.into_inner(), received).map_err(|f| refused(&f))?;
        let reply = self.corridor.redeem(caller, input).await.map_err(|f| refused(&f))?;
        Ok(Response::new(wire::redeemed(reply)))
    }

    async fn get_token(&self, request: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        let (caller, _in_flight) = self.caller(&request, "GetToken", |r| &r.agent).await?;
        let until = self.until(&request);
        let input = wire::get(request.into_inner(), until).map_err(|f| refused(&f))?;
        let reply = self.corridor.token(caller, input).await.map_err(|f| refused(&f))?;
        Ok(Response::new(wire::got(reply)))
    }

    async fn revoke_grant(
        &self,
        request: Request<RevokeGrantRequest>,
    ) -> Result<Response<RevokeGrantResponse>, Status> {
        let (caller, _in_flight) = self.caller(&request, "RevokeGrant", |r| &r.agent).await?;
        let handle = wire::revoke(request.get_ref()).map_err(|f| refused(&f))?;
        let reply = self.corridor.revoke(caller, handle).await.map_err(|f| refused(&f))?;
        Ok(Response::new(wire::revoked(&reply)))
    }
}
