//! The way to one authorization server's token endpoint, as wide as its own share and no wider: however slow or dead
//! a server is, it uses up its own lane alone, and callers of the others do not notice.
//!
//! A request enters before anything is decided, recorded or spent, so that whoever finds the lane full or the circuit
//! open is told at once and has lost nothing. It waits for its turn inside the issuer's one deadline.

use super::{
    breaker::{Breaker, Change, Leave},
    dpop::ServerNonce,
    http::{Answer, Broken},
    names::Names,
    turns::Turns,
};
use crate::{
    audit::{Code, Event, Recorder, Severity},
    config::{Issuer, Limits},
    model::{AgentId, Boot, Fault, Reason},
    platform::Clock,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::error::Elapsed,
};

/// What somebody is told to wait who has no turn to wait for.
const BUSY_WAIT: Duration = Duration::from_secs(1);
/// Revocations at one issuer waiting to be tried again.
const RETRIES_MAX: usize = 256;
/// Revocation requests to one issuer under way at once.
const REVOCATIONS_IN_FLIGHT: usize = 16;

/// Everything that requests to one issuer may use up. None of it is shared with another's.
pub(super) struct Ways {
    /// To its token endpoint.
    pub(super) lane: Arc<Lane>,
    /// To its hosts' addresses.
    pub(super) names: Names,
    /// The nonce that it gave last for proofs (RFC 9449 §8).
    pub(super) nonce: ServerNonce,
    /// To its metadata.
    beginnings: Places,
    issuer: Arc<Issuer>,
    retries: Arc<Semaphore>,
    revocations: Arc<Semaphore>,
}

impl Ways {
    pub(super) fn new(issuer: &Arc<Issuer>, limits: &Limits, clock: &Arc<dyn Clock>, recorder: &Recorder) -> Self {
        // One slow issuer never has more than half of what an agent may have under way.
        let per_agent = usize::try_from(limits.calls_in_flight / 2).unwrap_or(usize::MAX).max(1);
        Self {
            lane: Lane::new(issuer, per_agent, clock, recorder),
            names: Names::new(),
            nonce: ServerNonce::default(),
            beginnings: Places::new(per_agent, usize::MAX),
            issuer: Arc::clone(issuer),
            retries: Arc::new(Semaphore::new(RETRIES_MAX)),
            revocations: Arc::new(Semaphore::new(REVOCATIONS_IN_FLIGHT)),
        }
    }

    /// A place for an agent that is about to begin, and may have to wait for the metadata.
    ///
    /// # Errors
    /// [`Reason::IssuerBusy`].
    pub(super) fn beginning(&self, agent: &AgentId) -> Result<Place, Fault> {
        self.beginnings.take(agent).map_err(|_| busy(&self.issuer))
    }

    /// Room for one more revocation to be tried again later.
    pub(super) fn room_to_retry(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.retries).try_acquire_owned().ok()
    }

    /// A turn for a revocation.
    pub(super) async fn revocation_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.revocations).acquire_owned().await.ok()
    }
}

/// One issuer's lane.
pub(super) struct Lane {
    issuer: Arc<Issuer>,
    in_flight: Arc<Semaphore>,
    places: Places,
    turns: Mutex<Turns>,
    circuit: Mutex<Breaker>,
    /// Whether the circuit is open: for health, and for those who wait.
    open: watch::Sender<bool>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
}

/// A request's place in a lane, from before its decision to the end of its answer. Dropped without an outcome, it says
/// nothing of the server.
pub struct Passage {
    lane: Arc<Lane>,
    leave: Option<Leave>,
    entered: Boot,
    /// When its turn came.
    began: Boot,
    _place: Place,
    _turn: OwnedSemaphorePermit,
}

