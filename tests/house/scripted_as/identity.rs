//! ID tokens and the keys they are signed with: the honest ones, and forgeries of every kind.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::behaviour::{Behaviour, Outcome};
use super::world::{Grant, World, overlay};

/// How an ID token is not what it should be.
#[derive(Debug, Clone)]
pub(crate) enum Forgery {
    /// There is none.
    Missing,
    /// This is in its place.
    Instead(Value),
    /// Well signed, with these claims added, replaced, or (null) removed.
    Claims(Map<String, Value>),
    /// Well signed, with these header members added, replaced, or (null) removed.
    Header(Map<String, Value>),
    /// Well signed, with this claim twice: first `somebody-else`, then as it should be.
    Twice(&'static str),
    /// The signature is empty.
    Unsigned,
    /// `alg` is this, and the signature empty.
    AlgNone(&'static str),
    /// Signed with a key that nobody published, under the name of the right one.
    WrongKey,
    /// Signed with a key that nobody published, which is in the header.
    EmbeddedKey,
    /// HS256, with the published public key as the secret.
    HmacWithPublicKey,
    /// RS256, with the published RSA key `rsa`.
    Rs256,
    /// PS256, with the published RSA key `rsa`.
    Ps256,
}

/// The server's keys, and whom it speaks of.
#[derive(Debug)]
pub(super) struct Identity {
    /// Signs ID tokens.
    signer: Arc<EcdsaKeyPair>,
    kid: String,
    /// The members of `keys`.
    published: Vec<Value>,
    /// Claims of everyone who logs in.
    person: Map<String, Value>,
}

static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

fn fresh_key() -> Arc<EcdsaKeyPair> {
    Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The public key of a P-256 key.
pub(super) fn p256_jwk(key: &EcdsaKeyPair, kid: &str) -> Value {
    let point = key.public_key().as_ref();
    json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
        "x": b64(&point[1..33]), "y": b64(&point[33..65]),
    })
}

/// The public RSA key that [`Forgery::Rs256`] and [`Forgery::Ps256`] sign with, named `rsa` and for `alg`.
pub(crate) fn rsa_jwk(alg: &str) -> Value {
    // RFC 8017 A.1.1: SEQUENCE { INTEGER n (257 octets, the first zero), INTEGER e (3 octets) }.
    let der = RSA.public_key().as_ref();
    json!({ "kty": "RSA", "use": "sig", "kid": "rsa", "alg": alg, "n": b64(&der[9..265]), "e": b64(&der[267..270]) })
}

impl Identity {
    pub(super) fn new(access_token_key: Value) -> Identity {
        let signer = fresh_key();
        let published = vec![access_token_key, p256_jwk(&signer, "id-1")];
        let person = [("sub".to_owned(), json!("canary-sub-of-ana")), ("amr".to_owned(), json!(["pwd"]))];
        let person = Map::from_iter(person);
        Identity { signer, kid: "id-1".to_owned(), published, person }
    }

    /// Signs with a fresh key of this name from now on.
    pub(super) fn sign_anew(&mut self, kid: &str) -> Value {
        self.signer = fresh_key();
        self.kid = kid.to_owned();
        p256_jwk(&self.signer, kid)
    }

    pub(super) fn publish(&mut self, keys: Vec<Value>) {
        self.published = keys;
    }

    pub(super) fn published(&self) -> Vec<Value> {
        self.published.clone()
    }

    pub(super) fn person(&mut self, claims: &Map<String, Value>) {
        overlay(&mut self.person, claims);
    }
}

impl World {
    /// Adds an ID token to an answer, if one was asked for.
    pub(super) fn identify(&self, behaviour: &Behaviour, members: &mut Map<String, Value>, grant: &Grant) {
        let asked = grant.scope.as_deref().unwrap_or_default().split(' ').any(|scope| scope == "openid");
        // A refresh may bring one for what was asked at the login (OIDC Core §12.2).
        let asked = asked || (grant.refreshing.is_some() && grant.nonce.is_some());
        if !asked || members.contains_key("id_token") {
            return;
        }
        let access = members.get("access_token").and_then(Value::as_str).unwrap_or_default();
        let mut claims = self.id_claims(grant, access);
        let forgery = behaviour.forgery();
        match forgery {
            Some(Forgery::Missing) => return,
            Some(Forgery::Instead(value)) => return drop(members.insert("id_token".into(), value.clone())),
            Some(Forgery::Claims(changes)) => overlay(&mut claims, changes),
            _ => {}
        }
        let mut payload = Value::Object(claims).to_string();
        if let Some(Forgery::Twice(claim)) = forgery {
            payload.replace_range(..1, &format!("{{{}:\"somebody-else\",", json!(claim)));
        }
        members.insert("id_token".into(), json!(self.id_token(forgery, &payload)));
    }

