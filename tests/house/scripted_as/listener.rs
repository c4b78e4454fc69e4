//! One TLS listener: connections, the HTTP on them, and what is done to them instead.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::behaviour::{Behaviour, Outcome, Reply, Wire};
use super::record::TokenRequest;
use super::world::World;

/// Which of the two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Authorization endpoint, metadata, keys.
    Front,
    /// Token and revocation endpoints.
    Token,
}

/// What a listener needs to serve a connection.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) world: Arc<World>,
    pub(super) side: Side,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) silent: bool,
    pub(super) handshake_delay: Duration,
}

/// A listener that can be taken away and put back.
#[derive(Debug)]
pub(super) struct Listener {
    door: Arc<Door>,
    port: u16,
    runtime: Handle,
    cut: watch::Sender<()>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// Binds a port of 127.0.0.1; 0 picks one.
pub(super) fn bind(port: u16) -> std::net::TcpListener {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

impl Listener {
    pub(super) fn start(door: Door, socket: std::net::TcpListener, runtime: Handle) -> Listener {
        let port = socket.local_addr().as_ref().map(SocketAddr::port).unwrap();
        let listener =
            Listener { door: Arc::new(door), port, runtime, cut: watch::Sender::new(()), accepting: Mutex::new(None) };
        listener.accept_on(socket);
        listener
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    fn accept_on(&self, socket: std::net::TcpListener) {
        let _entered = self.runtime.enter();
        let socket = TcpListener::from_std(socket).unwrap();
        let task = self.runtime.spawn(accept(socket, self.door.clone(), self.cut.clone()));
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// Closes the listening socket and every connection: from here on, connection refused.
    pub(super) fn stop(&self) {
        let task = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            wait_until(|| task.is_finished());
        }
        self.reset_connections();
    }

    /// Listens again on the same port.
    pub(super) fn resume(&self) {
        if self.accepting.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.accept_on(bind(self.port));
        }
    }

    /// Resets every open connection, and waits until that is done.
    pub(super) fn reset_connections(&self) {
        self.cut.send_replace(());
        wait_until(|| self.cut.receiver_count() == 0);
    }
}

/// Polls until the condition holds, for at most five seconds.
pub(super) fn wait_until(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

async fn accept(socket: TcpListener, door: Arc<Door>, cut: watch::Sender<()>) {
    loop {
        let Ok((tcp, _)) = socket.accept().await else { continue };
        let record = &door.world.record;
        match door.side {
            Side::Front => record.front_connections.add(),
            Side::Token => record.token_connections.add(),
        }
        tcp.set_nodelay(true).ok();
        tokio::spawn(connection(door.clone(), tcp, cut.subscribe()));
    }
}

async fn connection(door: Arc<Door>, tcp: TcpStream, mut cut: watch::Receiver<()>) {
    let early = |wanted: fn(&Behaviour) -> bool| match door.side {
        Side::Token => door.world.next_early(wanted).is_some(),
        Side::Front => false,
    };
    if door.silent {
        cut.changed().await.ok();
        tcp.set_zero_linger().ok();
        return;
    }
    if early(|next| matches!(next, Behaviour::ResetBeforeRequest)) {
        tcp.peek(&mut [0]).await.ok();
        tcp.set_zero_linger().ok();
        return;
    }
    tokio::time::sleep(door.handshake_delay).await;
    if door.side == Side::Token {
        let mut held = door.world.handshakes_held.subscribe();
        tokio::select! {
            _ = held.wait_for(|held| !held) => {}
            _ = cut.changed() => return,
        }
    }
    let handshake = TlsAcceptor::from(door.tls.clone()).accept(tcp);
    let tls = tokio::select! {
        done = handshake => done,
        _ = cut.changed() => return,
    };
    let mut tls = match tls {
        Ok(tls) => tls,
        Err(error) => return door.world.record.logs().handshake_errors.push(error.to_string()),
    };
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    match (door.side, chain.first()) {
        (Side::Token, _) => {
            let (record, session) = (&door.world.record, tls.get_mut().1);
            record.token_handshakes.add();
            if session.handshake_kind() == Some(HandshakeKind::Resumed) {
                record.token_resumed.add();
            }
            if session.early_data().is_some() {
                record.early_data.add();
            }
        }
        (Side::Front, None) => {}
        (Side::Front, Some(leaf)) => {
            door.world.record.logs().front_certificates.push(leaf.to_vec());
        }
    }
    if early(|next| matches!(next, Behaviour::ResetAfterHandshake)) {
        tls.get_ref().0.set_zero_linger().ok();
        return;
    }
    if let Some((tls, wire)) = serve(&door, tls, &chain, &mut cut).await {
        tokio::select! {
            _ = perform(&door, tls, wire) => {}
            _ = cut.changed() => {}
        }
    }
}

/// Speaks HTTP until the connection ends, or until something else is to be done to it.
async fn serve(
    door: &Arc<Door>,
    tls: TlsStream<TcpStream>,
    chain: &[CertificateDer<'static>],
    cut: &mut watch::Receiver<()>,
) -> Option<(TlsStream<TcpStream>, Wire)> {
    let (misdeeds, mut misdeed) = mpsc::unbounded_channel();
    let service = service_fn(|request| {
        let misdeeds = misdeeds.clone();
        async move {
            match answer(door, chain, request).await {
                Outcome::Reply(reply) => Ok::<_, Infallible>(response(reply)),
                Outcome::Wire(wire) => {
                    misdeeds.send(wire).ok();
                    pending().await
                }
            }
        }
    });
    let mut http = http1::Builder::new().serve_connection(TokioIo::new(tls), service);
    let wire = tokio::select! {
        _ = &mut http => return None,
        wire = misdeed.recv() => wire?,
        _ = cut.changed() => Wire::Reset,
    };
    Some((http.into_parts().io.into_inner(), wire))
}

async fn perform(door: &Door, mut tls: TlsStream<TcpStream>, wire: Wire) -> io::Result<()> {
    match wire {
        Wire::Reset => return tls.get_ref().0.set_zero_linger(),
        Wire::Close => {}
        Wire::Bytes(bytes) => tls.write_all(&bytes).await?,
        Wire::Dribble(bytes, interval) => {
            for byte in bytes {
                tls.write_all(&[byte]).await?;
                tls.flush().await?;
                tokio::time::sleep(interval).await;
            }
        }
        Wire::Halves(first, second) => {
            tls.write_all(&first).await?;
            tls.flush().await?;
            door.world.record.half_answers.add();
            door.world.halves_held.subscribe().wait_for(|held| !held).await.ok();
            tls.write_all(&second).await?;
        }
        Wire::Endless { head, unit } => {
            tls.write_all(&head).await?;
            loop {
                tls.write_all(&unit).await?;
                let sent = u64::try_from(unit.len()).unwrap_or_default();
                door.world.record.endless_bytes.fetch_add(sent, Ordering::SeqCst);
            }
        }
    }
    tls.shutdown().await
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut builder = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(Bytes::from(reply.body))).unwrap()
}

async fn answer(door: &Arc<Door>, chain: &[CertificateDer<'static>], request: Request<Incoming>) -> Outcome {
    let world = &door.world;
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    let side = if door.side == Side::Front { "front" } else { "token" };
    let line = format!("{side} {method} {}", request.uri());
    world.record.logs().requests.push(line);
    if door.side == Side::Front {
        world.record.logs().front_headers.push(request.headers().iter().map(header).collect());
    }
    let mut underway = None;
    let (delay, outcome) = match (door.side, method.as_str(), path.as_str()) {
        (Side::Front, "GET", "/authorize") => (Duration::ZERO, authorize(world, &request)),
        (Side::Front, "GET", "/jwks") => world.jwks_outcome(),
        (Side::Front, "GET", path) => metadata(world, path),
        (side, "POST", "/token" | "/revoke" | "/par" | "/introspect") => {
            if side == Side::Token && path == "/token" {
                // The next in line may want to strike before the body is read.
                if world.next_early(Behaviour::strikes_early).is_some() {
                    return Outcome::Wire(Wire::Reset);
                }
            }
            let Some(request) = read(door, chain, request).await else {
                return Outcome::Reply(Reply::empty(400));
            };
            underway = Underway::of(world, &request);
            post(world, request, side, &path)
        }
        _ => (Duration::ZERO, Outcome::Reply(Reply::empty(404))),
    };
    tokio::time::sleep(delay).await;
    if door.side == Side::Token {
        world.paused.subscribe().wait_for(|paused| !paused).await.ok();
    }
    drop(underway);
    outcome
}

/// A refresh request under way; counts down when dropped.
struct Underway(Arc<World>, String);

impl Underway {
    fn of(world: &Arc<World>, request: &TokenRequest) -> Option<Underway> {
        let family = world.scripts().families.enter(request.param("refresh_token")?)?;
        Some(Underway(world.clone(), family))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.scripts().families.leave(&self.1);
    }
}

fn authorize(world: &World, request: &Request<Incoming>) -> Outcome {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query).into_owned().collect();
    Outcome::Reply(match world.authorize(&query) {
        Ok(callback) => Reply::empty(302).with("Location", &callback.url),
        Err(why) => Reply::error(400, "invalid_request", Some(&why)),
    })
}

fn metadata(world: &World, path: &str) -> (Duration, Outcome) {
    let served = world.serves_metadata(path);
    if served.is_some() {
        world.record.metadata_requests.add();
    }
    match served {
        Some(true) => world.metadata_outcome(),
        _ => (Duration::ZERO, Outcome::Reply(Reply::empty(404))),
    }
}

fn post(world: &World, request: TokenRequest, side: Side, path: &str) -> (Duration, Outcome) {
    let record = &world.record;
    record.note_pairs(&request.form);
    match (side, path) {
        (Side::Front, _) if !world.is_registered(&request) => {
            record.front_token_posts.add();
            let why = request.client_refused.as_deref();
            (Duration::ZERO, Outcome::Reply(Reply::error(401, "invalid_client", why)))
        }
        (_, "/token") => {
            record.logs().token_requests.push(request.clone());
            record.token_posts.add();
            world.token_outcome(&request)
        }
        (Side::Token, "/introspect") => {
            record.logs().introspection_requests.push(request.clone());
            world.introspection_outcome(&request)
        }
        (_, "/par") => {
            record.logs().pushed_requests.push(request.clone());
            world.par_outcome(&request)
        }
        (_, _) => {
            record.logs().revocation_requests.push(request.clone());
            record.revocation_posts.add();
            (Duration::ZERO, world.revocation_outcome(&request))
        }
    }
}

fn header((name, value): (&http::HeaderName, &http::HeaderValue)) -> (String, String) {
    (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
}

async fn read(door: &Door, chain: &[CertificateDer<'static>], request: Request<Incoming>) -> Option<TokenRequest> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.ok()?.to_bytes().to_vec();
    let mut request = TokenRequest {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head.headers.iter().map(header).collect(),
        form: url::form_urlencoded::parse(&body).into_owned().collect(),
        body,
        client_certificate_der: chain.first().map(|leaf| leaf.to_vec()),
        arrived: std::time::SystemTime::now(),
        client_refused: match door.side {
            Side::Token => door.world.judge_certificate(chain),
            Side::Front => Some("client certificates are for the token listener".into()),
        },
    };
    door.world.judge_registered(&mut request);
    Some(request)
}
