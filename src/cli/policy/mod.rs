//! `narrowgate policy`: the workbench of those who write policies. One file a command.

mod replay;

use super::{ConfigArg, Exit, check, output::Output};
use crate::{
    config::{self, Config},
    policy::{self, Snapshot},
};
use clap::Subcommand;

#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Print the schema that policies are validated against.
    Schema,
    /// Print the agents, clients, APIs and scopes of a configuration as policies see them: Cedar's entities, as JSON.
    ///
    /// With the schema it is what the `cedar` command line and policy editors ask for.
    ///
    /// Exit codes: 0 printed · 64 wrong usage or configuration · 65 the policies do not load.
    Entities(ConfigArg),
    /// Ask the decisions of an audit log again, offline: the same policies must give the same answers.
    ///
    /// Exit codes: 0 all the same · 1 differences · 64 wrong usage or configuration · 65 a line that is no event, or a
    /// decision that was made under other policies, schema or entities than those at hand.
    Replay(replay::ReplayArgs),
}

pub(super) fn run(command: PolicyCommand, output: &Output) -> Exit {
    match command {
        PolicyCommand::Schema => output.text(policy::BASE_SCHEMA),
        PolicyCommand::Entities(config) => entities(&config, output),
        PolicyCommand::Replay(args) => replay::run(&args, output),
    }
}

/// The configuration and its policies, or the exit code once the mistakes are told.
fn open(arg: &ConfigArg, output: &Output) -> Result<(Config, Snapshot), Exit> {
    let config = config::load(&arg.config).map_err(|findings| check::report(&findings, Exit::Usage, output))?;
    let snapshot = policy::load(&config, 1, None).map_err(|findings| check::report(&findings, Exit::Policy, output))?;
    Ok((config, snapshot))
}

fn entities(arg: &ConfigArg, output: &Output) -> Exit {
    let snapshot = match open(arg, output) {
        Ok((_, snapshot)) => snapshot,
        Err(exit) => return exit,
    };
    match snapshot.entities_json() {
        Ok(entities) => output.text(&format!("{entities:#}\n")),
        Err(wrong) => output.fail(Exit::Policy, &format!("the entities have no JSON form: {wrong}")),
    }
}
