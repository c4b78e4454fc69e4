//! A shadow set beside the active one, on live traffic through the binary: what it would decide otherwise is counted and
//! recorded, and nothing of it is enforced.

use crate::{
    house::{Agent, COURIER, House, Plan, begin_request, eventually, fact, get, reason, write},
    kit::{self, Admin, admin, command, facts},
    swapping::{edit, generation, harmless, put, status, watching},
};
use narrowgate::api::proto::{Claimed, ReloadRequest, ShadowStatus};
use serde_json::Value;
use std::{fs, time::Duration};

/// A scope that only the active set denies, and one that only the shadow does.
const DENIED: &str = "customers.read";
const DENIED_NEXT: &str = "mail.send";
/// Of other terms in the shadow.
const OTHER: &str = "mail.read";
const ERRING: &str = "@id(\"next.erring\") @code(\"erring\")\nforbid (principal, action == Narrowgate::Action::\"grant_scope\", resource)\nwhen { principal.trust * 9223372036854775807 > 5 };\n";

fn forbid(id: &str, scope: &str) -> String {
    format!(
        "@id(\"{id}\") @code(\"not_this\")\nforbid (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"{scope}\");\n"
    )
}

fn plan(every: &str) -> Plan {
    let plan = watching(kit::plan(), every).policy(&forbid("old.not-this", DENIED));
    let plan = plan.config("directory = \"policies\"", "directory = \"policies\"\nshadow = \"next\"");
    plan.config("[audit]", "[metrics]\npath = \"@FOLDER@/run/metrics.sock\"\n\n[audit]")
}

/// A house with the active policies in the shadow's folder, each as `change` has it.
async fn house(plan: Plan, change: impl Fn(&str, &str) -> Option<String>) -> House {
    let mut house = plan.build();
    fs::create_dir(house.path("next")).unwrap();
    for entry in fs::read_dir(house.path("policies")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(text) = change(name, &fs::read_to_string(&path).unwrap()) {
            write(&house.path("next").join(name), &text);
        }
    }
    house.start();
    house.wait_until_serving().await;
    house
}

/// The sample set, but: what the active one denies is not, mail may not be sent, and mail is read for half as long.
fn next(_: &str, text: &str) -> Option<String> {
    if text.contains("old.not-this") {
        return Some(forbid("next.not-this", DENIED_NEXT));
    }
    let (before, after) = text.split_once("@id(\"grant.sales.mail-read\")").unwrap_or((text, ""));
    let after = after.replacen("10m", "5m", 1);
    Some(if after.is_empty() { before.to_owned() } else { format!("{before}@id(\"grant.sales.mail-read\"){after}") })
}

async fn shadow(admin: &mut Admin) -> ShadowStatus {
    status(admin).await.shadow.unwrap()
}

fn told(it: &ShadowStatus) -> String {
    let differences = [it.would_allow, it.would_deny, it.other_terms, it.errors];
    format!("{} compared, {differences:?}, {} dropped, {} unrecorded", it.compared, it.dropped, it.unrecorded)
}

