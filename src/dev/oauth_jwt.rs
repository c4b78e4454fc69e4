//! The development authorization server's signing key and its access tokens (RFC 9068).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::authorization_server::DevError;

/// The `typ` of an access token (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";

/// The claims of an access token (RFC 9068 §2.2).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: String,
    pub(super) client_id: String,
    pub(super) scope: String,
    pub(super) iat: u64,
    pub(super) exp: u64,
    pub(super) jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cnf: Option<Confirmation>,
}

/// The key that a token is bound to (RFC 7800 §3.1, RFC 9449 §6.1).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Confirmation {
    pub(super) jkt: String,
}

/// A fresh P-256 key that signs access tokens. It lives in memory only.
pub(super) struct TokenKey {
    signing: EncodingKey,
    verifying: DecodingKey,
    x: String,
    y: String,
    kid: String,
}

impl TokenKey {
    /// Makes a key. Its `kid` is the RFC 7638 thumbprint.
    pub(super) fn generate() -> Result<TokenKey, DevError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        // SEC 1 §2.3.3: 0x04, then both coordinates.
        let (x, y) = pair
            .public_key()
            .as_ref()
            .strip_prefix(&[4])
            .and_then(|point| point.split_at_checked(32))
            .ok_or(DevError::Crypto)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        Ok(TokenKey {
            signing: EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref()),
            verifying: DecodingKey::from_ec_components(&x, &y)?,
            kid: thumbprint(&x, &y),
            x,
            y,
        })
    }

    /// The public key as a JWK Set (RFC 7517 §5).
    pub(super) fn jwks(&self) -> serde_json::Value {
        serde_json::json!({"keys": [{
            "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y,
            "use": "sig", "alg": "ES256", "kid": self.kid,
        }]})
    }

    /// Signs an access token (RFC 9068 §2).
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, DevError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.kid.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.signing)?)
    }

    /// Verifies an access token as a resource server does (RFC 9068 §4).
    pub(super) fn verify(&self, token: &str, issuer: &str, audiences: &[&str]) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = 0;
        validation.set_issuer(&[issuer]);
        validation.set_audience(audiences);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        let token = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation).ok()?;
        let is_access_token = token.header.typ.as_deref() == Some(TYPE);
        is_access_token.then_some(token.claims)
    }
}

/// 256 bits of entropy, base64url (RFC 6749 §10.10 asks for 128 at least).
pub(super) fn random() -> Result<String, DevError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The thumbprint of a P-256 key (RFC 7638 §3).
pub(super) fn thumbprint(x: &str, y: &str) -> String {
    s256(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#))
}

/// SHA-256 in base64url: the S256 challenge of a PKCE verifier (RFC 7636 §4.2), the `ath` of a token (RFC 9449 §4.2).
pub(super) fn s256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}
