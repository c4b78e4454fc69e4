//! kill -9 at each step of the store, and at any moment: the file has the refresh token from before or the one that came,
//! never none, and never one that an agent's answer has overtaken. `NARROWGATE_KEEPING_ROUNDS` sets the rounds (5).

use crate::{
    asking::{READ, WRITE, narrow},
    house::{Agent, House, eventually, reason, redeem},
    kit::{again, beside, build, open, plan, restored, used},
    strace::Injected,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{collections::BTreeSet, env, time::Duration};

/// The refresh token that came with an access token.
fn came_with(house: &House, access: &str) -> String {
    house.server.issues().into_iter().find(|issue| issue.access == access).unwrap().refresh
}

fn issued(house: &House) -> BTreeSet<String> {
    house.server.issues().into_iter().map(|issue| issue.refresh).collect()
}

/// Refreshes once with the daemon doomed to die at the n-th such call. Whether it died.
async fn dies_at(house: &mut House, call: &str, n: usize) -> Option<bool> {
    let mut agent = house.agent().await;
    let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let old = came_with(house, &login.token.unwrap().access_token);
    let before = issued(house);
    let killer = Injected::at(house, call, &format!("signal=KILL:when={n}")).await?;
    let answer = narrow(&mut agent, &login.grant, &[READ]).await;
    let told = answer.as_ref().ok().map(|answer| came_with(house, &answer.token.as_ref().unwrap().access_token));
    // It may die at what it does after its answer.
    let died = answer.is_err();
    drop(killer);
    house.signal(Signal::KILL).await;
    let new = issued(house).difference(&before).next().cloned();
    let starts = house.events("grants.restored").len();
    again(house).await;
    assert!(restored(house, starts).await.0 >= 1, "{call} {n}: the grant is gone");
    let answer = narrow(&mut house.agent().await, &login.grant, &[READ]).await;
    let sent = used(house).pop().unwrap();
    match (&told, &new) {
        (Some(told), _) => assert_eq!(&sent, told, "{call} {n}: an agent has the answer to a token that is lost"),
        (None, Some(new)) => assert!(sent == old || sent == *new, "{call} {n}: it is neither"),
        (None, None) => assert_eq!(sent, old, "{call} {n}"),
    }
    // The server takes the new one, and the old one only if it has not replaced it.
    let fresh = new.is_none() || Some(&sent) == new.as_ref();
    match answer {
        Ok(_) => assert!(fresh, "{call} {n}"),
        Err(status) => assert_eq!((reason(&status).as_str(), fresh), ("REAUTH_REQUIRED", false), "{call} {n}"),
    }
    Some(died)
}

// rows: RT-02 (attack 29)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_step_of_the_store() {
    let mut house = open(plan("")).await;
    // What redb does: it writes pages in place, then waits for the disk; the audit log waits for it too.
    for call in ["pwrite64", "fdatasync"] {
        let mut steps = 0;
        loop {
            match dies_at(&mut house, call, steps + 1).await {
                None => return,
                Some(true) => steps += 1,
                Some(false) => break,
            }
            assert!(steps < 60, "a refresh takes no end of {call}");
        }
        eprintln!("a refresh has {steps} steps of {call}, and was killed at each");
        assert!(steps > 1);
    }
    assert!(beside(&house, ".corrupt").is_empty());
}

/// A login with the daemon doomed to die at the n-th such call. Whether it died, and whether it left a grant to revoke.
async fn login_dies_at(house: &mut House, call: &str, n: usize) -> Option<(bool, bool)> {
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let (starts, before) = (house.events("grants.restored").len(), issued(house));
    let recorded = house.events("token.issued").len();
    let (dropped, revoked) = (house.events("grant.dropped").len(), house.server.revocations().len());
    let killer = Injected::at(house, call, &format!("signal=KILL:when={n}")).await?;
    let died = redeem(&mut agent, &transaction, &callback).await.is_err();
    drop(killer);
    house.signal(Signal::KILL).await;
    let on_record = house.events("token.issued").len() > recorded;
    let held = if starts > 1 { restored(house, starts - 1).await.0 } else { 0 };
    let held = held + house.events("token.issued").len() as u64 - recorded as u64;
    again(house).await;
    // What is on record is held; what is not on record is not, and is revoked if it is known.
    assert_eq!(restored(house, starts).await.0, held, "{call} {n}: {on_record}");
    let dropped = house.events("grant.dropped").len() > dropped;
    assert!(!dropped || (died && !on_record), "{call} {n}");
    if dropped {
        let refresh = eventually("its revocation", || house.server.revocations().into_iter().nth(revoked)).await.1;
        assert!(issued(house).difference(&before).any(|token| *token == refresh), "{call} {n}");
        assert_eq!(house.events("grant.dropped").pop().unwrap()["unmapped"]["narrowgate"]["why"], "outcome");
    }
    Some((died, dropped))
}

