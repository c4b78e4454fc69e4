//! Values that must not leak. The type has no Debug, Display, Clone, Serialize, AsRef, Deref or PartialEq.

use std::marker::PhantomData;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret of one kind. Wiped from memory when dropped; compared in constant time.
pub struct Secret<Kind>(Zeroizing<String>, PhantomData<Kind>);

impl<Kind> Secret<Kind> {
    /// Takes the value over. The caller's copy is moved, not copied.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value), PhantomData)
    }

    /// Whether both are the same, in time that depends on length alone.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }

    /// Opens the secret. Only the wire and the keyed hash may: clippy's `disallowed-methods` holds everyone else off.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The kinds of [`Secret`], so that one cannot be taken for another.
pub mod kind {
    /// See [`super::AuthorizationCode`].
    pub enum Code {}
    /// See [`super::StateValue`].
    pub enum State {}
    /// See [`super::Nonce`].
    pub enum Nonce {}
    /// See [`super::CodeVerifier`].
    pub enum Verifier {}
    /// See [`super::AccessToken`].
    pub enum Access {}
    /// See [`super::RefreshToken`].
    pub enum Refresh {}
    /// See [`super::IdToken`].
    pub enum Identity {}
    /// See [`super::DpopProof`].
    pub enum Proof {}
    /// See [`super::ClientAssertion`].
    pub enum Assertion {}
    /// See [`super::ClientSecret`].
    pub enum Shared {}
    /// See [`super::SubjectToken`].
    pub enum Subject {}
    /// See [`super::ApprovalRecord`].
    pub enum Approval {}
}

/// An authorization code (RFC 6749 §1.3.1).
pub type AuthorizationCode = Secret<kind::Code>;
/// The `state` of an authorization request (RFC 6749 §10.12).
pub type StateValue = Secret<kind::State>;
/// The `nonce` of an OpenID Connect request (OIDC Core §3.1.2.1).
pub type Nonce = Secret<kind::Nonce>;
/// A PKCE code verifier (RFC 7636 §4.1).
pub type CodeVerifier = Secret<kind::Verifier>;
/// An access token (RFC 6749 §1.4).
pub type AccessToken = Secret<kind::Access>;
/// A refresh token (RFC 6749 §1.5).
pub type RefreshToken = Secret<kind::Refresh>;
/// An ID token (OIDC Core §2), unverified: it is judged and dropped, and never handed on.
pub type IdToken = Secret<kind::Identity>;
/// A client assertion (RFC 7521 §4.2): made for one request, good for a minute, never kept.
pub type ClientAssertion = Secret<kind::Assertion>;
/// A client secret (RFC 6749 §2.3.1).
pub type ClientSecret = Secret<kind::Shared>;

/// A DPoP proof (RFC 9449 §4.2): whoever has it and the token it is for can send that one request until it is too old.
pub type DpopProof = Secret<kind::Proof>;
/// A subject token (RFC 8693 §2.1) or an assertion (RFC 7523 §2.1), as an agent brings it.
pub type SubjectToken = Secret<kind::Subject>;
/// An approver's signed record, as an agent brings it.
pub type ApprovalRecord = Secret<kind::Approval>;

impl AuthorizationCode {
    /// The longest code that is accepted, in bytes.
    pub const BYTES_MAX: usize = 4096;

    /// Accepts 1*VSCHAR (RFC 6749 App. A.11) of at most [`Self::BYTES_MAX`] bytes; anything else is wiped.
    #[must_use]
    pub fn parse(value: String) -> Option<Self> {
        let secret = Self::new(value);
        let valid = !secret.0.is_empty()
            && secret.0.len() <= Self::BYTES_MAX
            && secret.0.bytes().all(|b| (0x20..=0x7e).contains(&b));
        valid.then_some(secret)
    }
}

impl AccessToken {
    /// The longest token that is accepted, in bytes.
    pub const BYTES_MAX: usize = 32 * 1024;

    /// Accepts the b64token alphabet (RFC 6750 §2.1), which is what an Authorization header can carry.
    #[must_use]
    pub fn parse(value: String) -> Option<Self> {
        let secret = Self::new(value);
        let body = secret.0.trim_end_matches('=');
        let valid = !body.is_empty()
            && secret.0.len() <= Self::BYTES_MAX
            && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
        valid.then_some(secret)
    }
}

impl ClientSecret {
    /// Accepts 1*VSCHAR (RFC 6749 App. A.2) of at most 1 KiB.
    #[must_use]
    pub fn parse(value: String) -> Option<Self> {
        let secret = Self::new(value);
        let valid =
            !secret.0.is_empty() && secret.0.len() <= 1024 && secret.0.bytes().all(|b| (0x20..=0x7e).contains(&b));
        valid.then_some(secret)
    }
}

impl SubjectToken {
    /// Accepts the b64token alphabet of at most [`AccessToken::BYTES_MAX`] bytes, which every JWT has.
    #[must_use]
    pub fn parse(value: String) -> Option<Self> {
        AccessToken::parse(value).map(|token| Self(token.0, PhantomData))
    }
}

impl ApprovalRecord {
    /// Accepts a JWT of at most 4 KiB.
    #[must_use]
    pub fn parse(value: String) -> Option<Self> {
        AccessToken::parse(value).map(|token| Self(token.0, PhantomData)).filter(|record| record.0.len() <= 4096)
    }
}

impl RefreshToken {
    /// Accepts 1*VSCHAR (RFC 6749 App. A.17) of at most 32 KiB.
    #[must_use]
    pub fn parse(value: String) -> Option<Self> {
        let secret = Self::new(value);
        let valid = !secret.0.is_empty()
            && secret.0.len() <= AccessToken::BYTES_MAX
            && secret.0.bytes().all(|b| (0x20..=0x7e).contains(&b));
        valid.then_some(secret)
    }
}
