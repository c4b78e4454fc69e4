//! The mutual TLS listener: HTTP/2 alone, the agents' trust bundle alone, the SPIFFE ID as identity.

use super::BindError;
use crate::{
    caller::{Peer, Svid},
    config::TcpListener as Settings,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The longest a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The bound listener.
pub struct MtlsDoor {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    trust_domain: Arc<str>,
}

impl MtlsDoor {
    /// Binds the listener.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(settings: &Settings) -> Result<Self, BindError> {
        let place = settings.address.to_string();
        let config = server_config(settings).map_err(|wrong| BindError::Tls(place.clone(), wrong))?;
        let listener = TcpListener::bind(settings.address).await.map_err(|e| BindError::System(place, e))?;
        Ok(Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            trust_domain: settings.trust_domain.as_str().into(),
        })
    }

    /// Why [`Self::bind`] would refuse these certificates, if it would.
    #[must_use]
    pub fn refused(settings: &Settings) -> Option<String> {
        server_config(settings).err()
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// As the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (tcp, from) = self.listener.accept().await?;
        // An answer of several frames would wait for the peer's delayed acknowledgement, some 40 ms.
        let _ = tcp.set_nodelay(true);
        Ok((tcp, from))
    }

    /// The handshake, to be awaited away from the accept loop.
    pub(super) fn handshake(
        &self,
        tcp: TcpStream,
        from: SocketAddr,
    ) -> impl Future<Output = Option<(TlsStream<TcpStream>, Peer)>> + Send + use<> {
        let (acceptor, trust_domain) = (self.acceptor.clone(), Arc::clone(&self.trust_domain));
        async move {
            let handshake = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(tcp)).await;
            let stream = handshake.ok()?.map_err(|error| tracing::info!(%from, %error, "refused a TLS peer")).ok()?;
            let (leaf, issuers) = stream.get_ref().1.peer_certificates()?.split_first()?;
            let svid = Svid::read(leaf)
                .and_then(|svid| issuers.iter().try_fold(svid, |svid, issuer| svid.under(issuer)))
                .map_err(|rule| tracing::info!(%from, rule, "refused a TLS peer: its certificate is no SVID"))
                .ok()?;
            if svid.trust_domain != *trust_domain {
                tracing::info!(%from, "refused a TLS peer of another trust domain");
                return None;
            }
            Some((stream, Peer::Mtls { svid, ip: from.ip() }))
        }
    }
}

fn server_config(settings: &Settings) -> Result<ServerConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in &settings.trust_bundle {
        roots.add(root.clone()).map_err(|e| format!("the trust bundle cannot be used: {e}"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.build().map_err(|e| format!("the trust bundle cannot be used: {e}"))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(settings.identity.chain.clone(), settings.identity.key.clone_key())
        .map_err(|e| format!("certificate and key cannot be used: {e}"))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the look at the certificate.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}
