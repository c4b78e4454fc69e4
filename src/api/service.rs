//! The token service: attest, read, walk the corridor, write.

use super::{
    calls::{Deliveries, Link, Patience, refused},
    delegated,
    proto::{
        BeginAuthorizationRequest, BeginAuthorizationResponse, ExchangeTokenRequest, ExchangeTokenResponse,
        GetTokenRequest, GetTokenResponse, ObtainTokenRequest, ObtainTokenResponse, RedeemCodeRequest,
        RedeemCodeResponse, RegisterAuthorizationRequest, RegisterAuthorizationResponse, ResolveChallengeRequest,
        ResolveChallengeResponse, RevokeGrantRequest, RevokeGrantResponse, SignProofRequest, SignProofResponse,
        WatchTokenRequest, token_service_server::TokenService,
    },
    quota::{InFlight, Quotas},
    watch::{Messages, Watch},
    wire, wire_challenge, wire_proof,
};
use crate::{
    audit::Recorded,
    caller::{Caller, Peer},
    exchange::Corridor,
    grant::Reply,
    model::{Boot, Fault, Reason, fault::Detection},
};
use std::sync::Arc;
use tonic::{Request, Response, Status, metadata::MetadataMap};

/// The service that agents call.
#[derive(Clone)]
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
        let link = request.extensions().get::<Link>().cloned().unwrap_or_default();
        let caller = self.attested(peer, &link, operation).await.map_err(|f| refused(&f))?;
        let in_flight = self.quotas.admit(caller.agent().id.as_str()).map_err(|f| refused(&f))?;
        if let Some(header) = claimed_identity(request.metadata()).filter(|_| link.first_claim()) {
            self.corridor.alert(operation, &caller, Detection::ProxyIdentityHeader, header);
        }
        caller.refuse_other_name(named(request.get_ref())).map_err(|fault| refused(&fault))?;
        if self.corridor.policies.current().is_none() {
            return Err(refused(&Fault::new(Reason::PolicyNotLoaded)));
        }
        self.not_a_person(&caller, operation).await.map_err(|fault| refused(&fault))?;
        Ok((caller, in_flight))
    }

    /// Attests a peer, as it is now.
    pub(super) async fn attested(&self, peer: &Peer, link: &Link, operation: &'static str) -> Result<Caller, Fault> {
        let now = self.corridor.clock.wall();
        let fault = match Caller::attest(peer, &self.corridor.policies.estate().registry, now) {
            Ok(caller) => return Ok(caller),
            Err(fault) => fault,
        };
        let evidence = evidence(peer);
        if matches!(fault.reason, Reason::PeerCredentialExpired | Reason::PeerChanged) {
            link.end();
        }
        // Metered too: strangers must not fill the log.
        self.quotas.admit_stranger(&evidence)?;
        Err(self.corridor.reject(operation, evidence, fault).await)
    }

    /// Refuses a person's login session, unless people are served or policy lets this one in.
    pub(super) async fn not_a_person(&self, caller: &Caller, operation: &'static str) -> Result<(), Fault> {
        if caller.interactive() == Some(true) && !self.corridor.config.serves_people {
            self.corridor.admit_person(operation, caller).await?;
        }
        Ok(())
    }
}

/// Headers by which a proxy in front would say who calls. TLS ends here, so nobody in front has checked anything.
const IDENTITY_HEADERS: [&str; 12] = [
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-real-ip",
    "x-client-cert",
    "ssl-client-cert",
    "client-cert",
    "forwarded",
    "x-spiffe-id",
    "x-agent-id",
    "x-remote-user",
];

/// The first of a call's headers that claims an identity.
fn claimed_identity(metadata: &MetadataMap) -> Option<&'static str> {
    IDENTITY_HEADERS.into_iter().find(|name| metadata.contains_key(*name))
}

pub(super) fn evidence(peer: &Peer) -> String {
    match peer {
        Peer::Unix(None) => "unix peer without credentials".to_owned(),
        Peer::Unix(Some(peer)) => format!("unix uid {} gid {}", peer.uid, peer.gid),
        Peer::Mtls { svid, ip } => format!("{} from {ip}", svid.spiffe_id),
    }
}

/// A reply that holds a token, with the way to tell that it was written.
fn with_delivery<M>(reply: Recorded<Reply>, write: impl Fn(Recorded<Reply>) -> M) -> Response<M> {
    let delivery = reply.get().delivery();
    let mut response = Response::new(write(reply));
    response.extensions_mut().insert(delivery);
    response
}

