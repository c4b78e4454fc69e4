//! DPoP proofs (RFC 9449 §4.3), as the development authorization server and its APIs judge them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderMap, HeaderName};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::oauth_jwt::{s256, thumbprint};

/// The header that carries a proof (RFC 9449 §4.1).
pub(super) const DPOP: HeaderName = HeaderName::from_static("dpop");

/// How far the time of a proof may be off, in seconds.
const SKEW_SECS: u64 = 60;
/// How many proofs are remembered.
const CAPACITY: usize = 10_000;

/// A proof that holds.
#[derive(Debug)]
pub(super) struct Proof {
    /// The thumbprint of its key (RFC 7638).
    pub(super) jkt: String,
    /// The hash of the access token that it is for.
    pub(super) ath: Option<String>,
}

/// The public key in a proof's header. Anything more in it, such as a private key, is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    jwk: Jwk,
}

/// The claims of a proof (RFC 9449 §4.2).
#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: u64,
    ath: Option<String>,
}

/// The proofs seen, each with its time: none counts twice (RFC 9449 §11.1).
#[derive(Default)]
pub(super) struct Seen(Mutex<BTreeMap<String, u64>>);

impl Seen {
    /// Judges the one proof in these headers, for a request with this method and URL.
    pub(super) fn judge(
        &self,
        headers: &HeaderMap,
        (method, url): (&str, &str),
        now: u64,
    ) -> Result<Proof, &'static str> {
        let mut proofs = headers.get_all(DPOP).iter();
        let (Some(proof), None) = (proofs.next(), proofs.next()) else {
            return Err("there is not exactly one DPoP header");
        };
        let proof = proof.to_str().map_err(|_| "the proof is no JWT")?;
        let (claims, jkt) = verified(proof).ok_or("the proof is not signed by the key in it")?;
        if claims.htm != method || claims.htu != url {
            return Err("the proof is for another request");
        }
        if claims.iat.abs_diff(now) > SKEW_SECS {
            return Err("the proof is not of now");
        }
        // Nothing under this lock panics.
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| at.abs_diff(now) <= 2 * SKEW_SECS);
        if seen.len() >= CAPACITY || seen.insert(s256(&format!("{jkt}.{}", claims.jti)), claims.iat).is_some() {
            return Err("the proof was used before");
        }
        Ok(Proof { jkt, ath: claims.ath })
    }
}

/// The claims of a proof that the key in its header signed, and that key's thumbprint.
fn verified(proof: &str) -> Option<(Claims, String)> {
    let header = URL_SAFE_NO_PAD.decode(proof.split('.').next()?).ok()?;
    let Header { typ, jwk } = serde_json::from_slice(&header).ok()?;
    if typ != "dpop+jwt" || jwk.kty != "EC" || jwk.crv != "P-256" {
        return None;
    }
    let mut validation = Validation::new(Algorithm::ES256);
    // A proof has none of these.
    validation.set_required_spec_claims::<&str>(&[]);
    validation.validate_exp = false;
    let key = DecodingKey::from_ec_components(&jwk.x, &jwk.y).ok()?;
    let token = jsonwebtoken::decode::<Claims>(proof, &key, &validation).ok()?;
    Some((token.claims, thumbprint(&jwk.x, &jwk.y)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use http::HeaderValue;
    use serde_json::{Value, json};

    const URL: &str = "https://api.test/customers";
    const NOW: u64 = 1_800_000_000;

    fn jwk(key: &EcdsaKeyPair) -> Value {
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
    }

    /// A proof by one key that names this one, with a change to its claims.
    fn proof(key: &EcdsaKeyPair, jwk: &Value, change: impl FnOnce(&mut Value)) -> HeaderMap {
        let mut claims = json!({ "jti": "a", "htm": "GET", "htu": URL, "iat": NOW });
        change(&mut claims);
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = key.sign(&aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes()).unwrap();
        let proof = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        HeaderMap::from_iter([(DPOP, HeaderValue::try_from(proof).unwrap())])
    }

    #[test]
    fn a_proof_is_for_one_request_of_now_by_its_own_key() {
        let [key, other] = [(); 2].map(|()| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
        let seen = Seen::default();
        let judge = |headers: &HeaderMap| seen.judge(headers, ("GET", URL), NOW);
        let good = proof(&key, &jwk(&key), |_| {});
        let (x, y) = (jwk(&key)["x"].clone(), jwk(&key)["y"].clone());
        assert_eq!(judge(&good).unwrap().jkt, thumbprint(x.as_str().unwrap(), y.as_str().unwrap()));
        assert_eq!(judge(&good).unwrap_err(), "the proof was used before");
        let with = |name: &'static str, value: Value| {
            proof(&key, &jwk(&key), |claims| {
                claims["jti"] = json!(name);
                claims[name] = value;
            })
        };
        for (name, value) in [("htm", json!("POST")), ("htu", json!("https://api.test/"))] {
            assert_eq!(judge(&with(name, value)).unwrap_err(), "the proof is for another request");
        }
        for iat in [NOW - 61, NOW + 61] {
            assert_eq!(judge(&with("iat", json!(iat))).unwrap_err(), "the proof is not of now");
        }
        let mut private = jwk(&key);
        private["d"] = json!("AAAA");
        for named in [&jwk(&other), &private] {
            let unsigned = judge(&proof(&key, named, |claims| claims["jti"] = json!("b")));
            assert_eq!(unsigned.unwrap_err(), "the proof is not signed by the key in it");
        }
        let mut two = good;
        two.append(DPOP, HeaderValue::from_static("x"));
        assert!(judge(&two).is_err() && judge(&HeaderMap::new()).is_err());
    }
}