async fn compared(admin: &mut Admin, is: impl Fn(&ShadowStatus) -> bool) -> ShadowStatus {
    for _ in 0..600 {
        let now = shadow(admin).await;
        if is(&now) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not compared: {}", told(&shadow(admin).await))
}

fn number(house: &House, series: &str) -> u64 {
    let output = crate::house::binary().arg("metrics").arg("--socket").arg(house.path("run/metrics.sock")).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{series} "))).unwrap_or_else(|| panic!("{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

async fn denied(house: &House, agent: &mut Agent, scope: &str) -> String {
    let status = house.begin(agent, &[scope]).await.err().unwrap();
    assert_eq!(reason(&status), "POLICY_DENIED", "{status:?}");
    fact(&status, "decision_id").unwrap()
}

// rows: POL-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_would_do_is_counted_and_recorded_and_not_done() {
    let mut house = house(plan("1h"), next).await;
    let (mut admin, mut agent) = (admin(&house).await, house.svid_agent(COURIER).await);
    // Enforced is the active set, in both directions.
    let decision = denied(&house, &mut agent, DENIED).await;
    let allowed = house.begin(&mut agent, &[DENIED_NEXT]).await.unwrap();
    house.begin(&mut agent, &[OTHER]).await.unwrap();
    let now = compared(&mut admin, |it| it.would_allow + it.would_deny + it.other_terms >= 3).await;
    assert_eq!((now.would_allow, now.would_deny, now.other_terms, now.errors), (1, 1, 1, 0), "{}", told(&now));
    assert!((now.dropped, now.unrecorded) == (0, 0) && now.failure.is_none(), "{}", told(&now));

    eventually("three differences", || (house.events("policy.shadow_differed").len() == 3).then_some(())).await;
    let events = house.events("policy.shadow_differed");
    let of = |kind: &str| events.iter().find(|event| facts(event)["difference"] == kind).unwrap();
    let said = of("would_allow");
    assert_eq!((&facts(said)["shadow"], &facts(said)["enforced"]), (&true.into(), &false.into()));
    assert_eq!((&facts(said)["active_decision"], &facts(said)["agent"]), (&decision.clone().into(), &"courier".into()));
    assert_eq!(said["metadata"]["correlation_uid"], decision);
    let (active, shadow) = (&facts(said)["active_verdict"], &facts(said)["shadow_verdict"]);
    assert_eq!((&active["verdict"], &shadow["verdict"]), (&"deny".into(), &"allow".into()));
    assert_ne!(active["policy_digest"], shadow["policy_digest"]);
    assert_eq!(shadow["policy_digest"], now.policy.unwrap().policy_digest);
    assert_eq!(active["entities_digest"], shadow["entities_digest"]);
    let said = of("would_deny");
    assert_eq!(facts(said)["active_decision"], allowed.decision_id);
    let policies = facts(said)["shadow_verdict"]["policies"].as_array().unwrap();
    assert!(policies.contains(&serde_json::json!({ "policy": "next.not-this", "forbids": true })), "{said}");
    let lifetime = |whose: &str| facts(of("other_terms"))[whose]["terms"]["max_lifetime_ms"].clone();
    assert_eq!((lifetime("active_verdict"), lifetime("shadow_verdict")), (600_000.into(), 300_000.into()));
    // No reader takes one for a decision: neither what it is, nor how it came out.
    for event in &events {
        assert_eq!(
            (&event["class_uid"], &event["status"], &event["status_id"]),
            (&3004.into(), &"Not enforced".into(), &99.into())
        );
        assert_eq!((&event["severity"], &event["activity_id"]), (&"Informational".into(), &99.into()));
        for key in ["action_id", "disposition_id", "authorizations", "policy", "status_code", "privileges"] {
            assert_eq!(event[key], Value::Null, "{key}");
        }
        for key in ["deny_kind", "granted_scopes", "removed_scopes", "asked", "terms"] {
            assert_eq!(facts(event)[key], Value::Null, "{key}");
        }
    }
    assert_eq!(number(&house, "narrowgate_shadow_differences_total{kind=\"would_allow\"}"), 1);
    assert_eq!(number(&house, "narrowgate_shadow_differences_total{kind=\"would_deny\"}"), 1);
    assert_eq!(number(&house, "narrowgate_shadow_differences_total{kind=\"other_terms\"}"), 1);
    // Three begins are three decisions.
    assert_eq!(house.events("authorization.decided").len(), 3);
    let text = String::from_utf8(command(&house, &["status"]).stdout).unwrap();
    assert!(text.contains("decides nothing") && text.contains("would allow 1, would deny 1, other terms 1"), "{text}");
    let checked = house.command("check").output().unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && said.contains("shadow, which decides nothing"), "{said}");
    house.stop().await;
    house.assert_valid_ocsf(&["policy.shadow_loaded", "policy.shadow_differed"], &[]);
}

// rows: POL-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_set_differs_in_nothing_and_a_new_one_is_compared_with_what_is_cached() {
    let house = house(plan("1h"), |_, text| Some(text.to_owned())).await;
    let (mut admin, mut agent) = (admin(&house).await, house.svid_agent(COURIER).await);
    let grant = house.login(&mut agent, &[OTHER, DENIED_NEXT]).await.unwrap().grant;
    get(&mut agent, &grant).await.unwrap();
    get(&mut agent, &grant).await.unwrap();
    house.begin(&mut agent, &[OTHER, DENIED]).await.err().unwrap();
    // At least: begin, redeem, release, and the operator's own question.
    let now = compared(&mut admin, |it| it.compared >= 5).await;
    let differences = (now.would_allow, now.would_deny, now.other_terms, now.errors, now.dropped);
    assert_eq!(differences, (0, 0, 0, 0, 0), "{}", told(&now));
    assert_eq!(house.events("policy.shadow_differed").len(), 0);
    // The hand-out is cached, and yet what another shadow would say of it is known at the next call.
    put(
        &house,
        "next/more.cedar",
        &forbid("next.not-this", DENIED_NEXT)
            .replace("grant_scope", "release_token")
            .replace("resource == Narrowgate::Scope::\"mail.send\"", "resource"),
    );
    admin.reload(ReloadRequest::default()).await.unwrap();
    get(&mut agent, &grant).await.unwrap();
    let now = compared(&mut admin, |it| it.would_deny == 1).await;
    assert_eq!((now.would_allow, now.errors), (0, 0));
    let said = house.event("policy.shadow_differed").await;
    assert_eq!((&facts(&said)["operation"], &facts(&said)["difference"]), (&"GetToken".into(), &"would_deny".into()));
    get(&mut agent, &grant).await.unwrap();
    assert_eq!(status(&mut admin).await.policy_generation, 1);
}

