//! TLS: server certificates good and bad, and a verifier that leaves the judging to the endpoint.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use narrowgate::dev::ca::{self, Ca, Identity, San, Validity};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What kind of certificate a listener shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerCertificate {
    /// Names 127.0.0.1 and localhost, from the given authority.
    Good,
    /// Ended in 2001.
    Expired,
    /// Begins in 2090.
    NotYetValid,
    /// Names another host only.
    WrongName,
    /// Signed by itself.
    SelfSigned,
    /// From the given authority, with the host in the common name and no subject alternative name.
    CommonNameOnly,
    /// Good, but from another authority of the same name.
    OtherAuthority,
}

/// Where the client certificate is judged on the token listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// Per request: a bad one, or none, is 401 `invalid_client`.
    PerRequest,
    /// In the handshake: a bad one, or none, is a TLS alert.
    InHandshake,
}

/// The verifier for client certificates from this authority.
pub(super) fn client_verifier(ca_pem: &str, required: bool) -> Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if required { builder.build() } else { builder.allow_unauthenticated().build() }.unwrap()
}

/// A configuration for one listener; without a verifier no client certificate is asked for.
pub(super) fn server_config(
    authority: &Ca,
    kind: ServerCertificate,
    tls12_only: bool,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Arc<ServerConfig> {
    let identity = identity(authority, kind);
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
    let versions = if tls12_only { vec![&TLS12] } else { vec![&TLS13, &TLS12] };
    let builder =
        ServerConfig::builder_with_provider(Arc::new(default_provider())).with_protocol_versions(&versions).unwrap();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Whoever would send early data (RFC 8446 §2.3) may, and is seen.
    config.max_early_data_size = 16 << 10;
    Arc::new(config)
}

fn identity(authority: &Ca, kind: ServerCertificate) -> Identity {
    let here = [San::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), San::Dns("localhost")];
    let dated = |not_before_secs, not_after_secs| {
        authority.issue("server", &here, Validity { not_before_secs, not_after_secs })
    };
    match kind {
        ServerCertificate::Good => authority.server(&here),
        ServerCertificate::Expired => dated(946_684_800, 978_307_200),
        ServerCertificate::NotYetValid => dated(3_786_912_000, 4_102_444_800),
        ServerCertificate::WrongName => authority.server(&[San::Dns("elsewhere.example")]),
        ServerCertificate::CommonNameOnly => authority.client("127.0.0.1", &[]),
        ServerCertificate::SelfSigned => ca::self_signed("127.0.0.1"),
        ServerCertificate::OtherAuthority => Ca::new("another authority").and_then(|other| other.server(&here)),
    }
    .unwrap()
}

/// Takes any client certificate whose key the client holds; the endpoint judges it later.
#[derive(Debug)]
pub(super) struct AnyCertificate(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The URI subject alternative names of a certificate; none if it does not parse.
pub(super) fn uri_names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}
