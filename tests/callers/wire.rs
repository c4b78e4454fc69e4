//! HTTP/2 frames by hand, for what no honest client sends (RFC 9113).

use crate::house::{House, eventually};
use narrowgate::dev::ca::{Identity, San};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use std::{io, path::Path, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const BEGIN: &str = "/narrowgate.v1.TokenService/BeginAuthorization";

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], stream.to_be_bytes().as_slice(), payload].concat()
}

/// A header block of literals, neither indexed nor compressed (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte of length");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The header block of a gRPC call.
pub(crate) fn call_block(path: &str) -> Vec<u8> {
    block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

/// The body of a gRPC call with one message.
pub(crate) fn message(bytes: &[u8]) -> Vec<u8> {
    [&[0u8], u32::try_from(bytes.len()).unwrap().to_be_bytes().as_slice(), bytes].concat()
}

/// A connection with its preface sent, and these settings.
pub(crate) struct Wire<S>(pub(crate) S);

impl Wire<UnixStream> {
    pub(crate) async fn unix(socket: &Path, settings: &[u8]) -> Self {
        let mut wire = Wire(UnixStream::connect(socket).await.unwrap());
        wire.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, settings)].concat())
            .await
            .unwrap();
        wire
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// The next frame: kind, stream and payload; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0u8; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], stream, payload))
    }

    /// Reads until a frame of this kind.
    pub(crate) async fn until(&mut self, kind: u8) -> Option<(u32, Vec<u8>)> {
        loop {
            let (found, stream, payload) = self.next().await?;
            if found == kind {
                return Some((stream, payload));
            }
        }
    }
}

/// TLS to the daemon with this agent's SVID, offering these protocols.
pub(crate) async fn tls(house: &House, spiffe_id: &str, alpn: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
    let identity = house.agents_ca.client("agent", &[San::Uri(spiffe_id)]).unwrap();
    connect(tls_config(house, &identity, alpn), house.tcp_port().await).await
}

pub(crate) async fn connect(config: Arc<rustls::ClientConfig>, port: u16) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(config).connect(name, tcp).await
}

pub(crate) fn tls_config(house: &House, identity: &Identity, alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(house.server_ca.certificate_pem().as_bytes()).unwrap()).unwrap();
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// Nothing that was sent reached a handler: no attestation, no decision, no call to the server.
pub(crate) fn nothing_was_called(house: &House) {
    for code in ["agent.rejected", "authorization.decided", "exchange.refused"] {
        assert!(house.events(code).is_empty(), "{code}");
    }
    assert_eq!(house.server.front_connections(), 0);
}

/// Waits until another agent's honest call has gone through.
pub(crate) async fn an_honest_call_works(house: &House) {
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[crate::asking::READ]).await.unwrap();
    eventually("its decision", || (!house.events("authorization.decided").is_empty()).then_some(())).await;
}