/// A reply whose call counts as under way until it is taken: who never reads gets no more of them.
fn taken<M>(mut response: Response<M>, in_flight: InFlight) -> Response<M> {
    response.extensions_mut().insert(Arc::new(in_flight));
    response
}

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn begin_authorization(
        &self,
        request: Request<BeginAuthorizationRequest>,
    ) -> Result<Response<BeginAuthorizationResponse>, Status> {
        let (caller, in_flight) = self.caller(&request, "BeginAuthorization", |r| &r.agent).await?;
        let input = wire::begin(request.into_inner()).map_err(|f| refused(&f))?;
        let reply = self.corridor.begin(caller, input).await.map_err(|f| refused(&f))?;
        Ok(taken(Response::new(wire::begun(reply)), in_flight))
    }

    async fn register_authorization(
        &self,
        request: Request<RegisterAuthorizationRequest>,
    ) -> Result<Response<RegisterAuthorizationResponse>, Status> {
        let (caller, in_flight) = self.caller(&request, "RegisterAuthorization", |r| &r.agent).await?;
        let input = wire::register(request.into_inner()).map_err(|f| refused(&f))?;
        let reply = self.corridor.register(caller, input).await.map_err(|f| refused(&f))?;
        Ok(taken(Response::new(wire::registered(&reply)), in_flight))
    }

    async fn redeem_code(&self, request: Request<RedeemCodeRequest>) -> Result<Response<RedeemCodeResponse>, Status> {
        let received = self.corridor.clock.boot();
        let (caller, in_flight) = self.caller(&request, "RedeemCode", |r| &r.agent).await?;
        let input = wire::redeem(request.into_inner(), received).map_err(|f| refused(&f))?;
        let reply = self.corridor.redeem(caller, input).await.map_err(|f| refused(&f))?;
        Ok(taken(with_delivery(reply, wire::redeemed), in_flight))
    }

    async fn get_token(&self, request: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        let (caller, in_flight) = self.caller(&request, "GetToken", |r| &r.agent).await?;
        let until = self.until(&request);
        let input = wire::get(request.into_inner(), until).map_err(|f| refused(&f))?;
        let reply = self.corridor.token(caller, input).await.map_err(|f| refused(&f))?;
        Ok(taken(with_delivery(reply, wire::got), in_flight))
    }

    type WatchTokenStream = Messages;

    async fn watch_token(&self, request: Request<WatchTokenRequest>) -> Result<Response<Messages>, Status> {
        let (caller, _in_flight) = self.caller(&request, "WatchToken", |r| &r.agent).await?;
        let stream = self.quotas.admit_stream(caller.agent().id.as_str()).map_err(|f| refused(&f))?;
        let until = self.until(&request);
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or(Peer::Unix(None));
        let link = request.extensions().get::<Link>().cloned().unwrap_or_default();
        let patience = self.corridor.config.limits.call_deadline;
        let first_until = until.min(self.corridor.clock.boot().plus(patience));
        let input = wire::watch(request.into_inner(), first_until).map_err(|f| refused(&f))?;
        // The first token is as any call's; only then does it last.
        let first = tokio::time::timeout(patience, self.corridor.watch(caller, input)).await;
        let first = first.unwrap_or_else(|_| Err(Reason::DeadlineExceeded.into()));
        let (reply, watching) = first.map_err(|f| refused(&f))?;
        let deliveries = Deliveries::default();
        let watch = Watch { tokens: self.clone(), peer, link, watching, until, deliveries: deliveries.clone() };
        let mut response = taken(Response::new(watch.begin(reply)), stream);
        response.extensions_mut().insert(deliveries);
        Ok(response)
    }

    async fn sign_proof(&self, request: Request<SignProofRequest>) -> Result<Response<SignProofResponse>, Status> {
        let (caller, in_flight) = self.caller(&request, "SignProof", |r| &r.agent).await?;
        let input = wire_proof::sign(request.into_inner()).map_err(|f| refused(&f))?;
        let signed = self.corridor.sign_proof(caller, input).await.map_err(|f| refused(&f))?;
        Ok(taken(Response::new(wire_proof::signed(signed)), in_flight))
    }

    async fn exchange_token(
        &self,
        request: Request<ExchangeTokenRequest>,
    ) -> Result<Response<ExchangeTokenResponse>, Status> {
        let (caller, in_flight) = self.caller(&request, "ExchangeToken", |r| &r.agent).await?;
        let input = delegated::exchange(request.into_inner()).map_err(|f| refused(&f))?;
        let reply = self.corridor.exchange(caller, input).await.map_err(|f| refused(&f))?;
        Ok(taken(with_delivery(reply, delegated::exchanged), in_flight))
    }

    async fn obtain_token(
        &self,
        request: Request<ObtainTokenRequest>,
    ) -> Result<Response<ObtainTokenResponse>, Status> {
        let (caller, in_flight) = self.caller(&request, "ObtainToken", |r| &r.agent).await?;
        let input = delegated::obtain(request.into_inner()).map_err(|f| refused(&f))?;
        let reply = self.corridor.obtain(caller, input).await.map_err(|f| refused(&f))?;
        Ok(taken(with_delivery(reply, delegated::obtained), in_flight))
    }

    async fn resolve_challenge(
        &self,
        request: Request<ResolveChallengeRequest>,
    ) -> Result<Response<ResolveChallengeResponse>, Status> {
        let (caller, in_flight) = self.caller(&request, "ResolveChallenge", |r| &r.agent).await?;
        let input = wire_challenge::resolve(&request.into_inner()).map_err(|f| refused(&f))?;
        let reply = self.corridor.resolve_challenge(&caller, &input).await.map_err(|f| refused(&f))?;
        Ok(taken(Response::new(wire_challenge::resolved(reply)), in_flight))
    }

    async fn revoke_grant(
        &self,
        request: Request<RevokeGrantRequest>,
    ) -> Result<Response<RevokeGrantResponse>, Status> {
        let (caller, in_flight) = self.caller(&request, "RevokeGrant", |r| &r.agent).await?;
        let handle = wire::revoke(request.get_ref()).map_err(|f| refused(&f))?;
        let reply = self.corridor.revoke(caller, handle).await.map_err(|f| refused(&f))?;
        Ok(taken(Response::new(wire::revoked(&reply)), in_flight))
    }
}