// rows: RT-02 AUD-02 (attack 29)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_cut_off_is_held_or_revoked() {
    let mut quiet = plan("");
    // Its log is written too, and is not what is looked at.
    quiet.log = "error".to_owned();
    let mut house = open(quiet).await;
    for call in ["pwrite64", "fdatasync", "write"] {
        let (mut steps, mut revoked) = (0, 0);
        loop {
            let Some((died, dropped)) = login_dies_at(&mut house, call, steps + 1).await else { return };
            revoked += usize::from(dropped);
            if !died {
                break;
            }
            steps += 1;
            assert!(steps < 60, "a login takes no end of {call}");
        }
        eprintln!("a login has {steps} steps of {call}, was killed at each, and left {revoked} grants to revoke");
        assert!(steps > 1);
    }
}

/// One grant, and what its agent has seen of it.
struct Seen {
    grant: String,
    /// The refresh token behind the last answer.
    last: String,
    ended: bool,
}

/// Asks for one token after another until the daemon is gone.
async fn ask_on(house: &House, mut agent: Agent, seen: &mut Seen) {
    for scopes in [&[READ, WRITE][..], &[READ], &[WRITE]] {
        match narrow(&mut agent, &seen.grant, scopes).await {
            Ok(answer) => seen.last = came_with(house, &answer.token.unwrap().access_token),
            Err(_) => return,
        }
    }
}

// rows: RT-02 (attack 29)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment() {
    let rounds: u64 = env::var("NARROWGATE_KEEPING_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let mut plan = plan("");
    plan.log = "warn".to_owned();
    let mut house = build(plan);
    again(&mut house).await;
    let (mut kept, mut lost) = (0, 0);
    for round in 0..rounds {
        let mut agent = house.agent().await;
        let mut grants = Vec::new();
        for _ in 0..4 {
            let login = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
            let last = came_with(&house, &login.token.unwrap().access_token);
            grants.push(Seen { grant: login.grant, last, ended: false });
        }
        let pid = Pid::from_raw(i32::try_from(house.pid()).unwrap()).unwrap();
        let [a, b, c, d] = &mut grants[..] else { panic!("four grants") };
        let killer = async {
            tokio::time::sleep(Duration::from_micros((round * 7919) % 47 * 1000)).await;
            kill_process(pid, Signal::KILL).unwrap();
        };
        let asking = |seen| ask_on(&house, agent.clone(), seen);
        tokio::join!(killer, asking(a), asking(b), asking(c), asking(d));
        house.signal(Signal::KILL).await;
        again(&mut house).await;
        let told: BTreeSet<String> = grants.iter().map(|seen| seen.last.clone()).collect();
        let issued = issued(&house);
        for seen in &mut grants {
            let answer = narrow(&mut house.agent().await, &seen.grant, &[READ]).await;
            let sent = used(&house).pop().unwrap();
            // The one behind the last answer, or one that came after it and was not told of.
            assert!(sent == seen.last || (issued.contains(&sent) && !told.contains(&sent)), "round {round}");
            match answer {
                Ok(_) => kept += 1,
                Err(status) => {
                    // The server had replaced it, and its answer did not reach the disk.
                    assert_eq!((reason(&status).as_str(), &sent), ("REAUTH_REQUIRED", &seen.last), "round {round}");
                    seen.ended = true;
                    lost += 1;
                }
            }
        }
    }
    eprintln!("{rounds} kills: {kept} grants went on, {lost} were lost with an answer that was on its way");
    assert!(kept > 0 && beside(&house, ".corrupt").is_empty());
}
