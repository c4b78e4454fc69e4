//! One HTTP/1.1 request over one TLS connection: no redirects, no proxies, no cookies, no retries, everything capped.

use super::{
    addresses::{self, Unconnected},
    client_authentication::Authenticated,
    jose::jwks::KeySet,
    lane::Passage,
    names::Names,
    tls, wiped,
};
use crate::{
    config::Reach,
    model::{DpopProof, Fault, Reason},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header, request};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use url::Url;
use zeroize::Zeroizing;

/// Bytes of an answer's head that are waited for. The last read may bring as much again, so 64 KiB in all.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The longest that a server may tell a caller to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The content type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// An open connection that has carried nothing yet.
pub struct Line {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    host: String,
    target: String,
    /// What connecting took of the deadline.
    pub(super) spent: Duration,
    /// The keys to verify an ID token of the answer with, fetched before anything is sent.
    pub(super) keys: Option<Arc<KeySet>>,
    /// The agent's own proof for the request, where it has the key (RFC 9449 §4.1).
    pub(super) proof: Option<DpopProof>,
    /// What learns how it went, if it is for a token request.
    pub(super) passage: Option<Passage>,
}

impl Line {
    /// Takes along the proof that the agent made for the request.
    #[must_use]
    pub fn carrying(self, proof: Option<DpopProof>) -> Self {
        let mut line = self;
        line.proof = proof;
        line
    }

    /// Whether the connection still stands. A server that refuses our certificate says so only after the handshake
    /// (RFC 8446 §4.4.2.4), so this is asked right before the code is spent.
    pub async fn stands(&mut self) -> bool {
        let stands = self.sender.ready().await.is_ok();
        if let Some(passage) = self.passage.take_if(|_| !stands) {
            passage.failed(Reason::AsUnreachable, None);
        }
        stands
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why nothing came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection broke, or the answer's head was not HTTP or too long.
    Connection,
    /// The body is longer than allowed.
    TooLong,
}

/// Opens a connection. No byte of a request has left when this fails.
///
/// # Errors
/// [`Reason::AsUnreachable`], [`Reason::AsTlsUntrusted`]; [`Reason::MetadataRejected`] if the host's addresses are out
/// of reach.
pub(super) async fn connect(url: &Url, config: &Arc<ClientConfig>, reach: Reach, names: &Names) -> Result<Line, Fault> {
    let unreachable = || Fault::new(Reason::AsUnreachable);
    let host = url.host_str().ok_or_else(unreachable)?;
    let port = url.port_or_known_default().ok_or_else(unreachable)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare.clone()).map_err(|_| unreachable())?;
    let tcp = addresses::connect(&bare, port, reach, names).await.map_err(|why| match why {
        Unconnected::Failed(kind) => {
            tracing::warn!(host, port, %kind, "cannot connect to the server");
            unreachable()
        }
        Unconnected::OutOfReach => {
            tracing::error!(
                host,
                port,
                "the host has an address that is not public, and only a wildcard of the configuration names it; if it \
                 is right, add to [[issuer]]: allowed_hosts = [{host:?}]"
            );
            let fault = Fault::new(Reason::MetadataRejected).with("field", "address").with("cure", "allowed_hosts");
            fault.in_detail(
                "It names a host at an address that is not public, and only a wildcard of the configuration admits it.",
            )
        }
    })?;
    // Without it Nagle and delayed ACK cost 40 ms now and then; failing to set it costs no more.
    let _ = tcp.set_nodelay(true);
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(|error| {
        let by_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let why = by_tls.map_or("the connection broke", tls::in_our_words);
        tracing::warn!(host, port, why, "no TLS with the server");
        Fault::new(if by_tls.is_some() { Reason::AsTlsUntrusted } else { Reason::AsUnreachable })
    })?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|_| unreachable())?;
    let driver = tokio::spawn(async move {
        // How it ends is seen by the request on it.
        let _ = connection.await;
    });
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    Ok(Line { sender, driver, host: authority, target, spent: Duration::ZERO, keys: None, proof: None, passage: None })
}

/// Sends a form that proves who sends it, and reads the answer. From the call on, bytes may have left. What came of a
/// body stays in `came` when the rest never does, also when this future is dropped.
pub(super) async fn post(
    mut line: Line,
    request: Authenticated,
    bytes_max: usize,
    came: &mut Zeroizing<Vec<u8>>,
) -> Result<Answer, Broken> {
    post_with(&mut line, request, None, bytes_max, came).await
}

