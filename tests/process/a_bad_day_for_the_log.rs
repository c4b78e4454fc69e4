//! What others do to the files of the audit log while the daemon writes them: nothing is lost in silence.

use crate::{
    house::{House, Plan, eventually, fact, get, reason, unix_agent},
    strace::Injected,
};
use serde_json::Value;
use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

const READ: &[&str] = &["customers.read"];

/// The file in use: the newest.
fn in_use(house: &House) -> PathBuf {
    let names = fs::read_dir(house.path("audit")).unwrap().map(|e| e.unwrap().path());
    names.filter(|p| p.extension().is_some_and(|e| e == "jsonl")).max().unwrap()
}

fn sequences(events: &[Value]) -> Vec<u64> {
    events.iter().map(|e| e["metadata"]["sequence"].as_u64().unwrap()).collect()
}

/// The event of a loss, which must name the file and how many of its events are in doubt.
async fn told_of(house: &House, file: &str, how: &str, last: u64) {
    let event = house.event("audit.file_lost").await;
    let facts = &event["unmapped"]["narrowgate"];
    assert_eq!((&facts["file"], &facts["how"]), (&file.into(), &how.into()));
    assert_eq!((&facts["first_sequence"], &facts["last_sequence"]), (&0.into(), &last.into()));
    assert_eq!(event["severity"], "Critical");
    let logged = || house.log().contains("laid hands on the audit file").then_some(());
    eventually("its line in the log", logged).await;
}

/// Does something to the file in use, and tells what came of it: noticed without a call, an event in a new file, and
/// the daemon goes on.
async fn tampered_with(how: &str, tamper: impl FnOnce(&House, &PathBuf)) {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, READ).await.unwrap().grant;
    house.event("token.issued").await;
    let file = in_use(&house);
    let last = *sequences(&house.audit()).last().unwrap();
    tamper(&house, &file);
    let name = file.file_name().unwrap().to_str().unwrap();
    let noticed = || fs::read_dir(house.path("audit")).unwrap().count();
    // Another file beside the key, the tampered one or its replacement.
    eventually("it is noticed without a call", || (noticed() >= 2 && in_use(&house) != file).then_some(())).await;
    if how == "removed_or_replaced" {
        fs::write(&file, "").unwrap();
    } else {
        fs::remove_file(&file).unwrap();
    }
    told_of(&house, name, how, last).await;
    assert_eq!(house.events("audit.file_lost").len(), 1);
    get(&mut agent, &grant).await.unwrap();
    house.login(&mut agent, READ).await.unwrap();
    // The sequence goes on where it stood: what is missing is missing by its numbers.
    let numbers = eventually("the hand-out", || {
        let events = house.audit();
        events.iter().any(|e| e["metadata"]["event_code"] == "token.served").then(|| sequences(&events))
    });
    let numbers = numbers.await;
    assert_eq!(numbers, (last + 1..last + 1 + numbers.len() as u64).collect::<Vec<_>>());
}

// rows: AUD-09 AUD-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_file_is_an_event() {
    tampered_with("removed_or_replaced", |_, file| fs::remove_file(file).unwrap()).await;
}

// rows: AUD-09 AUD-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_file_is_an_event() {
    tampered_with("removed_or_replaced", |house, file| {
        let copy = house.path("audit/copy");
        fs::copy(file, &copy).unwrap();
        fs::rename(copy, file).unwrap();
    })
    .await;
}

// rows: AUD-09 AUD-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_file_is_an_event() {
    tampered_with("changed", |_, file| OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap()).await;
}

// rows: AUD-09 AUD-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_from_outside_is_an_event() {
    tampered_with("changed", |_, file| {
        OpenOptions::new().append(true).open(file).unwrap().write_all(b"{\"forged\":true}\n").unwrap();
    })
    .await;
}

// rows: AUD-03 AUD-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_moved_away_and_made_anew() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, READ).await.unwrap().grant;
    house.event("token.issued").await;
    let last = *sequences(&house.audit()).last().unwrap();
    fs::rename(house.path("audit"), house.path("audit-2026")).unwrap();
    // Without a call too: nobody has to fail first.
    let down = || house.log().contains("the audit log cannot be written").then_some(());
    eventually("it is noticed", down).await;
    assert_eq!(reason(&get(&mut agent, &grant).await.err().unwrap()), "AUDIT_UNAVAILABLE");
    fs::create_dir(house.path("audit")).unwrap();
    told_of(&house, "audit-000000000000-000.jsonl", "removed_or_replaced", last).await;
    house.wait_until_serving().await;
    house.login(&mut agent, READ).await.unwrap();
    assert_eq!(house.stop().await, Some(0));
    // Its key went with the old log, and was put back: made anew, one token would have two references.
    let (old, new) = (house.path("audit-2026/correlation.key"), house.path("audit/correlation.key"));
    assert_eq!(fs::read(&old).unwrap(), fs::read(&new).unwrap());
    assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(!house.path("audit/correlation.key.new").exists());
    // Once the daemon is gone too, nobody has it.
    fs::remove_file(&new).unwrap();
    let mut command = house.command("serve");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("correlation.key") && said.contains("is missing beside a log"), "{said}");
    assert!(!new.exists());
    fs::copy(old, new).unwrap();
    house.start();
    house.wait_until_serving().await;
    let numbers = sequences(&house.audit());
    assert_eq!(numbers.first(), Some(&(last + 1)), "nothing was begun anew");
}

