//! Two sets compared for every request there can be, by a solver: may NEW allow what OLD denies, for any agent, resource
//! and context that the schema knows? Where it says so it gives a request, which is then really decided under both.
//!
//! A solver sees policies as Cedar does: no annotations (terms are asked about in `diff_bounds`), and no agents and
//! clients, since it looks at all that there could be. It is told what narrowgate's own code makes sure of
//! (`invariants.cedar`), and which scopes there are (`diff_catalog`): others are never asked about.

use super::{
    Set,
    diff::{PolicyChange, SetDiff},
    diff_bounds::{self, LooseTerms},
    diff_catalog,
    diff_process::SolverProcess,
};
use cedar_policy::{
    ActionConstraint, Authorizer, Decision, Effect, Entities, EntityUid, Policy, PolicyId, PolicySet, Request,
    RequestEnv, Schema, ValidationMode, Validator,
};
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet, Env, err::Error, solver::SolverError};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// What holds of every question that narrowgate asks.
const INVARIANTS: &str = include_str!("invariants.cedar");
/// Mistakes told of a set that is not valid.
const MISTAKES_MAX: usize = 20;

/// A kind of request: the types of principal and resource, and the action.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestKind {
    /// The principal's type.
    pub principal: String,
    /// The action, as policies name it.
    pub action: String,
    /// The resource's type.
    pub resource: String,
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)
    }
}

/// What plain Cedar says to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlainAnswer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The policies that decided, sorted; none where nothing permits it.
    pub policies: Vec<String>,
    /// Policies that failed to evaluate, which Cedar skips. To narrowgate any is a no.
    pub errors: usize,
}

/// A request on which both sets differ, found by a solver and really decided.
#[derive(Debug)]
pub struct Counterexample {
    /// What kind of request it is.
    pub kind: RequestKind,
    /// The request as Cedar's own tools read it: `principal`, `action`, `resource`, `context`.
    pub request: Value,
    /// The entities that it is about, in Cedar's JSON.
    pub entities: Value,
    /// What OLD says.
    pub old: PlainAnswer,
    /// What NEW says.
    pub new: PlainAnswer,
    /// Whether narrowgate would deny it all the same, as a policy of the set that allows it fails to evaluate.
    pub denied_by_error: bool,
}

/// What a solver has shown.
#[derive(Debug, Default)]
pub struct Proved {
    /// The solver's program.
    pub program: PathBuf,
    /// Kinds of request that the schema knows. Each was looked at.
    pub kinds: usize,
    /// Questions that the solver was really asked; the others are settled by the form of the policies.
    pub asked: usize,
    /// For each kind where NEW allows more, such a request.
    pub more: Vec<Counterexample>,
    /// For each kind where NEW allows less, such a request.
    pub less: Vec<Counterexample>,
    /// Terms that NEW does not demand where OLD does.
    pub looser_terms: Vec<LooseTerms>,
    /// Terms that NEW demands where OLD does not.
    pub tighter_terms: Vec<LooseTerms>,
    /// What could not be told, and why.
    pub untold: Vec<(RequestKind, String)>,
}

/// Why a solver has shown nothing.
#[derive(Debug)]
pub enum SolverFailure {
    /// A set is not valid, so that there is nothing to ask: its mistakes.
    Invalid(Vec<String>),
    /// The solver did not start, died, or answered what is no answer.
    Broken(String),
}

/// Finds the solver: the program named, or `cvc5` on the PATH. `None` if there is none.
#[must_use]
pub fn find_solver(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(named) = named {
        return Some(named.to_owned());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("cvc5")).find(|program| program.is_file())
}

/// Both sets, as they are asked about.
pub(super) struct Asked<'s> {
    pub(super) old: &'s Set,
    pub(super) new: &'s Set,
    pub(super) schema: &'s Schema,
    /// What is added to both sides.
    invariants: PolicySet,
    actions: Entities,
}

impl<'s> Asked<'s> {
    fn of(old: &'s Set, new: &'s Set) -> Result<Self, SolverFailure> {
        if old.snapshot().map(|s| &s.schema_digest) != new.snapshot().map(|s| &s.schema_digest) {
            return Err(SolverFailure::Invalid(vec!["the schemas of custom attributes differ".to_owned()]));
        }
        for set in [old, new] {
            let result = Validator::new(new.schema.clone()).validate(&set.policies, ValidationMode::Strict);
            let mistakes: Vec<String> =
                result.validation_errors().take(MISTAKES_MAX).map(ToString::to_string).collect();
            if !mistakes.is_empty() {
                return Err(SolverFailure::Invalid(mistakes));
            }
        }
        let broken = |e: &dyn fmt::Display| SolverFailure::Broken(e.to_string());
        let is_own = old.own.is_some() && new.own.is_some();
        let mut invariants = String::new();
        if is_own {
            invariants.push_str(INVARIANTS);
            // Where they differ, neither catalogue holds for both.
            if old.snapshot().map(|s| &s.entities_digest) == new.snapshot().map(|s| &s.entities_digest) {
                invariants.push_str(&diff_catalog::invariants(&new.entities));
            }
        }
        let invariants = PolicySet::from_str(&invariants).map_err(|e| broken(&e))?;
        let actions = new.schema.action_entities().map_err(|e| broken(&e))?;
        Ok(Self { old, new, schema: &new.schema, invariants, actions })
    }

