//! Tokens in an answer that is no answer: whatever else is wrong with it, they live at the server and must be revoked.

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;
use zeroize::Zeroizing;

/// What of a broken object can be revoked: the first of each kind that came whole.
#[derive(Default)]
pub(super) struct Salvaged {
    pub(super) access: Option<Zeroizing<String>>,
    pub(super) refresh: Option<Zeroizing<String>>,
}

/// Looks for tokens in an object, up to where it is no JSON any more.
pub(super) fn salvage(body: &[u8]) -> Salvaged {
    let mut found = Salvaged::default();
    // How it ends is known already: the answer is broken.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(Seeker(&mut found));
    found
}

struct Seeker<'s>(&'s mut Salvaged);

impl<'de> Visitor<'de> for Seeker<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let place = match name.as_str() {
                "access_token" => &mut self.0.access,
                "refresh_token" => &mut self.0.refresh,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let Perhaps(text) = map.next_value()?;
            if place.is_none() {
                *place = text;
            }
        }
        Ok(())
    }
}

/// A text, or anything else.
struct Perhaps(Option<Zeroizing<String>>);

impl<'de> Deserialize<'de> for Perhaps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PerhapsVisitor)
    }
}

struct PerhapsVisitor;

impl<'de> Visitor<'de> for PerhapsVisitor {
    type Value = Perhaps;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Perhaps, E> {
        Ok(Perhaps(Some(Zeroizing::new(text.to_owned()))))
    }

    fn visit_unit<E>(self) -> Result<Perhaps, E> {
        Ok(Perhaps(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Perhaps, E> {
        Ok(Perhaps(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Perhaps, E> {
        Ok(Perhaps(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Perhaps, E> {
        Ok(Perhaps(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Perhaps, E> {
        Ok(Perhaps(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Perhaps, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Perhaps(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Perhaps, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Perhaps(None))
    }
}

#[cfg(test)]
mod tests {
    use super::salvage;

    // rows: INTR-01
    #[test]
    fn no_mistake_before_a_token_hides_it() {
        for before in [
            r#""refresh_token":null"#,
            r#""refresh_token":["x"]"#,
            r#""scope":"a","scope":"b""#,
            r#""x":{"a":1,"a":1}"#,
            r#""access_token":7,"expires_in":1e3"#,
        ] {
            for after in [r#","token_type":"Bearer"}"#, "", ",", "}}", r#","refresh_token":"cut"#] {
                let found = salvage(format!(r#"{{{before},"access_token":"at"{after}"#).as_bytes());
                assert_eq!(found.access.map(|t| t.to_string()).as_deref(), Some("at"), "{before} … {after}");
                assert!(found.refresh.is_none());
            }
        }
        assert!(salvage(b"[]").access.is_none() && salvage(b"").access.is_none());
    }
}
