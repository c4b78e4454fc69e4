//! How these tests ask.

use crate::house::{
    Agent, House, Plan, reason,
    scripted_as::dpop::{Proof, verify},
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::api::proto::{GetTokenRequest, RedeemCodeResponse, SignProofRequest, SignProofResponse, Token};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tonic::{Code, Status};

pub(crate) const READ: &str = "customers.read";
pub(crate) const WRITE: &str = "customers.write";
pub(crate) const CRM: &str = "https://crm.example.test/api/customers";

/// A house whose client's tokens are bound by DPoP.
pub(crate) fn plan() -> Plan {
    Plan::new().config("owner = \"sales\"", "owner = \"sales\"\ntoken_binding = \"dpop\"")
}

/// Such a house, and a grant of both scopes.
pub(crate) async fn granted(plan: Plan) -> (House, Agent, RedeemCodeResponse) {
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    (house, agent, redeemed)
}

/// The token of a grant with these scopes.
pub(crate) async fn narrow(agent: &mut Agent, grant: &str, scopes: &[&str]) -> Result<Token, Status> {
    let scopes = scopes.iter().map(ToString::to_string).collect();
    let request = GetTokenRequest { grant: grant.to_owned(), scopes, ..GetTokenRequest::default() };
    Ok(agent.get_token(request).await?.into_inner().token.unwrap())
}

/// A request for a proof of a GET.
pub(crate) fn proving(grant: &str, uri: &str) -> SignProofRequest {
    SignProofRequest {
        grant: grant.to_owned(),
        http_method: "GET".to_owned(),
        http_uri: uri.to_owned(),
        ..SignProofRequest::default()
    }
}

pub(crate) async fn sign(agent: &mut Agent, request: SignProofRequest) -> Result<SignProofResponse, Status> {
    Ok(agent.sign_proof(request).await?.into_inner())
}

pub(crate) fn refused<T>(result: Result<T, Status>, code: Code, why: &str) -> Status {
    let status = result.err().expect("it was not refused");
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{status:?}");
    status
}

/// A resource server that believes a token only with a fresh proof of its key (RFC 9449 §7).
#[derive(Default)]
pub(crate) struct Resource {
    /// The tokens it knows, and the key of each.
    pub(crate) keys: HashMap<String, String>,
    /// The nonce it wants.
    pub(crate) nonce: Option<String>,
    seen: HashSet<String>,
}

impl Resource {
    pub(crate) fn knowing(token: &Token) -> Self {
        let keys = [(token.access_token.clone(), token.jkt.clone())].into();
        Self { keys, ..Self::default() }
    }

    /// What it says to a GET of this target: the proof, or a challenge's nonce, or what is wrong.
    pub(crate) fn get(&mut self, target: &str, token: &Token, proof: &str) -> Result<Proof, String> {
        assert_eq!(token.token_type, "DPoP");
        let proof = verify(proof, ("GET", target), Some(&token.access_token), &mut self.seen)?;
        if self.keys.get(&token.access_token) != Some(&proof.jkt()) {
            return Err("the token is bound to another key".to_owned());
        }
        match self.nonce.as_deref().filter(|nonce| proof.claim("nonce") != Some(nonce)) {
            Some(nonce) => Err(format!("use_dpop_nonce {nonce}")),
            None => Ok(proof),
        }
    }
}

/// A key that an agent has for itself.
pub(crate) struct AgentKey(EcdsaKeyPair);

impl AgentKey {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
    }

    /// A proof for a POST, with these members added, replaced, or (null) removed in header and claims.
    pub(crate) fn prove(&self, htu: &str, header: Value, claims: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let jti = uuid::Uuid::new_v4().simple().to_string();
        let header = with(json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() }), header);
        let claims = with(json!({ "jti": jti, "htm": "POST", "htu": htu, "iat": now }), claims);
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn with(mut object: Value, more: Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

/// Asks until the answer is this.
pub(crate) async fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = ask() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("asked in vain for {what}")
}
