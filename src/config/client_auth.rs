//! `auth` of a `[[client]]`: the one way in which a client proves itself to its issuer (RFC 6749 §2.3).

use super::{
    assertion::{self, AssertionKey},
    distinguished_name::DistinguishedName,
    pem::CertificateAndKey,
    published,
    reader::Table,
};
use crate::model::ClientSecret;
use std::{fmt, net::IpAddr, path::PathBuf};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

/// How a client proves itself to the issuer.
pub enum ClientAuth {
    /// PKI mutual TLS (RFC 8705 §2.1), with the one subject value that the issuer expects.
    TlsClientAuth(SubjectValue),
    /// Self-signed certificate mutual TLS (RFC 8705 §2.2).
    SelfSignedTlsClientAuth,
    /// An assertion signed with a key of its own (RFC 7523 §2.2, OIDC Core §9).
    PrivateKeyJwt(AssertionKey),
    /// A JWT-SVID (draft-ietf-oauth-spiffe-client-auth), read anew from this file for each request.
    SpiffeJwt(PathBuf),
    /// A shared secret in the Authorization header (RFC 6749 §2.3.1).
    ClientSecretBasic(ClientSecret),
    /// A shared secret in the body (RFC 6749 §2.3.1).
    ClientSecretPost(ClientSecret),
}

