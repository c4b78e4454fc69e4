//! `narrowgate policy`: the workbench of those who write policies. One file a command.

pub(super) mod explain;
mod explain_text;
mod replay;
mod who_can;

use crate::cli::{ConfigArg, Exit, check, output::Output};
use crate::{
    config::{self, Config},
    policy::{
        self, Snapshot,
        workbench::{Files, Set},
    },
};
use clap::{Args, Subcommand};
use std::path::PathBuf;

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
    /// Say why a request is answered as it is: the policies that determine each answer, and those that nearly do.
    ///
    /// A request of an agent's (--agent, --client, --scope), a test case (--case), a decision of the audit log (--event),
    /// or one of Cedar's own (--principal or --request). Nothing is permitted by it.
    ///
    /// Exit codes: 0 allowed · 1 denied · 64 wrong usage or configuration · 65 the policies or the request do not load.
    Explain(Box<explain::ExplainArgs>),
    /// List the agents that may have a scope, by which client and way, and on what terms.
    ///
    /// Each is asked as an orderly request: attested, in time, as registered. Where facts of the request decide, such as
    /// an approval, they are told: "if".
    ///
    /// Exit codes: 0 some may · 1 nobody may · 64 wrong usage or configuration · 65 the policies do not load.
    WhoCan(Box<who_can::WhoCanArgs>),
    /// List the scopes that an agent may have, by which client and way, and on what terms: as who-can.
    ///
    /// Exit codes: 0 some · 1 none · 64 wrong usage or configuration · 65 the policies do not load.
    Can(Box<who_can::CanArgs>),
}

/// Which set: that of a configuration, or any other of Cedar's.
#[derive(Args)]
pub(in crate::cli) struct SetArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Another set than the configuration's: a Cedar file, or a folder of them; may be given more than once.
    #[arg(long, value_name = "PATH", requires = "schema")]
    policies: Vec<PathBuf>,
    /// The schema of that other set.
    #[arg(long, value_name = "FILE", requires = "policies")]
    schema: Option<PathBuf>,
    /// The entities of that other set, in Cedar's JSON.
    #[arg(long, value_name = "FILE", requires = "policies")]
    entities: Option<PathBuf>,
}

impl SetArgs {
    /// The set, or the exit code once the mistakes are told.
    fn open(&self, output: &Output) -> Result<Set, Exit> {
        let told = |exit| move |findings: Vec<_>| check::report(&findings, exit, output);
        match &self.schema {
            None => Set::own(config::load(&self.config.config).map_err(told(Exit::Usage))?).map_err(told(Exit::Policy)),
            Some(schema) => {
                let (policies, entities) = (self.policies.clone(), self.entities.clone());
                Set::of_files(&Files { policies, schema: schema.clone(), entities }).map_err(told(Exit::Policy))
            }
        }
    }
}

pub(super) fn run(command: PolicyCommand, output: &Output) -> Exit {
    match command {
        PolicyCommand::Schema => output.text(policy::BASE_SCHEMA),
        PolicyCommand::Entities(config) => entities(&config, output),
        PolicyCommand::Replay(args) => replay::run(&args, output),
        PolicyCommand::Explain(args) => explain::run(&args, output),
        PolicyCommand::WhoCan(args) => who_can::who_can(&args, output),
        PolicyCommand::Can(args) => who_can::can(&args, output),
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
