//! `request_object_signing_alg` of a `[[client]]`: its authorization requests are signed (RFC 9101).

use super::{client_auth::ClientAuth, reader::Table};

/// Whether a client signs its authorization requests. The algorithm is written as it is registered at the issuer (OpenID
/// Connect Registration §2); the key decides.
pub(super) fn signs_requests(table: &Table<'_>, auth: Option<&ClientAuth>) -> bool {
    let key = "request_object_signing_alg";
    let Some(written) = table.optional(key, |name| Ok(name.to_owned())) else { return false };
    match auth {
        Some(ClientAuth::PrivateKeyJwt(own)) if own.algorithm().name() == written => {}
        Some(ClientAuth::PrivateKeyJwt(own)) => {
            let message = format!("is {written:?}, but the key is for {}", own.algorithm().name());
            table.wrong_at(key, message, Some("write what the key is for, and register that at the issuer"));
        }
        Some(_) => table.wrong_at(
            key,
            "needs a key that the issuer knows the client by",
            Some("use auth = \"private_key_jwt\" and assertion_key, which sign both, or take the line out"),
        ),
        // What is wrong with it is told already.
        None => {}
    }
    true
}
