//! An issuer's public keys (RFC 7517). Each key is for the algorithm that it names or that its type implies; an RSA key
//! that names none is for those the issuer's configuration pins. What cannot be used is left out and counted.

use super::{Algorithm, Algorithms};
use crate::{oauth::strict_json, platform::digest::sha256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// Bytes of a key set.
pub(crate) const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// Keys of a key set.
pub(crate) const KEYS_MAX: usize = 100;
/// Bytes of a `kid`.
const KID_BYTES_MAX: usize = 256;
/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// RSA exponents: not below F4 (FIPS 186-5 §5.4), not beyond the 33 bits that aws-lc takes.
const RSA_EXPONENTS: std::ops::Range<u64> = 0x1_0001..0x2_0000_0000;
/// Members that only a private or symmetric key has (RFC 7518 §6.2.2, §6.3.2, §6.4; `priv` is the AKP type's).
const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
/// The two y coordinates of Ed25519's points of order eight.
const ED25519_ORDER_EIGHT: [[u8; 32]; 2] = [
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
];

/// Why a whole document is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeysRejected {
    /// More than [`KEY_SET_BYTES_MAX`].
    Size,
    /// Not strict JSON, or not a key set.
    Malformed,
    /// More than [`KEYS_MAX`].
    TooMany,
    /// It holds a private or a symmetric key: whoever publishes that has lost control of the rest too.
    Private,
}

/// Why a key of an otherwise good document is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ignored {
    /// `use` or `key_ops` is for something else than verifying.
    Purpose,
    /// A `kty` we do not know.
    KeyType,
    /// A curve we do not know.
    Curve,
    /// An `alg` we do not know, or not one for such a key.
    Algorithm,
    /// An RSA key of a wrong size or exponent, a point off the curve or of small order.
    Weak,
    /// A `kid` that is not 1 to 256 visible ASCII bytes.
    KeyId,
    /// A member is missing or ill-formed.
    Malformed,
}

/// How a set differs from the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Not at all, but for the order.
    Same,
    /// Keys came or went, and at least one stayed: a usual rotation. Also the first keys after none.
    Rotated,
    /// None of the earlier keys is left.
    Replaced,
    /// A `kid` names another key, or the same for another algorithm.
    Rebound,
}

/// One public key.
pub(crate) struct Key {
    kid: Option<String>,
    /// None for an RSA key that does not say (RFC 7517 §4.4): the issuer's configuration decides.
    algorithm: Option<Algorithm>,
    material: Material,
    thumbprint: String,
}

enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    Curve(ParsedPublicKey),
}

/// The keys of one issuer.
pub(crate) struct KeySet {
    keys: Vec<Key>,
    ignored: Vec<Ignored>,
}

impl KeySet {
    /// Reads a JWK Set document.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, KeysRejected> {
        if bytes.len() > KEY_SET_BYTES_MAX {
            return Err(KeysRejected::Size);
        }
        let document = strict_json::parse(bytes).ok_or(KeysRejected::Malformed)?;
        if holds_private(&document) {
            return Err(KeysRejected::Private);
        }
        let items = document.get("keys").and_then(Value::as_array).ok_or(KeysRejected::Malformed)?;
        if items.len() > KEYS_MAX {
            return Err(KeysRejected::TooMany);
        }
        let mut set = Self { keys: Vec::new(), ignored: Vec::new() };
        for item in items {
            match Key::read(item.as_object().ok_or(KeysRejected::Malformed)?) {
                Ok(key) => set.keys.push(key),
                Err(why) => set.ignored.push(why),
            }
        }
        Ok(set)
    }

    /// The keys that can be used.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The keys that cannot, one reason each.
    pub(crate) fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// Whether both hold the same keys under the same names for the same algorithms, in any order.
    pub(crate) fn same_keys(&self, other: &Self) -> bool {
        let within = |some: &Self, all: &Self| some.keys.iter().all(|key| all.keys.iter().any(|k| k.is_same_as(key)));
        within(self, other) && within(other, self)
    }

    /// How this set differs from an earlier one of the same issuer.
    pub(crate) fn changed_from(&self, earlier: &Self) -> Change {
        let rebound = self.keys.iter().filter(|key| key.kid.is_some()).any(|key| {
            earlier.keys.iter().any(|old| old.kid == key.kid) && !earlier.keys.iter().any(|old| old.is_same_as(key))
        });
        let stayed = || earlier.keys.iter().any(|old| self.keys.iter().any(|key| key.thumbprint == old.thumbprint));
        if self.same_keys(earlier) {
            Change::Same
        } else if rebound {
            Change::Rebound
        } else if earlier.keys.is_empty() || stayed() {
            Change::Rotated
        } else {
            Change::Replaced
        }
    }
}

