//! X.509-SVIDs (SPIFFE X509-SVID §4-5): the leaf rules that chain verification does not cover.

use crate::model::{Wall, id::parse_spiffe_id};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// What a verified client certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Svid {
    /// The SPIFFE ID.
    pub spiffe_id: String,
    /// The ID's trust domain.
    pub trust_domain: String,
    /// When the certificate begins, and every one it came with.
    pub not_before: Wall,
    /// When the first of them ends.
    pub not_after: Wall,
    /// `x5t#S256` of the certificate (RFC 8705 §3.1).
    pub thumbprint: String,
}

impl Svid {
    /// Reads a leaf certificate whose chain is already verified.
    ///
    /// # Errors
    /// The rule it breaks.
    pub fn read(leaf: &[u8]) -> Result<Self, &'static str> {
        let (rest, certificate) = X509Certificate::from_der(leaf).map_err(|_| "is not a certificate")?;
        if !rest.is_empty() {
            return Err("has trailing bytes");
        }
        if certificate.is_ca() {
            return Err("is a CA certificate");
        }
        let usage = certificate.key_usage().map_err(|_| "has two key usages")?.ok_or("has no key usage")?;
        if !usage.critical || !usage.value.digital_signature() {
            return Err("its key usage is not critical with digitalSignature");
        }
        if usage.value.key_cert_sign() || usage.value.crl_sign() {
            return Err("may sign certificates");
        }
        let extended = certificate.extended_key_usage().map_err(|_| "has two extended key usages")?;
        if extended.is_some_and(|extended| !extended.value.client_auth) {
            return Err("is not for clients");
        }
        let names = certificate.subject_alternative_name().map_err(|_| "has two SAN extensions")?;
        let names = names.ok_or("has no SAN")?.value.general_names.as_slice();
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else { return Err("does not have exactly one URI SAN") };
        let trust_domain = parse_spiffe_id(uri).map_err(|_| "its URI SAN is not a SPIFFE ID")?;
        let (not_before, not_after) = validity(&certificate);
        Ok(Self {
            spiffe_id: uri.to_owned(),
            trust_domain: trust_domain.to_owned(),
            not_before,
            not_after,
            thumbprint: crate::config::thumbprint(leaf),
        })
    }

    /// Takes in a certificate that it was issued under. A chain is good while all of it is (RFC 5280 §6.1.3).
    ///
    /// # Errors
    /// The rule it breaks.
    pub fn under(self, issuer: &[u8]) -> Result<Self, &'static str> {
        let (_, certificate) = X509Certificate::from_der(issuer).map_err(|_| "came with what is no certificate")?;
        let (not_before, not_after) = validity(&certificate);
        Ok(Self { not_before: self.not_before.max(not_before), not_after: self.not_after.min(not_after), ..self })
    }

    /// Whether it is good at this time: a connection can outlive what it was made with, and clocks are set back.
    #[must_use]
    pub fn is_valid(&self, now: Wall) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

fn validity(certificate: &X509Certificate<'_>) -> (Wall, Wall) {
    let validity = certificate.validity();
    let at = |seconds: i64| Wall(seconds.saturating_mul(1000));
    (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()))
}
