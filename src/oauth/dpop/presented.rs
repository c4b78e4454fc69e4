//! Proofs that agents make themselves, with keys that only they have. Such a proof is passed on as it is, so it is judged
//! as the server would judge it, before anything is bound to its key or spent.

use super::target;
use crate::{
    config::Client,
    model::{Algorithm, Algorithms, DpopProof, Fault, Reason, Wall},
    oauth::{
        AuthorizationServers,
        jose::{
            Kind,
            jwks::KeySet,
            jws::{self, Verified},
        },
        strict_json,
    },
    transaction::Begun,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::time::Duration;

/// The `htu` of the proof at Begin. It is no address, so the proof is of no use anywhere else.
pub const BEGIN_TARGET: &str = "narrowgate:begin_authorization";
/// Bytes of a proof.
const PROOF_BYTES_MAX: usize = 4096;
/// How far its time may be off, either way.
const SKEW: Duration = Duration::from_secs(60);

/// The key of an agent that proves, at Begin, that it has it: the thumbprint. `None` where the client's key is not its
/// agents'.
///
/// # Errors
/// [`Reason::DpopProofInvalid`]; [`Reason::FieldInvalid`] if there is a proof and no call for one.
pub fn possession(client: &Client, proof: Option<&DpopProof>, now: Wall) -> Result<Option<String>, Fault> {
    match (client.agent_holds_key, proof) {
        (true, Some(proof)) => judged(proof, BEGIN_TARGET, now).map(Some),
        (true, None) => Err(invalid("missing")),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(uncalled()),
    }
}

fn uncalled() -> Fault {
    Fault::field(Reason::FieldInvalid, "dpop_proof", "has no place here: the agent has no key for this client")
}

fn invalid(rule: &'static str) -> Fault {
    Fault::new(Reason::DpopProofInvalid).with("rule", rule)
}

impl AuthorizationServers {
    /// A proof for the token request of this transaction, fit to be passed on.
    ///
    /// # Errors
    /// As [`possession`]; the proof must be of the very key that began.
    pub fn passable(&self, begun: &Begun, proof: Option<DpopProof>) -> Result<Option<DpopProof>, Fault> {
        let agents = begun.bound_key.as_ref().filter(|bound| bound.is_agents());
        match (agents, proof) {
            (Some(bound), Some(proof)) => {
                let jkt = judged(&proof, &target(&begun.opening.endpoints.token)?, self.clock.wall())?;
                if jkt == bound.jkt { Ok(Some(proof)) } else { Err(invalid("jkt")) }
            }
            (Some(_), None) => Err(invalid("missing")),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(uncalled()),
        }
    }

    /// Where and with which nonce an agent has to prove, where it has the key itself.
    ///
    /// # Errors
    /// [`Reason::Internal`] if the token endpoint is no URL.
    pub fn to_be_proven(&self, begun: &Begun) -> Result<Option<(String, String)>, Fault> {
        if !begun.bound_key.as_ref().is_some_and(crate::transaction::BoundKey::is_agents) {
            return Ok(None);
        }
        let nonce = self.ways(&begun.opening.issuer.alias)?.nonce.latest();
        let nonce = nonce.map(|nonce| nonce.as_str().to_owned()).unwrap_or_default();
        target(&begun.opening.endpoints.token).map(|target| Some((target, nonce)))
    }
}

/// Judges a proof by RFC 9449 §4.3: a signature of the key in it, for this request, of now. Gives the key's thumbprint.
#[expect(clippy::disallowed_methods, reason = "a proof is read before it is passed on")]
fn judged(proof: &DpopProof, target: &str, now: Wall) -> Result<String, Fault> {
    let text = proof.reveal();
    if text.len() > PROOF_BYTES_MAX {
        return Err(invalid("size"));
    }
    let header = text.split('.').next().and_then(|segment| URL_SAFE_NO_PAD.decode(segment).ok());
    let header = header.and_then(|octets| strict_json::parse(&octets)).ok_or_else(|| invalid("form"))?;
    let jwk = header.get("jwk").filter(|jwk| jwk.is_object()).ok_or_else(|| invalid("jwk"))?;
    // Private members refuse the set, and so does a key that is none.
    let keys = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).map_err(|_| invalid("jwk"))?;
    let [key] = keys.keys() else { return Err(invalid("jwk")) };
    let allowed = Algorithms::new([Algorithm::Es256]).ok_or(Reason::Internal)?;
    let verified = jws::verify(text, &keys, &allowed, Kind::DpopProof).map_err(|rejected| invalid(rejected.rule()))?;
    claims(&verified, target, now)?;
    Ok(key.thumbprint().to_owned())
}

fn claims(verified: &Verified, target: &str, now: Wall) -> Result<(), Fault> {
    let text = |name| verified.claim(name).and_then(Value::as_str);
    let iat = verified.claim("iat").and_then(Value::as_i64).and_then(|iat| iat.checked_mul(1000));
    let is_now = iat.is_some_and(|iat| Duration::from_millis(iat.abs_diff(now.0)) <= SKEW);
    let rules = [
        ("htm", text("htm") == Some("POST")),
        ("htu", text("htu") == Some(target)),
        ("iat", is_now),
        ("jti", text("jti").is_some_and(|jti| jti.len() >= 16)),
        // It is for a token request, which carries no token.
        ("ath", verified.claim("ath").is_none()),
        ("nonce", verified.claim("nonce").is_none_or(|nonce| nonce.as_str().is_some_and(is_nonce))),
    ];
    rules.into_iter().find(|(_, kept)| !kept).map_or(Ok(()), |(rule, _)| Err(invalid(rule)))
}

fn is_nonce(text: &str) -> bool {
    super::DpopNonce::parse(text).is_some()
}
