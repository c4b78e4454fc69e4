//! `narrowgate serve`.

use super::{Exit, output::Output};
use crate::{
    app::{Daemon, Failure},
    config::Config,
    exchange::Corridor,
    platform::{
        process,
        sandbox::{self, Gap, Sandbox},
        vault::OpenError,
    },
    policy::Trigger,
};
use std::{
    path::Path,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

/// Runs the daemon. What it gives up is given up before there is a second thread, for some of it holds for one thread
/// and those it starts.
pub(super) fn run(file: &Path, output: &Output) -> Exit {
    process::harden();
    process::take_descriptors();
    // A bundle is fetched now already: its agents say how far the sandbox can be closed.
    let config = match super::bundles::load(file) {
        Ok((config, unfetched)) => {
            if let Some(finding) = unfetched {
                tracing::error!("{finding}");
            }
            config
        }
        Err(findings) => return super::check::report(&findings, Exit::Usage, output),
    };
    if let Err(why) = close(&config, file) {
        return output.fail(Exit::Unavailable, &why);
    }
    match super::runtime() {
        Ok(runtime) => {
            let exit = runtime.block_on(serve(config, file, output));
            // A disk that hangs, or a name that is being looked up, does not keep a daemon that has stopped.
            runtime.shutdown_timeout(Duration::from_millis(100));
            exit
        }
        Err(error) => output.fail(Exit::Internal, &format!("cannot start: {error}")),
    }
}

/// Closes the sandbox as far as configured.
fn close(config: &Config, file: &Path) -> Result<(), String> {
    if process::is_root() {
        tracing::warn!(
            "running as root: whoever takes narrowgate over has the machine; give it a user of its own (deploy/narrowgate.service)"
        );
    }
    if config.unix.is_some() && !config.serves_people && !process::sees_others() {
        tracing::warn!(
            "the processes of agents are hidden (hidepid, or ProtectProc of the unit), so that people cannot be told from services: show them, or say interactive = \"allow\" in [listen.unix]"
        );
    }
    if config.sandbox == Sandbox::Off {
        tracing::warn!("the sandbox is off ([process] sandbox)");
        return Ok(());
    }
    for Gap { what, why } in sandbox::enter(&config.places(file)) {
        if config.sandbox == Sandbox::Required {
            return Err(format!(
                "sandbox: {what} is not possible: {why}; set sandbox = \"on\" in [process] to start without it"
            ));
        }
        tracing::warn!(what, why, "the sandbox has a gap");
    }
    Ok(())
}

async fn serve(config: Config, file: &Path, output: &Output) -> Exit {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return output.fail(Exit::Internal, "cannot listen for signals");
    };
    let hangup = Arc::new(Notify::new());
    tokio::spawn(outlive_other_signals(Arc::clone(&hangup)));
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
    let reloading = tokio::spawn(reload_on(hangup, Arc::downgrade(daemon.corridor())));
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping: SIGINT"),
        () = daemon.drained() => tracing::info!("stopping: an operator drains it"),
    }
    reloading.abort();
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

/// Takes policies, agents and APIs anew at each SIGHUP; several that come at once are one.
async fn reload_on(hangup: Arc<Notify>, corridor: Weak<Corridor>) {
    loop {
        hangup.notified().await;
        let Some(corridor) = corridor.upgrade() else { return };
        tracing::info!("SIGHUP: policies, agents and APIs are taken anew, if there is anything new");
        corridor.reload(Trigger::Signal).await;
    }
}

/// A closed terminal, or a habit of log rotation, must not end the daemon without a word.
async fn outlive_other_signals(asked: Arc<Notify>) {
    let kinds = [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];
    let [Ok(mut hangup), Ok(mut first), Ok(mut second)] = kinds.map(signal) else { return };
    loop {
        tokio::select! {
            _ = hangup.recv() => asked.notify_one(),
            _ = first.recv() => tracing::info!("SIGUSR1 means nothing here"),
            _ = second.recv() => tracing::info!("SIGUSR2 means nothing here"),
        }
    }
}

fn refuse(failure: Failure, output: &Output) -> Exit {
    match failure {
        Failure::Config(findings) => super::check::report(&findings, Exit::Usage, output),
        Failure::Key(..) | Failure::Freezes(..) | Failure::Store(OpenError::WrongKey(_) | OpenError::Later(..)) => {
            output.fail(Exit::Usage, &failure.to_string())
        }
        Failure::Audit(_) | Failure::Bind(_) | Failure::NoEntropy | Failure::Store(_) => {
            output.fail(Exit::Unavailable, &failure.to_string())
        }
    }
}
