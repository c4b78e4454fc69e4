//! What a client proves itself with, other than a certificate: the key that signs its assertions (RFC 7523 §2.2), the
//! file of its JWT-SVID, the file of its secret. Besides: how assertions for an issuer are made.

use super::{ClientAuth, Config, Finding, PemMistake, about, pem::CertificateAndKey, reader::Table};
use crate::{
    model::{Algorithm, ClientSecret},
    platform::files,
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::{
    fmt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Bytes of a key file.
const KEY_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a file with a client secret.
const SECRET_BYTES_MAX: u64 = 2048;
/// Bytes of a key ID.
const KID_BYTES_MAX: usize = 256;

/// How client assertions for one issuer are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientAssertions {
    /// `typ` is `JWT`, for servers that refuse `client-authentication+jwt` (rfc7523bis).
    pub typ_jwt: bool,
    /// `aud` is the token endpoint, for servers that know nothing else (RFC 7523 §3). An attacker's metadata can then
    /// name another server's endpoint, which is why rfc7523bis forbids it.
    pub legacy_aud: bool,
    /// RS256 with `x5t`, the SHA-1 of a certificate, for servers that find keys by nothing else.
    pub legacy_rs256: bool,
}

/// The key that a client signs its assertions with.
pub struct AssertionKey {
    /// The key itself.
    pub(crate) pair: AssertionKeyPair,
    /// `kid`, where the issuer knows the key by one.
    pub kid: Option<String>,
    /// The certificate of the key, where the issuer knows the key by that.
    pub certificate: Option<CertificateDer<'static>>,
}

/// A key, by what it can sign.
pub(crate) enum AssertionKeyPair {
    /// ES256.
    P256(EcdsaKeyPair),
    /// PS256, or RS256 where that is declared.
    Rsa(RsaKeyPair),
    /// EdDSA.
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AssertionKey({})", self.algorithm().name())
    }
}

impl AssertionKey {
    /// What it signs with: its own kind decides (FAPI 2.0 Security Profile §5.4).
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.pair {
            AssertionKeyPair::P256(_) => Algorithm::Es256,
            AssertionKeyPair::Rsa(_) => Algorithm::Ps256,
            AssertionKeyPair::Ed25519(_) => Algorithm::EdDsa,
        }
    }
}

impl AssertionKeyPair {
    /// Reads an unencrypted PKCS#8 key (RFC 5958), which its file keeps private.
    fn load(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        files::require_private(path).map_err(|wrong| format!("{shown} {wrong}"))?;
        let text = files::read_text(path, KEY_BYTES_MAX).map_err(|e| format!("{shown} cannot be read: {e}"))?;
        let text = Zeroizing::new(text);
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| format!("{shown} holds no PKCS#8 key in PEM; openssl pkcs8 -topk8 -nodes makes one"))?;
        let der = der.secret_pkcs8_der();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            return Ok(Self::P256(pair));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Self::Ed25519(pair));
        }
        let rsa = RsaKeyPair::from_pkcs8(der).ok().filter(|pair| pair.public_modulus_len() >= 256);
        rsa.map(Self::Rsa).ok_or_else(|| {
            format!("{shown} must hold a key of P-256, of Ed25519, or RSA of 2048 to 8192 bits: ES256, EdDSA, PS256")
        })
    }
}

pub(super) fn client_assertions(table: &Table<'_>) -> ClientAssertions {
    let typ_jwt = table.optional("typ", |typ| match typ {
        "client-authentication+jwt" => Ok(false),
        "JWT" => Ok(true),
        _ => Err("must be \"client-authentication+jwt\" or \"JWT\"".to_owned()),
    });
    ClientAssertions {
        typ_jwt: typ_jwt.unwrap_or(false),
        legacy_aud: table.boolean("legacy_aud", false),
        legacy_rs256: table.boolean("legacy_rs256", false),
    }
}

/// The keys of a `[[client]]` that its assertions need, as they are written.
pub(super) struct Draft {
    key: Option<PathBuf>,
    algorithm: Option<Algorithm>,
    kid: Option<String>,
    certificate: Option<PathBuf>,
}

