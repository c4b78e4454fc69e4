//! Recorded requests, asked under one policy set and under another: what a change would change, and for whom.

use super::{
    decision,
    replay::{Decision, Difference, Questions, read_log},
};
use crate::policy::{
    Snapshot, Verdict,
    workbench::{Lean, of_terms},
};
use std::{collections::BTreeMap, io, path::Path};

/// The most decisions that are listed one by one.
const LISTED_MAX: usize = 1_000;
/// The most kinds of request that are counted each for itself.
const KINDS_MAX: usize = 10_000;
/// The most lines that are shown of those that cannot be read or asked.
const PROBLEMS_MAX: usize = 20;

/// Which way a decision moved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Way {
    /// NEW allows what OLD denies: the exchange, or a scope of it.
    NewlyAllowed,
    /// NEW denies what OLD allows.
    NewlyDenied,
    /// The same is allowed, and something less is demanded.
    LooserTerms,
    /// The same is allowed, and something more is demanded.
    TighterTerms,
    /// The same answer, for other reasons.
    OtherReasons,
}

impl Way {
    /// The words for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewlyAllowed => "newly allowed",
            Self::NewlyDenied => "newly denied",
            Self::LooserTerms => "looser terms",
            Self::TighterTerms => "tighter terms",
            Self::OtherReasons => "other reasons",
        }
    }

    /// Every way, in the order in which they are told.
    pub const ALL: [Self; 5] =
        [Self::NewlyAllowed, Self::NewlyDenied, Self::LooserTerms, Self::TighterTerms, Self::OtherReasons];
}

/// A decision that NEW would make otherwise than OLD.
#[derive(Debug)]
pub struct Moved {
    /// Each way that it moved: some scopes may be newly allowed while others are newly denied.
    pub ways: Vec<Way>,
    /// The event's uid.
    pub event: String,
    /// The id of its exchange.
    pub exchange: String,
    /// What was decided: the event's code.
    pub code: String,
    /// For whom.
    pub agent: String,
    /// By which client.
    pub client: String,
    /// The scopes asked for.
    pub scopes: Vec<String>,
    /// What it says under OLD (`recorded`) and under NEW (`replayed`).
    pub differences: Vec<Difference>,
}

/// Whose requests: agent, client, event code, and scopes.
pub type Asker = (String, String, String, String);

/// What came of asking a log under both.
#[derive(Debug, Default)]
pub struct Redecided {
    /// Lines read.
    pub lines: u64,
    /// Decisions asked.
    pub asked: u64,
    /// Decisions that are the same under both.
    pub same: u64,
    /// How many moved each way.
    pub moved: BTreeMap<Way, u64>,
    /// How many moved each way, for whom.
    pub kinds: BTreeMap<(Way, Asker), u64>,
    /// The first of them.
    pub listed: Vec<Moved>,
    /// Decisions that were made under other policies, agents or APIs than OLD's.
    pub elsewhere: u64,
    /// Lines and decisions that could not be read or asked.
    pub unusable: u64,
    /// Of the first of those: where, and what is wrong.
    pub problems: Vec<String>,
}

/// Asks every decision of a log under both sets. `each` is told the lines read so far.
///
/// # Errors
/// As the system says.
pub fn redecide(log: &Path, old: &Snapshot, new: &Snapshot, mut each: impl FnMut(u64)) -> io::Result<Redecided> {
    let mut told = Redecided::default();
    let mut questions = Questions::default();
    for line in read_log(log)? {
        let line = line?;
        told.lines += 1;
        each(told.lines);
        let place = || format!("{}:{}", line.place.0.display(), line.place.1);
        let event = match &line.event {
            Ok(event) => event,
            Err(wrong) => {
                told.problem(format!("{}: {wrong}", place()));
                continue;
            }
        };
        questions.note(event);
        let Some(decision) = Decision::of(event) else { continue };
        let both = decision.asked(&questions).and_then(|asked| Ok((old.replay(&asked)?, new.replay(&asked)?)));
        match both {
            Ok((before, after)) => {
                told.elsewhere += u64::from(!decision.elsewhere(old).is_empty());
                told.decision(&decision, &before, &after);
            }
            Err(wrong) => told.problem(format!("{}: event {}: {wrong}", place(), decision.uid())),
        }
    }
    Ok(told)
}

impl Redecided {
    /// How many moved this way.
    #[must_use]
    pub fn count(&self, way: Way) -> u64 {
        self.moved.get(&way).copied().unwrap_or_default()
    }

    fn decision(&mut self, decision: &Decision<'_>, before: &Verdict, after: &Verdict) {
        self.asked += 1;
        let pairs = decision::said(before).into_iter().zip(decision::said(after));
        let differences: Vec<Difference> = pairs
            .filter(|((_, before), (_, after))| before != after)
            .map(|((what, recorded), (_, replayed))| Difference { what, recorded, replayed })
            .collect();
        if differences.is_empty() {
            self.same += 1;
            return;
        }
        let ways = ways(before, after);
        let scopes: Vec<String> = decision.scopes().into_iter().map(str::to_owned).collect();
        let [agent, client, code] = [decision.agent(), decision.client(), decision.code()].map(str::to_owned);
        let kind = (agent.clone(), client.clone(), code.clone(), scopes.join(" "));
        for way in &ways {
            *self.moved.entry(*way).or_default() += 1;
            let key = (*way, kind.clone());
            if self.kinds.len() < KINDS_MAX || self.kinds.contains_key(&key) {
                *self.kinds.entry(key).or_default() += 1;
            }
        }
        if self.listed.len() < LISTED_MAX {
            let (event, exchange) = (decision.uid().to_owned(), decision.exchange().to_owned());
            self.listed.push(Moved { ways, event, exchange, code, agent, client, scopes, differences });
        }
    }

    fn problem(&mut self, what: String) {
        self.unusable += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        }
    }
}

fn ways(before: &Verdict, after: &Verdict) -> Vec<Way> {
    let allowed = |verdict: &Verdict| verdict.denied.is_none();
    let lacks = |of: &Verdict, in_: &Verdict| of.granted.iter().any(|scope| !in_.granted.contains(scope));
    let refuses = |one: &Verdict, other: &Verdict| {
        one.refused.iter().any(|(scope, _)| !other.refused.iter().any(|(too, _)| too == scope))
    };
    let mut ways = Vec::new();
    match (allowed(before), allowed(after)) {
        (false, true) => ways.push(Way::NewlyAllowed),
        (true, false) => ways.push(Way::NewlyDenied),
        (false, false) => {}
        (true, true) => {
            // Of what was asked for in part, a scope may be refused by the one set alone.
            if lacks(after, before) || refuses(before, after) {
                ways.push(Way::NewlyAllowed);
            }
            if lacks(before, after) || refuses(after, before) {
                ways.push(Way::NewlyDenied);
            }
            let leans = of_terms(&before.terms, &after.terms);
            // What cannot be told is not called harmless.
            if leans.iter().any(|(_, lean)| matches!(lean, Lean::Looser | Lean::Untold)) {
                ways.push(Way::LooserTerms);
            }
            if leans.iter().any(|(_, lean)| *lean == Lean::Tighter) {
                ways.push(Way::TighterTerms);
            }
        }
    }
    if ways.is_empty() {
        ways.push(Way::OtherReasons);
    }
    ways
}
