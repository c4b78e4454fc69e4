//! Accepting connections and serving them until told to stop. HTTP/2 alone; everything bounded.

use super::{
    MtlsDoor, Readiness, UnixDoor,
    admin::Administration,
    calls::{Gate, Link},
    calm::Calm,
    proto::{
        admin_service_server::AdminServiceServer, policy_service_server::PolicyServiceServer,
        token_service_server::TokenServiceServer,
    },
    quota::Quotas,
    service::Tokens,
};
use crate::{caller::Peer, exchange::Corridor, platform::process::descriptors, telemetry::Metrics};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    collections::HashMap,
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

/// Bytes of a request message.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a reply: a token of 32 KiB and its facts.
const REPLY_BYTES_MAX: usize = 128 * 1024;
/// Connections of one door, where the system gives enough descriptors for them. One peer may have half of them: a uid
/// on the Unix socket, a SPIFFE ID by mutual TLS, an address while it is not known whose it is. So none fills a door.
const CONNECTIONS_MAX: usize = 1024;
/// Descriptors that connections never take: for the audit log, authorization servers, files read anew.
const DESCRIPTORS_KEPT: u64 = 256;
/// Descriptors of one connection on each of the two doors: its own, and that of the process it is pinned to.
const DESCRIPTORS_PER_CONNECTION: u64 = 4;
/// Connections of the operators' door.
const ADMIN_CONNECTIONS_MAX: usize = 16;
/// How long a connection may be open without a single call.
const FIRST_CALL_MAX: Duration = Duration::from_secs(30);
/// Streams of one connection.
const STREAMS_MAX: u32 = 128;
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Streams a peer may have reset that are not yet accounted for (CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 20;
/// How long a connection that is to end may take to answer the calls under way.
const GRACE: Duration = Duration::from_secs(60);
/// How long a peer that is pinged may take to answer; shorter where it is pinged more often than that.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// An open door.
pub enum Door {
    /// The Unix socket.
    Unix(UnixDoor),
    /// Mutual TLS.
    Mtls(MtlsDoor, Vec<String>),
    /// The operators' Unix socket.
    Admin(UnixDoor),
}

/// What every door leads to.
pub struct Doors {
    corridor: Arc<Corridor>,
    readiness: Readiness,
    quotas: Arc<Quotas>,
    metrics: Arc<Metrics>,
}

impl Doors {
    /// Leads to this corridor.
    #[must_use]
    pub fn new(corridor: Arc<Corridor>, readiness: Readiness, metrics: Arc<Metrics>) -> Self {
        // One set of meters for all doors: an agent is one agent.
        let quotas = Arc::new(Quotas::new(&corridor.config.limits));
        Self { corridor, readiness, quotas, metrics }
    }

    /// Serves a door until `stop` says so, then sends GOAWAY and waits for the calls under way.
    pub async fn serve(&self, door: Door, mut stop: watch::Receiver<bool>) {
        let gate = Arc::new(Gate {
            routes: match &door {
                Door::Admin(_) => self.admin_routes(),
                Door::Unix(_) | Door::Mtls(..) => self.routes(),
            },
            deadline_max: self.corridor.config.limits.call_deadline,
            connection_age: self.corridor.config.limits.connection_age,
            keepalive: self.corridor.config.limits.keepalive,
            authorities: match &door {
                Door::Unix(_) | Door::Admin(_) => None,
                Door::Mtls(_, authorities) => Some(authorities.clone()),
            },
            entropy: Arc::clone(&self.corridor.entropy),
            clock: Arc::clone(&self.corridor.clock),
            metrics: Arc::clone(&self.metrics),
        });
        let all = connections_max(descriptors());
        let (name, most) = match &door {
            Door::Unix(_) => ("unix", all),
            Door::Mtls(..) => ("tcp", all),
            Door::Admin(_) => ("admin", all.min(ADMIN_CONNECTIONS_MAX)),
        };
        let room = Arc::new(Semaphore::new(most));
        let peers = Arc::new(Peers { most: most.div_ceil(2), table: Mutex::default() });
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
            let (gate, stopped) = (Arc::clone(&gate), stop.clone());
            let peers = Arc::clone(&peers);
            tokio::select! {
                biased;
                () = told(&mut stop) => break,
                accepted = accept(&door, gate, &peers, stopped) => match accepted {
                    Ok(connection) => {
                        let open = self.metrics.opened(name);
                        connections.spawn(async move {
                            connection.await;
                            drop((place, open));
                        });
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: give others the time to close theirs.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        // Whoever comes now is refused by the system at once, instead of waiting in a queue that nobody empties.
        drop(door);
        while connections.join_next().await.is_some() {}
    }

    fn routes(&self) -> Routes {
        let tokens =
            TokenServiceServer::new(Tokens { corridor: Arc::clone(&self.corridor), quotas: Arc::clone(&self.quotas) })
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(REPLY_BYTES_MAX);
        let health = HealthServer::new(self.readiness.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
        Routes::new(tokens).add_service(health).prepare()
    }

    /// What operators reach: nothing that agents do.
    fn admin_routes(&self) -> Routes {
        let admin = Administration {
            corridor: Arc::clone(&self.corridor),
            quotas: Arc::clone(&self.quotas),
            explaining: Arc::new(Semaphore::new(1)),
        };
        let policy = PolicyServiceServer::new(admin.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
        let admin = AdminServiceServer::new(admin).max_decoding_message_size(REQUEST_BYTES_MAX);
        Routes::new(admin).add_service(policy).prepare()
    }
}

type Connection = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many connections each peer has.
struct Peers {
    /// The most that one may have.
    most: usize,
    table: Mutex<HashMap<String, usize>>,
}

/// How many connections one door may have with so many descriptors.
fn connections_max(descriptors: u64) -> usize {
    let share = descriptors.saturating_sub(DESCRIPTORS_KEPT) / DESCRIPTORS_PER_CONNECTION;
    usize::try_from(share).unwrap_or(CONNECTIONS_MAX).clamp(2, CONNECTIONS_MAX)
}

/// One connection of a peer; counts down when dropped.
struct Place(Arc<Peers>, String);

impl Peers {
    fn enter(self: &Arc<Self>, peer: String) -> Option<Place> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let count = table.entry(peer.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(table);
        Some(Place(Arc::clone(self), peer))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.1);
            }
        }
    }
}

async fn accept(
    door: &Door,
    gate: Arc<Gate>,
    peers: &Arc<Peers>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<Connection> {
    Ok(match door {
        Door::Unix(door) | Door::Admin(door) => {
            let (stream, peer) = door.accept().await?;
            let name = match &peer {
                Peer::Unix(Some(peer)) => peer.uid.to_string(),
                _ => "unknown".to_owned(),
            };
            let Some(place) = peers.enter(name) else { return Ok(Box::pin(async {})) };
            Box::pin(async move {
                connection(stream, peer, gate, stop).await;
                drop(place);
            })
        }
        Door::Mtls(door, _) => {
            let (tcp, from) = door.accept().await?;
            let Some(unknown) = peers.enter(from.ip().to_string()) else { return Ok(Box::pin(async {})) };
            let (handshake, peers) = (door.handshake(tcp, from), Arc::clone(peers));
            Box::pin(async move {
                let Some((stream, peer)) = handshake.await else { return };
                // Agents behind one address are several peers.
                let Peer::Mtls { svid, .. } = &peer else { return };
                let Some(_place) = peers.enter(svid.spiffe_id.clone()) else { return };
                drop(unknown);
                connection(stream, peer, gate, stop).await;
            })
        }
    })
}

/// Serves one connection; after `stop` it takes no new calls and ends with the last one.
async fn connection<S>(stream: S, peer: Peer, gate: Arc<Gate>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let called = Arc::new(AtomicBool::new(false));
    let calling = Arc::clone(&called);
    let (link, age, keepalive) = (Link::default(), gate.connection_age, gate.keepalive);
    let clock = Arc::clone(&gate.clock);
    let given = link.clone();
    let service = service_fn(move |request| {
        calling.store(true, Ordering::Relaxed);
        let (gate, peer, link) = (Arc::clone(&gate), peer.clone(), given.clone());
        async move { Ok::<_, Infallible>(gate.call(request, peer, link).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .keep_alive_interval(keepalive)
        .keep_alive_timeout(PING_TIMEOUT.min(keepalive));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(Calm::new(stream, clock)), service));
    let stopped = tokio::select! {
        _ = serving.as_mut() => return,
        () = idle(&called) => return,
        () = told(&mut stop) => true,
        () = link.ended() => false,
        () = tokio::time::sleep(age) => false,
    };
    link.close();
    // GOAWAY: no new calls, those under way are answered (RFC 9113 §6.8). How it ends matters to the peer alone.
    serving.as_mut().graceful_shutdown();
    if stopped {
        let _ = serving.await;
    } else {
        let _ = tokio::time::timeout(GRACE, serving).await;
    }
}

/// Ends for a connection on which nothing was called in time; never for one that is used.
async fn idle(called: &AtomicBool) {
    tokio::time::sleep(FIRST_CALL_MAX).await;
    if called.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Waits until told to stop, or until nobody is left who could tell.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
