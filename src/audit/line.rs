//! JSON in a line that nothing in it can break.

use crate::model::fault::cut;
use serde::Serialize;
use serde_json::{Serializer, Value, ser::Formatter};
use std::io::{self, Write};

/// The longest text in an event, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Appends a value in ASCII, as it is.
pub(super) fn write(value: &(impl Serialize + ?Sized), into: &mut Vec<u8>) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(into, Ascii)).map_err(io::Error::other)
}

/// Appends a text, cut where it is long: a line must stay readable for shippers.
pub(super) fn text(text: &str, into: &mut Vec<u8>) -> io::Result<()> {
    if text.len() > TEXT_BYTES_MAX { write(&cut(text.to_owned(), TEXT_BYTES_MAX), into) } else { write(text, into) }
}

/// Drops what is null or empty and cuts what is long, as it is written.
pub(super) fn prune(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => {
            *text = cut(std::mem::take(text), TEXT_BYTES_MAX);
            !text.is_empty()
        }
        Value::Array(items) => {
            items.retain_mut(prune);
            !items.is_empty()
        }
        Value::Object(map) => {
            map.retain(|_, v| prune(v));
            !map.is_empty()
        }
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Escapes everything beyond ASCII, so that no character can pass for another or turn a line around.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if character.is_ascii() && character != '\u{7f}' {
                writer.write_all(&[u8::try_from(character).unwrap_or(b'?')])?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}