impl Key {
    /// The `kid`.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The thumbprint (RFC 7638): SHA-256, base64url. It does not depend on optional members.
    pub(crate) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Whether this key is for this algorithm, where the issuer may use these. A key that does not say which is for any
    /// of its type that is pinned: a token's `alg` chooses among those, and among nothing else.
    pub(super) fn fits(&self, algorithm: Algorithm, allowed: &Algorithms) -> bool {
        let its_own = self.algorithm.map_or_else(|| algorithm.is_rsa(), |own| own == algorithm);
        its_own && allowed.allow(algorithm)
    }

    /// Whether the signature over the message is this key's. The caller has asked [`Self::fits`].
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (&self.material, algorithm) {
            (Material::Rsa(key), Algorithm::Rs256) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            (Material::Rsa(key), Algorithm::Ps256) => key.verify(&RSA_PSS_2048_8192_SHA256, message, signature),
            (Material::Curve(key), _) if self.algorithm == Some(algorithm) => key.verify_sig(message, signature),
            (_, _) => return false,
        }
        .is_ok()
    }

    fn is_same_as(&self, other: &Self) -> bool {
        self.kid == other.kid && self.algorithm == other.algorithm && self.thumbprint == other.thumbprint
    }

    fn read(jwk: &Map<String, Value>) -> Result<Self, Ignored> {
        if !is_for_verifying(jwk) {
            return Err(Ignored::Purpose);
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) if is_kid(kid) => Some(kid.clone()),
            Some(_) => return Err(Ignored::KeyId),
        };
        let named = match jwk.get("alg") {
            None => None,
            Some(Value::String(name)) => Some(Algorithm::parse(name).ok_or(Ignored::Algorithm)?),
            Some(_) => return Err(Ignored::Malformed),
        };
        let (derived, material, canonical) = match jwk.get("kty").and_then(Value::as_str) {
            Some("RSA") => rsa(jwk)?,
            Some("EC") => elliptic(jwk)?,
            Some("OKP") => edwards(jwk)?,
            Some(_) => return Err(Ignored::KeyType),
            None => return Err(Ignored::Malformed),
        };
        let algorithm = match (derived, named) {
            (Some(derived), None) => Some(derived),
            (Some(derived), Some(named)) if derived == named => Some(derived),
            (None, None) => None,
            (None, Some(named)) if named.is_rsa() => Some(named),
            (_, Some(_)) => return Err(Ignored::Algorithm),
        };
        Ok(Self { kid, algorithm, material, thumbprint: URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes())) })
    }
}

/// Whether the text can be a `kid`: an opaque name, looked up letter for letter and used for nothing else.
pub(super) fn is_kid(text: &str) -> bool {
    (1..=KID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether there is a private or symmetric key anywhere.
fn holds_private(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| {
            PRIVATE.contains(&name.as_str())
                || (name == "kty" && value.as_str().is_some_and(|kty| kty.eq_ignore_ascii_case("oct")))
                || holds_private(value)
        }),
        Value::Array(items) => items.iter().any(holds_private),
        _ => false,
    }
}

/// RFC 7517 §4.2, §4.3: what is said is honoured.
fn is_for_verifying(jwk: &Map<String, Value>) -> bool {
    let used = jwk.get("use").is_none_or(|usage| usage == "sig");
    let operations = jwk
        .get("key_ops")
        .is_none_or(|list| list.as_array().is_some_and(|list| list.iter().any(|operation| operation == "verify")));
    used && operations
}

