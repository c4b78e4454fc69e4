//! Proofs of possession (RFC 9449), checked as a strict server does, and the nonces it wants in them.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::behaviour::Reply;
use super::record::TokenRequest;
use super::world::World;

/// Seconds that a proof's time may be off.
const WINDOW: u64 = 30;

/// What the token endpoint wants of proofs.
#[derive(Debug, Default)]
pub(crate) struct Dpop {
    /// The nonce that must be in them.
    pub(crate) demanded: Option<String>,
    /// The nonce that goes out with each good answer, and is demanded from then on.
    pub(crate) next: Option<String>,
    /// Every proof is answered with a challenge and a new nonce.
    pub(crate) never_content: bool,
    /// The proofs that were good, to know them again.
    pub(crate) seen: HashSet<String>,
}

/// A proof that was taken apart, without a look at whether it is good.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

impl Proof {
    pub(crate) fn read(text: &str) -> Option<Proof> {
        let mut parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let mut json = || serde_json::from_slice(&parts.next()??).ok();
        Some(Proof { header: json()?, claims: json()? })
    }

    /// A claim that is a text.
    pub(crate) fn claim(&self, name: &str) -> Option<&str> {
        self.claims[name].as_str()
    }

    /// The thumbprint of its key (RFC 7638).
    pub(crate) fn jkt(&self) -> String {
        let jwk = &self.header["jwk"];
        let canonical = json!({ "crv": jwk["crv"], "kty": jwk["kty"], "x": jwk["x"], "y": jwk["y"] });
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.to_string().as_bytes()))
    }
}

/// Checks a proof by RFC 9449 §4.3, all but its nonce; gives the proof, or what is wrong with it. `token` is the access
/// token that came with it.
pub(crate) fn verify(
    text: &str,
    (method, target): (&str, &str),
    token: Option<&str>,
    seen: &mut HashSet<String>,
) -> Result<Proof, &'static str> {
    let proof = Proof::read(text).ok_or("it is no JWT")?;
    let Proof { header, claims } = &proof;
    if header["typ"] != "dpop+jwt" || header["alg"] != "ES256" {
        return Err("typ or alg is wrong");
    }
    let jwk = header["jwk"].as_object().ok_or("there is no jwk")?;
    if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|private| jwk.contains_key(*private)) {
        return Err("there is a private key in it");
    }
    let coordinate = |name: &str| jwk.get(name).and_then(Value::as_str).and_then(|c| URL_SAFE_NO_PAD.decode(c).ok());
    let (x, y) = (coordinate("x").ok_or("no x")?, coordinate("y").ok_or("no y")?);
    let point = [&[4], &x[..], &y].concat();
    let (signed, signature) = text.rsplit_once('.').ok_or("it is no JWT")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "the signature is no base64url")?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(signed.as_bytes(), &signature).map_err(|_| "the signature is wrong")?;
    if claims["htm"] != method || claims["htu"] != target {
        return Err("htm or htu is another request's");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    if claims["iat"].as_u64().ok_or("iat is no number")?.abs_diff(now) > WINDOW {
        return Err("iat is off");
    }
    let jti = claims["jti"].as_str().ok_or("there is no jti")?;
    if URL_SAFE_NO_PAD.decode(jti).map_or(0, |bits| bits.len()) < 16 {
        return Err("jti is too short");
    }
    let ath = token.map(|token| json!(URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))));
    if claims["ath"] != ath.unwrap_or_default() {
        return Err("ath is not the token's");
    }
    if !seen.insert(jti.to_owned()) {
        return Err("it was seen before");
    }
    Ok(proof)
}

/// A challenge (RFC 9449 §8).
fn challenge(nonce: &str) -> Reply {
    Reply::error(400, "use_dpop_nonce", None).with("DPoP-Nonce", nonce)
}

impl World {
    /// Judges the proof of a token request: its key's thumbprint, or `None` without a proof.
    pub(super) fn proven(&self, request: &TokenRequest) -> Result<Option<String>, Reply> {
        let bad = |why: &str| Reply::error(400, "invalid_dpop_proof", Some(why));
        let mut proofs = request.headers.iter().filter(|(name, _)| name == "dpop");
        let Some((_, text)) = proofs.next() else { return Ok(None) };
        self.record.note_secret(text);
        if proofs.next().is_some() {
            return Err(bad("there is more than one"));
        }
        let mut scripts = self.scripts();
        let dpop = &mut scripts.dpop;
        let target = format!("{}/token", self.token);
        let proof = verify(text, ("POST", &target), None, &mut dpop.seen).map_err(bad)?;
        if dpop.never_content {
            return Err(challenge(&super::fresh("nonce")));
        }
        if let Some(demanded) = dpop.demanded.as_deref().filter(|demanded| proof.claim("nonce") != Some(demanded)) {
            return Err(challenge(demanded));
        }
        Ok(Some(proof.jkt()))
    }

    /// What a good answer brings besides: the next nonce.
    pub(super) fn with_next_nonce(&self, reply: Reply) -> Reply {
        let mut scripts = self.scripts();
        match scripts.dpop.next.take() {
            Some(next) => {
                scripts.dpop.demanded = Some(next.clone());
                reply.with("DPoP-Nonce", &next)
            }
            None => reply,
        }
    }
}