    fn id_claims(&self, grant: &Grant, access: &str) -> Map<String, Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = Map::new();
        claims.insert("iss".into(), json!(self.issuer));
        claims.insert("aud".into(), json!(grant.client_id));
        claims.insert("iat".into(), json!(now));
        claims.insert("exp".into(), json!(now + 300));
        claims.insert("auth_time".into(), json!(grant.logged_in));
        claims.insert("at_hash".into(), json!(b64(&digest(&SHA256, access.as_bytes()).as_ref()[..16])));
        if let Some(nonce) = &grant.nonce {
            claims.insert("nonce".into(), json!(nonce));
        }
        overlay(&mut claims, &self.scripts().identity.person);
        claims
    }

    /// A token of this payload, well signed but for the forgery.
    fn id_token(&self, forgery: Option<&Forgery>, payload: &str) -> String {
        let (signer, kid) = {
            let scripts = self.scripts();
            (scripts.identity.signer.clone(), scripts.identity.kid.clone())
        };
        let mut header = Map::new();
        header.insert("alg".into(), json!("ES256"));
        header.insert("kid".into(), json!(kid));
        match forgery {
            Some(Forgery::Header(changes)) => overlay(&mut header, changes),
            Some(Forgery::AlgNone(name)) => {
                header.insert("alg".into(), json!(name));
                return compact(&header, payload, |_| Vec::new());
            }
            Some(Forgery::Unsigned) => return compact(&header, payload, |_| Vec::new()),
            Some(Forgery::WrongKey) => return compact(&header, payload, |message| p256(&fresh_key(), message)),
            Some(Forgery::EmbeddedKey) => {
                let key = fresh_key();
                header.insert("jwk".into(), p256_jwk(&key, &kid));
                header.insert("jku".into(), json!(format!("{}/jwks?theirs", self.front)));
                return compact(&header, payload, |message| p256(&key, message));
            }
            Some(Forgery::HmacWithPublicKey) => {
                header.insert("alg".into(), json!("HS256"));
                let secret = hmac::Key::new(hmac::HMAC_SHA256, signer.public_key().as_ref());
                return compact(&header, payload, |message| hmac::sign(&secret, message).as_ref().to_vec());
            }
            Some(Forgery::Rs256) => return rsa(header, payload, "RS256", &RSA_PKCS1_SHA256),
            Some(Forgery::Ps256) => return rsa(header, payload, "PS256", &RSA_PSS_SHA256),
            _ => {}
        }
        compact(&header, payload, |message| p256(&signer, message))
    }

    /// The key set endpoint.
    pub(super) fn jwks_outcome(&self) -> (Duration, Outcome) {
        let (behaviour, keys) = {
            let mut scripts = self.scripts();
            (scripts.jwks.next(), scripts.identity.published())
        };
        let (delay, behaviour) = behaviour.undelayed();
        let mut members = Map::new();
        members.insert("keys".into(), Value::Array(keys));
        (delay, behaviour.fixed().unwrap_or_else(|| behaviour.package(&members)))
    }
}

fn compact(header: &Map<String, Value>, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", b64(Value::Object(header.clone()).to_string()), b64(payload));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", b64(signature))
}

fn p256(key: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn rsa(mut header: Map<String, Value>, payload: &str, alg: &str, padding: &'static dyn RsaEncoding) -> String {
    header.insert("alg".into(), json!(alg));
    header.insert("kid".into(), json!("rsa"));
    compact(&header, payload, |message| {
        let mut signature = vec![0; RSA.public_modulus_len()];
        RSA.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    })
}
