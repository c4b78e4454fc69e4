//! Policies from a signed bundle: fetched where it is at a URL, and kept once it is taken, so that nothing older is taken
//! after it and a restart has one while the URL is down.

use super::Corridor;
use crate::{
    audit::Event,
    config::{Config, Finding, about},
    oauth::Fetched,
    platform::bundle::{self, Signed},
    policy::{Look, Prepared, Sources, Trigger},
};
use std::sync::Arc;

/// Looks that may find a server's bundle as it was until it is held against what runs all the same: its data files may
/// name files that are on disk.
const LOOK_EVERY: u32 = 30;

/// What there is to look at.
pub(super) enum Read {
    /// These texts.
    Texts(Sources),
    /// What was there before.
    AsItWas,
    /// None.
    Not(Look),
}

impl Corridor {
    /// Reads the texts of now.
    pub(super) async fn read_sources(self: &Arc<Self>, trigger: Trigger) -> Read {
        let Some(source) = &self.bundles else {
            return Sources::settled(&self.config)
                .await
                .map_or_else(|wrong| Read::Not(Look::Refused(wrong)), Read::Texts);
        };
        let Fetched { signed, repeats } = match source.fetch().await {
            Ok(fetched) => fetched,
            Err(finding) => return Read::Not(Look::Unfetched(vec![finding])),
        };
        let standing = self.policies.standing();
        let is_due = repeats.is_multiple_of(LOOK_EVERY) || standing.failed || standing.sound.is_none();
        if trigger == Trigger::Watch && !is_due {
            return Read::AsItWas;
        }
        let config = Arc::clone(&self.config);
        let opened = tokio::task::spawn_blocking(move || Sources::of_bundle(&config, signed)).await;
        match opened {
            Ok(Ok(sources)) => Read::Texts(sources),
            Ok(Err(findings)) => Read::Not(Look::Refused(findings)),
            Err(_) => Read::Not(Look::Refused(vec![about(
                &self.config.policies,
                "could not be opened: a fault in narrowgate",
            )])),
        }
    }

    /// Keeps the bundle of a set that is sound, before it counts: were it not kept, an older one could be taken after it.
    pub(super) async fn keep_bundle(self: &Arc<Self>, signed: Option<Arc<Signed>>, look: Look) -> Look {
        let Some(signed) = signed.filter(|_| matches!(look, Look::Unchanged(_) | Look::Changed(_))) else {
            return look;
        };
        let config = Arc::clone(&self.config);
        let kept = tokio::task::spawn_blocking(move || keep(&config, &signed)).await;
        match kept {
            Ok(Ok(())) => look,
            Ok(Err(finding)) => Look::Refused(vec![finding]),
            Err(_) => Look::Refused(vec![about(&self.config.policies, "could not be kept: a fault in narrowgate")]),
        }
    }
}

fn keep(config: &Config, signed: &Signed) -> Result<(), Finding> {
    let folder = &config.audit.directory;
    bundle::keep(folder, signed).map_err(|wrong| {
        let hint = "a bundle is taken only once it is on disk that it was: make room there, or let the daemon write";
        Finding { hint: Some(hint.to_owned()), ..about(&bundle::kept_in(folder), wrong) }
    })
}

/// What a daemon starts with.
pub(super) struct First {
    pub(super) prepared: Prepared,
    pub(super) signed: Option<Arc<Signed>>,
    /// What is wrong with what is there now, if that is not what it starts with.
    pub(super) wrong: Vec<Finding>,
}

/// The set of a start: of what is there now, or of the bundle that was taken last where that is not sound.
///
/// # Errors
/// What is wrong with what is there now.
pub(super) fn prepare_first(
    config: &Config,
    prepare: impl Fn(&Sources) -> Result<Prepared, Vec<Finding>>,
) -> Result<First, Vec<Finding>> {
    let taken = |sources: Sources| {
        let prepared = prepare(&sources)?;
        if let Some(signed) = sources.bundle() {
            keep(config, signed).map_err(|finding| vec![finding])?;
        }
        Ok(First { prepared, signed: sources.bundle().cloned(), wrong: Vec::new() })
    };
    let wrong = match Sources::read(config).and_then(taken) {
        Ok(first) => return Ok(first),
        Err(wrong) => wrong,
    };
    if config.reloading.fail_closed {
        return Err(wrong);
    }
    match Sources::kept(config).ok().flatten().map(taken) {
        Some(Ok(first)) => Ok(First { wrong, ..first }),
        _ => Err(wrong),
    }
}

/// Says which bundle a set is from.
pub(super) fn from_bundle(event: Event, signed: Option<&Signed>) -> Event {
    let Some(Signed { signature, .. }) = signed else { return event };
    event
        .with("bundle_serial", signature.serial)
        .with("bundle_digest", format!("sha256:{}", signature.archive_sha256))
        .with("bundle_key", signature.key_id.clone())
}
