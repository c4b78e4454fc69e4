//! `narrowgate policy`: the workbench of those who write policies. One file a command.

mod bundle;
mod diff;
mod diff_json;
mod diff_text;
pub(super) mod explain;
mod explain_text;
mod format;
mod init;
mod junit;
mod lint;
mod replay;
mod test;
mod who_can;

use crate::cli::{ConfigArg, Exit, check, output::Output};
use crate::{
    config::Config,
    policy::{
        self, Snapshot,
        workbench::{Files, Set},
    },
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Write a set to start from: policies with their cases, agents, APIs, and a configuration that loads them.
    ///
    /// Exit codes: 0 written · 64 a file is there already, or cannot be written.
    Init(init::InitArgs),
    /// Look for mistakes in policy files: in one of narrowgate's own sets, or in any other of Cedar's.
    ///
    /// Strict validation, with warnings as errors. Of an own set also: attributes of principal and resource alone (level 1), a
    /// unique @id, known annotations, a @code on each forbid, @expires. Of any: permits without scope, policies that never
    /// match, characters that look like others or are not seen. Configuration, agents and cases are for `narrowgate check`
    /// and `policy test`.
    ///
    /// Exit codes: 0 no error · 64 wrong usage or configuration · 65 errors (or, with --deny-warnings, warnings).
    Check(lint::CheckArgs),
    /// Run the cases of a set: its own (*.cases.toml), and tests in Cedar's form (*.tests.json, as `cedar run-tests`).
    ///
    /// Exit codes: 0 all passed · 1 a case failed, or too little was covered · 64 wrong usage or configuration, or no case ·
    /// 65 the policies do not load, or a file of cases cannot be read.
    Test(test::TestArgs),
    /// Lay policy files out as Cedar's own formatter does. Comments stay.
    ///
    /// Exit codes: 0 done · 1 with --check: there is something to change · 64 wrong usage or configuration · 65 a file that does
    /// not parse, or cannot be written; the others are done.
    Fmt(format::FmtArgs),
    /// Print the schema that policies are validated against.
    ///
    /// With --config: linked to what that configuration's [registry] custom_schema adds to it.
    ///
    /// Exit codes: 0 printed · 64 wrong usage or configuration · 65 what is added is not valid.
    Schema(SchemaArgs),
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
    /// Say what a change of policies changes: policy by policy, for the requests of an audit log, and, where a solver is
    /// installed, for every request there can be.
    ///
    /// OLD and NEW are folders or files of Cedar, judged with the agents, clients and APIs of --config; or configurations
    /// (*.toml), each with its own; or, with --schema, sets of other software's. A solver is a cvc5: what it finds is
    /// decided under both before it is told. It is the one program that narrowgate starts, and no daemon does.
    ///
    /// Exit codes: 0 nothing differs, or nothing that --fail-on is about · 1 NEW allows more, or demands less · 2 it differs
    /// and allows no more (with --fail-on any) · 3 that cannot be told, as where a condition is another and no solver
    /// answered · 64 wrong usage or configuration · 65 policies that do not load, or a log that cannot be asked in full ·
    /// 69 a solver that is required and not there, or one that fails.
    Diff(diff::DiffArgs),
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

#[derive(Args)]
pub(in crate::cli) struct SchemaArgs {
    /// The configuration whose schema it is; without it: narrowgate's own, with no custom attributes.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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

impl PolicyCommand {
    /// Whether its result has a form as JUnit's XML.
    pub(super) const fn has_junit(&self) -> bool {
        matches!(self, Self::Check(_) | Self::Test(_))
    }
}

pub(super) fn run(command: PolicyCommand, output: &Output) -> Exit {
    match command {
        PolicyCommand::Init(args) => init::run(&args, output),
        PolicyCommand::Check(args) => lint::run(&args, output),
        PolicyCommand::Test(args) => test::run(&args, output),
        PolicyCommand::Fmt(args) => format::run(&args, output),
        PolicyCommand::Schema(args) => schema(&args, output),
        PolicyCommand::Entities(config) => entities(&config, output),
        PolicyCommand::Replay(args) => replay::run(&args, output),
        PolicyCommand::Explain(args) => explain::run(&args, output),
        PolicyCommand::WhoCan(args) => who_can::who_can(&args, output),
        PolicyCommand::Can(args) => who_can::can(&args, output),
        PolicyCommand::Diff(args) => diff::run(&args, output),
        PolicyCommand::Bundle(args) => bundle::run(&args, output),
        PolicyCommand::Sign(args) => bundle::sign(&args, output),
        PolicyCommand::Verify(args) => bundle::verify(&args, output),
    }
}

/// The configuration, with its bundle where it names one; or the exit code once the mistakes are told.
fn load(arg: &ConfigArg, output: &Output) -> Result<Config, Exit> {
    load_file(&arg.config, output)
}

fn load_file(file: &Path, output: &Output) -> Result<Config, Exit> {
    let loaded = crate::cli::bundles::load(file);
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

fn schema(args: &SchemaArgs, output: &Output) -> Exit {
    let Some(file) = &args.config else { return output.text(policy::BASE_SCHEMA) };
    match load_file(file, output).map(|config| policy::schema_of(&config.estate)) {
        Ok(Ok(text)) => output.text(&text),
        Ok(Err(findings)) => check::report(&findings, Exit::Policy, output),
        Err(exit) => exit,
    }
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
