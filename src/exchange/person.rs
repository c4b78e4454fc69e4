//! A person at the agents' door (OWASP NHI10): an agent's identity is not for people. Policy may have glass to break;
//! whoever breaks it is heard.

use super::Corridor;
use crate::{
    audit::{Code, Event, Severity},
    caller::Caller,
    model::{Fault, Reason, fault::Detection},
};

impl Corridor {
    /// Lets a call of a person's login session in if policy has a `break_glass` permit for its agent; each such call is
    /// on record, loudly, before it goes on.
    ///
    /// # Errors
    /// [`Reason::HumanCaller`]; [`Reason::PolicyNotLoaded`]; [`Reason::AuditUnavailable`].
    pub async fn admit_person(&self, operation: &'static str, caller: &Caller) -> Result<(), Fault> {
        let refused = match self.policies.break_glass(caller, self.decision()?) {
            Ok(verdict) => {
                let event = Event::new(Code::Detected(Detection::BreakGlass), operation).by(caller).decided(&verdict);
                return self.recorder.durable(Event { severity: Severity::High, ..event }).await;
            }
            Err(refused) => refused,
        };
        let Some(verdict) = &refused.verdict else { return Err(refused.fault) };
        let fault = Fault::new(Reason::HumanCaller).detected(Detection::HumanCaller);
        let event = Event::new(Code::AgentRejected, operation).by(caller).decided(verdict);
        let event = event.failed(&fault, Severity::Medium);
        if let Some(detection) = event.detection(&fault) {
            self.recorder.report(detection);
        }
        let fault = fault.with("decision_id", verdict.id.to_string());
        self.recorder.durable(event).await.map_or_else(Err, |()| Err(fault))
    }
}
