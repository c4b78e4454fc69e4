//! `narrowgate policy diff`: what a change of policies changes.

use super::{Exit, Output, check, diff_json, diff_text, load_file};
use crate::{
    audit::{Redecided, Way, redecide},
    platform::{Clock, SystemClock},
    policy::workbench::{
        Became, Files, Lean, Proved, RequestKind, Set, SetDiff, SolverFailure, ask_solver, compare, find_solver,
    },
};
use clap::{Args, ValueEnum};
use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Whether a solver is asked.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UseSolver {
    /// Where there is one.
    Auto,
    /// Never.
    Off,
    /// It must be there, and answer.
    Required,
}

/// What makes the command fail.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// NEW allows more, or that cannot be told.
    Looser,
    /// Any difference.
    Any,
}

#[derive(Args)]
pub(in crate::cli) struct DiffArgs {
    /// The policies as they were: a folder or file of Cedar, or a configuration (*.toml) with policies, agents and APIs of
    /// its own.
    old: PathBuf,
    /// The policies as they are to be.
    new: PathBuf,
    /// The configuration whose agents, clients and APIs both are judged with, unless they are configurations themselves.
    #[arg(long, env = "NARROWGATE_CONFIG", default_value = "/etc/narrowgate/narrowgate.toml")]
    config: PathBuf,
    /// OLD and NEW are sets of other software's: their schema.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The entities of that other software, in Cedar's JSON.
    #[arg(long, value_name = "FILE", requires = "schema")]
    entities: Option<PathBuf>,
    /// Ask the decisions of this audit log, a file or a folder of segments, under both.
    #[arg(long, value_name = "LOG", conflicts_with = "schema")]
    audit: Option<PathBuf>,
    /// Whether a solver is asked about every request there can be.
    #[arg(long, value_enum, default_value_t = UseSolver::Auto)]
    solver: UseSolver,
    /// The solver's program; `cvc5` on the PATH if not given.
    #[arg(long, value_name = "PROGRAM", env = "CVC5")]
    solver_command: Option<PathBuf>,
    /// How long it may take over one question.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = crate::cli::span)]
    solver_timeout: Duration,
    /// What makes the command fail.
    #[arg(long, value_enum, default_value_t = FailOn::Looser)]
    fail_on: FailOn,
}

/// What became of asking a solver.
pub(super) enum Asked {
    Off,
    /// Neither set decides anything that the other does not: there is nothing to ask.
    Needless,
    /// There is none.
    Absent,
    /// A set that it cannot be asked about, and why.
    Invalid(Vec<String>),
    Shown(Box<Proved>),
}

/// Everything that was found.
pub(super) struct Found<'a> {
    pub(super) old: &'a Path,
    pub(super) new: &'a Path,
    pub(super) text: SetDiff,
    pub(super) log: Option<&'a Path>,
    pub(super) replay: Option<Redecided>,
    pub(super) solver: Asked,
}

/// What it all comes to.
#[derive(Default)]
pub(super) struct Conclusion {
    /// What shows that NEW allows more, or demands less.
    pub(super) looser: Vec<String>,
    /// What shows that it allows less, or demands more.
    pub(super) tighter: Vec<String>,
    /// Why NEW may allow more for all that is known.
    pub(super) untold: Vec<String>,
    /// Whether anything differs.
    pub(super) differs: bool,
}

pub(super) fn run(args: &DiffArgs, output: &Output) -> Exit {
    let (old, new) = match open(&args.old, args, output).and_then(|old| Ok((old, open(&args.new, args, output)?))) {
        Ok(sets) => sets,
        Err(exit) => return exit,
    };
    let text = compare(&old, &new);
    let replay = match (&args.audit, old.snapshot(), new.snapshot()) {
        (Some(log), Some(old), Some(new)) => {
            let mut progress = Progress::new(output);
            let each = |lines| progress.say(|| format!("{lines} lines of the log …"));
            match redecide(log, old, new, each) {
                Ok(replay) => Some(replay),
                Err(e) => return output.fail(Exit::Usage, &format!("{} cannot be read: {e}", log.display())),
            }
        }
        _ => None,
    };
    let solver = match solve(args, (&old, &new), &text, output) {
        Ok(solver) => solver,
        Err(exit) => return exit,
    };
    let found = Found { old: &args.old, new: &args.new, text, log: args.audit.as_deref(), replay, solver };
    let conclusion = Conclusion::of(&found);
    output.result(&diff_text::text(&found, &conclusion), &diff_json::json(&found, &conclusion));
    conclusion.exit(args.fail_on, &found)
}

