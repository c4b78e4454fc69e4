//! `@expires`: a policy past its last day does not load, and in a daemon that runs on its permit counts for nothing.

use crate::{
    check, findings,
    house::{House, Plan, binary, eventually, write},
};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde_json::Value;

/// The day, counted from today, in UTC.
fn day(from_today: i64) -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date().checked_add(from_today.days()).unwrap()
}

/// The sample set, where customers may be read until this day, and its forbids hold as long.
fn until(day: Date) -> Plan {
    let mut plan = Plan::new();
    for (name, text) in &mut plan.policies {
        if name == "grants.cedar" {
            *text = text.replace(
                "@id(\"grant.sales.crm-read\")",
                &format!("@id(\"grant.sales.crm-read\") @expires(\"{day}\")"),
            );
        }
        if name == "guardrails.cedar" {
            *text =
                text.replace("@id(\"guard.bulk-export\")", &format!("@id(\"guard.bulk-export\") @expires(\"{day}\")"));
        }
        assert!(name == "flows.cedar" || text.contains("@expires"), "{name}");
    }
    plan
}

// rows: POL-10
#[tokio::test]
async fn past_its_last_day_it_does_not_load() {
    let mut house = until(day(-1)).build();
    let (exit, found) = findings(&house);
    assert_eq!((exit, found.len()), (65, 2), "{found:?}");
    for finding in &found {
        let message = finding["message"].as_str().unwrap();
        assert!(message.contains("was its last day (@expires)") && message.contains("policy `g"), "{message}");
        assert!(finding["line"].as_u64().is_some_and(|line| line > 1), "{finding}");
    }
    house.start();
    eventually("the log", || house.path("audit").exists().then_some(())).await;
    let rejected = house.event("policy.rejected").await;
    assert_eq!(rejected["severity"], "Critical");
    assert!(house.events("policy.activated").is_empty());
}

// rows: POL-10
#[tokio::test]
async fn until_its_last_day_it_holds_and_the_day_is_told() {
    let house = until(day(1)).open().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &["customers.read"]).await.unwrap();
    let told = format!("{} is the last day of g", day(1));
    assert!(check(&house, &[]).text.contains(&told), "{}", check(&house, &[]).text);
    let activated = house.event("policy.activated").await;
    assert!(activated["unmapped"]["narrowgate"]["first_expiry"].as_str().unwrap().starts_with(&day(1).to_string()));
}

/// The log so far as if everything in it had been asked so many days later, asked again: the exit code and the list.
fn replayed_later(house: &House, days: i64) -> (i32, Vec<Value>) {
    let mut text = String::new();
    for mut event in house.audit() {
        if let Some(bases) = event.pointer_mut("/unmapped/narrowgate/asked/bases") {
            let now = bases[0]["now"].as_str().unwrap().parse::<Timestamp>().unwrap();
            let later = now.checked_add((24 * days).hours()).unwrap();
            bases[0]["now"] = format!("{later:.3}").into();
        }
        text.push_str(&format!("{event}\n"));
    }
    let log = house.path("later.jsonl");
    write(&log, &text);
    let mut command = binary();
    command.args(["policy", "replay", "--output", "json", "--config"]).arg(house.path("narrowgate.toml"));
    let output = command.arg("--audit").arg(&log).output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), value["list"].as_array().unwrap().clone())
}

// rows: POL-09 POL-10
#[tokio::test]
async fn a_permit_past_its_date_permits_nothing_and_a_forbid_goes_on() {
    let house = until(day(1)).open().await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let mut export = crate::house::begin_request(&["customers.write"]);
    let purpose = "bulk-export".to_owned();
    export.claimed = Some(narrowgate::api::proto::Claimed { purpose, ..Default::default() });
    agent.begin_authorization(export).await.err().unwrap();
    eventually("both decisions", || (house.events("authorization.decided").len() == 2).then_some(())).await;
    // The daemon's own question at another time: this is what it would answer while it runs on.
    assert_eq!(replayed_later(&house, 0).0, 0);
    let (exit, list) = replayed_later(&house, 3);
    assert_eq!((exit, list.len()), (1, 1), "the forbid is still there: {list:?}");
    let changes = list[0]["changes"].as_array().unwrap();
    let now = |what: &str| changes.iter().find(|c| c["what"] == what).unwrap()["replayed"].as_str().unwrap().to_owned();
    assert_eq!(now("answer"), "deny, no_permit");
    assert_eq!(now("removed"), "customers.read (policy_expired)");
    assert_eq!(now("terms"), "none");
}
