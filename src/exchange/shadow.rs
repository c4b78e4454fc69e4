//! The shadow set beside the corridor: taken anew with the active one, and compared by a thread of its own. It is told
//! decisions that are on record; it tells the log and the numbers, and nobody else.

use super::Corridor;
use crate::{
    audit::{CandidateCode, Event, Severity, decision_facts},
    config::{Finding, about},
    policy::{Otherwise, Prepared, Seen, ShadowCounts, Trigger},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

/// How long the thread waits for a decision until it looks about.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Differences that are recorded one by one at once.
const BURST: u32 = 50;
/// And as often after that.
const THEN_EVERY: Duration = Duration::from_millis(100);
/// How often it is told that something was left out.
const INCOMPLETE_EVERY: Duration = Duration::from_secs(60);

/// What the thread remembers.
#[derive(Default)]
struct Desk {
    /// Differences that may be recorded now.
    budget: u32,
    /// When the budget grew last.
    grown: Duration,
    /// What was left out when that was told last, and when.
    told: (u64, u64, Option<Duration>),
}

impl Corridor {
    /// Takes the shadow set anew, if there is to be one and there is anything new. Whatever is wrong with it, the active
    /// set goes on.
    pub async fn reload_shadow(self: &Arc<Self>, trigger: Trigger) {
        let Some(folder) = self.config.shadow.clone() else { return };
        let (this, now) = (Arc::clone(self), self.clock.wall());
        let looking = tokio::task::spawn_blocking(move || {
            let estate = this.policies.estate();
            this.policies.witness().shadow.look(&this.config, &folder, &estate, now)
        });
        let looked = looking.await.unwrap_or_else(|_| {
            let fault = "could not be looked at: a fault in narrowgate";
            Some(Err(self.config.shadow.iter().map(|folder| about(folder, fault)).collect()))
        });
        let shadow = &self.policies.witness().shadow;
        match looked {
            None => {}
            Some(Ok(Prepared { snapshot, cases_passed, .. })) => {
                let (digest, policies) = (Arc::clone(&snapshot.policy_digest), snapshot.len());
                let event = Event::new(CandidateCode::ShadowLoaded.into(), "policy")
                    .with("shadow", true)
                    .with("trigger", trigger.as_str())
                    .with("policy_count", policies)
                    .with("cases_passed", cases_passed)
                    .with("policy_digest", format!("sha256:{digest}"))
                    .with("entities_digest", format!("sha256:{}", snapshot.entities_digest));
                self.recorder.report(event);
                tracing::info!(policies, %digest, "a shadow set is compared; it decides nothing");
                shadow.replace(snapshot, now);
                // What was answered before it came is asked anew, so that it is compared.
                self.policies.current().iter().for_each(|set| set.forget_answers());
            }
            Some(Err(findings)) => self.refuse_shadow(&findings, trigger),
        }
    }

    /// Compares with none.
    fn refuse_shadow(&self, findings: &[Finding], trigger: Trigger) {
        if !self.policies.witness().shadow.was_refused(findings, trigger, self.clock.wall())
            && trigger == Trigger::Watch
        {
            return;
        }
        for finding in findings.iter().take(super::reload::LOGGED_MAX) {
            tracing::error!("shadow: {finding}");
        }
        let first = findings.first().map(|finding| super::reload::short(&finding.to_string()));
        let mut event = Event::new(CandidateCode::ShadowRejected.into(), "policy")
            .with("shadow", true)
            .with("trigger", trigger.as_str())
            .with("mistakes", findings.len())
            .with("first_mistake", first);
        event.severity = Severity::Medium;
        self.recorder.report(event);
    }

    /// Takes the shadow set up at a start, if there is to be one, and starts the thread that compares. It ends with the
    /// corridor.
    pub async fn start_shadow(self: &Arc<Self>) {
        let Some(waiting) = self.policies.witness().shadow.waiting() else { return };
        self.reload_shadow(Trigger::Start).await;
        let corridor = Arc::downgrade(self);
        let started = thread::Builder::new().name("shadow".to_owned()).spawn(move || run(&corridor, &waiting));
        if let Err(wrong) = started {
            let wrong = format!("is not compared: its thread could not be started: {wrong}");
            let findings: Vec<Finding> = self.config.shadow.iter().map(|folder| about(folder, &wrong)).collect();
            self.refuse_shadow(&findings, Trigger::Start);
        }
    }

    /// Compares a decision; how long that took.
    fn compare(&self, seen: &Seen, desk: &mut Desk) -> Duration {
        let shadow = &self.policies.witness().shadow;
        let began = self.clock.tick();
        let compared = catch_unwind(AssertUnwindSafe(|| shadow.compare(seen)));
        let broke_off = compared.is_err();
        if broke_off {
            shadow.broke_off();
        }
        let otherwise = compared.unwrap_or_default();
        if (broke_off || otherwise.is_some()) && !self.may_record(desk) {
            shadow.unrecorded();
        } else if broke_off {
            self.recorder.report(differed(seen, None));
        } else if let Some(otherwise) = otherwise {
            self.recorder.report(differed(seen, Some(&otherwise)));
        }
        self.clock.tick().saturating_sub(began)
    }

    /// Whether another difference is recorded by itself: calls come first in the log.
    fn may_record(&self, desk: &mut Desk) -> bool {
        let now = self.clock.tick();
        let grown = now.saturating_sub(desk.grown).as_millis() / THEN_EVERY.as_millis();
        if grown > 0 {
            desk.budget = desk.budget.saturating_add(u32::try_from(grown).unwrap_or(BURST)).min(BURST);
            desk.grown = now;
        }
        let may = desk.budget > 0 && self.recorder.has_room();
        desk.budget -= u32::from(may);
        may
    }

    /// Tells what was left out, at once and then now and then.
    fn tell_incomplete(&self, desk: &mut Desk) {
        let ShadowCounts { dropped, unrecorded, .. } = self.policies.witness().shadow.counts();
        let (now, (told_dropped, told_unrecorded, at)) = (self.clock.tick(), desk.told);
        let is_due = at.is_none_or(|at| now.saturating_sub(at) >= INCOMPLETE_EVERY);
        if (dropped, unrecorded) == (told_dropped, told_unrecorded) || !is_due || !self.recorder.has_room() {
            return;
        }
        desk.told = (dropped, unrecorded, Some(now));
        let (dropped, unrecorded) = (dropped - told_dropped, unrecorded - told_unrecorded);
        tracing::warn!(dropped, unrecorded, "the shadow set was not compared with everything");
        let mut event = Event::new(CandidateCode::ShadowIncomplete.into(), "policy")
            .with("shadow", true)
            .with("enforced", false)
            .with("decisions_not_compared", dropped)
            .with("differences_not_recorded", unrecorded);
        event.severity = Severity::Low;
        self.recorder.report(event);
    }
}

fn run(corridor: &Weak<Corridor>, waiting: &Receiver<Seen>) {
    let mut desk = Desk { budget: BURST, ..Desk::default() };
    loop {
        let next = waiting.recv_timeout(LOOK_EVERY);
        // Held for one decision only: a stop waits for nobody here.
        let Some(corridor) = corridor.upgrade() else { return };
        let took = match next {
            Ok(seen) => corridor.compare(&seen, &mut desk),
            Err(RecvTimeoutError::Timeout) => Duration::ZERO,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        corridor.tell_incomplete(&mut desk);
        drop(corridor);
        // So it never takes more than half of a processor.
        thread::sleep(took.min(LOOK_EVERY));
    }
}

/// The event of a decision that the shadow set would have made otherwise. It is none of a decision.
fn differed(seen: &Seen, otherwise: Option<&Otherwise>) -> Event {
    let kind = otherwise.map_or("error", |it| it.differs.as_str());
    let shadow = otherwise.and_then(|it| it.verdict.as_ref());
    let mut event = Event::new(CandidateCode::ShadowDiffered.into(), seen.operation)
        .of(seen.verdict.id)
        .with("shadow", true)
        .with("enforced", false)
        .with("difference", kind)
        .with("agent", otherwise.map(|it| it.principal.to_string()))
        .with("active_decision", seen.verdict.id.to_string())
        .with("active_verdict", decision_facts(&seen.verdict))
        .with("shadow_verdict", shadow.map(decision_facts));
    if kind == "error" {
        event.severity = Severity::Medium;
    }
    if let Some(set) = otherwise.map(|it| &it.set) {
        event = event.with("policy_digest", format!("sha256:{}", set.policy_digest));
    }
    event
}
