//! A configuration with its policy bundle, fetched where it is at a URL.

use crate::{
    config::{self, Config, Finding},
    oauth::BundleSource,
};
use std::{path::Path, time::Duration};

/// Reads a configuration. What it names at a URL is fetched; why not is told beside it, since what is kept of before may
/// do.
///
/// # Errors
/// Every mistake in the configuration.
pub(super) fn load(file: &Path) -> Result<(Config, Option<Finding>), Vec<Finding>> {
    let config = config::load(file)?;
    let Some(source) = BundleSource::new(&config, file)? else { return Ok((config, None)) };
    // In a thread of its own: commands are inside a runtime, and the daemon is not yet.
    let fetched = std::thread::scope(|scope| scope.spawn(|| fetch(&source)).join());
    match fetched {
        Ok(Ok(fetched)) => Ok((config.with_fetched(fetched), None)),
        Ok(Err(finding)) => Ok((config, Some(finding))),
        Err(_) => Ok((config, Some(config::about(file, "the bundle could not be fetched: a fault in narrowgate")))),
    }
}

fn fetch(source: &BundleSource) -> Result<crate::platform::bundle::Signed, Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| config::about(Path::new("policy.bundle"), format!("cannot be fetched: {e}")))?;
    let fetched = runtime.block_on(source.fetch());
    // A name that is still being looked up is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    fetched.map(|fetched| fetched.signed.as_ref().clone())
}
