//! How policies and data files are taken anew while the daemon runs.

use super::reader::Table;
use std::{path::PathBuf, time::Duration};

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
    /// Whether a set that allows what was denied of late waits for an operator's word.
    pub require_ack_for_weakening: bool,
}

impl Default for Reloading {
    fn default() -> Self {
        Self { check_every: SECOND, fail_closed: false, require_ack_for_weakening: false }
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
        require_ack_for_weakening: table.boolean("require_ack_for_weakening", default.require_ack_for_weakening),
    }
}

/// The folder of the shadow set, which is not that of the active one, nor in it or around it: its policies would decide.
pub(super) fn shadow(table: &Table<'_>, active: Option<&PathBuf>) -> Option<PathBuf> {
    let shadow = table.path("shadow")?;
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let beside = active.is_none_or(|active| {
        let (active, shadow) = (real(active), real(&shadow));
        !shadow.starts_with(&active) && !active.starts_with(&shadow)
    });
    if !beside {
        let hint = "keep the shadow set in a folder of its own, beside the active one";
        table.wrong_at("shadow", "is the folder of the active set, or one inside the other", Some(hint));
        return None;
    }
    Some(shadow)
}
