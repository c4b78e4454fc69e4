//! Two clocks: wall time to talk to the world, boot time for everything that must end.

use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC. Operators and NTP may step it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wall(pub i64);

impl Wall {
    /// This instant plus a span.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The span since an earlier instant; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The nearest instant that has a date of four-digit year: certificates without an end say 9999-12-31 (RFC 5280
    /// §4.1.2.5), which is a day more than there is here.
    #[must_use]
    pub fn dated(self) -> Self {
        // 0000-01-01T00:00:00Z.
        Self(self.0.clamp(-62_167_219_200_000, jiff::Timestamp::MAX.as_second() * 1_000))
    }

    /// RFC 3339 with milliseconds, in UTC, of [`Self::dated`].
    #[must_use]
    pub fn rfc3339(self) -> String {
        let instant = jiff::Timestamp::from_millisecond(self.dated().0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!("{instant:.3}")
    }
}

/// Milliseconds on the boot clock, suspended time included (CLOCK_BOOTTIME), from a beginning well before boot. It never
/// steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Boot(pub u64);

impl Boot {
    /// This instant plus a span.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This instant less a span.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The span since an earlier instant; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Reads `90s`, `15m`, `2h`, `1d` or `500ms`: a positive whole number and one unit.
#[must_use]
pub fn parse_span(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).filter(|ms| *ms > 0).map(Duration::from_millis)
}

/// A span as [`parse_span`] reads it, in the largest unit that leaves no rest; what is below a millisecond is left out.
#[must_use]
pub fn span_text(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_it_is_read() {
        for (text, written) in [("100ms", "100ms"), ("90s", "90s"), ("60s", "1m"), ("24h", "1d"), ("366d", "366d")] {
            let span = parse_span(text).unwrap();
            assert_eq!(span_text(span), written);
            assert_eq!(parse_span(&span_text(span)), Some(span));
        }
    }
}
