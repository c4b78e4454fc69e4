//! demo to come
use super::{Exit, output::Output};
use std::path::PathBuf;
pub(super) async fn run(_keep: Option<PathBuf>, output: &Output) -> Exit {
    output.text("soon\n")
}
