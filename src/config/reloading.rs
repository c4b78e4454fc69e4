//! How policies and data files are taken anew while the daemon runs.

use super::reader::Table;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// How often a server is asked for a bundle.
pub(super) const FETCH_EVERY: Duration = Duration::from_secs(60);

/// How policies, agents and APIs are taken anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloading {
    /// How often the files are looked at, or a bundle's server is asked.
    pub check_every: Duration,
    /// Whether nothing is served while they are mistaken. Otherwise the last sound set goes on.
    pub fail_closed: bool,
}

impl Default for Reloading {
    fn default() -> Self {
        Self { check_every: SECOND, fail_closed: false }
    }
}

pub(super) fn reloading(table: &Table<'_>, check_every: Option<Duration>) -> Reloading {
    let default = Reloading::default();
    let default = Reloading { check_every: check_every.unwrap_or(default.check_every), ..default };
    let fail_closed = table.optional("on_bad_reload", |word| match word {
        "keep" => Ok(false),
        "fail_closed" => Ok(true),
        _ => Err("must be \"keep\" or \"fail_closed\"".to_owned()),
    });
    Reloading {
        check_every: table.span("check_every", default.check_every, SECOND / 10..=3600 * SECOND),
        fail_closed: fail_closed.unwrap_or(default.fail_closed),
    }
}