// rows: AUD-03 AUD-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lost_write_costs_one_answer_and_no_line() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, READ).await.unwrap();
    // Once and never again; Linux tells of a lost page once only.
    let Some(_injected) = Injected::into(&house, "error=EIO:when=3").await else { return };
    let mut answered = HashSet::new();
    let mut refused = 0;
    for _ in 0..200 {
        match house.begin(&mut agent, READ).await {
            Ok(begun) => {
                answered.insert(begun.decision_id);
            }
            Err(status) => {
                // The quota of open transactions, later: its refusal is on record too.
                if reason(&status) == "AUDIT_UNAVAILABLE" {
                    refused += 1;
                } else {
                    break;
                }
            }
        }
    }
    assert!(refused >= 1, "the write that was lost");
    assert!(answered.len() > 10, "and it went on by itself: {}", answered.len());
    let events = house.audit();
    let decided: Vec<&str> = events
        .iter()
        .filter(|e| e["metadata"]["event_code"] == "authorization.decided")
        .map(|e| e["metadata"]["correlation_uid"].as_str().unwrap())
        .collect();
    for id in &answered {
        assert_eq!(decided.iter().filter(|d| *d == id).count(), 1, "once and only once");
    }
    let numbers = sequences(&events);
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    house.event("audit.resumed").await;
}

// rows: AUD-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_calls_slow_and_loses_none() {
    let plan = Plan::new().config("[limits]", "[limits]\ntransactions_per_agent = 1000\ncalls_in_flight = 1000");
    // Ten times as long a wait as a commit takes here, and ten times as many calls as it has places for.
    let house = plan.config("commit_timeout = \"5s\"", "commit_timeout = \"20s\"").open().await;
    let Some(_slow) = Injected::into(&house, "delay_enter=100000").await else { return };
    let socket = house.path("run/agent.sock");
    let calls: Vec<_> = (0..300)
        .map(|_| {
            let socket = socket.clone();
            tokio::spawn(async move {
                let answer = unix_agent(&socket).await.begin_authorization(crate::house::begin_request(READ)).await;
                answer.map(|a| a.into_inner().decision_id).map_err(|s| (reason(&s), fact(&s, "decision_id")))
            })
        })
        .collect();
    let (mut answered, mut refused) = (HashSet::new(), 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(id) => drop(answered.insert(id)),
            Err((reason, _)) => {
                assert_eq!(reason, "AUDIT_UNAVAILABLE");
                refused += 1;
            }
        }
    }
    assert_eq!(answered.len() + refused, 300);
    assert!(answered.len() > 200, "back-pressure, not refusal: {refused} refused");
    let decided = || house.events("authorization.decided");
    let ids: HashSet<String> =
        decided().iter().map(|e| e["metadata"]["correlation_uid"].as_str().unwrap().to_owned()).collect();
    assert!(answered.is_subset(&ids), "no answer without its event");
    // A call that gave up may have its event all the same, and no more than one.
    assert!(decided().len() == ids.len() && ids.len() <= answered.len() + refused);
    assert!(!house.log().contains("is lost"), "nothing was dropped");
}

// rows: AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_on_the_same_folder_is_refused() {
    let house = Plan::new().open().await;
    let config = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    let second = config.replace("run/agent.sock", "run2/agent.sock");
    crate::house::write(&house.path("second.toml"), &second);
    house.event("daemon.started").await;
    let before = house.audit_text();
    let mut command = crate::house::binary();
    command.arg("serve").arg("--config").arg(house.path("second.toml"));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("is in use by another narrowgate"), "{said}");
    assert!(!house.path("run2/agent.sock").exists(), "it opened no door");
    assert_eq!(house.audit_text(), before, "and touched nothing");
    let mut agent = house.agent().await;
    house.login(&mut agent, READ).await.unwrap();
    let numbers = sequences(&house.audit());
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
}
