//! `[grants]`: how long grants are kept, and how many tokens of each. Besides: how an issuer narrows on refresh.

use super::reader::Table;
use crate::model::Boot;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// How long a grant with a refresh token is kept, and how many tokens of it.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// A grant that its agent does not ask for ends after this (RFC 9700 §2.2.2).
    pub idle_lifetime: Duration,
    /// A grant ends after this, however busy.
    pub absolute_lifetime: Duration,
    /// Tokens of one grant, each of other scopes.
    pub tokens_per_grant: usize,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { idle_lifetime: 7 * DAY, absolute_lifetime: 30 * DAY, tokens_per_grant: 16 }
    }
}

impl Keeping {
    /// When a grant ends that was given at `since` and used last at `used`. Only the boot clock counts: it goes on while
    /// the machine sleeps, and nobody steps it.
    #[must_use]
    pub fn end(&self, since: Boot, used: Boot) -> Boot {
        used.plus(self.idle_lifetime).min(since.plus(self.absolute_lifetime))
    }
}

/// What an issuer does with fewer scopes on refresh (RFC 6749 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Narrowing {
    /// It narrows, and says so by `scope` in its answer.
    #[default]
    Confirmed,
    /// It narrows; an answer without `scope` means what was asked (RFC 6749 §5.1).
    Assumed,
    /// It does not, but exchanges the broad token for a narrow one (RFC 8693).
    Exchange,
    /// It does not, so it is not asked to.
    Off,
}

pub(super) fn keeping(table: &Table<'_>) -> Keeping {
    let default = Keeping::default();
    let tokens = table.integer("tokens_per_grant", 1..=1024).and_then(|n| usize::try_from(n).ok());
    Keeping {
        idle_lifetime: table.span("idle_lifetime", default.idle_lifetime, SECOND..=366 * DAY),
        absolute_lifetime: table.span("absolute_lifetime", default.absolute_lifetime, SECOND..=366 * DAY),
        tokens_per_grant: tokens.unwrap_or(default.tokens_per_grant),
    }
}

pub(super) fn narrowing(table: &Table<'_>) -> Narrowing {
    let read = table.optional("refresh_narrowing", |text| match text {
        "confirmed" => Ok(Narrowing::Confirmed),
        "assumed" => Ok(Narrowing::Assumed),
        "exchange" => Ok(Narrowing::Exchange),
        "off" => Ok(Narrowing::Off),
        _ => Err("must be \"confirmed\", \"assumed\", \"exchange\" or \"off\"".to_owned()),
    });
    read.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: RT-06
    #[test]
    fn a_grant_ends_by_whichever_bound_comes_first() {
        let keeping = Keeping { idle_lifetime: 10 * SECOND, absolute_lifetime: 25 * SECOND, tokens_per_grant: 1 };
        let at = |second: u64| Boot(1000 + second * 1000);
        assert_eq!(keeping.end(at(0), at(0)), at(10));
        assert_eq!(keeping.end(at(0), at(9)), at(19));
        // However busy: use does not move this one.
        assert_eq!(keeping.end(at(0), at(24)), at(25));
    }
}
