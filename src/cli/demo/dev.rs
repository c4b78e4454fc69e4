//! `narrowgate dev`: the set-up of the demo, for a laptop, until it is stopped.

use super::stage::Stage;
use crate::cli::{Exit, output::Output};
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

const BANNER: &str = "\
NOT FOR PRODUCTION. The authorization server is embedded and approves every login by itself, as the person \"ana\". The
certificate authority is made anew at each start. Whoever has your uid is agent and operator both.";

/// A variable and its value.
type Export = (&'static str, String);
/// What a command shows, and the command.
type Next = (&'static str, String);

/// Keeps the set-up running until a signal, or until an operator drains the daemon.
pub(in crate::cli) async fn run(keep: Option<PathBuf>, output: &Output) -> Exit {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    // Before there is anything to clean up. A signal that comes during the set-up counts after it.
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = kinds.map(signal) else {
        return output.fail(Exit::Internal, "cannot listen for signals");
    };
    let stage = match Stage::set(keep).await {
        Ok(stage) => stage,
        Err(trouble) => return output.fail(Exit::Unavailable, &format!("dev cannot be set up: {trouble}")),
    };
    let (exports, next) = (exports(&stage), next(&stage));
    output.result(&text(&exports, &next), &value(&stage, &exports, &next));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
        () = stage.daemon.drained() => {}
    }
    match stage.strike().await {
        Ok(()) => Exit::Ok,
        Err(trouble) => output.fail(Exit::Internal, &format!("dev could not clean up: {trouble}")),
    }
}

fn exports(stage: &Stage) -> [Export; 4] {
    let path = |name| stage.path(name).display().to_string();
    [
        ("NARROWGATE_ENDPOINT", format!("unix:{}", path("run/agent.sock"))),
        ("NARROWGATE_ADMIN", path("run/admin.sock")),
        ("NARROWGATE_CONFIG", path("narrowgate.toml")),
        ("NARROWGATE_DEV_CA", path("server-ca.pem")),
    ]
}

/// The folder of this program, so that `narrowgate` is this one.
fn program_folder() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    program.parent().map(|folder| folder.display().to_string())
}

fn next(stage: &Stage) -> Vec<Next> {
    let api = stage.server.api_origin();
    let log = quoted(&stage.path("audit").display().to_string());
    let commands = [
        ("is it there", "narrowgate health"),
        (
            "log in; approve in a second terminal: curl -sL --cacert \"$NARROWGATE_DEV_CA\" 'THE URL THAT IT PRINTS'",
            "narrowgate token begin --client sales-crm --scope customers.read --scope customers.write --listen --show-token",
        ),
        ("a narrower token of that grant", "narrowgate token get --grant GRANT --scope customers.read --show-token"),
        ("see how an operator stops an agent", "narrowgate admin freeze --agent quoter --ticket incident-4711"),
        ("and lets it go", "narrowgate admin unfreeze --agent quoter"),
        ("edit policies beside it, then check them", "narrowgate check"),
    ];
    let mut next: Vec<Next> = commands.map(|(what, command)| (what, command.to_owned())).to_vec();
    let call = format!("curl --cacert \"$NARROWGATE_DEV_CA\" -H 'Authorization: Bearer TOKEN' {api}/customers");
    next.insert(3, ("use it at the API", call));
    next.push(("what was recorded", format!("tail -n 3 {log}/*.jsonl")));
    next
}

fn text(exports: &[Export], next: &[Next]) -> String {
    let mut lines: Vec<String> =
        exports.iter().map(|(name, value)| format!("  export {name}={}\n", quoted(value))).collect();
    lines.extend(program_folder().map(|folder| format!("  export PATH={}:$PATH\n", quoted(&folder))));
    let exports = lines.concat();
    let next: String = next.iter().map(|(what, command)| format!("  # {what}\n  {command}\n")).collect();
    format!("{BANNER}\n\nIn another terminal:\n\n{exports}\nThen:\n\n{next}\nIt runs until Ctrl-C.")
}

fn value(stage: &Stage, exports: &[Export], next: &[Next]) -> Value {
    let exports = exports.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())));
    let next = next.iter().map(|(what, command)| json!({ "what": what, "command": command }));
    json!({
        "warning": BANNER.replace('\n', " "),
        "export": exports.collect::<serde_json::Map<_, _>>(),
        "next": next.collect::<Vec<_>>(),
        "program_folder": program_folder(),
        "issuer": stage.server.issuer(),
        "api": stage.server.api_origin(),
        "kept": stage.kept(),
    })
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-@+".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
