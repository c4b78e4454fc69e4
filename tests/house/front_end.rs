//! A front end that begins requests itself and registers them.

use super::{Agent, House, begin_request, redeem_request};
use narrowgate::{
    api::proto::{RedeemCodeRequest, RegisterAuthorizationRequest},
    platform::digest::sha256,
};
use tonic::Status;

/// The verifier and its challenge of RFC 7636 appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const STATE: &str = "state-of-a-front-end-0123456789";

/// What a front end says of its request for this agent.
pub(crate) fn registration(for_agent: &str, scopes: &[&str]) -> RegisterAuthorizationRequest {
    let begun = begin_request(scopes);
    RegisterAuthorizationRequest {
        client: begun.client,
        scopes: begun.scopes,
        redirect_uri: begun.redirect_uri,
        for_agent: for_agent.to_owned(),
        code_challenge: CHALLENGE.to_owned(),
        code_challenge_method: "S256".to_owned(),
        state_hash: sha256(STATE.as_bytes()).to_vec(),
        ..RegisterAuthorizationRequest::default()
    }
}

impl House {
    /// Registers a request for an agent and has the person approve it: what the agent redeems it with. `begins` is any
    /// agent that may begin: a request of narrowgate's shows where the server is, and what it is asked.
    pub(crate) async fn registered(
        &self,
        front_end: &mut Agent,
        begins: &mut Agent,
        request: RegisterAuthorizationRequest,
    ) -> Result<RedeemCodeRequest, Status> {
        let scopes: Vec<&str> = request.scopes.iter().map(String::as_str).collect();
        let begun = self.begin(begins, &scopes).await?;
        let transaction = front_end.register_authorization(request.clone()).await?.into_inner().transaction;
        let mut url = url::Url::parse(&begun.authorization_url).unwrap();
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let theirs = pairs.iter().map(|(key, value)| match key.as_str() {
            "state" => (key.as_str(), STATE),
            "code_challenge" => (key.as_str(), CHALLENGE),
            _ => (key.as_str(), value.as_str()),
        });
        url.query_pairs_mut().clear().extend_pairs(theirs);
        let callback = self.server.approve(url.as_str());
        Ok(RedeemCodeRequest { code_verifier: VERIFIER.to_owned(), ..redeem_request(&transaction, &callback.url) })
    }
}
