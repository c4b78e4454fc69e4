//! Tokens in an answer that is no answer: whatever else is wrong with it, they live at the server and must be revoked.

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;
use zeroize::Zeroizing;

/// Tokens of one kind that are taken from one answer. A server that sends more has them revoked by nobody but itself.
const TOKENS_MAX: usize = 64;

/// Tokens that came with an answer that is refused: to be revoked, and nothing else. As they came, because one that
/// no `Authorization` header could carry lives at the server all the same.
#[derive(Default)]
pub(super) struct Leftover {
    /// Each once, in the order they came.
    pub(super) access: Vec<Zeroizing<String>>,
    /// The same.
    pub(super) refresh: Vec<Zeroizing<String>>,
}

impl Leftover {
    /// Of a body that broke off. A token that did not come whole is none.
    pub(super) fn of_fragment(body: &[u8]) -> Self {
        salvage(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.access.is_empty() && self.refresh.is_empty()
    }
}

/// Looks for tokens in an object, up to where it is no JSON any more: every one, for a member that is named twice may
/// hold two.
pub(super) fn salvage(body: &[u8]) -> Leftover {
    let mut found = Leftover::default();
    // How it ends is known already: the answer is broken.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(Seeker(&mut found));
    found
}

struct Seeker<'s>(&'s mut Leftover);

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
            let text = text.filter(|text| !text.is_empty() && !place.contains(text));
            place.extend(text.filter(|_| place.len() < TOKENS_MAX));
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
    use super::{Leftover, salvage};
    use zeroize::Zeroizing;

    fn texts(tokens: &[Zeroizing<String>]) -> Vec<&str> {
        tokens.iter().map(|token| token.as_str()).collect()
    }

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
                assert_eq!(texts(&found.access), ["at"], "{before} … {after}");
                assert!(found.refresh.is_empty());
            }
        }
        assert!(salvage(b"[]").is_empty() && salvage(b"").is_empty());
    }

    // rows: INTR-01
    #[test]
    fn every_token_of_a_repeated_member_is_found_once() {
        let body = r#"{"access_token":"a","refresh_token":"r","access_token":"b","access_token":"a","access_token":"",
            "access_token":9,"refresh_token":"a","access\u005ftoken":"c"}"#;
        for end in [body.len(), body.len() - 1] {
            let found = salvage(&body.as_bytes()[..end]);
            assert_eq!(texts(&found.access), ["a", "b", "c"]);
            assert_eq!(texts(&found.refresh), ["r", "a"]);
        }
        let many: Vec<String> = (0..1000).map(|i| format!(r#""access_token":"t{i}""#)).collect();
        assert_eq!(salvage(format!("{{{}}}", many.join(",")).as_bytes()).access.len(), super::TOKENS_MAX);
    }

    // rows: INTR-01
    #[test]
    fn a_token_that_came_whole_is_found_in_a_fragment() {
        let of = |body: &str| Leftover::of_fragment(body.as_bytes());
        let cut = r#"{"access_token":"at","refresh_token":"r"#;
        assert_eq!(texts(&of(cut).access), ["at"]);
        assert!(of(cut).refresh.is_empty() && of(r#"{"access_token":"a"#).is_empty() && of("").is_empty());
        assert!(!of("\u{feff}{\"access_token\":\"at\"}").is_empty());
    }
}
