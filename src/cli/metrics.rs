//! `narrowgate metrics`: the daemon's numbers, without a scraper at hand.

use super::{Exit, output::Output};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{path::Path, time::Duration};
use tokio::net::UnixStream;

/// The longest that reading them may take.
const READING_MAX: Duration = Duration::from_secs(5);
/// Bytes that are read.
const TEXT_BYTES_MAX: usize = 4 << 20;

pub(super) async fn run(socket: &Path, output: &Output) -> Exit {
    let read = tokio::time::timeout(READING_MAX, read(socket)).await;
    match read.unwrap_or_else(|_| Err("it does not answer".to_owned())) {
        Ok(text) if output.is_json() => {
            output.result("", &json!({ "metrics": text }));
            Exit::Ok
        }
        Ok(text) => output.text(&text),
        Err(wrong) => output.fail(
            Exit::Unavailable,
            &format!("cannot read metrics from {}: {wrong}; is [metrics] configured?", socket.display()),
        ),
    }
}

async fn read(socket: &Path) -> Result<String, String> {
    let stream = UnixStream::connect(socket).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    let request = Request::get("/metrics").header("host", "localhost").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|e| e.to_string())?).await.map_err(|e| e.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), TEXT_BYTES_MAX).collect().await.map_err(|e| e.to_string())?;
    String::from_utf8(body.to_bytes().to_vec()).map_err(|_| "its answer is not UTF-8".to_owned())
}
