//! Runs the cases that stand beside the policies.

use super::{Snapshot, cases::Case, expected::Step, operator_cases::OperatorCase, question::Question, sources::Source};
use crate::{
    config::{Config, Document, Finding, Table},
    model::Wall,
};
use cedar_policy::Entities;
use std::collections::HashSet;

/// What became of the cases.
#[derive(Default)]
pub(super) struct Tally {
    /// Cases whose answer was as expected; one that is asked at several times counts as often.
    pub(super) passed: usize,
    /// Cases that failed, and mistakes in the files.
    pub(super) findings: Vec<Finding>,
}

/// A case that was asked.
pub(super) struct Ran<'r> {
    /// Its name, and the time where it has several.
    pub(super) name: String,
    /// Line and column at which it begins.
    pub(super) position: (usize, usize),
    /// What was asked, if it could be.
    pub(super) asked: Option<(&'r Question<'r>, &'r Entities)>,
    /// What is otherwise than expected.
    pub(super) held: Result<(), String>,
}

/// Runs the cases in these texts.
pub(super) fn run(config: &Config, snapshot: &Snapshot, sources: &[Source]) -> Tally {
    let mut tally = Tally::default();
    for source in sources {
        let mut failed = Vec::new();
        let mut findings = each(config, snapshot, source, &mut |ran| match ran.held {
            Ok(()) => tally.passed += 1,
            Err(wrong) => failed.push(Finding {
                file: source.path.clone(),
                position: Some(ran.position),
                message: format!("case \"{}\": {wrong}", ran.name),
                hint: None,
            }),
        });
        findings.append(&mut failed);
        findings.sort_by_key(|finding| finding.position);
        tally.findings.append(&mut findings);
    }
    tally
}

/// Runs the cases of a text one by one. Mistakes in the text come back.
pub(super) fn each(
    config: &Config,
    snapshot: &Snapshot,
    source: &Source,
    took: &mut dyn FnMut(Ran<'_>),
) -> Vec<Finding> {
    let document = Document::of(&source.path, source.text.clone());
    let mut names = HashSet::new();
    let (_, findings) = document.read(|root| {
        let read = root.tables("case", |table| {
            let case = Either::read(table, config, snapshot)?;
            if !names.insert(case.name().to_owned()) {
                table.wrong(format!("case \"{}\" is there twice", case.name()), None);
            }
            for step in case.steps() {
                case.take(step, table.position(), snapshot, took);
            }
            Some(())
        });
        Some(read)
    });
    findings
}

/// A case about an agent, or about an operator.
enum Either<'c> {
    Agent(Box<Case<'c>>),
    Operator(OperatorCase),
}

impl<'c> Either<'c> {
    fn read(table: &Table<'_>, config: &'c Config, snapshot: &'c Snapshot) -> Option<Self> {
        if table.holds("operator") {
            return OperatorCase::read(table, &snapshot.estate).map(Self::Operator);
        }
        Case::read(table, (config, &snapshot.estate)).map(Box::new).map(Self::Agent)
    }

    fn name(&self) -> &str {
        match self {
            Self::Agent(case) => &case.name,
            Self::Operator(case) => &case.name,
        }
    }

    fn steps(&self) -> &[Step] {
        match self {
            Self::Agent(case) => &case.steps,
            Self::Operator(case) => &case.steps,
        }
    }

    fn question(&self, snapshot: &Snapshot, now: Wall) -> Result<(Question<'_>, Entities), String> {
        match self {
            Self::Agent(case) => case.question(snapshot, now),
            Self::Operator(case) => case.question(snapshot, now),
        }
    }

    fn take(&self, step: &Step, position: (usize, usize), snapshot: &Snapshot, took: &mut dyn FnMut(Ran<'_>)) {
        let name = if step.is_one_of_several {
            let at = jiff::Timestamp::from_millisecond(step.now.0);
            format!("{} at {}", self.name(), at.map(|at| at.to_string()).unwrap_or_default())
        } else {
            self.name().to_owned()
        };
        match self.question(snapshot, step.now) {
            Ok((question, entities)) => {
                let held = step.expected.hold(&snapshot.ask(&question, &entities), snapshot);
                took(Ran { name, position, asked: Some((&question, &entities)), held });
            }
            Err(wrong) => took(Ran { name, position, asked: None, held: Err(wrong) }),
        }
    }
}
