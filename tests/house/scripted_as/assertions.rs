//! Clients that prove themselves by something else than a certificate: assertions verified for real, and secrets.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::TokenRequest;
use super::world::World;

/// How a client is registered.
#[derive(Debug, Clone)]
pub(crate) enum Registered {
    /// private_key_jwt (RFC 7523) by rfc7523bis, strictly.
    PrivateKeyJwt(ClientKey),
    /// The same by the letter of RFC 7523 only: `typ: JWT`, and the audience is the token endpoint.
    LegacyJwt(ClientKey),
    /// A JWT-SVID, signed by this key, for this SPIFFE ID.
    SpiffeJwt(ClientKey, String),
    /// A secret in the header.
    SecretBasic(String),
    /// A secret in the body.
    SecretPost(String),
}

/// A public key, and the one algorithm it is good for.
#[derive(Debug, Clone)]
pub(crate) struct ClientKey {
    /// `alg`.
    pub(crate) alg: &'static str,
    /// The public key, as aws-lc-rs has it.
    pub(crate) public: Vec<u8>,
    /// The certificate that `x5t` must name.
    pub(crate) certificate: Option<Vec<u8>>,
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

impl World {
    /// Whether the client of this request is registered for something else than a certificate.
    pub(super) fn is_registered(&self, request: &TokenRequest) -> bool {
        request.client_id().is_some_and(|id| self.scripts().registered.contains_key(&id))
    }

    /// Judges the client of a request by how it is registered, where that is not by certificate.
    pub(super) fn judge_registered(&self, request: &mut TokenRequest) {
        let basic = request.header("authorization");
        let shown = [basic, request.param("client_assertion"), request.param("client_secret")];
        let shown = shown.into_iter().flatten().count();
        let registered = request.client_id().and_then(|id| self.scripts().registered.get(&id).cloned());
        request.client_refused = match registered {
            None if shown > 0 => Some("not registered for that".to_owned()),
            None => request.client_refused.take(),
            Some(_) if shown != 1 => Some(format!("{shown} methods in one request")),
            Some(registered) => self.judge_method(request, &registered).err(),
        };
        if let Some((_, secret)) = request.header("authorization").and_then(basic_of) {
            self.record.note_secret(&secret);
        }
    }

    fn judge_method(&self, request: &TokenRequest, registered: &Registered) -> Result<(), String> {
        let id = request.client_id().unwrap_or_default();
        match registered {
            Registered::PrivateKeyJwt(key) => {
                let expected = Expected { key, typ: Some("client-authentication+jwt"), audience: &self.issuer };
                let claims = self.verified(request, JWT_BEARER, &expected)?;
                self.fresh(&claims, &id)
            }
            Registered::LegacyJwt(key) => {
                let endpoint = format!("{}/token", self.front);
                let expected = Expected { key, typ: Some("JWT"), audience: &endpoint };
                let claims = self.verified(request, JWT_BEARER, &expected)?;
                self.fresh(&claims, &id)
            }
            Registered::SpiffeJwt(key, spiffe_id) => {
                let expected = Expected { key, typ: None, audience: &self.issuer };
                let claims = self.verified(request, JWT_SPIFFE, &expected)?;
                if claims["sub"] == spiffe_id.as_str() { Ok(()) } else { Err("another workload".to_owned()) }
            }
            Registered::SecretBasic(secret) => {
                let found = request.header("authorization").and_then(basic_of);
                if found == Some((id, secret.clone())) { Ok(()) } else { Err("wrong secret".to_owned()) }
            }
            Registered::SecretPost(secret) => {
                let right = request.param("client_secret") == Some(secret);
                if right { Ok(()) } else { Err("wrong secret".to_owned()) }
            }
        }
    }

    /// RFC 7523 §3: whose it is, how long it is good, and that it was not seen before.
    fn fresh(&self, claims: &Value, client_id: &str) -> Result<(), String> {
        let refuse = |why: &str| Err(why.to_owned());
        if claims["iss"] != client_id || claims["sub"] != client_id {
            return refuse("iss and sub are not the client");
        }
        let (Some(iat), Some(exp)) = (claims["iat"].as_u64(), claims["exp"].as_u64()) else {
            return refuse("iat or exp is missing");
        };
        if exp.saturating_sub(iat) > 60 {
            return refuse("good for longer than a minute");
        }
        let jti = claims["jti"].as_str().unwrap_or_default();
        if URL_SAFE_NO_PAD.decode(jti).map_or(0, |raw| raw.len()) < 16 {
            return refuse("jti has fewer than 128 bits");
        }
        if !self.scripts().jtis.insert(jti.to_owned()) {
            return refuse("seen before");
        }
        Ok(())
    }

    /// The claims of a well signed assertion for this server that has not ended.
    fn verified(&self, request: &TokenRequest, kind: &str, expected: &Expected<'_>) -> Result<Value, String> {
        if request.param("client_assertion_type") != Some(kind) {
            return Err("another client_assertion_type".to_owned());
        }
        verified_jws(request.param("client_assertion").ok_or("no assertion")?, expected)
    }
}

/// The claims of a JWT that is well signed, for this server, and has not ended.
pub(super) fn verified_jws(token: &str, expected: &Expected<'_>) -> Result<Value, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("no JWS")?;
    let (header, claims) = signed.split_once('.').ok_or("no JWS")?;
    let json = |part: &str| -> Result<Value, String> {
        let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|e| e.to_string())?;
        serde_json::from_slice(&bytes).map_err(|e| e.to_string())
    };
    let (header, claims) = (json(header)?, json(claims)?);
    let key = expected.key;
    if header["alg"] != key.alg {
        return Err(format!("alg is {}", header["alg"]));
    }
    if expected.typ.is_some_and(|typ| header["typ"] != typ) {
        return Err(format!("typ is {}", header["typ"]));
    }
    let x5t = key.certificate.as_ref().map(|der| URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, der)));
    if header.get("x5t").and_then(Value::as_str) != x5t.as_deref() {
        return Err("x5t".to_owned());
    }
    let algorithm: &'static dyn VerificationAlgorithm = match key.alg {
        "ES256" => &ECDSA_P256_SHA256_FIXED,
        "EdDSA" => &ED25519,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        other => return Err(format!("unknown alg {other}")),
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|e| e.to_string())?;
    let verifier = UnparsedPublicKey::new(algorithm, &key.public);
    verifier.verify(signed.as_bytes(), &signature).map_err(|_| "badly signed".to_owned())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    if claims["exp"].as_u64().is_none_or(|exp| exp <= now) {
        return Err("ended".to_owned());
    }
    // A text and nothing else: not even a list of one.
    if expected.typ.is_some() && claims["aud"] != expected.audience {
        return Err(format!("aud is {}", claims["aud"]));
    }
    Ok(claims)
}

/// What a JWT must be.
pub(super) struct Expected<'a> {
    pub(super) key: &'a ClientKey,
    pub(super) typ: Option<&'static str>,
    pub(super) audience: &'a str,
}

/// Client ID and secret of an Authorization header, form-decoded.
pub(super) fn basic_of(header: &str) -> Option<(String, String)> {
    let both = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (id, secret) = both.split_once(':')?;
    let decode = |text: &str| {
        let pair = format!("v={text}");
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}