impl Lane {
    /// `per_agent` is how many calls one agent may have in it.
    fn new(issuer: &Arc<Issuer>, per_agent: usize, clock: &Arc<dyn Clock>, recorder: &Recorder) -> Arc<Self> {
        let width = issuer.share.requests_in_flight;
        Arc::new(Self {
            issuer: Arc::clone(issuer),
            in_flight: Arc::new(Semaphore::new(width)),
            places: Places::new(per_agent.min(width), width.saturating_mul(2)),
            turns: Mutex::new(Turns::new(width)),
            circuit: Mutex::new(Breaker::new(issuer.share.circuit_backoff)),
            open: watch::Sender::new(false),
            clock: Arc::clone(clock),
            recorder: recorder.clone(),
        })
    }

    /// Follows whether the circuit is open.
    pub(super) fn follow(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    /// Enters, or waits for a turn: for half of the issuer's deadline at most, so that the exchange keeps the other.
    ///
    /// # Errors
    /// [`Reason::IssuerBusy`], or [`Reason::AsUnreachable`] while the circuit is open; both say when to try again.
    pub(super) async fn enter(self: &Arc<Self>, agent: &AgentId) -> Result<Passage, Fault> {
        let place = match self.places.take(agent) {
            Ok(place) => place,
            // What one agent has too much of is its own affair: it takes no turn from the others.
            Err(Full::OfOwn) => return Err(busy(&self.issuer)),
            Err(Full::OfAll) => return Err(self.busy()),
        };
        let entered = self.clock.boot();
        let mut open = self.open.subscribe();
        let turn = tokio::select! {
            biased;
            turn = Arc::clone(&self.in_flight).acquire_owned() => turn.map_err(|_| Fault::new(Reason::Internal))?,
            // Nobody waits for a server that has just been given up.
            _ = open.wait_for(|open| *open) => return Err(self.left_alone(BUSY_WAIT)),
            () = tokio::time::sleep(self.issuer.deadline / 2) => return Err(self.busy()),
        };
        let leave = if self.issuer.share.circuit_breaker {
            Some(self.circuit().admit(self.clock.boot()).map_err(|wait| self.left_alone(wait))?)
        } else {
            None
        };
        let began = self.clock.boot();
        Ok(Passage { lane: Arc::clone(self), leave, entered, began, _place: place, _turn: turn })
    }

    fn circuit(&self) -> MutexGuard<'_, Breaker> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The refusal of one more than there is room for: with a turn of its own, later.
    fn busy(&self) -> Fault {
        let now = self.clock.boot();
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        busy(&self.issuer).retry_after(turns.promise(now, spread(self.issuer.alias.as_str(), now)))
    }

    fn left_alone(&self, wait: Duration) -> Fault {
        let fault = Fault::new(Reason::AsUnreachable).with("issuer", self.issuer.alias.as_str());
        fault.with("circuit", "open").retry_after(wait)
    }

    /// Lets the breaker judge, and says what that changed.
    fn judge(&self, judge: impl FnOnce(&mut Breaker, Boot) -> Option<Change>) -> Option<Change> {
        let mut circuit = self.circuit();
        let change = judge(&mut circuit, self.clock.boot());
        // Under the lock, so that the last word here is the last word there.
        self.open.send_if_modified(|open| std::mem::replace(open, circuit.is_open()) != circuit.is_open());
        change
    }

    fn report(&self, code: Code, severity: Severity, why: Option<Reason>, wait: Option<Duration>) {
        let mut event = Event::new(code, "Issuer")
            .with("issuer_alias", self.issuer.alias.as_str())
            .with("issuer", self.issuer.url.as_str());
        event.severity = severity;
        event.reason = why;
        self.recorder.report(match wait {
            Some(wait) => event.with("retry_after_ms", u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            None => event,
        });
    }
}

/// The refusal of one more than there is room for.
fn busy(issuer: &Issuer) -> Fault {
    Fault::new(Reason::IssuerBusy).with("issuer", issuer.alias.as_str()).retry_after(BUSY_WAIT)
}

impl Passage {
    /// What waiting and connecting have taken of the deadline so far.
    pub(super) fn taken(&self) -> Duration {
        self.lane.clock.boot().since(self.entered)
    }

    /// How the request ended says what the server is like. A 503 that asks for time is believed at once: every code sent
    /// before that is a login lost. An answer that is only wrong is a sign of life.
    pub(super) fn ended(self, answered: &Result<Result<Answer, Broken>, Elapsed>) {
        match answered {
            Err(_) => self.failed(Reason::AsTimeout, None),
            Ok(Err(Broken::Connection)) => self.failed(Reason::RedeemOutcomeUnknown, None),
            Ok(Err(Broken::TooLong)) => self.answered(),
            Ok(Ok(answer)) => match answer.status.as_u16() {
                503 => self.failed(Reason::AsUnavailable, answer.asked_to_wait()),
                429 | 502 | 504 => self.failed(Reason::AsUnavailable, None),
                _ => self.answered(),
            },
        }
    }

    /// The server answered.
    fn answered(mut self) {
        let Some(leave) = self.leave.take() else { return };
        if self.lane.judge(|circuit, _| circuit.succeeded(leave)) == Some(Change::Closed) {
            tracing::info!(issuer = %self.lane.issuer.alias, "the authorization server is back");
            self.lane.report(Code::IssuerRecovered, Severity::Informational, None, None);
        }
    }

    /// The server is not there, or asked to be left alone for a while.
    pub(super) fn failed(mut self, why: Reason, asked: Option<Duration>) {
        let Some(leave) = self.leave.take() else { return };
        let alias = &self.lane.issuer.alias;
        let change = self.lane.judge(|circuit, now| circuit.failed(leave, now, asked, spread(alias.as_str(), now)));
        if let Some(Change::Opened(wait)) = change {
            tracing::error!(
                issuer = %alias, reason = why.name(), ?wait,
                "the authorization server fails again and again: calls to it are refused until it answers"
            );
            self.lane.report(Code::IssuerUnavailable, Severity::High, Some(why), Some(wait));
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let taken = self.lane.clock.boot().since(self.began);
        self.lane.turns.lock().unwrap_or_else(PoisonError::into_inner).took(taken);
        if let Some(leave) = self.leave.take() {
            self.lane.judge(|circuit, now| {
                circuit.abandoned(leave, now);
                None
            });
        }
    }
}

/// Different on every host, since none was booted in the same millisecond: enough to spread them.
fn spread(alias: &str, now: Boot) -> u64 {
    let seed = alias.bytes().fold(now.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

/// Calls under way at one issuer, waiting ones too. One agent never has all of them, so that its flood does not shut out
/// the others, and they are never all that it may have under way, so that a slow issuer does not shut it out of the rest.
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<AgentId, usize>>>,
    per_agent: usize,
    all: usize,
}

/// One of them; given back when dropped.
pub(super) struct Place {
    taken: Arc<Mutex<HashMap<AgentId, usize>>>,
    agent: AgentId,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// The agent has as many as one may have.
    OfOwn,
    /// All are taken.
    OfAll,
}

impl Places {
    /// So many for each agent, and so many for all.
    pub(super) fn new(per_agent: usize, all: usize) -> Self {
        Self { taken: Arc::default(), per_agent, all }
    }

    /// One place, if there is one.
    pub(super) fn take(&self, agent: &AgentId) -> Result<Place, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(agent).copied().unwrap_or_default();
        if own >= self.per_agent {
            return Err(Full::OfOwn);
        }
        if all >= self.all {
            return Err(Full::OfAll);
        }
        taken.insert(agent.clone(), own + 1);
        Ok(Place { taken: Arc::clone(&self.taken), agent: agent.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.agent) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.agent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_agent_has_more_than_half_of_the_places() {
        let places = Places::new(2, 4);
        let [a, b, c] = ["a", "b", "c"].map(|id| AgentId::parse(id).unwrap());
        let mut held: Vec<Place> = (0..2).map(|_| places.take(&a).unwrap()).collect();
        assert_eq!(places.take(&a).err(), Some(Full::OfOwn));
        held.extend((0..2).map(|_| places.take(&b).unwrap()));
        assert_eq!(places.take(&c).err(), Some(Full::OfAll));
        held.remove(0);
        assert_eq!(places.take(&b).err(), Some(Full::OfOwn), "half is half");
        held.push(places.take(&c).unwrap());
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is remembered of those who left");
    }
}
