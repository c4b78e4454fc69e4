//! The grants without a person: token exchange (RFC 8693), JWT assertions (RFC 7523 §2.1), client credentials.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Map, Value, json};

use super::behaviour::Reply;
use super::record::TokenRequest;
use super::world::{Grant, World, overlay};
use super::{ScriptedAs, fresh};

pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// What an exchange came to.
#[derive(Debug, Clone)]
pub(super) struct Exchanged {
    sub: Value,
    act: Option<Value>,
    requested: Option<String>,
    lifetime: u64,
}

/// Whom the server trusts, and what it issued.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// The public keys of actor tokens.
    actors: Vec<Vec<u8>>,
    /// The scope of each token it issued.
    issued: HashMap<String, String>,
}

impl ScriptedAs {
    /// A JWT of this server: an access token unless its header says otherwise, with these claims added, replaced, or
    /// (null) removed.
    pub(crate) fn token_of(&self, header: &Value, claims: &Value) -> String {
        let now = now();
        let mut all = Map::new();
        for (name, value) in [
            ("iss", json!(self.issuer())),
            ("sub", json!("canary-sub-of-bob")),
            ("iat", json!(now)),
            ("exp", json!(now + 1800)),
            ("jti", json!(fresh("jti"))),
        ] {
            all.insert(name.to_owned(), value);
        }
        overlay(&mut all, claims.as_object().unwrap());
        let token = self.world.sign_as(header.as_object().unwrap(), &all);
        self.world.record.note_secret(&token);
        token
    }

    /// Trusts actor tokens signed with this key, PEM.
    pub(crate) fn trust_actor_key(&self, pem: &str) {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der()).unwrap();
        self.world.scripts().trust.actors.push(pair.public_key().as_ref().to_vec());
    }

    /// The token requests of a grant type so far.
    pub(crate) fn requests_of(&self, grant_type: &str) -> Vec<TokenRequest> {
        let mut requests = self.token_requests();
        requests.retain(|request| request.param("grant_type") == Some(grant_type));
        requests
    }
}

impl World {
    /// Judges a token request of one of these grants.
    pub(super) fn delegate(&self, request: &TokenRequest) -> Result<Grant, Reply> {
        let refuse = |error: &str, why: &str| Reply::error(400, error, Some(why));
        let now = now();
        let (exchanged, bound) = match request.param("grant_type") {
            Some(TOKEN_EXCHANGE) => self.exchange(request).map_err(|(error, why)| refuse(error, why))?,
            Some(JWT_BEARER) => {
                let claims = request.param("assertion").and_then(|token| self.verified_by(token, &[]));
                let claims = claims.ok_or_else(|| refuse("invalid_grant", "the assertion is not verified"))?;
                if claims["aud"] != json!(self.issuer) || claims["exp"].as_u64().is_none_or(|exp| exp <= now) {
                    return Err(refuse("invalid_grant", "the assertion is not for us, or over"));
                }
                let exchanged = Exchanged { sub: claims["sub"].clone(), act: None, requested: None, lifetime: 3600 };
                (exchanged, None)
            }
            _ => (Exchanged { sub: Value::Null, act: None, requested: None, lifetime: 3600 }, None),
        };
        let scope = request.param("scope").ok_or_else(|| refuse("invalid_scope", "scope is missing"))?;
        let bound = bound.as_deref().unwrap_or(scope);
        if scope.split(' ').any(|one| !bound.split(' ').any(|granted| granted == one)) {
            return Err(refuse("invalid_scope", "beyond the subject token"));
        }
        let of = |name: &str| -> Vec<String> {
            request.form.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
        };
        Ok(Grant {
            // Nobody logs in for it.
            logged_in: 0,
            client_id: request.param("client_id").unwrap_or_default().to_owned(),
            redirect_uri: String::new(),
            challenge: String::new(),
            scope: Some(scope.to_owned()),
            nonce: None,
            resources: [of("resource"), of("audience")].concat(),
            used: true,
            family: fresh("family"),
            refreshing: None,
            jkt: None,
            details: None,
            exchanged: Some(exchanged),
        })
    }

