//! A throw-away certificate authority, for the demo and for the tests. Its key lives in memory only.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};

/// 2000-01-01T00:00:00Z.
const LONG_AGO: i64 = 946_684_800;
/// 2100-01-01T00:00:00Z.
const FAR_AHEAD: i64 = 4_102_444_800;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Generating the key, encoding a name or signing failed.
    #[error("cannot make the certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A validity bound lies before 1970 or after the year 9999.
    #[error("{0} seconds since 1970 is outside the dates a certificate here can carry")]
    Date(i64),
}

/// A self-signed P-256 certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

/// A leaf certificate, without its chain, and its private key.
pub struct Identity {
    /// The leaf certificate only, PEM.
    pub certificate_pem: String,
    /// The private key, PKCS#8 PEM.
    pub key_pem: String,
    /// The leaf certificate, DER.
    pub certificate_der: Vec<u8>,
}

/// A subject alternative name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum San<'a> {
    /// A DNS name.
    Dns(&'a str),
    /// An IP address.
    Ip(IpAddr),
    /// A URI, such as a SPIFFE ID.
    Uri(&'a str),
}

/// When a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before_secs: i64,
    /// The last second.
    pub not_after_secs: i64,
}

impl Ca {
    /// Makes an authority with a fresh key, valid until 2100.
    pub fn new(common_name: &str) -> Result<Ca, CaError> {
        let (params, key) = (authority(common_name, LONG)?, p256()?);
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Ca { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// Makes an authority under this one, with the validity chosen by the caller.
    pub fn subordinate(&self, common_name: &str, validity: Validity) -> Result<Ca, CaError> {
        let (mut params, key) = (authority(common_name, validity)?, p256()?);
        params.use_authority_key_identifier_extension = true;
        let certificate_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Ca { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// The authority's own certificate, PEM: the trust anchor to hand out.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues a TLS server certificate with common name `server`, valid until 2100.
    pub fn server(&self, sans: &[San<'_>]) -> Result<Identity, CaError> {
        self.sign("server", sans, LONG, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// Issues a certificate usable on both ends of mutual TLS, valid until 2100. With exactly one
    /// URI name that is a SPIFFE ID it is a valid X.509-SVID.
    pub fn client(&self, common_name: &str, sans: &[San<'_>]) -> Result<Identity, CaError> {
        self.issue(common_name, sans, LONG)
    }

    /// Like [`Ca::client`], with the validity chosen by the caller.
    pub fn issue(&self, common_name: &str, sans: &[San<'_>], validity: Validity) -> Result<Identity, CaError> {
        self.sign(common_name, sans, validity, &BOTH_ENDS)
    }

    fn sign(
        &self,
        common_name: &str,
        sans: &[San<'_>],
        validity: Validity,
        purposes: &[ExtendedKeyUsagePurpose],
    ) -> Result<Identity, CaError> {
        let key = p256()?;
        let mut params = leaf(common_name, sans, validity, purposes)?;
        params.use_authority_key_identifier_extension = true;
        Ok(Identity::new(&params.signed_by(&key, &self.issuer)?, &key))
    }
}

/// Makes a certificate that no authority vouches for, usable on both ends of TLS until 2100.
pub fn self_signed(common_name: &str) -> Result<Identity, CaError> {
    let key = p256()?;
    let params = leaf(common_name, &[], LONG, &BOTH_ENDS)?;
    Ok(Identity::new(&params.self_signed(&key)?, &key))
}

const LONG: Validity = Validity { not_before_secs: LONG_AGO, not_after_secs: FAR_AHEAD };

const BOTH_ENDS: [ExtendedKeyUsagePurpose; 2] =
    [ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];

impl Identity {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Identity {
        Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate_der: certificate.der().to_vec(),
        }
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

fn p256() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

fn authority(common_name: &str, validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = params(common_name, &[], validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(
    common_name: &str,
    sans: &[San<'_>],
    validity: Validity,
    purposes: &[ExtendedKeyUsagePurpose],
) -> Result<CertificateParams, CaError> {
    let mut params = params(common_name, sans, validity)?;
    // An explicit `CA:FALSE`; rcgen marks key usage critical, as X.509-SVID asks.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purposes.to_vec();
    Ok(params)
}

fn params(common_name: &str, sans: &[San<'_>], validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    for san in sans {
        params.subject_alt_names.push(match *san {
            San::Dns(dns) => SanType::DnsName(dns.try_into()?),
            San::Ip(ip) => SanType::IpAddress(ip),
            San::Uri(uri) => SanType::URI(uri.try_into()?),
        });
    }
    // The date type belongs to a crate this one does not name: adding to a date is the way to one.
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = since_1970(validity.not_before_secs)
        .and_then(|age| epoch.checked_add(age.try_into().ok()?))
        .ok_or(CaError::Date(validity.not_before_secs))?;
    params.not_after = since_1970(validity.not_after_secs)
        .and_then(|age| epoch.checked_add(age.try_into().ok()?))
        .ok_or(CaError::Date(validity.not_after_secs))?;
    Ok(params)
}

fn since_1970(secs: i64) -> Option<Duration> {
    u64::try_from(secs).ok().map(Duration::from_secs)
}
