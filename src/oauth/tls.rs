//! TLS towards authorization servers: pinned roots, our certificate, nothing from the environment.

use crate::{
    config::{CertificateAndKey, Config, Finding, about},
    model::ClientAlias,
};
use rustls::{
    ClientConfig, RootCertStore,
    client::{ResolvesClientCert, Resumption},
    crypto::CryptoProvider,
    pki_types::CertificateDer,
    sign::CertifiedKey,
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// The TLS configurations of a daemon.
pub(super) struct Tls {
    /// For each issuer, in order: without a client certificate.
    pub(super) plain: Vec<Arc<ClientConfig>>,
    /// For each client, with its own.
    pub(super) mutual: BTreeMap<ClientAlias, Arc<ClientConfig>>,
}

impl Tls {
    /// Makes those of every issuer and client.
    ///
    /// # Errors
    /// Every certificate or key that cannot be used.
    pub(super) fn of(config: &Config, file: &Path) -> Result<Self, Vec<Finding>> {
        let (mut tls, mut findings) = (Self { plain: Vec::new(), mutual: BTreeMap::new() }, Vec::new());
        for (alias, issuer) in &config.issuers {
            match client_config(&issuer.roots, None) {
                Ok(plain) => tls.plain.push(plain),
                Err(wrong) => findings.push(about(file, format!("issuer `{alias}`: {wrong}"))),
            }
        }
        for (alias, client) in &config.clients {
            let Some(issuer) = config.issuers.get(&client.issuer) else { continue };
            match client_config(&issuer.roots, client.identity.as_ref()) {
                Ok(mutual) => drop(tls.mutual.insert(alias.clone(), mutual)),
                Err(wrong) => findings.push(about(file, format!("client `{alias}`: {wrong}"))),
            }
        }
        if findings.is_empty() { Ok(tls) } else { Err(findings) }
    }
}

/// Always presents the one certificate of this client.
#[derive(Debug)]
struct Present(Arc<CertifiedKey>);

impl ResolvesClientCert for Present {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A configuration that trusts these roots and, where there is an identity, presents it.
///
/// # Errors
/// What is wrong with which part, for a person.
pub(super) fn client_config(
    roots: &[CertificateDer<'static>],
    identity: Option<&CertificateAndKey>,
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|e| format!("a trust root cannot be used: {e}"))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(store);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_cert_resolver(Arc::new(Present(certified(&provider, identity)?))),
    };
    // A resumed session keeps the certificate it began with: sessions live and die with this configuration.
    config.resumption = Resumption::in_memory_sessions(32);
    config.enable_early_data = false;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certified(provider: &CryptoProvider, identity: &CertificateAndKey) -> Result<Arc<CertifiedKey>, String> {
    let key = provider
        .key_provider
        .load_private_key(identity.key.clone_key())
        .map_err(|e| format!("the private key cannot be used: {e}"))?;
    let certified = CertifiedKey::new(identity.chain.clone(), key);
    certified.keys_match().map_err(|e| format!("certificate and key do not belong together: {e}"))?;
    Ok(Arc::new(certified))
}

/// Why there is no TLS, in words of ours: an error of rustls quotes names from the certificate that was shown.
pub(super) const fn in_our_words(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError as C, Error as E};
    match error {
        E::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => "its certificate has expired",
        E::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => "its certificate is not valid yet",
        E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "its certificate is for another name"
        }
        E::InvalidCertificate(C::UnknownIssuer) => "its certificate is from an authority that `ca` does not hold",
        E::InvalidCertificate(_) => "its certificate cannot be used",
        E::AlertReceived(_) => "it refused the handshake, perhaps our certificate",
        E::PeerIncompatible(_) => "it offers no version or algorithm that we take",
        E::InvalidMessage(_) | E::InappropriateMessage { .. } | E::InappropriateHandshakeMessage { .. } => {
            "what answers there does not speak TLS as it should"
        }
        _ => "the handshake failed",
    }
}
