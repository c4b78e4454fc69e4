//! Nonces that servers give for the proofs to come (RFC 9449 §8, §9). What one server gave is nothing to another: an
//! authorization server has one place, and each origin of a grant's resources has one in that grant.

use http::HeaderMap;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// The header they come in.
const HEADER: &str = "dpop-nonce";

/// A nonce. It is no secret, but nobody else's business either.
#[derive(Clone, PartialEq, Eq)]
pub struct DpopNonce(String);

impl DpopNonce {
    /// The longest nonce that is taken, in bytes: it comes back in every proof, and a proof in a header.
    pub const BYTES_MAX: usize = 1024;

    /// Accepts 1*NQCHAR (RFC 9449 §8.1, RFC 6749 App. A) of at most [`Self::BYTES_MAX`] bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_nqchar = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let valid = !text.is_empty() && text.len() <= Self::BYTES_MAX && text.bytes().all(is_nqchar);
        valid.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The nonce that an answer brings.
///
/// # Errors
/// More than one, or one that is none: nothing of it may be kept.
pub(in crate::oauth) fn given(headers: &HeaderMap) -> Result<Option<DpopNonce>, ()> {
    let mut values = headers.get_all(HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => only.to_str().ok().and_then(DpopNonce::parse).map(Some).ok_or(()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// The latest nonce of one server.
#[derive(Default)]
pub(in crate::oauth) struct ServerNonce(Mutex<Option<DpopNonce>>);

impl ServerNonce {
    pub(super) fn latest(&self) -> Option<DpopNonce> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest counts, whatever answer it came in (RFC 9449 §8.2).
    pub(super) fn replace(&self, nonce: DpopNonce) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce);
    }
}

/// The latest nonces of a grant's resource servers, as its agent has told them. Each grant has its own, so that no agent
/// can spoil another's; there are no more of them than the API has origins.
#[derive(Default)]
pub struct ResourceNonces(Mutex<BTreeMap<String, DpopNonce>>);

impl ResourceNonces {
    /// The nonce to send to this origin: the one just told, which is kept, or the latest.
    #[must_use]
    pub fn for_origin(&self, origin: &str, told: Option<DpopNonce>) -> Option<DpopNonce> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = told {
            table.insert(origin.to_owned(), told);
        }
        table.get(origin).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        values.iter().map(|value| (HEADER.parse().unwrap(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    // rows: DPOP-07
    #[test]
    fn one_header_of_nqchars_is_a_nonce_and_nothing_else_is() {
        assert!(given(&headers(&[])).unwrap().is_none());
        assert_eq!(given(&headers(&[b"a.B-9_~!#$%&'()*+,/:;<=>?@[]^`{|}"])).unwrap().unwrap().as_str().len(), 33);
        let longest = vec![b'n'; DpopNonce::BYTES_MAX];
        assert!(given(&headers(&[&longest])).is_ok());
        let too_long = vec![b'n'; DpopNonce::BYTES_MAX + 1];
        let huge = vec![b'n'; 64 * 1024];
        let bad: [&[u8]; 9] =
            [b"", b"a b", b"a\tb", b"a\"b", b"a\\b", b"caf\xe9", "\u{2713}".as_bytes(), &too_long, &huge];
        for value in bad {
            assert!(given(&headers(&[value])).is_err(), "{value:?}");
        }
        assert!(given(&headers(&[b"one", b"two"])).is_err());
        assert!(given(&headers(&[b"one", b"one"])).is_err());
    }

    // rows: DPOP-06
    #[test]
    fn a_nonce_goes_back_to_where_it_came_from() {
        let nonce = |text| DpopNonce::parse(text);
        let (ours, theirs) = (ResourceNonces::default(), ResourceNonces::default());
        let told = |nonces: &ResourceNonces, origin, new| nonces.for_origin(origin, new).map(|n| n.as_str().to_owned());
        assert_eq!(told(&ours, "https://a.test", nonce("n1")).as_deref(), Some("n1"));
        assert_eq!(told(&ours, "https://b.test", None), None);
        assert_eq!(told(&theirs, "https://a.test", None), None);
        assert_eq!(told(&ours, "https://a.test", nonce("n2")).as_deref(), Some("n2"));
        assert_eq!(told(&ours, "https://a.test", None).as_deref(), Some("n2"));
    }
}
