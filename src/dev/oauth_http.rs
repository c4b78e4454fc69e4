//! HTTP/1.1 over TLS on the loopback interface, for the development authorization server: small,
//! and bounded in size, time and number.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, PRAGMA, REFERRER_POLICY,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::authorization_server::DevError;
use super::ca::Identity;

/// The most bytes of headers, and of a body.
const MAX_BYTES: usize = 64 * 1024;
/// The longest life of a connection, whatever happens on it.
const MAX_CONNECTION: Duration = Duration::from_secs(30);
/// The most connections at once on one listener. More wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// The pause after a failed `accept`, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An answer.
pub(super) type Reply = Response<Full<Bytes>>;

/// A request that came in whole.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The URI names of the verified client certificate. Empty where there is none.
    pub(super) peer_uris: Arc<[String]>,
}

/// What a listener serves.
pub(super) trait Site: Send + Sync + 'static {
    /// A TCP connection was accepted.
    fn connected(&self);
    /// Answers a request.
    fn answer(&self, call: &Call) -> Reply;
}

/// A listener at work. Dropping it ends it and its connections.
pub(super) struct Listener {
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Serves a site on a socket.
    pub(super) fn start<S: Site>(socket: TcpListener, tls: ServerConfig, site: S) -> Listener {
        let stop = Arc::new(Notify::new());
        let tls = TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(accept(socket, tls, Arc::new(site), Arc::clone(&stop)));
        Listener { stop, task }
    }

    /// Stops accepting and ends every connection.
    pub(super) async fn shutdown(mut self) {
        self.stop.notify_one();
        // It only fails where the task was aborted, and then it has ended too.
        (&mut self.task).await.ok();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The task owns its connections: they end with it.
        self.task.abort();
    }
}

/// Binds a free port of 127.0.0.1.
pub(super) async fn bind() -> Result<(TcpListener, SocketAddr), DevError> {
    let socket = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

async fn accept<S: Site>(socket: TcpListener, tls: TlsAcceptor, site: Arc<S>, stop: Arc<Notify>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.notified() => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    site.connected();
                    let served = serve(stream, tls.clone(), Arc::clone(&site));
                    connections.spawn(timeout(MAX_CONNECTION, served));
                }
                Err(error) => {
                    tracing::warn!(%error, "the development authorization server cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    connections.shutdown().await;
}

async fn serve<S: Site>(stream: TcpStream, tls: TlsAcceptor, site: Arc<S>) {
    let stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
    };
    let peer_uris: Arc<[String]> = peer_uris(&stream).into();
    let service = service_fn(move |request| {
        let (site, peer_uris) = (Arc::clone(&site), Arc::clone(&peer_uris));
        async move { Ok::<_, Infallible>(answer(&*site, request, peer_uris).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(MAX_CONNECTION)
        .max_buf_size(MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection failed");
    }
}

async fn answer<S: Site>(site: &S, request: Request<Incoming>, peer_uris: Arc<[String]>) -> Reply {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BYTES).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n");
    };
    site.answer(&Call {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: body.to_bytes(),
        peer_uris,
    })
}

/// The URI names of the peer's certificate, which rustls has verified by now.
fn peer_uris(stream: &TlsStream<TcpStream>) -> Vec<String> {
    let (_, connection) = stream.get_ref();
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let Some(Ok((_, leaf))) = leaf.map(|leaf| X509Certificate::from_der(leaf)) else {
        return Vec::new();
    };
    let Ok(Some(names)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let uris = names.value.general_names.iter().filter_map(|name| {
        let GeneralName::URI(uri) = name else {
            return None;
        };
        Some((*uri).to_owned())
    });
    uris.collect()
}

/// TLS for a listener. With a CA, a client certificate of it is required (RFC 8705 §2.1).
pub(super) fn server_tls(identity: &Identity, client_ca_pem: Option<&str>) -> Result<ServerConfig, DevError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match client_ca_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem)?), provider).build()?,
        ),
    };
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Without resumption every connection presents its certificate anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// TLS for the person's browser, which trusts the CA and has no certificate.
pub(super) fn browser_tls(ca_pem: &str) -> Result<TlsConnector, DevError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca_pem)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(pem: &str) -> Result<RootCertStore, DevError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

/// One GET, as a browser or an agent sends it: status, `Location` and body.
pub(super) async fn get(
    tls: &TlsConnector,
    address: SocketAddr,
    target: &str,
    headers: &[(HeaderName, &str)],
) -> Result<(StatusCode, Option<String>, String), DevError> {
    let fetched = timeout(MAX_CONNECTION, fetch(tls, address, target, headers)).await;
    fetched.unwrap_or(Err(DevError::TimedOut))
}

async fn fetch(
    tls: &TlsConnector,
    address: SocketAddr,
    target: &str,
    headers: &[(HeaderName, &str)],
) -> Result<(StatusCode, Option<String>, String), DevError> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::IpAddress(address.ip().into());
    let stream = TokioIo::new(tls.connect(name, stream).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(target).header(HOST, address.to_string());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
    let request = request.body(Empty::<Bytes>::new())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let location = head.headers.get(LOCATION).map(HeaderValue::to_str);
    let body = Limited::new(body, MAX_BYTES).collect().await;
    let body = body.map_err(|_| DevError::AnswerTooLarge)?.to_bytes();
    Ok((head.status, location.and_then(Result::ok).map(str::to_owned), String::from_utf8_lossy(&body).into_owned()))
}

/// A plain text answer.
pub(super) fn text(status: StatusCode, body: &str) -> Reply {
    let mut reply = uncached(status, Bytes::copy_from_slice(body.as_bytes()));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// A JSON answer that nobody may keep (RFC 6749 §5.1).
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Reply {
    let mut reply = uncached(status, Bytes::from(body.to_string()));
    let kind = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// A redirect to the client (RFC 6749 §4.1.2). Nothing where the address cannot be sent.
pub(super) fn redirect(location: String) -> Option<Reply> {
    let location = HeaderValue::try_from(location).ok()?;
    let mut reply = uncached(StatusCode::FOUND, Bytes::new());
    reply.headers_mut().insert(LOCATION, location);
    let policy = HeaderValue::from_static("no-referrer");
    reply.headers_mut().insert(REFERRER_POLICY, policy);
    Some(reply)
}

fn uncached(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    reply.headers_mut().insert(CACHE_CONTROL, no_store);
    let no_cache = HeaderValue::from_static("no-cache");
    reply.headers_mut().insert(PRAGMA, no_cache);
    reply
}
