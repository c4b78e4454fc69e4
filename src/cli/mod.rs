//! The command line.

mod admin;
mod admin_explain;
mod admin_policy;
mod advice;
mod approve;
mod bundles;
mod challenge;
mod check;
mod client;
#[cfg(feature = "dev")]
mod demo;
mod forecast;
mod health;
mod listen;
mod metrics;
mod output;
mod policy;
mod serve;
mod token;

use clap::{Args, CommandFactory, Parser, Subcommand};
use output::Output;
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// How a command ended. The numbers are those of sysexits(3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The daemon refused, or answered that it does not serve; a replay found differences; a case failed.
    Refused = 1,
    /// Policies differ, and allow no more than before.
    Tighter = 2,
    /// Whether policies allow more than before cannot be told.
    Untold = 3,
    /// The command line or the configuration is wrong.
    Usage = 64,
    /// The policies, or the data to work on, are wrong.
    Policy = 65,
    /// The daemon, the audit log or a listener is not available.
    Unavailable = 69,
    /// A fault in narrowgate.
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

const AFTER_HELP: &str = "\
Exit codes: 0 done · 1 refused, or not serving · 64 wrong usage or configuration · 65 wrong policies or data
            69 daemon, audit log or listener not available · 70 a fault in narrowgate

First steps: narrowgate demo            see the whole job done, on this machine, in seconds
             narrowgate dev             keep its set-up running, to try things on
             narrowgate check --config narrowgate.toml";

#[derive(Parser)]
#[command(name = "narrowgate", version, about, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Cli {
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = output::Format::Text)]
    output: output::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM or SIGINT.
    Serve {
        #[command(flatten)]
        config: ConfigArg,
        /// What to log: a level, or a filter such as narrowgate=debug.
        #[arg(long, env = "NARROWGATE_LOG", default_value = "info")]
        log: String,
        /// Log JSON lines.
        #[arg(long)]
        log_json: bool,
    },
    /// Check configuration, registry, catalogue, policies and their cases; report every mistake at once.
    Check {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Show the main job on this machine: a code goes in, a narrow token comes out.
    #[cfg(feature = "dev")]
    Demo {
        /// Leave configuration, policies and audit log behind in this new folder.
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Keep the set-up of the demo running on this machine until it is stopped, and say what to type. Not for production.
    #[cfg(feature = "dev")]
    Dev {
        /// Keep it in this new folder, and leave it behind.
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Ask a daemon whether it serves.
    Health {
        #[command(flatten)]
        daemon: DaemonArgs,
        /// Wait until it does.
        #[arg(long)]
        wait: bool,
        /// How long to wait, for instance 30s.
        #[arg(long, default_value = "30s", value_parser = span)]
        timeout: Duration,
        /// The service to ask about; empty is the whole daemon.
        #[arg(long, default_value = "")]
        service: String,
    },
    /// Print the daemon's numbers as OpenMetrics text.
    Metrics {
        /// The socket that [metrics] names.
        #[arg(long, env = "NARROWGATE_METRICS", default_value = "/run/narrowgate/metrics.sock")]
        socket: PathBuf,
    },
    /// Get, use and give back tokens, as an agent would.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Administer a daemon: look, revoke, freeze, stop.
    Admin(admin::Admin),
    /// Approve what an agent asks for, as a person whose key the agents file names.
    #[command(subcommand)]
    Approve(approve::ApproveCommand),
    /// Work with policies.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
struct ConfigArg {
    /// The configuration file.
    #[arg(long, env = "NARROWGATE_CONFIG", default_value = "/etc/narrowgate/narrowgate.toml")]
    config: PathBuf,
}

/// Which daemon, and as whom.
#[derive(Args, Clone)]
pub(super) struct DaemonArgs {
    /// unix:/path/to/agent.sock, or https://host:port with --ca, --cert and --key.
    #[arg(long, env = "NARROWGATE_ENDPOINT", default_value = "unix:/run/narrowgate/agent.sock")]
    endpoint: String,
    /// Trust roots of the daemon's certificate (https only).
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Our certificate, an X.509-SVID (https only).
    #[arg(long)]
    cert: Option<PathBuf>,
    /// Its private key (https only).
    #[arg(long)]
    key: Option<PathBuf>,
}

fn span(text: &str) -> Result<Duration, String> {
    crate::model::time::parse_span(text).ok_or_else(|| "must be a span of time such as 500ms, 30s or 5m".to_owned())
}

/// Runs the command line.
#[must_use]
pub fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own text; help and version are no mistakes.
            if !error.use_stderr() {
                let _ = error.print();
                return Exit::Ok;
            }
            if output::asked_for_json(std::env::args_os()) {
                return Output::new(output::Format::Json).fail(Exit::Usage, error.to_string().trim_end());
            }
            let _ = error.print();
            return Exit::Usage;
        }
    };
    let output = Output::new(cli.output);
    if output.is_junit() && !matches!(&cli.command, Command::Policy(command) if command.has_junit()) {
        return output.fail(Exit::Usage, "--output junit is for policy check and policy test; use text or json here");
    }
    if let Command::Serve { config, log, log_json } = cli.command {
        crate::telemetry::start(&log, log_json);
        return serve::run(&config.config, &output);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(Exit::Internal, &format!("cannot start: {error}")),
    };
    let exit = runtime.block_on(async {
        match cli.command {
            // Served above, on a runtime that is made inside its sandbox.
            Command::Serve { .. } => Exit::Internal,
            Command::Check { config } => check::run(&config.config, &output),
            #[cfg(feature = "dev")]
            Command::Demo { keep } => demo::run(keep, &output).await,
            #[cfg(feature = "dev")]
            Command::Dev { keep } => demo::dev::run(keep, &output).await,
            Command::Health { daemon, wait, timeout, service } => {
                health::run(&daemon, &service, wait.then_some(timeout), &output).await
            }
            Command::Metrics { socket } => metrics::run(&socket, &output).await,
            Command::Token(command) => token::run(command, &output).await,
            Command::Admin(command) => admin::run(command, &output).await,
            Command::Approve(command) => approve::run(command, &output),
            Command::Policy(command) => policy::run(command, &output),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "narrowgate", &mut script);
                output.text(&String::from_utf8_lossy(&script))
            }
        }
    });
    // A name that is being looked up or a disk that hangs does not keep a command that has ended.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit
}

/// Bytes of a thread's stack, as the main thread's: policies are parsed on any of them, and only what is used is memory.
const STACK_BYTES: usize = 8 << 20;

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()
}
