//! Between the wire and the model: proofs.

use super::{
    proto,
    wire::{claimed, grant_handle, required, scopes},
};
use crate::{
    audit::Recorded,
    exchange::ProofInput,
    grant::{By, Signed, Wanted},
    model::{Fault, Reason},
    oauth::{DpopNonce, target},
    policy::ProofAsk,
};
use std::time::Duration;

/// Bytes of a URL to be proven.
const URI_BYTES_MAX: usize = 2048;
/// Bytes of a method.
const METHOD_BYTES_MAX: usize = 32;

pub(super) fn sign(request: proto::SignProofRequest) -> Result<ProofInput, Fault> {
    let grant = grant_handle(&request.grant)?;
    required("http_method", &request.http_method)?;
    required("http_uri", &request.http_uri)?;
    let method = request.http_method;
    if method.len() > METHOD_BYTES_MAX || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
        return Err(Fault::field(Reason::FieldInvalid, "http_method", "must be an HTTP method, such as GET"));
    }
    let nonce = match request.nonce.as_str() {
        "" => None,
        text => Some(DpopNonce::parse(text).ok_or_else(|| {
            Fault::field(Reason::FieldInvalid, "nonce", "must be 1*NQCHAR (RFC 9449 §8.1) of at most 1024 bytes")
        })?),
    };
    let wanted = Wanted {
        scopes: scopes("scopes", &request.scopes)?,
        resource: (!request.resource.is_empty()).then_some(request.resource),
        min_ttl: Duration::ZERO,
        by: By::Proof,
    };
    let ask = ask(method, &request.http_uri)?;
    Ok(ProofInput { grant, wanted, ask, nonce, claimed: claimed(request.claimed)? })
}

fn ask(method: String, uri: &str) -> Result<ProofAsk, Fault> {
    let bad = || {
        Fault::field(
            Reason::FieldInvalid,
            "http_uri",
            "must be an absolute URL without userinfo, of at most 2048 bytes",
        )
    };
    let clean = uri.len() <= URI_BYTES_MAX && uri.bytes().all(|b| (0x21..=0x7e).contains(&b));
    let url = url::Url::parse(uri).ok().filter(|url| clean && url.has_host()).ok_or_else(bad)?;
    if !url.username().is_empty() || url.password().is_some() || !url.origin().is_tuple() {
        return Err(bad());
    }
    Ok(ProofAsk { method, target: target(uri).map_err(|_| bad())?, origin: url.origin().ascii_serialization() })
}

#[expect(clippy::disallowed_methods, reason = "this is the wire, and the proof is recorded")]
pub(super) fn signed(recorded: Recorded<Signed>) -> proto::SignProofResponse {
    let signed = recorded.into_inner();
    proto::SignProofResponse {
        proof: signed.proof().reveal().to_owned(),
        jkt: signed.jkt().to_owned(),
        decision_id: signed.verdict().id.to_string(),
    }
}
