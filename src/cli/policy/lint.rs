//! `narrowgate policy check`: policy files, looked at for mistakes.

use super::{
    Exit, Output, SetArgs, check,
    junit::{Case, Suite, document},
    load,
};
use crate::{
    config,
    platform::{Clock, SystemClock},
    policy::workbench::{Files, Lint, LintLevel, Linted, check_files, check_own},
};
use clap::Args;
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity};
use serde_json::{Value, json};

/// Columns of what is printed for people.
const COLUMNS: usize = 100;

#[derive(Args)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Let warnings count as errors.
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) fn run(args: &CheckArgs, output: &Output) -> Exit {
    let told = |exit| move |findings: Vec<_>| check::report(&findings, exit, output);
    let looked = match &args.set.schema {
        None => load(&args.set.config, output)
            .and_then(|config| check_own(&config, SystemClock.wall()).map_err(told(Exit::Policy))),
        Some(schema) => {
            let (policies, entities) = (args.set.policies.clone(), args.set.entities.clone());
            check_files(&Files { policies, schema: schema.clone(), entities }).map_err(told(Exit::Policy))
        }
    };
    let linted = match looked {
        Ok(linted) => linted,
        Err(exit) => return exit,
    };
    let [errors, warnings, notes] =
        [LintLevel::Error, LintLevel::Warning, LintLevel::Note].map(|level| linted.count(level));
    let is_valid = errors == 0 && (warnings == 0 || !args.deny_warnings);
    let files = linted.files().count();
    if output.is_junit() {
        output.text(&junit(&linted, args.deny_warnings));
    } else {
        let value = json!({
            "valid": is_valid, "policies": linted.policies, "files": files,
            "errors": errors, "warnings": warnings, "notes": notes,
            "findings": linted.lints.iter().map(|lint| entry(lint, &linted)).collect::<Vec<_>>(),
        });
        let mut text: String = linted.lints.iter().map(|lint| shown(lint, &linted, output.is_coloured())).collect();
        text.push_str(&format!(
            "{} in {}: {}, {}, {}",
            counted(linted.policies, "policy", "policies"),
            counted(files, "file", "files"),
            counted(errors, "error", "errors"),
            counted(warnings, "warning", "warnings"),
            counted(notes, "note", "notes"),
        ));
        output.result(&text, &value);
    }
    if is_valid { Exit::Ok } else { Exit::Policy }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn entry(lint: &Lint, linted: &Linted) -> Value {
    let (line, column) = lint.position.unzip();
    let end = lint.span.as_ref().zip(linted.text(&lint.file)).map(|(span, text)| config::position(text, span.end));
    let (end_line, end_column) = end.unzip();
    json!({
        "severity": lint.level.as_str(), "rule": lint.rule, "policy": lint.policy, "file": lint.file,
        "line": line, "column": column, "end_line": end_line, "end_column": end_column,
        "message": lint.message, "hint": lint.hint,
    })
}

/// With the lines that it is about.
fn shown(lint: &Lint, linted: &Linted, coloured: bool) -> String {
    let severity = match lint.level {
        LintLevel::Error => Severity::Error,
        LintLevel::Warning => Severity::Warning,
        LintLevel::Note => Severity::Advice,
    };
    let code = format!("{}: {}", lint.level.as_str(), lint.rule);
    let mut diagnostic = MietteDiagnostic::new(&lint.message).with_severity(severity).with_code(code);
    if let Some(hint) = &lint.hint {
        diagnostic = diagnostic.with_help(hint);
    }
    let file = lint.file.display();
    let report = match (&lint.span, linted.text(&lint.file)) {
        (Some(span), Some(text)) => {
            let label = LabeledSpan::new(lint.policy.clone(), span.start, span.len());
            Report::new(diagnostic.with_label(label))
                .with_source_code(NamedSource::new(file.to_string(), text.to_owned()))
        }
        _ => {
            let at = lint.position.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
            diagnostic.message = format!("{file}{at}: {}", lint.message);
            Report::new(diagnostic)
        }
    };
    let theme = if coloured { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(COLUMNS).with_links(false);
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = handler.render_report(&mut text, report.as_ref());
    text + "\n"
}

/// A suite a file, and a case a finding; a file without findings is a case that passed.
fn junit(linted: &Linted, deny_warnings: bool) -> String {
    let case = |lint: &Lint| {
        let fails = lint.level == LintLevel::Error || (deny_warnings && lint.level == LintLevel::Warning);
        let hint = lint.hint.as_ref().map_or_else(String::new, |hint| format!("\n{hint}"));
        let of = lint.policy.as_ref().map_or_else(String::new, |id| format!(" {id}"));
        Case {
            name: format!("{}{of}: {}", lint.rule, lint.message),
            line: lint.position.map(|(line, _)| line),
            failure: fails.then(|| format!("{}: {}{hint}", lint.level.as_str(), lint.message)),
        }
    };
    let mut suites: Vec<Suite> = Vec::new();
    for file in linted.files() {
        let mut cases: Vec<Case> = linted.lints.iter().filter(|lint| lint.file == file).map(case).collect();
        if cases.is_empty() {
            cases.push(Case { name: "no finding".to_owned(), line: None, failure: None });
        }
        suites.push(Suite { name: file.display().to_string(), cases });
    }
    let elsewhere = linted.lints.iter().filter(|lint| linted.text(&lint.file).is_none());
    let cases: Vec<Case> = elsewhere.map(case).collect();
    if !cases.is_empty() {
        suites.push(Suite { name: "set".to_owned(), cases });
    }
    document("narrowgate policy check", &suites)
}
