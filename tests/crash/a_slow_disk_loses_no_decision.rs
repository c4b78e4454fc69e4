//! A disk far slower than the load: calls wait or are refused, and the log still tells of every decision once.

use crate::{
    house::{House, Plan, begin_request, fact, get, reason, redeem, unix_agent},
    ledger::Ledger,
    strace::Injected,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};
use tonic::Status;

/// Calls that come at once: what the disk confirms in one go is a batch, so it is their number that counts.
const AGENTS: usize = 40;

/// What the callers were told.
#[derive(Default)]
struct Told {
    /// Decision ids, by what was decided.
    begun: RefCell<BTreeSet<String>>,
    redeemed: RefCell<BTreeSet<String>>,
    served: RefCell<BTreeSet<String>>,
    unavailable: Cell<usize>,
}

impl Told {
    fn no(&self, status: &Status) {
        assert_eq!(reason(status), "AUDIT_UNAVAILABLE", "{status:?}");
        self.unavailable.set(self.unavailable.get() + 1);
    }

    async fn agent(&self, house: &House) {
        let mut agent = unix_agent(&house.path("run/agent.sock")).await;
        for scope in ["customers.read", "customers.delete", "customers.read"] {
            let begun = match agent.begin_authorization(begin_request(&[scope])).await {
                Ok(begun) => begun.into_inner(),
                Err(status) => {
                    match fact(&status, "decision_id").filter(|_| reason(&status) == "HUMAN_APPROVAL_REQUIRED") {
                        Some(denied) => assert!(self.begun.borrow_mut().insert(denied)),
                        None => self.no(&status),
                    }
                    continue;
                }
            };
            assert!(self.begun.borrow_mut().insert(begun.decision_id.clone()));
            let callback = house.server.approve(&begun.authorization_url);
            match redeem(&mut agent, &begun.transaction, &callback).await {
                Err(status) => self.no(&status),
                Ok(answer) => {
                    assert!(self.redeemed.borrow_mut().insert(answer.decision_id));
                    match get(&mut agent, &answer.grant).await {
                        Err(status) => self.no(&status),
                        Ok(again) => assert!(self.served.borrow_mut().insert(again.decision_id)),
                    }
                }
            }
        }
    }
}

fn recorded(house: &House, code: &str) -> BTreeSet<String> {
    let events = house.events(code);
    let ids: BTreeSet<String> =
        events.iter().map(|e| e["metadata"]["correlation_uid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), events.len(), "{code}: a decision is on record twice");
    ids
}

async fn under_load(commit_timeout: &str, delay: &str) -> Option<usize> {
    let plan = Plan::new().config("commit_timeout = \"5s\"", &format!("commit_timeout = \"{commit_timeout}\""));
    let limits = "[limits]\ntransactions_per_agent = 1000\ncalls_in_flight = 1000";
    let mut house = plan.config("[limits]", limits).open().await;
    let injected = Injected::into(&house, delay).await?;
    let told = Told::default();
    let mut agents: Vec<_> = (0..AGENTS).map(|_| Some(Box::pin(told.agent(&house)))).collect();
    std::future::poll_fn(|context| {
        for agent in &mut agents {
            if agent.as_mut().is_some_and(|agent| agent.as_mut().poll(context).is_ready()) {
                *agent = None;
            }
        }
        if agents.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    drop((agents, injected));
    assert_eq!(house.stop().await, Some(0));
    Ledger::closed(&house.path("audit"));
    let unavailable = told.unavailable.get();
    for (code, ids) in
        [("authorization.decided", &told.begun), ("token.issued", &told.redeemed), ("token.served", &told.served)]
    {
        let (ids, recorded) = (ids.borrow(), recorded(&house, code));
        let lost: Vec<_> = ids.difference(&recorded).collect();
        assert!(lost.is_empty(), "{code}: {lost:?} were told and are not on record");
        // More only where a caller was told that its record is not certain.
        assert!(recorded.len() - ids.len() <= unavailable, "{code}: {} told, {} on record", ids.len(), recorded.len());
    }
    assert_eq!(recorded(&house, "token.issued").len(), house.server.issues().len());
    eprintln!(
        "a disk with {delay}: {} begun or denied, {} redeemed, {} served, {unavailable} told AUDIT_UNAVAILABLE",
        told.begun.borrow().len(),
        told.redeemed.borrow().len(),
        told.served.borrow().len(),
    );
    Some(unavailable)
}

// rows: AUD-09 AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_for_it() {
    // Each commit takes longer than all calls together on a good disk.
    if let Some(unavailable) = under_load("20s", "delay_enter=150000").await {
        assert_eq!(unavailable, 0, "there was time enough");
    }
}

// rows: AUD-09 AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_are_refused_and_nothing_is_issued() {
    if let Some(unavailable) = under_load("100ms", "delay_enter=80000").await {
        assert!(unavailable > 0, "nobody waits longer than the commit timeout");
    }
}
