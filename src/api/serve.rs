//! Accepting connections and serving them until told to stop. HTTP/2 alone; everything bounded.

use super::{
    MtlsDoor, Readiness, UnixDoor, calls::Gate, proto::token_service_server::TokenServiceServer, quota::Quotas,
    service::Tokens,
};
use crate::{caller::Peer, exchange::Corridor};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};
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
/// Connections of one door.
const CONNECTIONS_MAX: usize = 1024;
/// Streams of one connection.
const STREAMS_MAX: u32 = 128;
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Streams a peer may have reset that are not yet accounted for (CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 20;
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// An open door.
pub enum Door {
    /// The Unix socket.
    Unix(UnixDoor),
    /// Mutual TLS.
    Mtls(MtlsDoor, Vec<String>),
}

/// What every door leads to.
pub struct Doors {
    corridor: Arc<Corridor>,
    readiness: Readiness,
    quotas: Arc<Quotas>,
}

impl Doors {
    /// Leads to this corridor.
    #[must_use]
    pub fn new(corridor: Arc<Corridor>, readiness: Readiness) -> Self {
        // One set of meters for all doors: an agent is one agent.
        let quotas = Arc::new(Quotas::new(&corridor.config.limits));
        Self { corridor, readiness, quotas }
    }

    /// Serves a door until `stop` says so, then sends GOAWAY and waits for the calls under way.
    pub async fn serve(&self, door: Door, mut stop: watch::Receiver<bool>) {
        let gate = Arc::new(Gate {
            routes: self.routes(),
            deadline_max: self.corridor.config.limits.call_deadline,
            authorities: match &door {
                Door::Unix(_) => None,
                Door::Mtls(_, authorities) => Some(authorities.clone()),
            },
        });
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
            let (gate, stopped) = (Arc::clone(&gate), stop.clone());
            tokio::select! {
                biased;
                () = told(&mut stop) => break,
                accepted = accept(&door, gate, stopped) => match accepted {
                    Ok(connection) => {
                        connections.spawn(async move {
                            connection.await;
                            drop(place);
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
}

type Connection = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn accept(door: &Door, gate: Arc<Gate>, stop: watch::Receiver<bool>) -> std::io::Result<Connection> {
    Ok(match door {
        Door::Unix(door) => {
            let (stream, peer) = door.accept().await?;
            Box::pin(connection(stream, peer, gate, stop))
        }
        Door::Mtls(door, _) => {
            let (tcp, from) = door.accept().await?;
            let handshake = door.handshake(tcp, from);
            Box::pin(async move {
                if let Some((stream, peer)) = handshake.await {
                    connection(stream, peer, gate, stop).await;
                }
            })
        }
    })
}

/// Serves one connection; after `stop` it takes no new calls and ends with the last one.
async fn connection<S>(stream: S, peer: Peer, gate: Arc<Gate>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (gate, peer) = (Arc::clone(&gate), peer.clone());
        async move { Ok::<_, Infallible>(gate.call(request, peer).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let stopped = tokio::select! {
        _ = serving.as_mut() => false,
        () = told(&mut stop) => true,
    };
    if stopped {
        serving.as_mut().graceful_shutdown();
        // How it ends matters to the peer alone.
        let _ = serving.await;
    }
}

/// Waits until told to stop, or until nobody is left who could tell.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
