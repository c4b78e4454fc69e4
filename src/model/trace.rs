//! The trace that a call belongs to (W3C Trace Context): a thread for people to follow, and nothing else.

use std::fmt;

/// A trace id: 16 bytes, not all zero. It stands in logs and audit events and decides nothing: no permit, no cache and
/// no request to an authorization server is made with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Reads a `traceparent` of version 00 (W3C Trace Context §3.2.2): `00-` trace id `-` parent id `-` flags, 55
    /// characters, lower-case hex, neither id all zero. Nothing of it but the trace id is kept, and later versions,
    /// which may be longer, are not guessed at.
    #[must_use]
    pub fn of_traceparent(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() == 55)?;
        let mut parts = text.split('-');
        let parts = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let [version, trace, parent, flags] = parts;
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if version != "00" || !hex(trace, 32) || !hex(parent, 16) || !hex(flags, 2) || parent.bytes().all(|b| b == b'0')
        {
            return None;
        }
        Self::new(u128::from_str_radix(trace, 16).ok()?.to_be_bytes())
    }

    /// The trace id with these bits, unless they are all zero.
    #[must_use]
    pub fn new(bits: [u8; 16]) -> Option<Self> {
        (bits != [0; 16]).then_some(Self(bits))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: OBS-01
    #[test]
    fn only_version_00_in_lower_case_with_ids_is_believed() {
        const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceId::of_traceparent(GOOD.as_bytes()).unwrap();
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7\u{e9}1",
        ] {
            assert_eq!(TraceId::of_traceparent(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