// rows: POL-08 POL-01
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_errs_is_told_and_never_weakens() {
    let house = house(plan("1h"), |name, text| {
        // Nothing is forbidden, but for what errs.
        Some(if name == "grants.cedar" { format!("{text}\n{ERRING}") } else { text.replace("old.not-this", "old") })
    })
    .await;
    let (mut admin, mut agent) = (admin(&house).await, house.svid_agent(COURIER).await);
    house.begin(&mut agent, &[OTHER]).await.unwrap();
    denied(&house, &mut agent, DENIED).await;
    compared(&mut admin, |it| it.errors == 2).await;
    let said = house.event("policy.shadow_differed").await;
    assert_eq!((&facts(&said)["difference"], &said["severity"]), (&"error".into(), &"Medium".into()));
    assert_eq!(facts(&said)["shadow_verdict"]["evaluation_errors"], 1);
    assert_eq!(number(&house, "narrowgate_shadow_differences_total{kind=\"error\"}"), 2);
}

// rows: POL-08 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_load_is_told_and_changes_nothing() {
    let mut house = house(plan("100ms"), |name, text| {
        Some(if name == "grants.cedar" { format!("{text}\nforbid") } else { text.to_owned() })
    })
    .await;
    let (mut admin, mut agent) = (admin(&house).await, house.svid_agent(COURIER).await);
    let said = house.event("policy.shadow_rejected").await;
    assert_eq!((&facts(&said)["trigger"], &facts(&said)["mistakes"]), (&"start".into(), &1.into()));
    assert!(facts(&said)["first_mistake"].as_str().unwrap().contains("next/grants.cedar:"), "{said}");
    assert_eq!((&said["status"], &said["severity"]), (&"Failure".into(), &"Medium".into()));
    house.begin(&mut agent, &[OTHER]).await.unwrap();
    let now = status(&mut admin).await;
    assert!(now.policy_failure.is_none() && now.policy_generation == 1);
    let shadow = now.shadow.unwrap();
    assert!(shadow.policy.is_none() && shadow.failure.unwrap().stands);
    assert_eq!(number(&house, "narrowgate_shadow_failed"), 1);
    assert_eq!(number(&house, "narrowgate_policy_failed"), 0);
    assert_eq!(house.health(), "SERVING");
    assert_eq!(house.command("check").output().unwrap().status.code(), Some(65));
    // Corrected it is compared, and it follows the agents and APIs of the active set.
    edit(&house, "next/grants.cedar", "\nforbid", "\n");
    compared(&mut admin, |it| it.policy.is_some()).await;
    assert_eq!(number(&house, "narrowgate_shadow_failed"), 0);
    edit(&house, "agents.toml", "trust = 3", "trust = 2");
    generation(&house, 2).await;
    let entities = status(&mut admin).await.policy.unwrap().entities_digest;
    compared(&mut admin, |it| it.policy.as_ref().is_some_and(|set| set.entities_digest == entities)).await;
    // And what is wrong later ends the comparing alone.
    put(&house, "next/more.cedar", "permit");
    compared(&mut admin, |it| it.policy.is_none()).await;
    put(&house, "policies/more.cedar", &harmless("more"));
    generation(&house, 3).await;
    house.stop().await;
    house.assert_valid_ocsf(&["policy.shadow_rejected", "policy.shadow_loaded"], &[]);
}

// rows: POL-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_counted_and_told() {
    const TIMES: u64 = 300;
    let mut house = house(plan("1h"), next).await;
    let (mut admin, mut agent) = (admin(&house).await, house.svid_agent(COURIER).await);
    for n in 0..TIMES {
        let mut request = begin_request(&[DENIED]);
        request.claimed = Some(Claimed { task: n.to_string(), ..Claimed::default() });
        assert_eq!(reason(&agent.begin_authorization(request).await.err().unwrap()), "POLICY_DENIED");
    }
    let now = compared(&mut admin, |it| it.would_allow + it.dropped == TIMES).await;
    let recorded = || u64::try_from(house.events("policy.shadow_differed").len()).unwrap();
    eventually("what was recorded", || (recorded() + now.unrecorded == now.would_allow).then_some(())).await;
    assert!(now.unrecorded > 0, "{}", told(&now));
    let said = house.event("policy.shadow_incomplete").await;
    assert_eq!((&facts(&said)["shadow"], &said["status"]), (&true.into(), &"Not enforced".into()));
    assert!(facts(&said)["differences_not_recorded"].as_u64().unwrap() > 0, "{said}");
    assert_eq!(number(&house, "narrowgate_shadow_unrecorded_total"), now.unrecorded);
    house.stop().await;
    house.assert_valid_ocsf(&["policy.shadow_incomplete"], &[]);
}

// rows: POL-08
#[tokio::test]
async fn its_folder_is_not_that_of_the_active_set() {
    for folder in ["policies", "policies/next", "."] {
        let plan = plan("1h").config("shadow = \"next\"", &format!("shadow = \"{folder}\""));
        let house = plan.build();
        fs::create_dir(house.path("policies/next")).unwrap();
        let checked = house.command("check").output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr) + String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.code() == Some(64) && said.contains("is the folder of the active set"), "{said}");
    }
}