    /// Whether a policy, as it was or as it is, is about requests of this kind, by its scope.
    fn concerns(&self, change: &PolicyChange, env: &RequestEnv) -> bool {
        let was = change.was.as_deref().unwrap_or(&change.id);
        let of = |set: &'s Set, id: &str| set.policies.policy(&PolicyId::new(id));
        let policies = [of(self.old, was), of(self.new, &change.id)];
        policies.into_iter().flatten().any(|policy| self.is_about(policy, env))
    }

    /// Whether a policy names this action, or a group that it is in.
    pub(super) fn is_about(&self, policy: &Policy, env: &RequestEnv) -> bool {
        let action = env.action();
        let is_in = |group: &EntityUid| {
            group == action || self.actions.ancestors(action).is_some_and(|mut above| above.any(|it| it == group))
        };
        match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(named) => named == *action,
            ActionConstraint::In(named) => named.iter().any(is_in),
        }
    }

    /// A set with the invariants, for one kind of request.
    pub(super) fn compile(&self, set: &PolicySet, env: &RequestEnv) -> Result<CompiledPolicySet, Box<Error>> {
        let mut set = set.clone();
        for (number, policy) in self.invariants.policies().enumerate() {
            // No id of a policy has a space in it; and an id that is taken all the same is an error here.
            let id = PolicyId::new(format!("invariant {number}"));
            set.add(policy.new_id(id)).map_err(|e| Box::new(SolverError::Solver(e.to_string()).into()))?;
        }
        CompiledPolicySet::compile(&set, env, self.schema).map_err(Box::new)
    }

    /// The request of a counterexample, decided for real.
    pub(super) fn decide(&self, env: &Env) -> Result<Decided, String> {
        let actions = self.actions.iter().cloned();
        let entities = env.entities.clone().upsert_entities(actions, None).map_err(|e| e.to_string())?;
        let decide = |set: &Set| PlainAnswer::of(&env.request, &set.policies, &entities);
        Ok(Decided { old: decide(self.old), new: decide(self.new) })
    }
}

/// What both sets really say.
pub(super) struct Decided {
    pub(super) old: PlainAnswer,
    pub(super) new: PlainAnswer,
}

impl PlainAnswer {
    fn of(request: &Request, policies: &PolicySet, entities: &Entities) -> Self {
        let response = Authorizer::new().is_authorized(request, policies, entities);
        let mut reasons: Vec<String> =
            response.diagnostics().reason().map(|id| AsRef::<str>::as_ref(id).to_owned()).collect();
        reasons.sort_unstable();
        Self {
            allowed: response.decision() == Decision::Allow,
            policies: reasons,
            errors: response.diagnostics().errors().count(),
        }
    }
}

/// The solver, and what it has shown so far.
pub(super) struct Proof<'s> {
    pub(super) asked: Asked<'s>,
    pub(super) compiler: CedarSymCompiler<SolverProcess>,
    pub(super) proved: Proved,
}

/// Asks a solver, for every kind of request that a policy of `diff` is about, whether NEW allows what OLD denies and the
/// other way round, and whether terms are looser; about other kinds both sets say the same. `each` is told how many kinds are done, and of how many.
///
/// # Errors
/// Why nothing is shown. What only some kinds of request lack is in [`Proved::untold`].
pub async fn ask_solver(
    (old, new): (&Set, &Set),
    diff: &SetDiff,
    (program, limit): (&Path, Duration),
    mut each: impl FnMut(usize, usize),
) -> Result<Proved, SolverFailure> {
    let asked = Asked::of(old, new)?;
    let process = SolverProcess::new(program.to_owned(), limit);
    let compiler = CedarSymCompiler::new(process).map_err(|e| SolverFailure::Broken(super::set::causes(&e)))?;
    let mut environments: Vec<(RequestKind, RequestEnv)> =
        asked.schema.request_envs().map(|env| (kind(&env), env)).collect();
    environments.sort_by(|(a, _), (b, _)| a.cmp(b));
    environments.dedup_by(|(a, _), (b, _)| a == b);
    let proved = Proved { program: program.to_owned(), kinds: environments.len(), ..Proved::default() };
    environments.retain(|(_, env)| diff.changes.iter().any(|change| asked.concerns(change, env)));
    let all = environments.len();
    let mut proof = Proof { asked, compiler, proved };
    let bounds = diff_bounds::Bounds::of(&proof.asked);
    for (done, (kind, env)) in environments.iter().enumerate() {
        each(done, all);
        proof.compare(kind, env).await?;
        bounds.compare(&mut proof, kind, env).await?;
    }
    each(all, all);
    proof.proved.asked = proof.compiler.solver().asked;
    Ok(proof.proved)
}