/// As [`post`], with a DPoP proof where there is one (RFC 9449 §4.1), on a connection that may be used again.
pub(super) async fn post_with(
    line: &mut Line,
    form: Authenticated,
    proof: Option<&str>,
    bytes_max: usize,
    came: &mut Zeroizing<Vec<u8>>,
) -> Result<Answer, Broken> {
    let mut request = head(line, Method::POST).header(header::CONTENT_TYPE, FORM);
    if let Some(authorization) = form.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if let Some(proof) = proof {
        let mut value = HeaderValue::from_str(proof).map_err(|_| Broken::Connection)?;
        value.set_sensitive(true);
        request = request.header("DPoP", value);
    }
    // The copy inside hyper's buffers is out of our reach and is freed, not wiped (decisions 27).
    send(line, request.body(Full::new(Bytes::copy_from_slice(form.form.as_bytes()))), bytes_max, came).await
}

/// Gets a document.
pub(super) async fn get(mut line: Line, bytes_max: usize) -> Result<Answer, Broken> {
    let request = head(&line, Method::GET).body(Full::new(Bytes::new()));
    send(&mut line, request, bytes_max, &mut Zeroizing::default()).await
}

/// Gets a file of any type, unless it is still the one with this entity tag (RFC 9110 §13.1.2).
pub(super) async fn get_unless(mut line: Line, tag: Option<&HeaderValue>, bytes_max: usize) -> Result<Answer, Broken> {
    let mut request = head(&line, Method::GET).body(Full::new(Bytes::new()));
    if let Ok(request) = &mut request {
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(tag) = tag {
            request.headers_mut().insert(header::IF_NONE_MATCH, tag.clone());
        }
    }
    send(&mut line, request, bytes_max, &mut Zeroizing::default()).await
}

fn head(line: &Line, method: Method) -> request::Builder {
    Request::builder()
        .method(method)
        .uri(line.target.as_str())
        .header(header::HOST, line.host.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, concat!("narrowgate/", env!("CARGO_PKG_VERSION")))
}

async fn send(
    line: &mut Line,
    request: http::Result<Request<Full<Bytes>>>,
    bytes_max: usize,
    came: &mut Zeroizing<Vec<u8>>,
) -> Result<Answer, Broken> {
    let request = request.map_err(|_| Broken::Connection)?;
    let response = line.sender.send_request(request).await.map_err(|_| Broken::Connection)?;
    let (head, incoming) = response.into_parts();
    read(incoming, bytes_max, came).await?;
    Ok(Answer { status: head.status, headers: head.headers, body: std::mem::take(came) })
}

async fn read(mut incoming: Incoming, bytes_max: usize, came: &mut Zeroizing<Vec<u8>>) -> Result<(), Broken> {
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| Broken::Connection)?;
        let Ok(data) = frame.into_data() else { continue };
        let room = bytes_max.saturating_sub(came.len());
        wiped::add(came, data.get(..room).unwrap_or(&data));
        if data.len() > room {
            return Err(Broken::TooLong);
        }
    }
    Ok(())
}

impl Answer {
    /// Whether it says `application/json`, whatever its parameters, in plain encoding.
    pub(super) fn is_json(&self) -> bool {
        self.is_content("application/json")
    }

    /// Whether it says this content type, whatever its parameters, in plain encoding.
    pub(super) fn is_content(&self, wanted: &str) -> bool {
        let text = |name| self.headers.get(name).and_then(|v| v.to_str().ok());
        let plain = text(header::CONTENT_ENCODING).is_none_or(|e| e.eq_ignore_ascii_case("identity"));
        let content = text(header::CONTENT_TYPE).unwrap_or_default();
        let essence = content.split(';').next().unwrap_or_default().trim();
        plain && essence.eq_ignore_ascii_case(wanted)
    }

    /// Seconds of a Retry-After header (RFC 9110 §10.2.3), capped; a few if there is none.
    pub(super) fn retry_after(&self) -> Duration {
        self.asked_to_wait().unwrap_or(Duration::from_secs(5))
    }

    /// Seconds of a Retry-After header, if there is one, capped. A date there is not read.
    pub(super) fn asked_to_wait(&self) -> Option<Duration> {
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), RETRY_AFTER_MAX))
    }
}
