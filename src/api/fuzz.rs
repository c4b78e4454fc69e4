//! The doors' reader of messages, for the fuzzer.

use super::{
    delegated,
    proto::{
        BeginAuthorizationRequest, ExchangeTokenRequest, GetTokenRequest, ObtainTokenRequest, RedeemCodeRequest,
        RegisterAuthorizationRequest, ResolveChallengeRequest, RevokeGrantRequest, SignProofRequest, WatchTokenRequest,
    },
    wire, wire_challenge, wire_proof,
};
use crate::model::{Boot, Fault, Reason};
use prost::Message;

/// Reads bytes as the request of one method (0 begin, 1 redeem, 2 get, 3 revoke, 4 register, 5 prove, 6 exchange,
/// 7 obtain, 8 watch, 9 challenge) as if a caller had sent them: it must never panic. `None` if they are no such message, else what
/// the doors say to it before the corridor is walked.
pub fn fuzz_request(method: u8, bytes: &[u8]) -> Option<Result<(), Reason>> {
    match method {
        0 => said(bytes, |request: BeginAuthorizationRequest| wire::begin(request).map(drop)),
        1 => said(bytes, |request: RedeemCodeRequest| wire::redeem(request, Boot(0)).map(drop)),
        2 => said(bytes, |request: GetTokenRequest| wire::get(request, Boot(0)).map(drop)),
        3 => said(bytes, |request: RevokeGrantRequest| wire::revoke(&request).map(drop)),
        4 => said(bytes, |request: RegisterAuthorizationRequest| wire::register(request).map(drop)),
        5 => said(bytes, |request: SignProofRequest| wire_proof::sign(request).map(drop)),
        6 => said(bytes, |request: ExchangeTokenRequest| delegated::exchange(request).map(drop)),
        7 => said(bytes, |request: ObtainTokenRequest| delegated::obtain(request).map(drop)),
        8 => said(bytes, |request: WatchTokenRequest| wire::watch(request, Boot(0)).map(drop)),
        9 => said(bytes, |request: ResolveChallengeRequest| wire_challenge::resolve(&request).map(drop)),
        _ => None,
    }
}

fn said<M: Message + Default>(bytes: &[u8], read: impl FnOnce(M) -> Result<(), Fault>) -> Option<Result<(), Reason>> {
    M::decode(bytes).ok().map(|message| read(message).map_err(|fault| fault.reason))
}
