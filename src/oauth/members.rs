//! The members of a token answer (RFC 6749 §5.1, §5.2), read strictly and sealed at once.

use super::{
    salvage::{Leftover, salvage},
    strict_json::Strict,
};
use crate::model::{AccessToken, IdToken, RefreshToken};
use serde::{
    Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;
use std::{collections::HashSet, fmt};
use zeroize::Zeroizing;

/// The members of an answer; secrets go straight into memory that is wiped.
#[derive(Default)]
pub(super) struct Members {
    pub(super) access_token: Option<Zeroizing<String>>,
    pub(super) refresh_token: Option<Zeroizing<String>>,
    /// Anything but a text is no ID token.
    pub(super) id_token: Option<IdToken>,
    pub(super) token_type: Option<Value>,
    pub(super) expires_in: Option<Value>,
    pub(super) scope: Option<Value>,
    /// Anything but a text is none.
    pub(super) issued_type: Option<String>,
    /// `authorization_details` (RFC 9396 §7).
    pub(super) details: Option<Value>,
    /// `acr_values` and `max_age` of an error that asks for another login (RFC 9470 §3).
    pub(super) step_up: (Option<Value>, Option<Value>),
    pub(super) error: Option<Value>,
    /// The length of `error_description`; its text is never kept.
    pub(super) description_bytes: Option<usize>,
    /// The tokens of an object that is not sound, every one.
    salvaged: Leftover,
}

impl Members {
    pub(super) fn holds_token(&self) -> bool {
        self.access_token.is_some() || self.refresh_token.is_some() || !self.salvaged.is_empty()
    }

    pub(super) fn access(&self) -> Option<AccessToken> {
        self.access_token.as_ref().and_then(|text| AccessToken::parse(text.to_string()))
    }

    /// `Some(None)`: there was none. `None`: there was one, and it cannot be a refresh token.
    pub(super) fn refresh(&self) -> Option<Option<RefreshToken>> {
        match &self.refresh_token {
            None => Some(None),
            Some(text) => RefreshToken::parse(text.to_string()).map(Some),
        }
    }

    /// Reads the members, and says which rule the text breaks as a whole, if it does. The tokens of a broken one are
    /// there all the same, to be revoked: they live at the server.
    pub(super) fn read(body: &[u8]) -> (Self, Option<&'static str>) {
        let mut members = Self::default();
        // A byte order mark is a mistake (RFC 8259 §8.1), and what follows it is read for the tokens in it.
        let text = body.strip_prefix(b"\xef\xbb\xbf");
        let mut json = serde_json::Deserializer::from_slice(text.unwrap_or(body));
        let mut at = "not_json";
        let read = json.deserialize_map(Reader(&mut members, &mut at));
        let wrong = match read.and_then(|()| json.end()) {
            Ok(()) => text.map(|_| "byte_order_mark"),
            Err(error) if error.is_data() => Some(at),
            Err(_) => Some("not_json"),
        };
        if wrong.is_some() {
            // A repeated member has overwritten what came before it: all of them are looked for again.
            members = Self { salvaged: salvage(text.unwrap_or(body)), ..Self::default() };
        }
        (members, wrong)
    }

    /// The tokens, to be revoked.
    pub(super) fn into_leftover(self) -> Leftover {
        let mut leftover = self.salvaged;
        leftover.access.extend(self.access_token);
        leftover.refresh.extend(self.refresh_token);
        leftover
    }
}

/// Reads into the members, and notes the rule that is broken where the next value turns out wrong.
struct Reader<'m>(&'m mut Members, &'m mut &'static str);

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(members, at) = self;
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            // Of any other value the reader knows one mistake.
            *at = match name.as_str() {
                "access_token" => "access_token",
                "refresh_token" => "refresh_token",
                _ => "duplicate_member",
            };
            match name.as_str() {
                "access_token" => members.access_token = Some(Zeroizing::new(map.next_value()?)),
                "refresh_token" => members.refresh_token = Some(Zeroizing::new(map.next_value()?)),
                "id_token" => {
                    members.id_token = match map.next_value::<Strict>()?.0 {
                        Value::String(text) => Some(IdToken::new(text)),
                        _ => None,
                    };
                }
                "token_type" => members.token_type = Some(map.next_value::<Strict>()?.0),
                "expires_in" => members.expires_in = Some(map.next_value::<Strict>()?.0),
                "issued_token_type" => {
                    members.issued_type = map.next_value::<Strict>()?.0.as_str().map(str::to_owned);
                }
                "authorization_details" => members.details = Some(map.next_value::<Strict>()?.0),
                "scope" => members.scope = Some(map.next_value::<Strict>()?.0),
                "acr_values" => members.step_up.0 = Some(map.next_value::<Strict>()?.0),
                "max_age" => members.step_up.1 = Some(map.next_value::<Strict>()?.0),
                "error" => members.error = Some(map.next_value::<Strict>()?.0),
                "error_description" => {
                    members.description_bytes = map.next_value::<Strict>()?.0.as_str().map(str::len);
                }
                // Unknown members are ignored (RFC 6749 §5.1), but repeats in them are not.
                _ => drop(map.next_value::<Strict>()?),
            }
            if !seen.insert(name) {
                *at = "duplicate_member";
                return Err(A::Error::custom("a member appears twice"));
            }
        }
        Ok(())
    }
}