impl Draft {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let algorithm = table.optional("assertion_alg", |name| {
            let fit = [Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa].into_iter().find(|a| a.name() == name);
            fit.ok_or_else(|| "must be PS256, ES256 or EdDSA, whichever the key is for".to_owned())
        });
        let kid = table.optional("assertion_kid", |kid| {
            let fit = (1..=KID_BYTES_MAX).contains(&kid.len()) && kid.bytes().all(|b| b.is_ascii_graphic());
            if fit { Ok(kid.to_owned()) } else { Err("must be 1 to 256 visible ASCII characters".to_owned()) }
        });
        Self { key: table.path("assertion_key"), algorithm, kid, certificate: table.path("assertion_certificate") }
    }

    /// Loads what was written.
    pub(super) fn key(self, table: &Table<'_>) -> Option<AssertionKey> {
        let Some(path) = self.key else {
            table.wrong(
                "private_key_jwt needs `assertion_key`, the file of the key that signs (RFC 7523 §2.2)",
                Some("write for example: assertion_key = \"tls/assertion.key\""),
            );
            return None;
        };
        let pair = AssertionKeyPair::load(&path).map_err(|wrong| table.wrong_at("assertion_key", wrong, None)).ok()?;
        let certificate = match &self.certificate {
            None => None,
            Some(certificate) => {
                let both = CertificateAndKey::load(certificate, &path);
                let told = |mistakes: Vec<PemMistake>| {
                    for PemMistake::Certificate(wrong) | PemMistake::Key(wrong) in mistakes {
                        table.wrong_at("assertion_certificate", wrong, None);
                    }
                };
                let both = both.map_err(told).ok()?;
                both.chain.into_iter().next()
            }
        };
        let key = AssertionKey { pair, kid: self.kid, certificate };
        if let Some(wanted) = self.algorithm.filter(|wanted| *wanted != key.algorithm()) {
            let message = format!("is {}, but the key is for {}", wanted.name(), key.algorithm().name());
            table.wrong_at("assertion_alg", message, Some("take the line out: the key decides"));
            return None;
        }
        Some(key)
    }
}

/// The file of a JWT-SVID. What is in it is judged each time it is read.
pub(super) fn jwt_svid(table: &Table<'_>, path: Option<PathBuf>) -> Option<PathBuf> {
    let Some(path) = path else {
        table.wrong(
            "spiffe_jwt needs `jwt_svid`, the file that the SPIFFE Workload API's helper keeps fresh",
            Some("write for example: jwt_svid = \"/run/spiffe/corp.jwt\""),
        );
        return None;
    };
    let private = files::require_private(&path).map_err(|wrong| format!("{} {wrong}", path.display()));
    private.map_err(|wrong| table.wrong_at("jwt_svid", wrong, None)).ok()?;
    Some(path)
}

/// A client secret from its file.
pub(super) fn client_secret(table: &Table<'_>, path: Option<PathBuf>) -> Option<ClientSecret> {
    let Some(path) = path else {
        table.wrong("a client secret needs `client_secret_file`, mode 0600", None);
        return None;
    };
    let read = || {
        let shown = path.display();
        files::require_private(&path).map_err(|wrong| format!("{shown} {wrong}"))?;
        let text = files::read_text(&path, SECRET_BYTES_MAX).map_err(|e| format!("{shown} cannot be read: {e}"))?;
        let mut text = Zeroizing::new(text);
        let length = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(length);
        let secret = ClientSecret::parse(std::mem::take(&mut *text));
        secret.ok_or_else(|| format!("{shown} must hold 1*VSCHAR (RFC 6749 App. A.2) of at most 1024 bytes"))
    };
    read().map_err(|wrong| table.wrong_at("client_secret_file", wrong, None)).ok()
}

/// Clients whose way to prove themselves does not fit their issuer's switches.
pub(super) fn unfit(file: &Path, config: &Config) -> Vec<Finding> {
    let wrong = |alias: &dyn fmt::Display, message: &str, hint: &str| Finding {
        hint: Some(hint.to_owned()),
        ..about(file, format!("client `{alias}`: {message}"))
    };
    let of = |client: &super::Client| {
        let issuer = config.issuers.get(&client.issuer)?;
        let legacy = issuer.assertions.legacy_rs256;
        match &client.auth {
            auth if auth.is_shared_secret() && !issuer.allow_client_secret => Some(wrong(
                &client.alias,
                "a client secret lives long and is known to two: it is off (RFC 9700 §2.5)",
                "use private_key_jwt or a certificate; if the server takes neither, add to its [[issuer]]: allow_client_secret = true",
            )),
            ClientAuth::PrivateKeyJwt(key) if legacy => {
                let fit = key.certificate.is_some() && matches!(key.pair, AssertionKeyPair::Rsa(_));
                let message = "legacy_rs256 of its issuer needs an RSA key and `assertion_certificate`, for x5t";
                (!fit).then(|| wrong(&client.alias, message, "register an RSA certificate at the issuer"))
            }
            ClientAuth::PrivateKeyJwt(key) if key.certificate.is_some() => Some(wrong(
                &client.alias,
                "`assertion_certificate` is of use only with legacy_rs256 of its issuer",
                "take the line out, or add to the [[issuer]]: client_assertion = { legacy_rs256 = true }",
            )),
            _ => None,
        }
    };
    config.clients.values().filter_map(|client| of(client)).collect()
}
