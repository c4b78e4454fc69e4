//! `narrowgate serve`.

use super::{Exit, output::Output};
use crate::{
    app::{Daemon, Failure},
    config,
};
use std::{path::Path, pin::pin, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn run(file: &Path, output: &Output) -> Exit {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(findings) => return super::check::report(&findings, Exit::Usage, output),
    };
    crate::platform::process::harden();
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return output.fail(Exit::Internal, "cannot listen for signals");
    };
    let place = config.unix.as_ref().map(|unix| unix.path.display().to_string());
    let daemon = match Daemon::start(config, file).await {
        Ok(daemon) => daemon,
        Err(failure) => return refuse(failure, output),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        unix = place,
        tcp = daemon.address.map(|a| a.to_string()),
        "narrowgate is up"
    );
    if let Some(why) = *daemon.readiness.borrow() {
        tracing::error!(why, "not serving");
    }
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping: SIGINT"),
    }
    // No more than a hint of it: the audit thread ends with the last who holds it.
    let corridor = Arc::downgrade(daemon.corridor());
    let mut stopping = pin!(daemon.stop());
    tokio::select! {
        () = &mut stopping => return Exit::Ok,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if let Some(corridor) = corridor.upgrade() {
        Daemon::record_cut_off(&corridor).await;
    }
    output.fail(Exit::Refused, "stopped at once by a second signal; what was under way may be cut off")
}

fn refuse(failure: Failure, output: &Output) -> Exit {
    match failure {
        Failure::Config(findings) => super::check::report(&findings, Exit::Usage, output),
        Failure::Key(..) => output.fail(Exit::Usage, &failure.to_string()),
        Failure::Audit(_) | Failure::Bind(_) => output.fail(Exit::Unavailable, &failure.to_string()),
    }
}