/// A key, the algorithm that follows from its type, and the text of its thumbprint (RFC 7638 §3.2).
type Read = (Option<Algorithm>, Material, String);

fn rsa(jwk: &Map<String, Value>) -> Result<Read, Ignored> {
    let (n, e) = (octets(jwk, "n")?, octets(jwk, "e")?);
    let (Some(top), Some(low)) = (n.first(), n.last()) else { return Err(Ignored::Malformed) };
    if *top == 0 || e.first() == Some(&0) {
        return Err(Ignored::Malformed); // RFC 7518 §2: Base64urlUInt has no leading zero.
    }
    let bits = (n.len() * 8).saturating_sub(usize::try_from(top.leading_zeros()).unwrap_or_default());
    let exponent = if e.len() > 8 { u64::MAX } else { e.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)) };
    if !RSA_BITS.contains(&bits) || low % 2 == 0 || !RSA_EXPONENTS.contains(&exponent) || exponent % 2 == 0 {
        return Err(Ignored::Weak);
    }
    let canonical =
        format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, URL_SAFE_NO_PAD.encode(&e), URL_SAFE_NO_PAD.encode(&n));
    Ok((None, Material::Rsa(RsaPublicKeyComponents { n, e }), canonical))
}

fn elliptic(jwk: &Map<String, Value>) -> Result<Read, Ignored> {
    let (curve, algorithm, verification, width) = match jwk.get("crv").and_then(Value::as_str) {
        Some("P-256") => ("P-256", Algorithm::Es256, &ECDSA_P256_SHA256_FIXED, 32),
        Some("P-384") => ("P-384", Algorithm::Es384, &ECDSA_P384_SHA384_FIXED, 48),
        Some(_) => return Err(Ignored::Curve),
        None => return Err(Ignored::Malformed),
    };
    let (x, y) = (octets(jwk, "x")?, octets(jwk, "y")?);
    if x.len() != width || y.len() != width {
        return Err(Ignored::Malformed);
    }
    // SEC 1 §2.3.3: 0x04, then both coordinates. Parsing checks that the point is on the curve.
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    let key = ParsedPublicKey::new(verification, point).map_err(|_| Ignored::Weak)?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let canonical = format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok((Some(algorithm), Material::Curve(key), canonical))
}

fn edwards(jwk: &Map<String, Value>) -> Result<Read, Ignored> {
    match jwk.get("crv").and_then(Value::as_str) {
        Some("Ed25519") => {}
        Some(_) => return Err(Ignored::Curve),
        None => return Err(Ignored::Malformed),
    }
    let x = octets(jwk, "x")?;
    if x.len() != 32 {
        return Err(Ignored::Malformed);
    }
    if is_weak_point(&x) {
        return Err(Ignored::Weak);
    }
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(&x));
    let key = ParsedPublicKey::new(&ED25519, x).map_err(|_| Ignored::Weak)?;
    Ok((Some(Algorithm::EdDsa), Material::Curve(key), canonical))
}

/// Whether an encoded Ed25519 point has small order, so that signatures for it need no private key, or is not encoded
/// canonically (RFC 8032 §5.1.3). A point off the curve is no danger: it verifies nothing.
fn is_weak_point(x: &[u8]) -> bool {
    let mut y = x.to_vec();
    if let Some(last) = y.last_mut() {
        *last &= 0x7f; // The sign of x.
    }
    let (first, last) = (y.first().copied().unwrap_or_default(), y.last().copied().unwrap_or_default());
    let middle = |byte: u8| y.iter().skip(1).take(30).all(|b| *b == byte);
    let zero_or_one = first <= 1 && middle(0) && last == 0;
    let minus_one_or_more = first >= 0xec && middle(0xff) && last == 0x7f;
    zero_or_one || minus_one_or_more || ED25519_ORDER_EIGHT.iter().any(|point| y == point)
}

/// A member's octets: unpadded base64url, not empty.
fn octets(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Ignored> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or(Ignored::Malformed)?;
    URL_SAFE_NO_PAD.decode(text).ok().filter(|octets| !octets.is_empty()).ok_or(Ignored::Malformed)
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
