//! The scenes of what a grant is good for after its first token.

use super::{
    Trouble,
    scenes::{Agent, First, Scenes, get, refusal, told},
};
use crate::api::proto::{
    GetTokenResponse, SignProofRequest, Token, WatchTokenRequest, WatchTokenResponse, watch_token_response::Event,
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;
use tonic::Streaming;

/// Longer than a short-lived token takes to be succeeded.
const PATIENCE: Duration = Duration::from_secs(15);
/// Successors that are waited for.
const TRIES: usize = 3;

impl Scenes<'_> {
    pub(super) async fn narrowed_again(&mut self, quoter: &mut Agent, first: &First) -> Result<(), Trouble> {
        self.title("5  The next call needs less: the token is narrowed again");
        let before = self.stage.server.refreshes();
        let narrow = get(quoter, &first.grant, &["customers.read"]).await.map_err(told)?;
        self.say(&format!("quoter asks for a token of the same grant, for {} alone", narrow.scopes.join(" ")));
        let facts = self.stage.server.accepts(&narrow.access_token);
        self.claim(
            "the resource server accepts it, for customers.read alone",
            narrow.scopes == ["customers.read"] && facts.is_some_and(|facts| facts.scope == "customers.read"),
        );
        let again = get(quoter, &first.grant, &["customers.read"]).await.map_err(told)?;
        self.claim(
            "it was fetched once, by the refresh token, and is then served from memory",
            again.access_token == narrow.access_token && self.stage.server.refreshes() == before + 1,
        );
        let (reason, _) = refusal(get(quoter, &first.grant, &["customers.delete"]).await.err());
        self.say(&format!("quoter asks for customers.delete: {reason}"));
        self.claim(
            "what was never granted is refused, and the server not asked",
            reason == "SCOPE_NOT_GRANTED" && self.stage.server.refreshes() == before + 1,
        );
        Ok(())
    }

    pub(super) async fn refreshed_ahead(&mut self, quoter: &mut Agent) -> Result<(), Trouble> {
        self.title("6  Refreshed ahead: nobody waits for a token that is about to end");
        let (grant, first) = self.login(quoter, "sales-brief", &["customers.read"]).await?;
        self.say("by another client, whose tokens live 4 seconds; quoter watches its token");
        let request = WatchTokenRequest { grant: grant.clone(), ..WatchTokenRequest::default() };
        let mut watched = quoter.watch_token(request).await.map_err(told)?.into_inner();
        let (mut newest, mut ahead) = (first, false);
        // On a machine that is busy one may come late; the next one need not.
        for _ in 0..TRIES {
            newest = successor(&mut watched, &newest).await?;
            // It is recorded as what it was: fetched before the one before had ended.
            ahead = self.events_with("token.refreshed").await.iter().any(is_ahead);
            if ahead {
                break;
            }
        }
        drop(watched);
        self.say("its successor comes by itself");
        let held = self.stage.server.accepts(&newest.access_token).is_some();
        self.claim("it came before the one before it ended, and the resource server accepts it", held && ahead);
        Ok(())
    }

    pub(super) async fn bound(&mut self, quoter: &mut Agent) -> Result<(), Trouble> {
        self.title("7  Bound to a key: a stolen token is of no use");
        let (grant, token) = self.login(quoter, "sales-bound", &["customers.read"]).await?;
        let (other, _) = self.login(quoter, "sales-bound", &["customers.read"]).await?;
        self.say(&format!("a {} token, bound to a key that narrowgate keeps: {}", token.token_type, token.jkt));
        let proof = self.proof(quoter, &grant).await?;
        let foreign = self.proof(quoter, &other).await?;
        let served = self.call(&token, "DPoP", Some(&proof)).await?;
        self.say(&format!("quoter calls the API with the token and a proof for this request: {served}"));
        self.claim("the resource server accepts token and proof", served == 200 && token.token_type == "DPoP");
        let replayed = self.call(&token, "DPoP", Some(&proof)).await?;
        let foreign = self.call(&token, "DPoP", Some(&foreign)).await?;
        let bare = self.call(&token, "Bearer", None).await?;
        self.say(&format!("the proof again: {replayed}; a proof of another grant's key: {foreign}; no proof: {bare}"));
        self.claim("it refuses each of these", [replayed, foreign, bare] == [401; 3]);
        Ok(())
    }

    /// Calls the API with a token.
    async fn call(&self, token: &Token, scheme: &str, proof: Option<&str>) -> Result<u16, Trouble> {
        let called = self.stage.server.call_api(PATH, (scheme, &token.access_token), proof);
        called.await.map_err(|e| e.to_string())
    }

    /// A proof for one call of the API.
    async fn proof(&self, agent: &mut Agent, grant: &str) -> Result<String, Trouble> {
        let request = SignProofRequest {
            grant: grant.to_owned(),
            http_method: "GET".to_owned(),
            http_uri: format!("{}{PATH}", self.stage.server.api_origin()),
            ..SignProofRequest::default()
        };
        Ok(agent.sign_proof(request).await.map_err(told)?.into_inner().proof)
    }
}

/// What is called at the API.
const PATH: &str = "/customers";

/// The next token of a watch.
async fn successor(watched: &mut Streaming<WatchTokenResponse>, before: &Token) -> Result<Token, Trouble> {
    loop {
        let message = timeout(PATIENCE, watched.message()).await.map_err(|_| "no token came in time".to_owned())?;
        let message = message.map_err(told)?.ok_or_else(|| "the watch ended".to_owned())?;
        match message.event {
            Some(Event::Token(GetTokenResponse { token: Some(token), .. })) => {
                if token.access_token != before.access_token {
                    return Ok(token);
                }
            }
            _ => return Err("the watch ended".to_owned()),
        }
    }
}

fn is_ahead(event: &Value) -> bool {
    event.pointer("/unmapped/narrowgate/ahead") == Some(&Value::Bool(true))
}
