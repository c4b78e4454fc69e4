//! How these tests watch.

use crate::house::{Agent, reason};
use narrowgate::api::proto::{
    GetTokenResponse, TokenEnded, WatchTokenRequest, WatchTokenResponse, watch_token_response::Event,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::{Code, Status, Streaming};

pub(crate) type Messages = Streaming<WatchTokenResponse>;

pub(crate) fn request(grant: &str) -> WatchTokenRequest {
    WatchTokenRequest { grant: grant.to_owned(), ..WatchTokenRequest::default() }
}

/// Watches the token of a grant.
pub(crate) async fn watch(agent: &mut Agent, grant: &str) -> Result<Messages, Status> {
    Ok(agent.watch_token(request(grant)).await?.into_inner())
}

async fn next(messages: &mut Messages) -> Result<Option<Event>, Status> {
    let message = tokio::time::timeout(Duration::from_secs(30), messages.message()).await;
    Ok(message.expect("no message comes")?.map(|message| message.event.unwrap()))
}

/// A message, without any token.
fn shown(message: Result<Option<Event>, Status>) -> String {
    match message {
        Ok(Some(Event::Token(_))) => "a token".to_owned(),
        Ok(Some(Event::Ended(ended))) => ended.reason,
        Ok(None) => "the end".to_owned(),
        Err(status) => format!("{status:?}"),
    }
}

/// The token that comes next.
pub(crate) async fn token(messages: &mut Messages) -> GetTokenResponse {
    match next(messages).await {
        Ok(Some(Event::Token(got))) => got,
        other => panic!("no token but {}", shown(other)),
    }
}

pub(crate) fn value(got: &GetTokenResponse) -> String {
    got.token.as_ref().unwrap().access_token.clone()
}

/// The end that comes next, after any tokens; the stream then ends well.
pub(crate) async fn ended(messages: &mut Messages) -> TokenEnded {
    loop {
        match next(messages).await {
            Ok(Some(Event::Token(_))) => {}
            Ok(Some(Event::Ended(ended))) => {
                assert!(next(messages).await.unwrap().is_none());
                return ended;
            }
            other => panic!("no end but {}", shown(other)),
        }
    }
}

/// The status that ends a stream, after any tokens.
pub(crate) async fn broken(messages: &mut Messages) -> (Code, String) {
    loop {
        match next(messages).await {
            Ok(Some(Event::Token(_))) => {}
            Err(status) => return (status.code(), reason(&status)),
            other => panic!("no status but {}", shown(other)),
        }
    }
}

/// Now, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "the agent's own clock")]
pub(crate) fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// Until when a token is handed out, in milliseconds.
pub(crate) fn lease(got: &GetTokenResponse) -> i128 {
    let at = got.token.as_ref().unwrap().lease_time.unwrap();
    i128::from(at.seconds) * 1000 + i128::from(at.nanos) / 1_000_000
}
