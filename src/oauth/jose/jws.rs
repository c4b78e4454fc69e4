//! Verifies a compact JWS (RFC 7515 §5.2, §7.1). Everything that can be refused without cryptography is.

use super::{
    Algorithm, Algorithms, Kind,
    jwks::{Key, KeySet, is_kid},
};
use crate::oauth::{bound::media_type, strict_json};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// Bytes of a token.
pub(crate) const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Header members that change what is signed or how it is read. None is supported, so none may be there.
const EXTENSIONS: [&str; 3] = ["crit", "b64", "zip"];

/// Why a token is refused. No text of the token is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rejected {
    /// More than [`TOKEN_BYTES_MAX`].
    Size,
    /// Not three segments of unpadded base64url.
    Form,
    /// The header is not an object of strict JSON.
    Header,
    /// `alg` is missing or not one the issuer may use.
    Algorithm,
    /// `crit`, `b64` or `zip` is there.
    Extension,
    /// `typ` is of another kind of token.
    Type,
    /// `kid` is not 1 to 256 visible ASCII bytes.
    KeyId,
    /// No key has this `kid`, or the token names none and no key fits. A refresh of the keys may help, once.
    UnknownKey,
    /// The key of this `kid` is for another algorithm.
    WrongKey,
    /// More than one key fits.
    AmbiguousKey,
    /// The signature is not the key's.
    Signature,
    /// The claims are not an object of strict JSON.
    Claims,
}

impl Rejected {
    /// The rule, for the operator's log.
    pub(crate) const fn rule(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Form => "form",
            Self::Header => "header",
            Self::Algorithm => "alg",
            Self::Extension => "crit",
            Self::Type => "typ",
            Self::KeyId => "kid",
            Self::UnknownKey => "unknown_key",
            Self::WrongKey => "wrong_key",
            Self::AmbiguousKey => "ambiguous_key",
            Self::Signature => "signature",
            Self::Claims => "claims",
        }
    }
}

/// The claims of a token whose signature is good. They are somebody's word: who may say what is yet to be judged.
pub(crate) struct Verified {
    kind: Kind,
    algorithm: Algorithm,
    claims: Map<String, Value>,
}

impl Verified {
    /// What the token is for.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// What it was signed with.
    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// All claims.
    pub(crate) const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// One claim.
    pub(crate) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }
}

/// Verifies a token of this kind with one issuer's keys.
pub(crate) fn verify(token: &str, keys: &KeySet, allowed: &Algorithms, kind: Kind) -> Result<Verified, Rejected> {
    verify_typed(token, keys, allowed, kind, None)
}

/// The same, for an issuer whose tokens of this kind have a `typ` of their own.
pub(crate) fn verify_typed(
    token: &str,
    keys: &KeySet,
    allowed: &Algorithms,
    kind: Kind,
    typ: Option<&str>,
) -> Result<Verified, Rejected> {
    let parts = Parts::split(token)?;
    let header = Header::read(&parts.header, allowed, (kind, typ))?;
    let key = choose(keys, &header, allowed)?;
    if !key.verifies(header.algorithm, parts.signed.as_bytes(), &parts.signature) {
        return Err(Rejected::Signature);
    }
    match strict_json::parse(&parts.payload) {
        Some(Value::Object(claims)) => Ok(Verified { kind, algorithm: header.algorithm, claims }),
        _ => Err(Rejected::Claims),
    }
}

/// The segments, decoded.
struct Parts<'t> {
    signed: &'t str,
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'t> Parts<'t> {
    fn split(token: &'t str) -> Result<Self, Rejected> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Rejected::Size);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejected::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejected::Form)?;
        // The alphabet has no dot, so a fourth segment fails here.
        let decode = |segment: &str| {
            URL_SAFE_NO_PAD.decode(segment).ok().filter(|octets| !octets.is_empty()).ok_or(Rejected::Form)
        };
        Ok(Self { signed, header: decode(header)?, payload: decode(payload)?, signature: decode(signature)? })
    }
}

/// What is read of a header. `jwk`, `jku`, `x5u`, `x5c` and the rest are not: nobody's word makes a key good.
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

impl Header {
    fn read(bytes: &[u8], allowed: &Algorithms, (kind, typ): (Kind, Option<&str>)) -> Result<Self, Rejected> {
        let Some(Value::Object(members)) = strict_json::parse(bytes) else { return Err(Rejected::Header) };
        let algorithm = members
            .get("alg")
            .and_then(Value::as_str)
            .and_then(Algorithm::parse)
            .filter(|algorithm| allowed.allow(*algorithm))
            .ok_or(Rejected::Algorithm)?;
        if EXTENSIONS.iter().any(|name| members.contains_key(*name)) {
            return Err(Rejected::Extension);
        }
        let found = members.get("typ");
        let fits = match typ {
            None => kind.accepts(found),
            Some(own) => found.and_then(Value::as_str).is_some_and(|found| media_type(found) == media_type(own)),
        };
        if !fits {
            return Err(Rejected::Type);
        }
        let kid = match members.get("kid") {
            None => None,
            Some(Value::String(kid)) if is_kid(kid) => Some(kid.clone()),
            Some(_) => return Err(Rejected::KeyId),
        };
        Ok(Self { algorithm, kid })
    }
}

/// The one key that fits. Keys are never tried in turn.
fn choose<'k>(keys: &'k KeySet, header: &Header, allowed: &Algorithms) -> Result<&'k Key, Rejected> {
    let named = |key: &&Key| header.kid.is_none() || key.kid() == header.kid.as_deref();
    let mut fitting = keys.keys().iter().filter(named).filter(|key| key.fits(header.algorithm, allowed));
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(Rejected::AmbiguousKey),
        (None, _) if header.kid.is_some() && keys.keys().iter().any(|key| named(&key)) => Err(Rejected::WrongKey),
        (None, _) => Err(Rejected::UnknownKey),
    }
}

#[cfg(test)]
#[path = "jws_tests.rs"]
mod tests;
