//! `narrowgate policy replay`: recorded decisions asked again.

use super::{ConfigArg, Exit, Output, open};
use crate::{
    audit::{Decision, Difference, Line, Questions, read_log},
    policy::Snapshot,
};
use clap::Args;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf};

/// A long log says how far it has come every so many lines.
const PROGRESS_EVERY: u64 = 50_000;
/// The most decisions that are listed one by one in JSON: what is printed is bounded, whatever the log's length.
const LISTED_MAX: usize = 1_000;

#[derive(Args)]
pub(in crate::cli) struct ReplayArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The log: a file, or a folder of segments; the configuration's own if not given.
    #[arg(long)]
    audit: Option<PathBuf>,
    /// Only the event with this uid, or the events with this `decision_id`.
    #[arg(long)]
    event: Option<String>,
    /// Ask the policies at hand also where a decision was made under others, and list what would change.
    #[arg(long)]
    with_current_policies: bool,
}

pub(super) fn run(args: &ReplayArgs, output: &Output) -> Exit {
    let (config, snapshot) = match open(&args.config, output) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    let log = args.audit.as_ref().unwrap_or(&config.audit.directory);
    let cannot = |e: std::io::Error| format!("{} cannot be read: {e}", log.display());
    let lines = match read_log(log) {
        Ok(lines) => lines,
        Err(e) => return output.fail(Exit::Usage, &cannot(e)),
    };
    let mut report = Report::default();
    for line in lines {
        match line {
            Ok(line) => report.line(&line, args, &snapshot, output),
            Err(e) => return output.fail(Exit::Usage, &cannot(e)),
        }
    }
    report.close(args, output)
}

/// What the replay has found so far.
#[derive(Default)]
struct Report {
    lines: u64,
    same: u64,
    differ: u64,
    /// Lines and decisions that could not be read or asked.
    unusable: u64,
    /// Decisions made under other digests, counted by what differs.
    elsewhere: BTreeMap<String, u64>,
    listed: Vec<Value>,
    questions: Questions,
}

impl Report {
    fn line(&mut self, line: &Line, args: &ReplayArgs, snapshot: &Snapshot, output: &Output) {
        self.lines += 1;
        if self.lines.is_multiple_of(PROGRESS_EVERY) {
            output.say(&format!("{} lines, {} decisions …", self.lines, self.same + self.differ));
        }
        let place = format!("{}:{}", line.place.0.display(), line.place.1);
        let event = match &line.event {
            Ok(event) => event,
            Err(wrong) => return self.unusable(&place, wrong, output),
        };
        self.questions.note(event);
        let Some(decision) = Decision::of(event) else { return };
        if args.event.as_ref().is_some_and(|id| id != decision.uid() && id != decision.exchange()) {
            return;
        }
        let elsewhere = decision.elsewhere(snapshot);
        if !elsewhere.is_empty() && !args.with_current_policies {
            for (word, recorded, at_hand) in elsewhere {
                let what = format!("{word} sha256:{recorded}, at hand is sha256:{at_hand}");
                *self.elsewhere.entry(what).or_default() += 1;
            }
            return;
        }
        match decision.again(snapshot, &self.questions) {
            Ok(differences) if differences.is_empty() => self.same += 1,
            Ok(differences) => self.differs(&decision, &differences, output),
            Err(wrong) => self.unusable(&format!("{place}: event {}", decision.uid()), &wrong, output),
        }
    }

    fn differs(&mut self, decision: &Decision<'_>, differences: &[Difference], output: &Output) {
        self.differ += 1;
        if output.is_json() {
            let changes: Vec<Value> = differences
                .iter()
                .map(|d| json!({ "what": d.what, "recorded": d.recorded, "replayed": d.replayed }))
                .collect();
            self.list(json!({
                "event": decision.uid(), "decision_id": decision.exchange(), "code": decision.code(),
                "agent": decision.agent(), "changes": changes,
            }));
            return;
        }
        let mut text = format!("{} {} of {}\n", decision.code(), decision.uid(), decision.agent());
        for difference in differences {
            let Difference { what, recorded, replayed } = difference;
            text.push_str(&format!("  {what}: {recorded} -> {replayed}\n"));
        }
        output.text(&text);
    }

    fn unusable(&mut self, place: &str, wrong: &str, output: &Output) {
        self.unusable += 1;
        if output.is_json() {
            self.list(json!({ "place": place, "problem": wrong }));
        } else {
            output.say(&format!("{place}: {wrong}"));
        }
    }

    fn list(&mut self, entry: Value) {
        if self.listed.len() < LISTED_MAX {
            self.listed.push(entry);
        }
    }

    fn close(self, args: &ReplayArgs, output: &Output) -> Exit {
        let asked = self.same + self.differ;
        let unasked = !self.elsewhere.is_empty() || self.unusable > 0;
        let exit = match (unasked, self.differ) {
            (true, _) => Exit::Policy,
            (false, 0) => Exit::Ok,
            (false, _) => Exit::Refused,
        };
        if let (Some(id), 0, false) = (&args.event, asked, unasked) {
            return output.fail(Exit::Policy, &format!("no decision in the log has the uid or decision_id {id:?}"));
        }
        let mut text = format!("{} lines, {asked} decisions asked again: ", self.lines);
        text.push_str(&if self.differ == 0 { "all the same".to_owned() } else { format!("{} differ", self.differ) });
        for (what, count) in &self.elsewhere {
            text.push_str(&format!("\n{count} not asked, made under {what}"));
        }
        if !self.elsewhere.is_empty() {
            text.push_str(
                "\nget those files back to ask them exactly, or see what would change: --with-current-policies",
            );
        }
        if self.unusable > 0 {
            text.push_str(&format!("\n{} could not be read or asked", self.unusable));
        }
        let value = json!({
            "lines": self.lines, "same": self.same, "differ": self.differ, "unusable": self.unusable,
            "not_asked": self.elsewhere, "list": self.listed,
        });
        output.result(&text, &value);
        exit
    }
}
