//! `[issuer.id_token]`: what is demanded of an issuer's ID tokens, and how long its keys are believed.

use super::reader::Table;
use crate::model::{Algorithm, Algorithms};
use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

const SECOND: Duration = Duration::from_secs(1);
/// How far the issuer's clock may be from ours, unless configured.
pub(crate) const CLOCK_SKEW_DEFAULT: Duration = Duration::from_secs(10);
/// How far it may be at most, whatever is configured (FAPI 2.0 Security Profile §5.3.2.1).
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// Texts in one list.
const ENTRIES_MAX: usize = 64;
/// Bytes of a group, an audience or an `acr`.
const TEXT_BYTES_MAX: usize = 128;
const KEYS_TTL: RangeInclusive<Duration> = SECOND..=Duration::from_secs(86_400);
const KEYS_REFRESH: RangeInclusive<Duration> = SECOND..=Duration::from_secs(3600);

/// What is demanded of the ID tokens of one issuer.
#[derive(Debug, Clone)]
pub struct IdTokens {
    /// The algorithms it may sign with.
    pub algorithms: Algorithms,
    /// Audiences besides our client that may stand in `aud`.
    pub trusted_audiences: Vec<String>,
    /// How far its clock may be from ours.
    pub clock_skew: Duration,
    /// The groups it may put people into, as policy sees them.
    pub groups: Vec<String>,
    /// How long ago the person may have logged in; it is asked for, and then held against `auth_time`.
    pub max_age: Option<Duration>,
    /// How strongly the person must have logged in: asked for, and one of these must be the `acr`.
    pub acr_values: Vec<String>,
    /// How long its keys are believed.
    pub keys_ttl: Duration,
    /// How long to wait between two fetches of its keys because a token named an unknown one.
    pub keys_refresh: Duration,
}

impl Default for IdTokens {
    fn default() -> Self {
        Self {
            algorithms: Algorithms::default(),
            trusted_audiences: Vec::new(),
            clock_skew: CLOCK_SKEW_DEFAULT,
            groups: Vec::new(),
            max_age: None,
            acr_values: Vec::new(),
            keys_ttl: 600 * SECOND,
            keys_refresh: 60 * SECOND,
        }
    }
}

pub(super) fn id_tokens(table: &Table<'_>) -> IdTokens {
    let defaults = IdTokens::default();
    let named = table.list("algs", |name| {
        Algorithm::parse(name).ok_or_else(|| format!("{name:?} is not one of RS256, PS256, ES256, ES384, EdDSA"))
    });
    if table.holds("algs") && table.is_bare("algs") {
        table.wrong_at("algs", "must name at least one algorithm; without the line it is PS256, ES256 and EdDSA", None);
    }
    let years = SECOND..=Duration::from_secs(366 * 86_400);
    let max_age = table.span("max_age", Duration::ZERO, years);
    IdTokens {
        algorithms: Algorithms::new(named).unwrap_or(defaults.algorithms),
        trusted_audiences: texts(table, "trusted_audiences"),
        clock_skew: table.span("clock_skew", defaults.clock_skew, Duration::from_millis(1)..=CLOCK_SKEW_MAX),
        groups: texts(table, "groups"),
        max_age: (!max_age.is_zero()).then_some(max_age),
        acr_values: texts(table, "acr_values"),
        keys_ttl: table.span("keys_ttl", defaults.keys_ttl, KEYS_TTL),
        keys_refresh: table.span("keys_refresh", defaults.keys_refresh, KEYS_REFRESH),
    }
}

fn texts(table: &Table<'_>, key: &'static str) -> Vec<String> {
    let texts = table.list(key, |text| {
        // No spaces: acr_values travel as one list of words (OIDC Core §3.1.2.1).
        let plain = (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if plain { Ok(text.to_owned()) } else { Err("must hold 1 to 128 visible ASCII characters".to_owned()) }
    });
    if texts.len() > ENTRIES_MAX || texts.iter().collect::<BTreeSet<_>>().len() < texts.len() {
        table.wrong_at(key, format!("must hold at most {ENTRIES_MAX} texts, each once"), None);
    }
    texts
}
