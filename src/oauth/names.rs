//! Host names to addresses, a few at a time for each issuer.
//!
//! The system's resolver cannot be stopped once it was asked: a caller that gives up leaves its thread waiting. Name
//! servers that never answer (a tarpit) would so fill the pool of threads that every issuer shares. So an issuer has a
//! few threads at most, each held until the resolver has let go of it, whoever waits; what waits for one of them waits
//! inside the deadline of its request.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
};
use tokio::sync::Semaphore;

/// Names of one issuer that are being resolved.
const RESOLUTIONS_MAX: usize = 4;

/// The way to the names of one issuer's hosts.
#[derive(Clone)]
pub(super) struct Names {
    room: Arc<Semaphore>,
    ask: fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
}

impl Names {
    /// By the system's resolver.
    pub(super) fn new() -> Self {
        Self::asking(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }

    fn asking(ask: fn(&str, u16) -> io::Result<Vec<SocketAddr>>) -> Self {
        Self { room: Arc::new(Semaphore::new(RESOLUTIONS_MAX)), ask }
    }

    /// The addresses of a host, in the resolver's order. An address written out is itself, without a resolver.
    ///
    /// # Errors
    /// The resolver's.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(io::Error::other)?;
        let (host, ask) = (host.to_owned(), self.ask);
        let asked = tokio::task::spawn_blocking(move || {
            let found = ask(&host, port);
            drop(permit);
            found
        });
        asked.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Condvar, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static TARPIT: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());

    fn stuck(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        ASKED.fetch_add(1, Ordering::SeqCst);
        let held = TARPIT.0.lock().unwrap();
        drop(TARPIT.1.wait_while(held, |held| *held).unwrap());
        Ok(Vec::new())
    }

    /// Lets everyone go at the end, however the test ends.
    struct Release;

    impl Drop for Release {
        fn drop(&mut self) {
            *TARPIT.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = false;
            TARPIT.1.notify_all();
        }
    }

    // rows: TOK-08 (a tarpit of name servers)
    #[test]
    fn a_tarpit_holds_a_few_threads_of_its_own_issuer_and_no_more() {
        // As many threads as one issuer may hold and one more: without the bound the other issuer would find none.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).max_blocking_threads(RESOLUTIONS_MAX + 1).enable_all().build().unwrap();
        runtime.block_on(async {
            let release = Release;
            let (slow, healthy) = (Names::asking(stuck), Names::new());
            for _ in 0..50 {
                let gave_up = tokio::time::timeout(Duration::from_millis(1), slow.addresses("slow.test", 443)).await;
                assert!(gave_up.is_err(), "the caller's deadline holds");
            }
            assert!(ASKED.load(Ordering::SeqCst) <= RESOLUTIONS_MAX);
            let found = tokio::time::timeout(Duration::from_secs(10), healthy.addresses("localhost", 443)).await;
            assert!(!found.expect("the other issuer finds a thread").unwrap().is_empty());
            let written_out = slow.addresses("127.0.0.1", 443).await.unwrap();
            assert_eq!(written_out, ["127.0.0.1:443".parse().unwrap()]);
            drop(release);
            assert!(slow.addresses("slow.test", 443).await.unwrap().is_empty(), "it recovers by itself");
        });
    }
}
