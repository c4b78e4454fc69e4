//! DPoP proofs (RFC 9449 §4.2): what they say, and nothing that a caller could choose beyond the request they are for.

use super::DpopNonce;
use crate::{
    model::{AccessToken, DpopProof, Fault, Reason},
    platform::{Clock, Entropy, digest::sha256, entropy::random_base64url},
    transaction::{BoundKey, KeyHolder},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::Url;

/// Random bytes of a `jti`: 128 bits (RFC 9449 §4.2 asks for 96).
const JTI_BYTES: usize = 16;

/// The request that a proof is for.
pub struct Proven<'a> {
    /// Its method: `htm`.
    pub method: &'a str,
    /// Its target, as [`target`] gives it: `htu`.
    pub target: &'a str,
    /// The nonce that its server gave, if it gave one.
    pub nonce: Option<&'a DpopNonce>,
    /// The access token that it carries, if it carries one: `ath`.
    pub token: Option<&'a AccessToken>,
}

/// The `htu` of a URL: without query and fragment (RFC 9449 §4.2), and without userinfo, which no request line has.
///
/// # Errors
/// [`Reason::Internal`] if it is no URL with a host.
pub fn target(url: &str) -> Result<String, Fault> {
    let internal = || Fault::new(Reason::Internal);
    let mut url = Url::parse(url).map_err(|_| internal())?;
    url.set_query(None);
    url.set_fragment(None);
    url.set_username("").map_err(|()| internal())?;
    url.set_password(None).map_err(|()| internal())?;
    Ok(url.into())
}

/// A fresh proof for one request. Its time is the daemon's, its `jti` is of this proof alone.
///
/// # Errors
/// [`Reason::DpopKeyMismatch`] if the key is not the one that the authorization was begun with, or is not here;
/// [`Reason::Internal`] without entropy.
pub fn prove(
    bound: &BoundKey,
    request: &Proven<'_>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<DpopProof, Fault> {
    let key = match &bound.key {
        KeyHolder::Daemon(key) if key.thumbprint() == bound.jkt => key,
        _ => return Err(Reason::DpopKeyMismatch.into()),
    };
    let mut claims = json!({
        "jti": random_base64url::<JTI_BYTES>(entropy)?,
        "htm": request.method,
        "htu": request.target,
        "iat": clock.wall().0.div_euclid(1000),
    });
    let more = [("nonce", request.nonce.map(|nonce| nonce.as_str().to_owned())), ("ath", request.token.map(ath))];
    if let Some(claims) = claims.as_object_mut() {
        claims.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))));
    }
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{}}}"#, key.jwk());
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = key.sign(signed.as_bytes())?;
    Ok(DpopProof::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// The hash of an access token (RFC 9449 §4.2).
#[expect(clippy::disallowed_methods, reason = "the proof names the token by its hash")]
fn ath(token: &AccessToken) -> String {
    URL_SAFE_NO_PAD.encode(sha256(token.reveal().as_bytes()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test reads proofs")]

    use super::*;
    use crate::{
        model::{Boot, Wall},
        platform::{ProofKey, SystemEntropy},
    };
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Stepped(AtomicI64);

    impl Clock for Stepped {
        fn wall(&self) -> Wall {
            Wall(self.0.fetch_add(1000, Ordering::Relaxed))
        }

        fn boot(&self) -> Boot {
            Boot(0)
        }
    }

    fn parts(proof: &DpopProof) -> (Value, Value) {
        let text = proof.reveal().to_owned();
        let mut segments = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let mut json = || serde_json::from_slice(&segments.next().unwrap()).unwrap();
        (json(), json())
    }

    fn request(target: &str) -> Proven<'_> {
        Proven { method: "POST", target, nonce: None, token: None }
    }

    // rows: DPOP-01
    #[test]
    fn a_proof_says_what_it_must_and_shows_no_private_key() {
        let bound = BoundKey::generate().unwrap();
        let clock = Stepped(AtomicI64::new(1_700_000_000_999));
        let token = AccessToken::new("at".to_owned());
        let nonce = DpopNonce::parse("n-1").unwrap();
        let asked = Proven { nonce: Some(&nonce), token: Some(&token), ..request("https://as.test/token") };
        let proof = prove(&bound, &asked, &clock, &SystemEntropy::new()).unwrap();
        let (header, claims) = parts(&proof);
        assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
        let members: Vec<&str> = header["jwk"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["crv", "kty", "x", "y"]);
        assert_eq!(header.as_object().unwrap().len(), 3);
        assert_eq!((&claims["htm"], &claims["htu"]), (&json!("POST"), &json!("https://as.test/token")));
        assert_eq!((&claims["iat"], &claims["nonce"]), (&json!(1_700_000_000), &json!("n-1")));
        // echo -n at | sha256sum, in base64url.
        assert_eq!(claims["ath"], json!(URL_SAFE_NO_PAD.encode(sha256(b"at"))));
        assert_eq!(claims.as_object().unwrap().len(), 6);
        let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(header["jwk"][name].as_str().unwrap()).unwrap();
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let (signed, signature) = proof.reveal().rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).unwrap();
    }

    // rows: DPOP-03
    #[test]
    fn no_two_proofs_are_the_same() {
        let bound = BoundKey::generate().unwrap();
        let clock = Stepped(AtomicI64::new(1_700_000_000_000));
        let proofs = [(); 2].map(|()| {
            parts(&prove(&bound, &request("https://as.test/token"), &clock, &SystemEntropy::new()).unwrap()).1
        });
        assert_ne!(proofs[0]["jti"], proofs[1]["jti"]);
        assert_ne!(proofs[0]["iat"], proofs[1]["iat"]);
        assert_eq!(URL_SAFE_NO_PAD.decode(proofs[0]["jti"].as_str().unwrap()).unwrap().len(), 16);
    }

    // rows: DPOP-08
    #[test]
    fn another_key_than_was_begun_with_proves_nothing() {
        let wrong = BoundKey { key: KeyHolder::Daemon(ProofKey::generate().unwrap()), ..BoundKey::generate().unwrap() };
        let refused =
            prove(&wrong, &request("https://as.test/token"), &Stepped(AtomicI64::new(0)), &SystemEntropy::new());
        assert!(refused.err().unwrap().reason == Reason::DpopKeyMismatch);
        let agents = BoundKey::of_agent(wrong.jkt);
        let refused =
            prove(&agents, &request("https://as.test/token"), &Stepped(AtomicI64::new(0)), &SystemEntropy::new());
        assert!(refused.err().unwrap().reason == Reason::DpopKeyMismatch);
    }

    // rows: DPOP-02
    #[test]
    fn a_target_has_no_query_fragment_or_userinfo() {
        let is = |url: &str| target(url).unwrap();
        assert_eq!(is("https://as.test/token?tenant=1"), "https://as.test/token");
        assert_eq!(is("https://me:secret@as.test:8443/a/b?c#d"), "https://as.test:8443/a/b");
        assert_eq!(is("https://AS.test:443/%7Eme"), "https://as.test/%7Eme");
        assert_eq!(is("https://as.test"), "https://as.test/");
        assert!(target("urn:x").is_err() && target("/token").is_err());
    }
}
