//! `narrowgate policy init`: a set to start from.

use super::{Exit, Output};
use crate::policy::workbench::{STARTER_CONFIG, write_starter};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub(in crate::cli) struct InitArgs {
    /// The folder; it is made if it is not there. Nothing in it is overwritten.
    folder: PathBuf,
}

pub(super) fn run(args: &InitArgs, output: &Output) -> Exit {
    let written = match write_starter(&args.folder) {
        Ok(written) => written,
        Err(wrong) => return output.fail(Exit::Usage, &wrong),
    };
    let config = args.folder.join(STARTER_CONFIG).display().to_string();
    let next = [
        (format!("narrowgate policy test --config {config} --coverage"), "what the policies do, case by case"),
        (format!("narrowgate policy check --config {config}"), "after each change of a policy"),
        (format!("narrowgate check --config {config}"), "once agents, APIs, issuer and client are yours"),
    ];
    let mut text: Vec<String> = written.iter().map(|path| format!("wrote {}", path.display())).collect();
    text.push("\nNext:".to_owned());
    text.extend(next.iter().map(|(command, why)| format!("  {command}\n      {why}")));
    let commands: Vec<&String> = next.iter().map(|(command, _)| command).collect();
    output.result(&text.join("\n"), &json!({ "written": written, "next": commands }));
    Exit::Ok
}
