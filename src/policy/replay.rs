//! A decision asked again, from the questions that its event holds (POL-09), or that are still at hand.

use super::{Asked, Snapshot, Verdict, asked::Part, panel::Panel};
use crate::model::Reason;
use serde_json::Value;

impl Snapshot {
    /// Asks recorded questions again, of this set and its entities: the same questions through the same panel, so under
    /// the same digests the decision is the same. Nothing is permitted by it.
    ///
    /// # Errors
    /// What is wrong with the questions; under another schema they may not fit.
    pub fn replay(&self, asked: &Value) -> Result<Verdict, String> {
        self.ask_again(&Asked::from_json(asked, &self.schema)?)
    }

    /// As [`Self::replay`], of questions that never left this process.
    ///
    /// # Errors
    /// That there is no decision in them.
    pub(super) fn ask_again(&self, asked: &Asked) -> Result<Verdict, String> {
        let mut panel = Panel::again(self, asked.own.clone());
        let mut narrowing = panel.anew();
        let mut scopes = Vec::new();
        for mut step in asked.steps.iter().cloned() {
            match step.part {
                Part::Narrowing(scope) => {
                    step.part = Part::Scope(scope);
                    narrowing.put(step);
                    continue;
                }
                Part::Scope(ref scope) => scopes.push(scope.clone()),
                Part::Gate | Part::Detail(_) => {}
            }
            panel.put(step);
        }
        if let Some(keeping) = asked.keeping {
            panel.keep_terms(keeping);
        }
        // Under other policies another set of scopes may be worth asking for; that set is then the answer.
        let mut other = None;
        if let Some(narrowed) = narrowing.narrowed() {
            other = (narrowed.granted != scopes).then(|| narrowed.granted.clone());
            panel.also_refused(narrowed);
        }
        let closed = match asked.keeping {
            Some(_) => panel.close(Reason::PolicyDenied).map(|(verdict, _)| verdict),
            None => panel.close_gate(),
        };
        let mut verdict = match closed {
            Ok(verdict) => verdict,
            Err(refused) => refused.verdict.ok_or("a decision without a verdict")?,
        };
        verdict.granted = other.unwrap_or(verdict.granted);
        Ok(verdict)
    }
}
