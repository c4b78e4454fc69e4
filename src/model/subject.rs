//! The person that an agent acts for, as a verified ID token names them (OIDC Core §2).

use super::Wall;

/// Who logged in, and how. Nothing else of the token goes on. Personal data: it has no Debug, so no log can show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    /// The issuer: `sub` means nothing without it (OIDC Core §5.7).
    pub issuer: String,
    /// The issuer's name for the person.
    pub sub: String,
    /// How strongly they logged in, in the issuer's words.
    pub acr: Option<String>,
    /// When they last logged in.
    pub auth_time: Option<Wall>,
    /// Whether `amr` speaks of more than one factor (RFC 8176).
    pub mfa: bool,
    /// Those of their groups that the configuration declares, without repeats.
    pub groups: Vec<String>,
}
