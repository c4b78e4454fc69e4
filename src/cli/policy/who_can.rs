//! `narrowgate policy who-can` and `narrowgate policy can`: access reviews.

use super::{
    Exit, Output, SetArgs, explain,
    explain_text::{COLUMNS, short, wrapped},
};
use crate::{
    platform::{Clock, SystemClock},
    policy::workbench::{AccessRow, Entitlement},
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub(in crate::cli) struct WhoCanArgs {
    #[command(flatten)]
    set: SetArgs,
    /// The scope.
    #[arg(required_unless_present = "resource")]
    scope: Option<String>,
    /// Of another set: the action, such as 'Action::"view"'.
    #[arg(long, value_name = "ENTITY", requires = "resource")]
    action: Option<String>,
    /// Of another set: the resource.
    #[arg(long, value_name = "ENTITY", requires = "action", conflicts_with = "scope")]
    resource: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
pub(in crate::cli) struct CanArgs {
    #[command(flatten)]
    set: SetArgs,
    /// The agent.
    #[arg(required_unless_present = "principal")]
    agent: Option<String>,
    /// Of another set: the principal, such as 'User::"alice"'.
    #[arg(long, value_name = "ENTITY", conflicts_with = "agent")]
    principal: Option<String>,
    /// Of another set: this action alone.
    #[arg(long, value_name = "ENTITY", requires = "principal")]
    action: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
pub(in crate::cli) struct How {
    /// When, such as 2026-11-22T10:00:00Z; now if not given.
    #[arg(long)]
    now: Option<String>,
    /// Of another set: the context of each request, as a JSON object. Without it, what hangs on the context is told.
    #[arg(long, value_name = "FILE", requires = "schema")]
    context: Option<PathBuf>,
    /// List also what may not be had, and why not.
    #[arg(long)]
    all: bool,
}

pub(super) fn who_can(args: &WhoCanArgs, output: &Output) -> Exit {
    let asked = (None, args.action.as_deref(), args.resource.as_deref());
    review(&args.set, (None, args.scope.as_deref()), asked, &args.how, output)
}

pub(super) fn can(args: &CanArgs, output: &Output) -> Exit {
    let asked = (args.principal.as_deref(), args.action.as_deref(), None);
    review(&args.set, (args.agent.as_deref(), None), asked, &args.how, output)
}

type Requests<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn review(
    set: &SetArgs,
    own: (Option<&str>, Option<&str>),
    requests: Requests<'_>,
    how: &How,
    output: &Output,
) -> Exit {
    let set = match set.open(output) {
        Ok(set) => set,
        Err(exit) => return exit,
    };
    let context = match how.context.as_deref().map(explain::json_file).transpose() {
        Ok(context) => context,
        Err((exit, wrong)) => return output.fail(exit, &wrong),
    };
    let now = how.now.clone().unwrap_or_else(|| SystemClock.wall().rfc3339());
    let rows = match own {
        (None, None) => set.review_requests(requests, context.as_ref()),
        own => set.review(own, Some(&now)),
    };
    let mut rows = match rows {
        Ok(rows) => rows,
        Err(wrong) => return output.fail(Exit::Policy, &wrong),
    };
    rows.sort_by_key(|row| row.access);
    let refused = rows.iter().filter(|row| row.access == Entitlement::No).count();
    rows.retain(|row| how.all || row.access != Entitlement::No);
    let shown = if how.all { 0 } else { refused };
    output.result(&table(&rows, shown), &json!({ "rows": rows, "refused": refused }));
    if rows.iter().any(|row| row.access != Entitlement::No) { Exit::Ok } else { Exit::Refused }
}

/// The rows in columns, what each hangs on below it.
fn table(rows: &[AccessRow], hidden: usize) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let head = ["", "who", "client", "what", "by", "terms"].map(str::to_owned).to_vec();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let all = cells.iter().chain([&head]).filter_map(|row| row.get(column));
            all.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    // Of another set there are no clients and no terms.
    let is_empty = |column: usize| cells.iter().all(|row| row.get(column).is_none_or(String::is_empty));
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).enumerate().filter(|(column, _)| *column == 0 || !is_empty(*column));
        let text: Vec<String> = cells.map(|(_, (cell, width))| format!("{cell:width$}")).collect();
        text.join("  ").trim_end().to_owned()
    };
    let mut lines = Vec::new();
    if !rows.is_empty() {
        lines.push(line(&head));
    }
    for (row, cells) in rows.iter().zip(&cells) {
        match (line(cells), cells.split_last()) {
            (whole, Some((terms, others))) if whole.chars().count() > COLUMNS => {
                lines.push(line(others));
                lines.extend(wrapped(6, &format!("on {terms}")));
            }
            (whole, _) => lines.push(whole),
        }
        let word = if row.access == Entitlement::If { "if" } else { "because" };
        for condition in &row.conditions {
            let policy = if condition.policy.is_empty() { String::new() } else { format!("  ({})", condition.policy) };
            lines.extend(wrapped(6, &format!("{word} {}{policy}", short(&condition.clause))));
        }
    }
    if rows.is_empty() {
        lines.push("nobody, and nothing".to_owned());
    }
    if hidden > 0 {
        lines.push(format!("{hidden} more may not be had; why, says --all"));
    }
    lines.join("\n")
}

fn cells(row: &AccessRow) -> Vec<String> {
    let access = match row.access {
        Entitlement::Yes => "yes",
        Entitlement::If => "if",
        Entitlement::No => "no",
    };
    let terms = row.terms.iter().map(|it| format!("{} {}", it.term, it.value).trim().to_owned());
    let by: Vec<String> = row.by.iter().map(|word| short(word)).collect();
    vec![
        access.to_owned(),
        short(&row.principal),
        row.client.clone().unwrap_or_default(),
        short(&row.resource),
        by.join(" "),
        terms.collect::<Vec<_>>().join(", "),
    ]
}