impl ClientAuth {
    /// The registered name of the method.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::TlsClientAuth(_) => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
            Self::PrivateKeyJwt(_) => "private_key_jwt",
            Self::SpiffeJwt(_) => "spiffe_jwt",
            Self::ClientSecretBasic(_) => "client_secret_basic",
            Self::ClientSecretPost(_) => "client_secret_post",
        }
    }

    /// Whether it rests on a secret that the issuer knows too.
    #[must_use]
    pub const fn is_shared_secret(&self) -> bool {
        matches!(self, Self::ClientSecretBasic(_) | Self::ClientSecretPost(_))
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The subject value registered at the issuer (RFC 8705 §2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectValue {
    /// `tls_client_auth_subject_dn`
    Dn(String),
    /// `tls_client_auth_san_dns`
    SanDns(String),
    /// `tls_client_auth_san_uri`
    SanUri(String),
    /// `tls_client_auth_san_ip`
    SanIp(IpAddr),
    /// `tls_client_auth_san_email`
    SanEmail(String),
}

/// The methods, and the keys that belong to one of them alone.
const METHODS: [&str; 6] = [
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "private_key_jwt",
    "spiffe_jwt",
    "client_secret_basic",
    "client_secret_post",
];
const OWN_KEYS: [(&str, &[&str]); 8] = [
    ("subject", &["tls_client_auth"]),
    ("published_jwks", &["self_signed_tls_client_auth"]),
    ("assertion_key", &["private_key_jwt"]),
    ("assertion_alg", &["private_key_jwt"]),
    ("assertion_kid", &["private_key_jwt"]),
    ("assertion_certificate", &["private_key_jwt"]),
    ("jwt_svid", &["spiffe_jwt"]),
    ("client_secret_file", &["client_secret_basic", "client_secret_post"]),
];

/// Grants and methods that people write and that narrowgate does not speak.
pub(super) fn not_this_flow(table: &Table<'_>) {
    for key in ["grants", "grant_types", "grant_type", "response_types", "response_type"] {
        table.refuse(
            key,
            "cannot be chosen: authorization codes are always spoken, and each other grant has a switch of its own",
            "take the line out; the switches are [client.token_exchange], [client.jwt_bearer] and client_credentials; the password and implicit grants are not to be used (RFC 9700 §2.1.2, §2.4)",
        );
    }
    for key in ["client_secret", "username", "password"] {
        table.refuse(
            key,
            "is a shared secret, which has no place in this file",
            "take the line out; deploy/issuers.md says how to do without one, and where to put one that must be",
        );
    }
}

/// Reads how a client proves itself. The first that is wrong is told.
pub(super) fn client_auth(table: &Table<'_>, identity: Option<&CertificateAndKey>) -> Option<ClientAuth> {
    let method = table.required("auth", |text| {
        let known = METHODS.into_iter().find(|method| *method == text);
        known.ok_or_else(|| format!("must be one of {}", METHODS.join(", ")))
    });
    // Everything is read before anything is given up, or the keys not reached would look unknown.
    let subject = table.table("subject", subject).flatten();
    let jwks = table.path("published_jwks");
    let assertion = assertion::Draft::read(table);
    let svid = table.path("jwt_svid");
    let secret = table.path("client_secret_file");
    let method = method?;
    let stray = OWN_KEYS.iter().find(|(key, of)| table.holds(key) && !of.contains(&method));
    if let Some((key, of)) = stray {
        let message = format!("belongs to {}, and a client authenticates in one way (RFC 6749 §2.3)", of.join(" or "));
        table.wrong_at(key, message, Some("take out this line, or change `auth`"));
        return None;
    }
    match method {
        "tls_client_auth" => with_certificate(table, identity).and_then(|own| tls_client_auth(table, own, subject)),
        "self_signed_tls_client_auth" => {
            published::check(table, jwks.as_deref(), with_certificate(table, identity)?)?;
            Some(ClientAuth::SelfSignedTlsClientAuth)
        }
        "private_key_jwt" => assertion.key(table).map(ClientAuth::PrivateKeyJwt),
        "spiffe_jwt" => assertion::jwt_svid(table, svid).map(ClientAuth::SpiffeJwt),
        "client_secret_basic" => assertion::client_secret(table, secret).map(ClientAuth::ClientSecretBasic),
        _ => assertion::client_secret(table, secret).map(ClientAuth::ClientSecretPost),
    }
}

/// The certificate that authenticates. With only one of its two files written, the other was missed already.
fn with_certificate<'i>(table: &Table<'_>, identity: Option<&'i CertificateAndKey>) -> Option<&'i CertificateAndKey> {
    if !table.holds("certificate") && !table.holds("key") {
        for key in ["certificate", "key"] {
            table.required_path(key);
        }
    }
    identity
}

fn tls_client_auth(
    table: &Table<'_>,
    identity: &CertificateAndKey,
    subject: Option<SubjectValue>,
) -> Option<ClientAuth> {
    let Some(subject) = subject else {
        if table.holds("subject") {
            return None;
        }
        table.wrong(
            "tls_client_auth needs `subject` with exactly one of dn, san_dns, san_uri, san_ip, san_email (RFC 8705 §2.1.2)",
            Some("write for example: subject = { san_uri = \"spiffe://example.org/narrowgate\" }"),
        );
        return None;
    };
    let leaf = identity.chain.first()?;
    if !carries(leaf, &subject) {
        table.wrong_at(
            "subject",
            "is not in the certificate, so the issuer would refuse it (CLIENT_CERT_SUBJECT_MISMATCH)",
            matches!(subject, SubjectValue::Dn(_))
                .then(|| format!("the certificate's subject is {:?}", subject_of(leaf)))
                .as_deref(),
        );
        return None;
    }
    Some(ClientAuth::TlsClientAuth(subject))
}

fn subject(table: &Table<'_>) -> Option<SubjectValue> {
    let text = |t: &str| if t.is_empty() { Err("is empty".to_owned()) } else { Ok(t.to_owned()) };
    let values: Vec<SubjectValue> = [
        table.optional("dn", |t| DistinguishedName::parse(t).map(|_| t.to_owned())).map(SubjectValue::Dn),
        table.optional("san_dns", text).map(SubjectValue::SanDns),
        table.optional("san_uri", text).map(SubjectValue::SanUri),
        table.optional("san_ip", |t| t.parse().map_err(|_| "is not an IP address".to_owned())).map(SubjectValue::SanIp),
        table.optional("san_email", text).map(SubjectValue::SanEmail),
    ]
    .into_iter()
    .flatten()
    .collect();
    match values.len() {
        1 => values.into_iter().next(),
        _ => {
            table.wrong("exactly one subject value is allowed (RFC 8705 §2.1)", None);
            None
        }
    }
}

/// Whether a certificate carries a subject value.
fn carries(certificate: &[u8], wanted: &SubjectValue) -> bool {
    let Ok((_, parsed)) = x509_parser::certificate::X509Certificate::from_der(certificate) else { return false };
    let ip_bytes = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let names = parsed.subject_alternative_name().ok().flatten();
    let mut names = names.iter().flat_map(|san| san.value.general_names.iter());
    match wanted {
        SubjectValue::Dn(dn) => {
            DistinguishedName::parse(dn).is_ok_and(|wanted| wanted == DistinguishedName::of(parsed.subject()))
        }
        SubjectValue::SanDns(v) => names.any(|n| matches!(n, GeneralName::DNSName(x) if x == v)),
        SubjectValue::SanUri(v) => names.any(|n| matches!(n, GeneralName::URI(x) if x == v)),
        SubjectValue::SanEmail(v) => names.any(|n| matches!(n, GeneralName::RFC822Name(x) if x == v)),
        SubjectValue::SanIp(v) => names.any(|n| matches!(n, GeneralName::IPAddress(x) if *x == ip_bytes(v).as_slice())),
    }
}

/// The subject of a certificate in the form that `subject = { dn = ... }` has.
fn subject_of(certificate: &[u8]) -> String {
    let parsed = x509_parser::certificate::X509Certificate::from_der(certificate);
    parsed.map(|(_, leaf)| DistinguishedName::of(leaf.subject()).to_string()).unwrap_or_default()
}
