//! Cases and tests of a set, run all together.

use super::{
    cedar_tests::{self, Ran},
    coverage::Coverage,
    plain_cases,
    set::{Set, read},
};
use crate::{
    config::{FILE_BYTES_MAX, Finding, about},
    policy::{
        ask::uids,
        case_run,
        question::Question,
        sources::{Source, Sources},
        value::to_context,
    },
};
use cedar_policy::Request;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Cases of ours.
const CASES: &str = ".cases.toml";
/// Tests of Cedar's form.
const TESTS: &str = ".tests.json";

/// A case that was run.
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// Line and column at which it begins, from 1.
    pub position: (usize, usize),
    /// What was otherwise than expected.
    pub wrong: Option<String>,
}

/// What became of all of them.
pub struct TestRun {
    /// Each, in the order of the files.
    pub cases: Vec<CaseResult>,
    /// What they have seen of the set.
    pub coverage: Coverage,
}

impl TestRun {
    /// Those that failed.
    pub fn failed(&self) -> impl Iterator<Item = &CaseResult> {
        self.cases.iter().filter(|case| case.wrong.is_some())
    }
}

/// Runs the cases in these files, or, if none are named, in those that stand beside the policies: `*.cases.toml` and
/// `*.tests.json`. Only those count whose name holds `filter`.
///
/// # Errors
/// Files that cannot be read, or hold no cases.
pub fn run_cases(
    set: &Set,
    (named, policies): (&[PathBuf], &[PathBuf]),
    filter: &str,
) -> Result<TestRun, Vec<Finding>> {
    let sources = if named.is_empty() { found(set, policies)? } else { read_all(named)? };
    let coverage = Coverage::new(set).map_err(|wrong| {
        let file = set.sources.first().map_or(Path::new("policies"), |source| &source.path);
        vec![about(file, format!("the policies cannot be taken apart: {wrong}"))]
    })?;
    let mut run = TestRun { cases: Vec::new(), coverage };
    let mut findings = Vec::new();
    let validity = cedar_tests::validity(set);
    for source in &sources {
        let file = source.path.to_string_lossy();
        match &set.own {
            _ if file.ends_with(".json") => match cedar_tests::run(set, &validity, source) {
                Ok(all) => all.into_iter().for_each(|ran| run.take_cedars(source, ran, filter)),
                Err(finding) => findings.push(finding),
            },
            Some(own) if file.ends_with(".toml") => {
                findings.extend(case_run::each(&own.config, &own.snapshot, source, &mut |ran| {
                    if !ran.name.contains(filter) {
                        return;
                    }
                    if let Some((request, (_, entities))) = ran.asked.and_then(|it| Some((request(it.0)?, it))) {
                        run.coverage.count(&request, entities);
                    }
                    run.take((source, ran.name, ran.position), ran.held);
                }));
            }
            None if file.ends_with(".toml") => {
                let (all, mut wrong) = plain_cases::run(set, source);
                findings.append(&mut wrong);
                all.into_iter().for_each(|ran| run.take_cedars(source, ran, filter));
            }
            _ => findings.push(about(&source.path, "must be named *.toml (cases) or *.json (tests of Cedar's)")),
        }
    }
    if findings.is_empty() { Ok(run) } else { Err(findings) }
}

impl TestRun {
    fn take_cedars(&mut self, source: &Source, ran: Ran, filter: &str) {
        if !ran.name.contains(filter) {
            return;
        }
        if let Some((request, entities)) = &ran.asked {
            self.coverage.count(request, entities);
        }
        self.take((source, ran.name, ran.position), ran.held);
    }

    fn take(&mut self, (source, name, position): (&Source, String, (usize, usize)), held: Result<(), String>) {
        self.cases.push(CaseResult { name, file: source.path.clone(), position, wrong: held.err() });
    }
}

fn request(question: &Question<'_>) -> Option<Request> {
    let (principal, action, resource) = uids(question).ok()?;
    Request::new(principal, action, resource, to_context(&question.context).ok()?, None).ok()
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Source>, Vec<Finding>> {
    paths.iter().map(|path| read(path, FILE_BYTES_MAX).map_err(|finding| vec![finding])).collect()
}

/// The files beside the policies.
fn found(set: &Set, policies: &[PathBuf]) -> Result<Vec<Source>, Vec<Finding>> {
    let cannot = |path: &Path| {
        let path = path.to_owned();
        move |e: io::Error| vec![about(&path, format!("cannot be read: {e}"))]
    };
    let (mut cases, mut tests) = (Vec::new(), Vec::new());
    if let Some(own) = &set.own {
        cases = Sources::read(&own.config)?.cases;
        // A bundle has no folder, and no tests of Cedar's own.
        if own.config.bundle.is_none() {
            look_into(&own.config.policies, true, &[TESTS], &mut tests).map_err(cannot(&own.config.policies))?;
        }
    }
    for path in policies {
        let (folder, is_deep) = if path.is_dir() { (path.as_path(), true) } else { (folder_of(path), false) };
        look_into(folder, is_deep, &[CASES, TESTS], &mut tests).map_err(cannot(folder))?;
    }
    tests.sort();
    tests.dedup();
    cases.append(&mut read_all(&tests)?);
    if cases.is_empty() {
        let place =
            set.own.as_ref().map(|own| own.config.policies.as_path()).or(policies.first().map(PathBuf::as_path));
        return Err(vec![Finding {
            hint: Some("name the files".to_owned()),
            ..about(place.unwrap_or(Path::new(".")), format!("has no cases beside it (*{CASES}, *{TESTS})"))
        }]);
    }
    Ok(cases)
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn look_into(folder: &Path, is_deep: bool, endings: &[&str], into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // Folders themselves, not links to them: those may lead in circles.
        if is_deep && entry.file_type()?.is_dir() && !name.starts_with('.') {
            look_into(&path, true, endings, into)?;
        } else if endings.iter().any(|ending| name.ends_with(ending)) && !name.starts_with('.') {
            into.push(path);
        }
    }
    Ok(())
}
