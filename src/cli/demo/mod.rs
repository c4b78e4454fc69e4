//! `narrowgate demo`: the main job, for real, on this machine: real TLS, real sockets, real files, an embedded
//! authorization server and APIs, two agents at two doors, an operator.

pub(super) mod dev;
mod freeze;
mod grants;
mod scenes;
mod stage;

use crate::cli::{Exit, output::Output};
use scenes::Scenes;
use serde_json::json;
use stage::Stage;
use std::path::PathBuf;

/// Anything that keeps the demo from going on, as text for a person.
type Trouble = String;

pub(super) async fn run(keep: Option<PathBuf>, output: &Output) -> Exit {
    let stage = match Stage::set(keep).await {
        Ok(stage) => stage,
        Err(trouble) => return output.fail(Exit::Unavailable, &format!("the demo cannot be set up: {trouble}")),
    };
    let mut scenes = Scenes::new(&stage, output);
    let played = scenes.play().await;
    let (passed, failed) = (scenes.passed, scenes.failed.clone());
    let kept = stage.kept();
    let struck = stage.strike().await;
    if let Err(trouble) = played.and(struck) {
        return output.fail(Exit::Internal, &format!("the demo stopped: {trouble}"));
    }
    if output.is_json() {
        output.result("", &json!({ "passed": passed, "failed": failed, "kept": kept }));
    } else {
        if let Some(folder) = kept {
            let folder = folder.display();
            output.text(&format!(
                "\nLeft behind in {folder}: narrowgate.toml, agents.toml, apis.toml, policies/, audit/.\nNext: narrowgate check --config {folder}/narrowgate.toml\n"
            ));
        }
        output.text(&format!("\n{passed} claims checked, {} failed\n", failed.len()));
    }
    if failed.is_empty() { Exit::Ok } else { Exit::Internal }
}