    fn exchange(&self, request: &TokenRequest) -> Result<(Exchanged, Option<String>), (&'static str, &'static str)> {
        let param = |name: &str| request.param(name);
        let subject = param("subject_token").ok_or(("invalid_request", "subject_token is missing"))?;
        if !matches!(param("subject_token_type"), Some(ACCESS_TOKEN | JWT)) {
            return Err(("invalid_request", "subject_token_type"));
        }
        if param("resource").is_none() && param("audience").is_none() {
            return Err(("invalid_target", "neither resource nor audience"));
        }
        let known = self.scripts().trust.issued.get(subject).cloned();
        let claims = match (self.verified_by(subject, &[]), known) {
            (Some(claims), _) => claims,
            // An opaque one of our own.
            (None, Some(scope)) => json!({ "sub": "user-1", "exp": now() + 3600, "scope": scope }),
            (None, None) => return Err(("invalid_request", "the subject token is not ours")),
        };
        let left = claims["exp"].as_u64().unwrap_or(0).saturating_sub(now());
        if left == 0 {
            return Err(("invalid_request", "the subject token is over"));
        }
        let act = match (param("actor_token"), param("actor_token_type")) {
            (None, None) => claims.get("act").cloned(),
            (Some(actor), Some(JWT)) => {
                let keys = self.scripts().trust.actors.clone();
                let actor =
                    self.verified_by(actor, &keys).ok_or(("invalid_request", "the actor token is not verified"))?;
                let fits = actor["aud"] == json!(self.issuer) && actor["iss"] == json!(param("client_id"));
                if !fits || actor["exp"].as_u64().is_none_or(|exp| exp <= now()) {
                    return Err(("invalid_request", "the actor token is not for us, or over"));
                }
                let mut act = json!({ "sub": actor["sub"] });
                if let Some(before) = claims.get("act") {
                    act["act"] = before.clone();
                }
                Some(act)
            }
            _ => return Err(("invalid_request", "actor_token and actor_token_type go together")),
        };
        let requested = param("requested_token_type").map(str::to_owned);
        let scope = claims["scope"].as_str().map(str::to_owned);
        Ok((Exchanged { sub: claims["sub"].clone(), act, requested, lifetime: left }, scope))
    }

    /// The claims of a JWT signed with one of these keys; without any, of our own.
    fn verified_by(&self, token: &str, keys: &[Vec<u8>]) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let own = [self.signer.public_key().as_ref().to_vec()];
        let keys = if keys.is_empty() { &own[..] } else { keys };
        let fits = |key: &Vec<u8>| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(signed.as_bytes(), &signature).is_ok()
        };
        if !keys.iter().any(fits) {
            return None;
        }
        let (_, payload) = signed.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    /// What an honest answer to one of these grants has besides.
    pub(super) fn delegated(&self, members: &mut Map<String, Value>, grant: &Grant, request: &TokenRequest) {
        let Some(exchanged) = &grant.exchanged else { return };
        members.remove("refresh_token");
        members.insert("expires_in".into(), json!(exchanged.lifetime.min(3600)));
        if let Some(requested) = &exchanged.requested {
            let claims = self.claims(grant, request, None, members.get("scope").cloned());
            members.insert("access_token".into(), json!(self.sign(&claims)));
            members.insert("issued_token_type".into(), json!(requested));
            if requested != ACCESS_TOKEN {
                members.insert("token_type".into(), json!("N_A"));
            }
        }
    }

    /// What claims an exchanged token has besides.
    pub(super) fn delegated_claims(claims: &mut Map<String, Value>, grant: &Grant) {
        let Some(exchanged) = &grant.exchanged else { return };
        claims.remove("cnf");
        claims.insert("sub".into(), exchanged.sub.clone());
        if let Some(act) = &exchanged.act {
            claims.insert("act".into(), act.clone());
        }
    }

    /// Notes a token that goes out.
    pub(super) fn note_issued(&self, members: &Map<String, Value>) {
        let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.scripts().trust.issued.insert(text("access_token"), text("scope"));
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
