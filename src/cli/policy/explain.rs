//! `narrowgate policy explain`: why a request was answered as it was.

use super::{Exit, Output, SetArgs, explain_text};
use crate::{
    audit::look_up,
    config::FILE_BYTES_MAX,
    platform::files::read_text,
    policy::workbench::{Explanation, Inquiry, Set},
};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(in crate::cli) struct ExplainArgs {
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    asked: AskedArgs,
    /// A file with the request: a case of narrowgate's own, in TOML or JSON.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event", "request"])]
    case: Option<PathBuf>,
    /// Which case of that file, where it has several.
    #[arg(long, value_name = "NAME", requires = "case")]
    name: Option<String>,
    /// An event's uid, or a decision_id: explain what the log has of it, under the policies at hand.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// The log: a file, or a folder of segments; the configuration's own if not given.
    #[arg(long, value_name = "PATH", requires = "event")]
    audit: Option<PathBuf>,
    /// A request in Cedar's JSON: principal, action, resource and context.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event", "principal"])]
    request: Option<PathBuf>,
    /// Cedar's principal, such as 'User::"alice"'.
    #[arg(long, value_name = "ENTITY", requires_all = ["action", "resource"])]
    principal: Option<String>,
    /// Cedar's resource.
    #[arg(long, value_name = "ENTITY", requires = "principal")]
    resource: Option<String>,
    /// The context of that request, as a JSON object; empty if not given.
    #[arg(long, value_name = "FILE", requires = "principal")]
    context: Option<PathBuf>,
}

/// A request of an agent's, in words.
#[derive(Args, Default)]
pub(in crate::cli) struct AskedArgs {
    /// The agent that asks.
    #[arg(long, requires = "client")]
    pub(in crate::cli) agent: Option<String>,
    /// The client it asks by.
    #[arg(long, requires = "agent")]
    pub(in crate::cli) client: Option<String>,
    /// A scope it asks for; may be given more than once.
    #[arg(long)]
    pub(in crate::cli) scope: Vec<String>,
    /// The way to the token: begin, code, hold, refresh, exchange, assertion or client_credentials.
    #[arg(long, conflicts_with = "action")]
    pub(in crate::cli) flow: Option<String>,
    /// One question instead of the whole exchange: an action of the schema, such as grant_scope.
    #[arg(long)]
    pub(in crate::cli) action: Option<String>,
    /// When, such as 2026-11-22T10:00:00Z.
    #[arg(long)]
    pub(in crate::cli) now: Option<String>,
    /// What is otherwise than in an orderly request: a key of a test case, such as purpose=quote, trust=1,
    /// subject.mfa=true or approval={...}; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE", value_parser = fact)]
    pub(in crate::cli) fact: Vec<(String, String)>,
}

fn fact(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl AskedArgs {
    /// Says all of it.
    fn say(&self, inquiry: &mut Inquiry) -> Result<(), String> {
        let words = [
            ("agent", &self.agent),
            ("client", &self.client),
            ("flow", &self.flow),
            ("action", &self.action),
            ("now", &self.now),
        ];
        for (key, value) in words.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            inquiry.say_text(key, value)?;
        }
        if !self.scope.is_empty() {
            inquiry.say_scopes(&self.scope);
        }
        self.fact.iter().try_for_each(|(key, value)| inquiry.say(key, value))
    }
}

/// What is wrong, and whose fault it is.
type Wrong = (Exit, String);

pub(super) fn run(args: &ExplainArgs, output: &Output) -> Exit {
    let set = match args.set.open(output) {
        Ok(set) => set,
        Err(exit) => return exit,
    };
    match explain(args, &set) {
        Ok(explanation) => tell(&explanation, output),
        Err((exit, wrong)) => output.fail(exit, &wrong),
    }
}

/// Prints an explanation.
pub(in crate::cli) fn tell(explanation: &Explanation, output: &Output) -> Exit {
    output.result(&explain_text::text(explanation), &json!(explanation));
    if explanation.allowed { Exit::Ok } else { Exit::Refused }
}

fn explain(args: &ExplainArgs, set: &Set) -> Result<Explanation, Wrong> {
    if let Some(id) = &args.event {
        return from_log(args, id, set);
    }
    if let Some(file) = &args.request {
        let request = json_file(file)?;
        let text =
            |key: &str| entity(&request, key).map_err(|wrong| (Exit::Policy, format!("{}: {wrong}", file.display())));
        let (principal, action, resource) = (text("principal")?, text("action")?, text("resource")?);
        let context = request.get("context").cloned().unwrap_or_else(|| json!({}));
        return set.explain_request([&principal, &action, &resource], context).map_err(|wrong| (Exit::Policy, wrong));
    }
    if let (Some(principal), Some(action), Some(resource)) = (&args.principal, &args.asked.action, &args.resource) {
        let context = args.context.as_deref().map_or_else(|| Ok(json!({})), json_file)?;
        return set.explain_request([principal, action, resource], context).map_err(|wrong| (Exit::Policy, wrong));
    }
    let mut inquiry = match &args.case {
        Some(file) => {
            Inquiry::read(file, args.name.as_deref()).map_err(|finding| (Exit::Policy, finding.to_string()))?
        }
        None if args.asked.agent.is_none() => {
            let how = "what is to be explained? --agent and --client, --case, --event, --request, or --principal";
            return Err((Exit::Usage, how.to_owned()));
        }
        None => Inquiry::default(),
    };
    args.asked.say(&mut inquiry).map_err(|wrong| (Exit::Usage, wrong))?;
    set.explain(&inquiry).map_err(|wrong| (Exit::Policy, wrong.join("\n")))
}

/// An entity of a request in JSON: as text, or as an object with type and id.
fn entity(request: &Value, key: &str) -> Result<String, String> {
    match request.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Object(map)) => {
            let map = map.get("__entity").and_then(Value::as_object).unwrap_or(map);
            match (map.get("type").and_then(Value::as_str), map.get("id").and_then(Value::as_str)) {
                (Some(kind), Some(id)) => Ok(format!("{kind}::\"{}\"", id.escape_debug())),
                _ => Err(format!("`{key}` is no entity")),
            }
        }
        _ => Err(format!("`{key}` is missing")),
    }
}

pub(in crate::cli) fn json_file(path: &Path) -> Result<Value, Wrong> {
    let text = read_text(path, FILE_BYTES_MAX)
        .map_err(|e| (Exit::Policy, format!("{}: cannot be read: {e}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| (Exit::Policy, format!("{}: is not JSON: {e}", path.display())))
}

/// What the log has under this id.
fn from_log(args: &ExplainArgs, id: &str, set: &Set) -> Result<Explanation, Wrong> {
    let own = set.configured().map_err(|wrong| (Exit::Usage, wrong))?;
    let log = args.audit.as_ref().unwrap_or(&own.0.audit.directory);
    let found = look_up(log, id, None).map_err(|e| (Exit::Usage, format!("{} cannot be read: {e}", log.display())))?;
    if found.is_empty() {
        return Err((Exit::Policy, format!("no decision in {} has the uid or decision_id {id:?}", log.display())));
    }
    let decisions = found.iter().map(|found| found.explained(own.1, |asked| set.explain_asked(asked)));
    Ok(Explanation::of(decisions.collect::<Result<_, _>>().map_err(|wrong| (Exit::Policy, wrong))?))
}
