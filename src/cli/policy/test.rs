//! `narrowgate policy test`: the cases of a set, run.

use super::{
    Exit, Output, SetArgs, check,
    junit::{Case, Suite, document},
};
use crate::policy::workbench::{CaseResult, Coverage, Covered, CoveredCondition, TestRun, run_cases};
use clap::Args;
use serde_json::{Value, json};
use std::{fmt::Write, path::PathBuf};

/// Columns of what is printed for people.
const COLUMNS: usize = 100;

#[derive(Args)]
pub(in crate::cli) struct TestArgs {
    /// Files of cases (*.toml; of another set with principal, action, resource and context as Cedar writes them) and of tests in
    /// Cedar's form (*.json). If not given, those beside the policies: *.cases.toml and *.tests.json.
    files: Vec<PathBuf>,
    #[command(flatten)]
    set: SetArgs,
    /// Only cases whose name holds this.
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    /// Show which policies and conditions were seen to hold, and not to.
    #[arg(long)]
    coverage: bool,
    /// Fail if less than this is covered: of each policy that it holds, of each condition that it is true, and false.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_coverage: Option<u8>,
}

pub(super) fn run(args: &TestArgs, output: &Output) -> Exit {
    let set = match args.set.open(output) {
        Ok(set) => set,
        Err(exit) => return exit,
    };
    let run = match run_cases(&set, (&args.files, &args.set.policies), &args.filter) {
        Ok(run) => run,
        Err(findings) => return check::report(&findings, Exit::Policy, output),
    };
    if run.cases.is_empty() {
        let none = format!("no case has {:?} in its name", args.filter);
        return output.fail(Exit::Usage, if args.filter.is_empty() { "the files hold no case" } else { &none });
    }
    let percent = run.coverage.percent();
    let is_covered = args.min_coverage.is_none_or(|least| percent >= usize::from(least));
    if output.is_junit() {
        output.text(&junit(&run, args.min_coverage.filter(|_| !is_covered)));
    } else {
        output.result(&text(&run, args), &value(&run, args));
    }
    if run.failed().next().is_none() && is_covered { Exit::Ok } else { Exit::Refused }
}

fn text(run: &TestRun, args: &TestArgs) -> String {
    let mut text = String::new();
    for (file, cases) in by_file(run) {
        let failed = cases.iter().filter(|case| case.wrong.is_some()).count();
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{}: {} passed, {failed} failed", file, cases.len() - failed);
        for case in cases {
            if let Some(wrong) = &case.wrong {
                let (line, column) = case.position;
                let _ = writeln!(text, "\n  FAILED {}\n    {file}:{line}:{column}\n    {wrong}", case.name);
            }
        }
        if failed > 0 {
            text.push('\n');
        }
    }
    if args.coverage {
        table(&run.coverage, &mut text);
    }
    let coverage = &run.coverage;
    let failed = run.failed().count();
    let _ = write!(text, "{} cases: {} passed, {failed} failed", run.cases.len(), run.cases.len() - failed);
    if args.coverage || args.min_coverage.is_some() {
        let (seen, of, percent) = (coverage.seen(), coverage.of(), coverage.percent());
        let _ = write!(
            text,
            "\ncovered {percent} %: {seen} of {of} things to see (a policy that holds, a condition true, and false)"
        );
    }
    if let Some(least) = args.min_coverage.filter(|least| coverage.percent() < usize::from(*least)) {
        let _ = write!(text, "\nless than the {least} % that are asked for (--min-coverage)");
    }
    text
}

/// What was seen, in columns. What was never seen is marked.
fn table(coverage: &Coverage, text: &mut String) {
    let _ = writeln!(text, "\n{:<64}{:>12}{:>12}{:>12}", "POLICY, CONDITION", "MATCHED", "HELD, TRUE", "FALSE");
    let seen = |number: usize| if number == 0 { "never".to_owned() } else { number.to_string() };
    for Covered { policy, asked, held, conditions, .. } in &coverage.policies {
        let _ = writeln!(text, "{:<64}{:>12}{:>12}", short(policy, 63), seen(*asked), seen(*held));
        for CoveredCondition { clause, text: it, seen_true, seen_false, .. } in conditions {
            let it = short(&format!("  {clause} {it}"), 75);
            let _ = writeln!(text, "{it:<76}{:>12}{:>12}", seen(*seen_true), seen(*seen_false));
        }
    }
    let _ = writeln!(text, "{}", "-".repeat(COLUMNS));
}

fn short(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

fn by_file(run: &TestRun) -> Vec<(String, Vec<&CaseResult>)> {
    let mut files: Vec<(String, Vec<&CaseResult>)> = Vec::new();
    for case in &run.cases {
        let file = case.file.display().to_string();
        match files.last_mut().filter(|(last, _)| *last == file) {
            Some((_, cases)) => cases.push(case),
            None => files.push((file, vec![case])),
        }
    }
    files
}

fn value(run: &TestRun, args: &TestArgs) -> Value {
    let case = |case: &CaseResult| {
        let (line, column) = case.position;
        json!({
            "name": case.name, "file": case.file, "line": line, "column": column,
            "passed": case.wrong.is_none(), "message": case.wrong,
        })
    };
    let condition = |it: &CoveredCondition| {
        json!({
            "clause": it.clause, "text": it.text, "line": it.position.0, "column": it.position.1,
            "true": it.seen_true, "false": it.seen_false, "errors": it.erred,
        })
    };
    let policy = |it: &Covered| {
        json!({
            "policy": it.policy, "effect": if it.forbids { "forbid" } else { "permit" }, "file": it.file,
            "line": it.position.0, "matched": it.asked, "held": it.held,
            "conditions": it.conditions.iter().map(condition).collect::<Vec<_>>(),
        })
    };
    let coverage = &run.coverage;
    let failed = run.failed().count();
    json!({
        "passed": run.cases.len() - failed, "failed": failed,
        "cases": run.cases.iter().map(case).collect::<Vec<_>>(),
        "coverage": {
            "percent": coverage.percent(), "seen": coverage.seen(), "of": coverage.of(), "min_percent": args.min_coverage,
            "policies": coverage.policies.iter().map(policy).collect::<Vec<_>>(),
        },
    })
}

fn junit(run: &TestRun, too_little: Option<u8>) -> String {
    let case =
        |case: &CaseResult| Case { name: case.name.clone(), line: Some(case.position.0), failure: case.wrong.clone() };
    let suite =
        |(name, cases): (String, Vec<&CaseResult>)| Suite { name, cases: cases.into_iter().map(case).collect() };
    let mut suites: Vec<Suite> = by_file(run).into_iter().map(suite).collect();
    if let Some(least) = too_little {
        let failure = Some(format!("{} % are covered, and {least} % are asked for", run.coverage.percent()));
        suites.push(Suite {
            name: "coverage".to_owned(),
            cases: vec![Case { name: "coverage".to_owned(), line: None, failure }],
        });
    }
    document("narrowgate policy test", &suites)
}
