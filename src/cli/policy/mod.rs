//! `narrowgate policy`: the workbench of those who write policies. One file a command.

mod bundle;
mod replay;

use super::{ConfigArg, Exit, check, output::Output};
use crate::{
    config::Config,
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
    /// Pack policies, their cases, agents and APIs of a configuration into one file, checked as the daemon checks them.
    ///
    /// The same files, serial and options give the same bytes. Sign it next; [policy.bundle] of the daemon's
    /// configuration says what is done with both.
    ///
    /// Exit codes: 0 written · 64 wrong usage or configuration · 65 the policies do not load, or a case fails.
    Bundle(bundle::BundleArgs),
    /// Sign a bundle: BUNDLE.sig is written beside it.
    ///
    /// The key is made by: openssl genpkey -algorithm ed25519 -out signing.key, and its public half by: openssl pkey
    /// -in signing.key -pubout -out signing.pem.
    ///
    /// Exit codes: 0 signed · 64 wrong usage, or no key that can be used · 65 what is to be signed is no sound bundle.
    Sign(bundle::SignArgs),
    /// Verify a bundle and its signature, and print what is in it.
    ///
    /// Exit codes: 0 sound, and signed by one of the keys · 1 not signed by one of them, or not as it was signed · 64
    /// wrong usage, or no key that can be used · 65 no sound bundle.
    Verify(bundle::VerifyArgs),
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
            None => Set::own(load(&self.config, output)?).map_err(told(Exit::Policy)),
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
        PolicyCommand::Bundle(args) => bundle::run(&args, output),
        PolicyCommand::Sign(args) => bundle::sign(&args, output),
        PolicyCommand::Verify(args) => bundle::verify(&args, output),
    }
}

/// The configuration, with its bundle where it names one; or the exit code once the mistakes are told.
fn load(arg: &ConfigArg, output: &Output) -> Result<Config, Exit> {
    let loaded = super::bundles::load(&arg.config);
    let (config, unfetched) = loaded.map_err(|findings| check::report(&findings, Exit::Usage, output))?;
    if let Some(finding) = unfetched {
        output.say(&format!("warning: {finding}"));
    }
    Ok(config)
}

/// The configuration and its policies, or the exit code once the mistakes are told.
fn open(arg: &ConfigArg, output: &Output) -> Result<(Config, Snapshot), Exit> {
    let config = load(arg, output)?;
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
