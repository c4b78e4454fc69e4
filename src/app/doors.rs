//! The doors: opened before anything is read that they serve, and served last.

use crate::{
    api::{BindError, Door, Doors, MtlsDoor, UnixDoor},
    config::Config,
};
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};

/// Opens the doors of agents.
pub(super) async fn bind(config: &Config) -> Result<(Option<UnixDoor>, Option<MtlsDoor>), BindError> {
    let unix = config.unix.as_ref().map(UnixDoor::bind).transpose()?;
    let mtls = match &config.tcp {
        Some(settings) => Some(MtlsDoor::bind(settings).await?),
        None => None,
    };
    Ok((unix, mtls))
}

/// Serves agents and operators at the doors that are there.
pub(super) fn serve_doors(
    serving: &mut JoinSet<()>,
    doors: Doors,
    (unix, mtls, admin): (Option<UnixDoor>, Option<MtlsDoor>, Option<UnixDoor>),
    authorities: Vec<String>,
    stopping: &watch::Receiver<bool>,
) {
    let doors = Arc::new(doors);
    let to_agents = unix.map(Door::Unix).into_iter().chain(mtls.map(|door| Door::Mtls(door, authorities)));
    for door in to_agents.chain(admin.map(Door::Admin)) {
        let (doors, stopping) = (Arc::clone(&doors), stopping.clone());
        serving.spawn(async move { doors.serve(door, stopping).await });
    }
}