fn kind(env: &RequestEnv) -> RequestKind {
    RequestKind {
        principal: env.principal().to_string(),
        action: env.action().to_string(),
        resource: env.resource().to_string(),
    }
}

impl Proof<'_> {
    async fn compare(&mut self, kind: &RequestKind, env: &RequestEnv) -> Result<(), SolverFailure> {
        let compiled = self
            .asked
            .compile(&self.asked.old.policies, env)
            .and_then(|old| Ok((old, self.asked.compile(&self.asked.new.policies, env)?)));
        let (old, new) = match compiled {
            Ok(compiled) => compiled,
            Err(e) => return self.untold(kind, *e),
        };
        for is_more in [true, false] {
            let (from, to) = if is_more { (&new, &old) } else { (&old, &new) };
            match self.compiler.check_implies_with_counterexample_opt(from, to).await {
                Ok(None) => {}
                Ok(Some(found)) => {
                    let example = self.example(kind, &found, is_more)?;
                    if is_more { self.proved.more.push(example) } else { self.proved.less.push(example) }
                }
                Err(e) => self.untold(kind, e)?,
            }
        }
        Ok(())
    }

    fn example(&self, kind: &RequestKind, found: &Env, is_more: bool) -> Result<Counterexample, SolverFailure> {
        let Decided { old, new } = self.asked.decide(found).map_err(SolverFailure::Broken)?;
        let (allows, denies) = if is_more { (&new, &old) } else { (&old, &new) };
        if !allows.allowed || denies.allowed {
            return Err(SolverFailure::Broken(format!(
                "its counterexample for {} is none: really decided, OLD and NEW do not differ on it as it says",
                kind
            )));
        }
        let is_own = self.asked.new.own.is_some();
        Ok(Counterexample {
            kind: kind.clone(),
            request: request(&found.request),
            entities: found.entities.to_json_value().unwrap_or_default(),
            denied_by_error: is_own && allows.errors > 0,
            old,
            new,
        })
    }

    /// Keeps what could not be told.
    ///
    /// # Errors
    /// Where the solver itself is at fault.
    pub(super) fn untold(&mut self, kind: &RequestKind, error: Error) -> Result<(), SolverFailure> {
        let why = match error {
            Error::SolverUnknown => "the solver gave up".to_owned(),
            Error::SolverError(SolverError::Io(e)) if e.kind() == std::io::ErrorKind::TimedOut => {
                "the solver did not answer in time".to_owned()
            }
            Error::SolverError(SolverError::Io(e)) => return Err(SolverFailure::Broken(format!("cannot be run: {e}"))),
            Error::SolverError(SolverError::UnrecognizedSolverOutput(text)) => {
                return Err(SolverFailure::Broken(format!("answered {text:?}, which is neither sat nor unsat")));
            }
            Error::SolverError(e) => return Err(SolverFailure::Broken(e.to_string())),
            Error::DecodeModel(_) | Error::ConcretizeError(_) | Error::ModelInvalid { .. } => {
                return Err(SolverFailure::Broken("answered a counterexample that is none".to_owned()));
            }
            other => super::set::causes(&other),
        };
        if !self.proved.untold.iter().any(|(of, known)| of == kind && *known == why) {
            self.proved.untold.push((kind.clone(), why));
        }
        Ok(())
    }
}

/// A request as Cedar's own tools read it.
pub(super) fn request(request: &Request) -> Value {
    let name = |uid: Option<&EntityUid>| uid.map(ToString::to_string);
    json!({
        "principal": name(request.principal()),
        "action": name(request.action()),
        "resource": name(request.resource()),
        "context": request.context().and_then(|context| context.to_json_value().ok()),
    })
}

/// The permits of a set.
pub(super) fn permits(set: &PolicySet) -> BTreeSet<String> {
    let permits = set.policies().filter(|policy| policy.effect() == Effect::Permit);
    permits.map(|policy| AsRef::<str>::as_ref(policy.id()).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::INVARIANTS;
    use crate::policy::BASE_SCHEMA;
    use cedar_policy::{PolicySet, Schema, ValidationMode, Validator};
    use std::str::FromStr;

    #[test]
    fn invariants_are_forbids_that_fit_the_schema() {
        let (schema, _) = Schema::from_cedarschema_str(BASE_SCHEMA).unwrap();
        let set = PolicySet::from_str(INVARIANTS).unwrap();
        assert!(set.policies().all(|policy| policy.effect() == cedar_policy::Effect::Forbid));
        let result = Validator::new(schema).validate_with_level(&set, ValidationMode::Strict, 1);
        assert!(result.validation_passed_without_warnings(), "{result}");
    }
}