fn open(path: &Path, args: &DiffArgs, output: &Output) -> Result<Set, Exit> {
    let told = |exit| move |findings: Vec<_>| check::report(&findings, exit, output);
    if let Some(schema) = &args.schema {
        let (policies, entities) = (vec![path.to_owned()], args.entities.clone());
        return Set::of_files(&Files { policies, schema: schema.clone(), entities }).map_err(told(Exit::Policy));
    }
    if path.extension().is_some_and(|extension| extension == "toml") {
        return Set::own(load_file(path, output)?).map_err(told(Exit::Policy));
    }
    let config = load_file(&args.config, output)?;
    Set::own_with(config, path).map_err(told(Exit::Policy))
}

fn solve(args: &DiffArgs, (old, new): (&Set, &Set), text: &SetDiff, output: &Output) -> Result<Asked, Exit> {
    let is_required = args.solver == UseSolver::Required;
    if args.solver == UseSolver::Off {
        return Ok(Asked::Off);
    }
    let Some(program) = find_solver(args.solver_command.as_deref()) else {
        if is_required {
            let absent = "there is no solver: install cvc5, or name one by --solver-command or CVC5";
            return Err(output.fail(Exit::Unavailable, absent));
        }
        return Ok(Asked::Absent);
    };
    if text.changes.is_empty() {
        return Ok(Asked::Needless);
    }
    match on_own_thread(|| block_on((old, new), text, (&program, args.solver_timeout), output)) {
        Ok(proved) if is_required && !proved.untold.is_empty() => {
            let untold: Vec<String> = proved.untold.iter().map(|(kind, why)| format!("{kind}: {why}")).collect();
            Err(output.fail(Exit::Unavailable, &untold.join("\n")))
        }
        Ok(proved) => Ok(Asked::Shown(Box::new(proved))),
        Err(SolverFailure::Invalid(mistakes)) if is_required => {
            let text =
                format!("a solver can be asked about valid policies of one schema only:\n{}", mistakes.join("\n"));
            Err(output.fail(Exit::Policy, &text))
        }
        Err(SolverFailure::Invalid(mistakes)) => Ok(Asked::Invalid(mistakes)),
        Err(SolverFailure::Broken(wrong)) => {
            let text = format!("the solver {}: {wrong}", program.display());
            Err(output.fail(Exit::Unavailable, &text))
        }
    }
}

/// Bytes of that thread's stack: conditions are gone through by recursion.
const STACK_BYTES: usize = 64 << 20;

/// Runs it on a thread without a runtime of ours, so that it can have one of its own.
fn on_own_thread<T: Send>(run: impl FnOnce() -> Result<T, SolverFailure> + Send) -> Result<T, SolverFailure> {
    let broken = |what: &str| SolverFailure::Broken(what.to_owned());
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run);
        let thread = thread.map_err(|e| broken(&format!("has no thread: {e}")))?;
        thread.join().unwrap_or_else(|_| Err(broken("was asked in a way that failed; this is a fault in narrowgate")))
    })
}

fn block_on(
    sets: (&Set, &Set),
    diff: &SetDiff,
    solver: (&Path, Duration),
    output: &Output,
) -> Result<Proved, SolverFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| SolverFailure::Broken(format!("cannot be waited for: {e}")))?;
    let mut progress = Progress::new(output);
    let each = |done: usize, all: usize| progress.say(|| format!("solver: {done} of {all} kinds of request …"));
    runtime.block_on(ask_solver(sets, diff, solver, each))
}

/// Says now and then how far it has come, if it takes longer than one expects.
struct Progress<'a> {
    output: &'a Output,
    said: Duration,
}

impl<'a> Progress<'a> {
    const EVERY: Duration = Duration::from_secs(1);

    fn new(output: &'a Output) -> Self {
        Self { output, said: SystemClock.tick() }
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        let now = SystemClock.tick();
        if now.saturating_sub(self.said) > Self::EVERY {
            self.said = now;
            self.output.say(&text());
        }
    }
}

