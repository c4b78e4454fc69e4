//! Grants across runs: what is found at a start, and how the file they are kept in fares.

use super::Corridor;
use crate::{
    audit::{Code, Event, Severity},
    grant::Departed,
    oauth::Outcome,
    platform::vault::Rejected,
};
use std::{sync::Arc, time::Duration};

const OPERATION: &str = "keeping";

impl Corridor {
    /// Says what was found in the file that grants are kept in, and lets go of what no longer belongs to anything.
    pub fn report_restored(self: &Arc<Self>, rejected: Option<&Rejected>, (held, departed): (usize, Vec<Departed>)) {
        if let Some(Rejected { why, moved_to }) = rejected {
            tracing::error!(why, moved_to = %moved_to.display(), "the file that grants are kept in cannot be used and was moved aside: begin with an empty one");
            let mut event = Event::new(Code::GrantStoreRejected, OPERATION);
            event.severity = Severity::Critical;
            let event = event.with("why", *why).with("moved_to", moved_to.display().to_string());
            self.recorder.report(event);
        }
        tracing::info!(held, dropped = departed.len(), "grants of the run before are held again");
        let event = Event::new(Code::GrantsRestored, OPERATION);
        self.recorder.report(event.with("held", held).with("dropped", departed.len()));
        for departed in departed {
            self.let_depart(departed);
        }
    }

    /// Revokes what can be revoked, and only then removes it from the file. What its server has not confirmed stays there
    /// for the next start, and so does what cannot be revoked now, until its time is up: the configuration may be a slip.
    fn let_depart(self: &Arc<Self>, departed: Departed) {
        let Departed { record, why, agent, client, issuer, decision, disposal, over } = departed;
        let mut event = Event::new(Code::GrantDropped, OPERATION).of(decision);
        event.severity = if disposal.is_some() { Severity::Medium } else { Severity::High };
        let event = event.with("agent", agent).with("client", client).with("issuer", issuer);
        self.recorder.report(event.with("why", why).with("revocable", disposal.is_some()));
        let (this, underway) = (Arc::clone(self), self.work.enter_always());
        tokio::spawn(async move {
            let confirmed = match disposal {
                Some(disposal) => {
                    let outcomes = this.servers.revoke(disposal, "not_held_again", decision).await;
                    outcomes.each().all(|outcome| !matches!(outcome, Outcome::Queued | Outcome::Failed))
                }
                None => false,
            };
            if confirmed || over {
                this.grants.depart(record);
            }
            drop(underway);
        });
    }

    /// Tells the SOC when the file that grants are kept in cannot be written, and when it can be again; until the end of
    /// the process.
    pub async fn watch_store(self: Arc<Self>, every: Duration) {
        let mut was = true;
        loop {
            tokio::time::sleep(every).await;
            let is = self.grants.is_storable();
            if is != was {
                let code = if is { Code::GrantStoreResumed } else { Code::GrantStoreFailed };
                self.recorder.report(Event { severity: Severity::High, ..Event::new(code, OPERATION) });
            }
            was = is;
        }
    }
}
