//! The writer's own check of what it wrote: every line parses, the sequence has no gap, every decided exchange has an
//! outcome. It proves that the log is whole as written, not that nobody changed it since.

use super::segment;
use serde_json::Value;
use std::{collections::HashSet, fs, io, path::Path};

/// What a log holds.
#[derive(Debug, Default)]
pub struct Checked {
    /// The events, oldest first.
    pub events: Vec<Value>,
    /// What is wrong, if anything is.
    pub problems: Vec<String>,
}

/// Reads a log and checks it.
///
/// # Errors
/// As the system says.
pub fn self_check(directory: &Path) -> io::Result<Checked> {
    let mut checked = Checked::default();
    let mut open: HashSet<String> = HashSet::new();
    for path in segment::list(directory)? {
        let text = fs::read_to_string(&path)?;
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            if !line.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
                checked.problems.push(format!("{place}: not plain ASCII"));
            }
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                checked.problems.push(format!("{place}: not JSON"));
                continue;
            };
            let expected = checked.events.len() as u64;
            if event.pointer("/metadata/sequence").and_then(Value::as_u64) != Some(expected) {
                checked.problems.push(format!("{place}: the sequence is not {expected}"));
            }
            follow(&event, &mut open);
            checked.events.push(event);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            checked.problems.push(format!("{}: the last line is incomplete", path.display()));
        }
    }
    checked.problems.extend(open.into_iter().map(|id| format!("exchange {id} was decided and has no outcome")));
    Ok(checked)
}

fn follow(event: &Value, open: &mut HashSet<String>) {
    let code = event.pointer("/metadata/event_code").and_then(Value::as_str);
    let Some(id) = event.pointer("/metadata/correlation_uid").and_then(Value::as_str) else { return };
    match code {
        Some("exchange.decided") if event.get("action_id") == Some(&Value::from(1)) => {
            open.insert(id.to_owned());
        }
        Some("token.issued" | "token.refreshed" | "exchange.failed" | "exchange.unknown") => {
            open.remove(id);
        }
        _ => {}
    }
}