impl Conclusion {
    fn of(found: &Found<'_>) -> Self {
        let mut it = Self { differs: !found.text.changes.is_empty(), ..Self::default() };
        it.annotations(&found.text);
        match &found.solver {
            Asked::Shown(proved) => it.proof(proved),
            Asked::Needless => {}
            Asked::Off | Asked::Absent | Asked::Invalid(_) => it.text(&found.text),
        }
        if let Some(replay) = &found.replay {
            it.replay(replay);
        }
        if found.text.entities_differ {
            it.differs = true;
            it.untold
                .push("agents, clients, APIs, scopes or their custom attributes differ, which only a replay shows the effect of".to_owned());
        }
        it
    }

    fn annotations(&mut self, text: &SetDiff) {
        for change in &text.changes {
            for annotation in &change.annotations {
                let said = format!("{}: @{}", change.id, annotation.key);
                match annotation.lean {
                    Lean::Looser => self.looser.push(said),
                    Lean::Tighter => self.tighter.push(said),
                    Lean::Untold => self.untold.push(said),
                    Lean::Neither => {}
                }
            }
        }
    }

    /// Where no solver was asked.
    fn text(&mut self, text: &SetDiff) {
        for change in text.changes.iter().filter(|change| change.decides_otherwise) {
            let what = match (change.became, change.forbids) {
                (Became::Added, true) => "an added forbid",
                (Became::Added, false) => "an added permit",
                (Became::Removed, true) => "a dropped forbid",
                (Became::Removed, false) => "a dropped permit",
                (Became::Changed, _) => "another condition",
            };
            let said = format!("{}: {what}", change.id);
            match change.lean {
                Lean::Looser => self.looser.push(said),
                Lean::Tighter => self.tighter.push(said),
                Lean::Untold | Lean::Neither => self.untold.push(format!("{said}, and no solver was asked")),
            }
        }
        if text.terms_may_count_alone {
            let untold = "a permit with terms is gone or narrower: those of other permits may now count alone";
            self.untold.push(untold.to_owned());
        }
    }

    fn proof(&mut self, proved: &Proved) {
        let kind = |kind: &RequestKind, what: &str| format!("{kind}: {what}");
        for example in &proved.more {
            if example.denied_by_error {
                self.untold.push(kind(&example.kind, "Cedar allows more, where a policy of NEW fails to evaluate"));
            } else {
                self.looser.push(kind(&example.kind, "allows more"));
            }
        }
        self.tighter.extend(proved.less.iter().map(|example| kind(&example.kind, "allows less")));
        self.looser.extend(proved.looser_terms.iter().map(|terms| kind(&terms.kind, &terms.demand)));
        self.tighter.extend(proved.tighter_terms.iter().map(|terms| kind(&terms.kind, &terms.demand)));
        self.untold.extend(proved.untold.iter().map(|(of, why)| kind(of, why)));
    }

    fn replay(&mut self, replay: &Redecided) {
        for way in Way::ALL {
            let count = replay.count(way);
            if count == 0 {
                continue;
            }
            self.differs = true;
            let said = format!("{count} recorded decisions: {}", way.as_str());
            match way {
                Way::NewlyAllowed | Way::LooserTerms => self.looser.push(said),
                Way::NewlyDenied | Way::TighterTerms => self.tighter.push(said),
                Way::OtherReasons => {}
            }
        }
    }

    /// One word for it.
    pub(super) fn word(&self) -> &'static str {
        match (self.looser.is_empty(), self.untold.is_empty(), self.tighter.is_empty()) {
            (false, _, false) => "both",
            (false, _, true) => "looser",
            (true, false, _) => "untold",
            (true, true, false) => "tighter",
            (true, true, true) if self.differs => "neither",
            (true, true, true) => "same",
        }
    }

    fn exit(&self, fail_on: FailOn, found: &Found<'_>) -> Exit {
        if found.replay.as_ref().is_some_and(|replay| replay.unusable > 0) {
            return Exit::Policy;
        }
        match self.word() {
            "both" | "looser" => Exit::Refused,
            "untold" => Exit::Untold,
            "same" => Exit::Ok,
            _ if fail_on == FailOn::Any => Exit::Tighter,
            _ => Exit::Ok,
        }
    }
}
