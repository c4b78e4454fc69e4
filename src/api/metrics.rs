//! The numbers on a Unix socket of their own: `GET /metrics` by HTTP/1.1 and nothing else. Who may open the socket may
//! read them; nothing in them is secret or anyone's own words.

use super::UnixDoor;
use crate::telemetry::metrics::MEDIA_TYPE;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// Readers at once.
const READERS_MAX: usize = 16;
/// The longest one reading may take, headers and answer.
const READING_MAX: Duration = Duration::from_secs(10);
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// Serves the numbers until `stop` says so.
pub async fn serve_metrics(
    door: UnixDoor,
    render: impl Fn() -> String + Send + Sync + 'static,
    mut stop: watch::Receiver<bool>,
) {
    let render = Arc::new(render);
    let room = Arc::new(Semaphore::new(READERS_MAX));
    let mut readers = JoinSet::new();
    loop {
        while readers.try_join_next().is_some() {}
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await.ok();
            (door.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            next = next => next,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let render = Arc::clone(&render);
        readers.spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &*render);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).max_buf_size(HEADER_BYTES_MAX).keep_alive(false);
            // How it ends matters to the reader alone.
            let _ = tokio::time::timeout(READING_MAX, builder.serve_connection(TokioIo::new(stream), service)).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, render: &dyn Fn() -> String) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        _ if request.headers().contains_key(header::ORIGIN) => (StatusCode::FORBIDDEN, String::new()),
        (&Method::GET, "/metrics") => (StatusCode::OK, render()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(MEDIA_TYPE));
    response
}
