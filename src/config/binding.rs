//! `token_binding`: what a client's tokens are bound to. Besides: the origins at which an API is, where proofs may go.

use super::reader::Table;
use crate::model::TokenBinding;

/// `token_binding`, or `bound_tokens = true`, which is `"certificate"`; and `dpop_key`: whether agents have the keys.
pub(super) fn token_binding(table: &Table<'_>) -> (TokenBinding, bool) {
    let binding = binding(table);
    let holder = table.optional("dpop_key", |text| match text {
        "daemon" => Ok(false),
        "agent" => Ok(true),
        _ => Err("must be \"daemon\" or \"agent\"".to_owned()),
    });
    if holder.is_some() && binding != TokenBinding::Dpop {
        table.wrong_at("dpop_key", "belongs to token_binding = \"dpop\"", None);
    }
    (binding, holder.unwrap_or(false))
}

fn binding(table: &Table<'_>) -> TokenBinding {
    let named = table.optional("token_binding", |text| match text {
        "none" => Ok(TokenBinding::Unbound),
        "certificate" => Ok(TokenBinding::Certificate),
        "dpop" => Ok(TokenBinding::Dpop),
        _ => Err("must be \"none\", \"certificate\" (RFC 8705 §3) or \"dpop\" (RFC 9449)".to_owned()),
    });
    let by_certificate = table.boolean("bound_tokens", false);
    if by_certificate && named.is_some_and(|named| named != TokenBinding::Certificate) {
        table.wrong_at(
            "token_binding",
            "and `bound_tokens` say different things",
            Some("take bound_tokens out: bound_tokens = true is the same as token_binding = \"certificate\""),
        );
    }
    let otherwise = if by_certificate { TokenBinding::Certificate } else { TokenBinding::Unbound };
    named.unwrap_or(otherwise)
}

/// The origins of an API (RFC 6454 §4): that of its identifier, where it has one, and those declared beside it.
pub(super) fn origins(table: &Table<'_>, identifier: Option<&str>) -> Vec<String> {
    let declared = table.list("origins", |text| {
        let url = url::Url::parse(text).ok().filter(|url| url.scheme() == "https");
        let origin = url.map(|url| url.origin()).filter(url::Origin::is_tuple);
        let origin = origin.map(|origin| origin.ascii_serialization()).filter(|origin| origin == text);
        origin.ok_or_else(|| {
            "must hold origins: https, a host in lower case, a port where it is not 443, no path".to_owned()
        })
    });
    let own = identifier.and_then(|text| url::Url::parse(text).ok()).map(|url| url.origin());
    let own = own.filter(url::Origin::is_tuple).map(|origin| origin.ascii_serialization());
    let mut origins: Vec<String> = own.into_iter().chain(declared).collect();
    origins.sort();
    origins.dedup();
    origins
}
