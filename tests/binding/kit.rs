//! How these tests ask.

use crate::house::{
    Agent, House, Plan, reason,
    scripted_as::dpop::{Proof, verify},
};
use narrowgate::api::proto::{GetTokenRequest, RedeemCodeResponse, SignProofRequest, SignProofResponse, Token};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
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
