//! The callback listener for a person at a laptop (decisions 8): on a loopback literal, one static page,
//! nothing of the request in the answer.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, time::Duration};
use tokio::{net::TcpListener, sync::mpsc};
use url::Url;
use zeroize::Zeroizing;

const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>narrowgate</title>\
<p>Done. You can close this window and go back to the terminal.</p></html>\n";
/// The longest one connection may take to send its request.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Callbacks that may wait while another is looked at.
const CALLBACKS_WAITING_MAX: usize = 4;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// A listener that waits for one callback.
pub(super) struct CallbackListener {
    listener: TcpListener,
    path: String,
    sender: mpsc::Sender<Zeroizing<String>>,
    arrived: mpsc::Receiver<Zeroizing<String>>,
    /// The redirect URI with the port that was given.
    pub(super) redirect_uri: String,
}

impl CallbackListener {
    /// Listens where a redirect URI on a loopback literal points; without a port in it, on any free one.
    pub(super) async fn bind(redirect_uri: &str) -> Result<Self, String> {
        let url = Url::parse(redirect_uri).map_err(|_| "--redirect-uri must be an absolute URI".to_owned())?;
        let literal = matches!(url.host_str(), Some("127.0.0.1" | "[::1]"));
        if url.scheme() != "http" || !literal {
            return Err("--listen needs a redirect URI on the literal 127.0.0.1 or [::1] (RFC 8252 §7.3)".to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        let place = format!("{host}:{}", url.port().unwrap_or(0));
        let listener = TcpListener::bind(&place).await.map_err(|e| format!("cannot listen on {place}: {e}"))?;
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        let redirect_uri = if url.port().is_some() {
            redirect_uri.to_owned()
        } else {
            redirect_uri.replacen(host, &format!("{host}:{port}"), 1)
        };
        let (sender, arrived) = mpsc::channel(CALLBACKS_WAITING_MAX);
        Ok(Self { listener, path: url.path().to_owned(), sender, arrived, redirect_uri })
    }

    /// Waits for the browser and answers it with the static page. Returns path and query as received. It may be asked
    /// again: anyone on this machine can send a forged callback, and the person's own comes after it.
    pub(super) async fn callback(&mut self) -> io::Result<Zeroizing<String>> {
        loop {
            tokio::select! {
                Some(callback) = self.arrived.recv() => return Ok(callback),
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted?;
                    let (sender, path) = (self.sender.clone(), self.path.clone());
                    tokio::spawn(async move {
                        let service = service_fn(move |request| {
                            let answer = answer(&request, &path, &sender);
                            async move { Ok::<_, Infallible>(answer) }
                        });
                        let mut builder = http1::Builder::new();
                        builder.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(REQUEST_MAX).max_buf_size(HEAD_BYTES_MAX);
                        // The page is a courtesy; the callback has arrived.
                        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            }
        }
    }
}

fn answer(request: &Request<Incoming>, path: &str, sender: &mpsc::Sender<Zeroizing<String>>) -> Response<Full<Bytes>> {
    let query = request.uri().query().unwrap_or_default();
    let ours = request.method() == http::Method::GET && request.uri().path() == path;
    let complete = ours && query.split('&').any(|p| p.starts_with("code=") || p.starts_with("error="));
    let taken = complete && sender.try_send(Zeroizing::new(format!("{path}?{query}"))).is_ok();
    let (status, body) = if taken { (StatusCode::OK, PAGE) } else { (StatusCode::NOT_FOUND, "") };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(redirect_uri: &str, target: &str) -> String {
        let place = redirect_uri.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let mut stream = tokio::net::TcpStream::connect(place).await.unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_page_is_static_and_the_listener_ends_with_its_owner() {
        let mut listener = CallbackListener::bind("http://127.0.0.1/cb").await.unwrap();
        let redirect = listener.redirect_uri.clone();
        let waiting = tokio::spawn(async move { listener.callback().await });
        assert!(ask(&redirect, "/other?code=x").await.starts_with("HTTP/1.1 404"));
        assert!(ask(&redirect, "/cb?x=1").await.starts_with("HTTP/1.1 404"));
        let page = ask(&redirect, "/cb?code=fake-code&state=fake-state&next=https://evil.test").await;
        assert!(page.starts_with("HTTP/1.1 200"));
        let lower = page.to_lowercase();
        for absent in ["evil", "fake-code", "fake-state", "location:"] {
            assert!(!lower.contains(absent), "{absent}");
        }
        for present in ["cache-control: no-store", "referrer-policy: no-referrer", "default-src 'none'"] {
            assert!(lower.contains(present), "{present}");
        }
        let callback = waiting.await.unwrap().unwrap();
        assert_eq!(callback.as_str(), "/cb?code=fake-code&state=fake-state&next=https://evil.test");
        let place = redirect.trim_start_matches("http://").trim_end_matches("/cb").to_owned();
        assert!(tokio::net::TcpStream::connect(place).await.is_err());
    }

    #[tokio::test]
    async fn only_loopback_literals_are_listened_on() {
        for bad in ["http://localhost/cb", "https://127.0.0.1/cb", "http://0.0.0.0/cb", "http://10.0.0.1/cb", "cb"] {
            assert!(CallbackListener::bind(bad).await.is_err(), "{bad}");
        }
    }
}
