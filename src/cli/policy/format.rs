//! `narrowgate policy fmt`: policy files, laid out.

use super::{ConfigArg, Exit, Output, check};
use crate::{
    config,
    policy::workbench::{Layout, format_file, policy_files},
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub(in crate::cli) struct FmtArgs {
    /// Cedar files, or folders of them; those of the configuration if not given.
    paths: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    /// Write nothing; say what would change.
    #[arg(long)]
    check: bool,
    /// Characters of a line, where it can be broken.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u16).range(20..=1000))]
    line_width: u16,
    /// Spaces of an indent.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    indent: u8,
}

pub(super) fn run(args: &FmtArgs, output: &Output) -> Exit {
    let mut paths = args.paths.clone();
    if paths.is_empty() {
        match config::load(&args.config.config) {
            Ok(config) if config.bundle.is_some() => {
                return output.fail(Exit::Usage, "its policies are in a bundle: name the files that it is made of");
            }
            Ok(config) => paths.push(config.policies),
            Err(findings) => return check::report(&findings, Exit::Usage, output),
        }
    }
    let files = match policy_files(&paths) {
        Ok(files) if files.is_empty() => return output.fail(Exit::Usage, "there are no Cedar files (*.cedar)"),
        Ok(files) => files,
        Err(finding) => return output.fail(Exit::Usage, &finding.to_string()),
    };
    let layout = Layout { line_width: args.line_width.into(), indent: args.indent };
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    for file in &files {
        match format_file(file, layout, !args.check) {
            Ok(true) => changed.push(file),
            Ok(false) => {}
            Err(finding) => refused.push(finding),
        }
    }
    let word = if args.check { "would change" } else { "formatted" };
    let mut lines: Vec<String> = changed.iter().map(|file| format!("{word} {}", file.display())).collect();
    lines.push(format!("{} of {} files {word}", changed.len(), files.len()));
    let list: Vec<_> = refused.iter().map(|f| json!({ "file": f.file, "message": f.message })).collect();
    output.result(
        &lines.join("\n"),
        &json!({ "checked": args.check, "changed": changed, "files": files.len(), "refused": list }),
    );
    if !output.is_json() {
        refused.iter().for_each(|finding| output.say(&finding.to_string()));
    }
    match () {
        () if !refused.is_empty() => Exit::Policy,
        () if args.check && !changed.is_empty() => Exit::Refused,
        () => Exit::Ok,
    }
}
