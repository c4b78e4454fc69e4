//! Each recorded decision holds what it takes to ask Cedar again, offline: the same policies give the same answer, and
//! other policies give a list of what they would change.

use crate::house::{
    Agent, COURIER, House, Plan, begin_request, binary, get, redeem_request,
    scripted_as::behaviour::{Behaviour, Script},
    write,
};
use narrowgate::api::proto::{
    BeginAuthorizationRequest, Claimed, GetTokenRequest, RedeemCodeRequest, RevokeGrantRequest,
};
use serde_json::Value;
use std::fs;

/// Errs, for an agent whose trust overflows, on writes for one purpose.
const ERRING: &str = "@id(\"erring\") @code(\"erring\")\n\
    forbid (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"customers.write\")\n\
    when { context.base.claimed has purpose && context.base.claimed.purpose == \"overflow\" && principal.trust * 9223372036854775807 > 5 };";
/// Cannot be kept, since the client's tokens are bearer tokens.
const UNKEPT: &str = "@id(\"unkept\") @proof(\"any\")\n\
    permit (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"mail.read\")\n\
    when { context.base.claimed has task && context.base.claimed.task == \"bound\" };";
/// Withholds what was issued.
const WITHHELD: &str = "@id(\"withheld\") @code(\"withheld\") @advice(\"step_up:gold\")\n\
    forbid (principal, action == Narrowgate::Action::\"release_token\", resource)\n\
    when { context.base.claimed has session && context.base.claimed.session == context.handOut };";

const SCOPES: [&str; 5] = ["customers.read", "customers.write", "customers.delete", "mail.read", "mail.send"];
const WORDS: [&str; 7] =
    ["", "overflow", "bulk-export", "quote", "\"}],\"deny_kind\":\"x\"", "\u{202e}\u{1f4a3}é", "\\\u{2028}"];

/// A small generator: the same story each time, and no two turns alike (Numerical Recipes' LCG).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn claimed(&mut self) -> Claimed {
        Claimed {
            purpose: self.one(&WORDS).to_owned(),
            task: self.one(&["", "bound", "quote-17"]).to_owned(),
            session: self.one(&["", "", "", "first", "again"]).to_owned(),
            tags: (0..self.roll(3)).map(|_| self.one(&WORDS[1..]).to_owned()).collect(),
        }
    }

    fn begin(&mut self) -> BeginAuthorizationRequest {
        let scopes: Vec<&str> = (0..=self.roll(3)).map(|_| self.one(&SCOPES)).collect();
        BeginAuthorizationRequest {
            allow_partial: self.roll(2) == 0,
            claimed: Some(self.claimed()),
            ..begin_request(&scopes)
        }
    }
}

/// Begins, redeems, gets again and gives back, as the dice say; whatever is refused is refused.
async fn turn(house: &House, agent: &mut Agent, dice: &mut Dice) {
    let Ok(begun) = agent.begin_authorization(dice.begin()).await else { return };
    let begun = begun.into_inner();
    let callback = house.server.approve(&begun.authorization_url);
    if dice.roll(6) == 0 {
        house.server.behave(Script::Token(Behaviour::Narrower(begun.scopes[0].clone())));
    }
    let redeem =
        RedeemCodeRequest { claimed: Some(dice.claimed()), ..redeem_request(&begun.transaction, &callback.url) };
    let Ok(redeemed) = agent.redeem_code(redeem).await else { return };
    let grant = redeemed.into_inner().grant;
    for _ in 0..dice.roll(3) {
        let request =
            GetTokenRequest { grant: grant.clone(), claimed: Some(dice.claimed()), ..GetTokenRequest::default() };
        let _ = agent.get_token(request).await;
    }
    if dice.roll(3) == 0 {
        let _ = agent.revoke_grant(RevokeGrantRequest { grant, ..RevokeGrantRequest::default() }).await;
    }
}

fn plan() -> Plan {
    Plan::new().policy(ERRING).policy(UNKEPT).policy(WITHHELD)
}

/// What `policy replay` says, as JSON, and its exit code.
fn replay(house: &House, arguments: &[&str]) -> (i32, Value) {
    let mut command = binary();
    command.args(["policy", "replay", "--output", "json", "--config"]).arg(house.path("narrowgate.toml"));
    let output = command.args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{:?}", output.stderr));
    (output.status.code().unwrap(), value)
}

/// Writes the log so far, each event changed, and says where it is.
fn copy(house: &House, name: &str, mut change: impl FnMut(&mut Value)) -> String {
    let mut text = String::new();
    for mut event in house.audit() {
        change(&mut event);
        text.push_str(&event.to_string());
        text.push('\n');
    }
    write(&house.path(name), &text);
    house.path(name).display().to_string()
}

fn decisions(house: &House) -> Vec<Value> {
    let held = |event: &Value, what: &str| event.pointer(&format!("/unmapped/narrowgate/{what}")).is_some();
    house.audit().into_iter().filter(|event| held(event, "asked") || held(event, "answered_by")).collect()
}

// rows: POL-09
#[tokio::test]
async fn every_decision_of_a_varied_session_is_the_same_again() {
    let mut house = plan().open().await;
    let mut dice = Dice(17);
    let (mut quoter, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
    for round in 0..100 {
        let agent = if round % 3 == 0 { &mut courier } else { &mut quoter };
        turn(&house, agent, &mut dice).await;
    }
    house.stop().await;
    let decided = decisions(&house);
    // The story has everything in it that a decision can be.
    let has =
        |what: &str, test: &dyn Fn(&Value) -> bool| assert!(decided.iter().any(test), "the session has no {what}");
    for code in [
        "authorization.decided",
        "exchange.decided",
        "exchange.failed",
        "token.issued",
        "token.served",
        "token.withheld",
        "revocation.decided",
    ] {
        has(code, &|e| e["metadata"]["event_code"] == code);
    }
    for kind in ["forbid_matched", "eval_error", "obligation_unmet"] {
        has(kind, &|e| e["unmapped"]["narrowgate"]["deny_kind"] == kind);
    }
    has("partial scopes", &|e| e["action_id"] == 1 && e["unmapped"]["narrowgate"]["removed_scopes"].is_array());
    has("terms", &|e| e["unmapped"]["narrowgate"]["terms"]["max_lifetime_ms"] == 120_000);
    let (exit, said) = replay(&house, &[]);
    assert_eq!((exit, &said["same"], &said["differ"]), (0, &decided.len().into(), &0.into()), "{said}");
    assert!(decided.len() > 100, "{}", decided.len());
    // Small enough for any shipper, and the caller's words are in it as words.
    let longest = house.audit_text().lines().map(str::len).max().unwrap();
    assert!(longest < 8 * 1024, "{longest}");
    let text = house.audit_text();
    assert!(text.is_ascii() && text.contains("\\u202e") && !text.contains("\"deny_kind\":\"x\""));
}

// rows: POL-09 AUD-05
#[tokio::test]
async fn a_record_says_nothing_twice_and_nothing_that_is_not() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    house.event("token.served").await;
    for event in decisions(&house) {
        let said = event["policy"]["uid"].as_str().unwrap();
        let digest = said.strip_prefix("sha256:").unwrap();
        assert_eq!(event["unmapped"]["narrowgate"]["policy_digest"], digest);
        // Once for a program that replays, and once for a reader of OCSF.
        assert_eq!(event.to_string().matches(digest).count(), 2, "{event}");
        for base in event["unmapped"]["narrowgate"]["asked"]["bases"].as_array().unwrap() {
            assert!(
                base["scopes"].is_array() && base.get("claimed").is_none() && base.get("actors").is_none(),
                "{base}"
            );
        }
    }
    let (exit, said) = replay(&house, &["--audit", &house.path("audit").display().to_string()]);
    assert!(exit == 0 && said["same"].as_u64().unwrap() >= 4, "{said}");
    // An earlier narrowgate wrote them out.
    let log = copy(&house, "earlier.jsonl", |e| {
        for base in
            e.pointer_mut("/unmapped/narrowgate/asked/bases").and_then(Value::as_array_mut).into_iter().flatten()
        {
            base["claimed"] = serde_json::json!({});
            base["actors"] = serde_json::json!({ "depth": 0, "members": [] });
        }
    });
    let (exit, again) = replay(&house, &["--audit", &log]);
    assert_eq!((exit, &again["same"]), (0, &said["same"]), "{again}");
}

// rows: POL-09
#[tokio::test]
async fn one_changed_fact_in_a_record_is_found() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    house.begin(&mut agent, &["customers.delete"]).await.err().unwrap();
    house.event("token.served").await;
    type Change = fn(&mut Value);
    let changes: [(&str, &str, Change); 6] = [
        ("answer", "authorization.decided", |e| e["unmapped"]["narrowgate"]["deny_kind"] = "no_permit".into()),
        ("policies", "token.issued", |e| e["authorizations"][0]["policy"]["uid"] = "another".into()),
        ("granted", "token.served", |e| e["unmapped"]["narrowgate"]["granted_scopes"][0] = "customers.delete".into()),
        ("terms", "exchange.decided", |e| e["unmapped"]["narrowgate"]["terms"]["max_lifetime_ms"] = 1.into()),
        ("evaluation", "token.issued", |e| e["status_detail"] = "0 permit, 0 forbid, 0 evaluation errors".into()),
        // The question itself: with another answer to it, the record is no longer its own.
        ("answer", "token.issued", |e| {
            e["unmapped"]["narrowgate"]["asked"]["bases"][0]["claimed"]["purpose"] = "bulk-export".into();
        }),
    ];
    for (what, code, change) in changes {
        let log = copy(&house, "changed.jsonl", |e| {
            if e["metadata"]["event_code"] == code {
                change(e);
            }
        });
        let (exit, said) = replay(&house, &["--audit", &log]);
        assert_eq!(exit, 1, "{what}: {said}");
        let found = said["list"][0]["changes"].as_array().unwrap();
        assert!(found.iter().any(|c| c["what"] == what), "{what}: {said}");
        assert_eq!(said["list"][0]["code"], code);
    }
    // The line as it was, alone and by either of its ids.
    let event = house.event("token.issued").await;
    for id in [&event["metadata"]["uid"], &event["unmapped"]["narrowgate"]["original_decision_id"]] {
        let (exit, said) = replay(&house, &["--event", id.as_str().unwrap()]);
        assert!(exit == 0 && said["same"].as_u64().unwrap() >= 1, "{said}");
    }
    assert_eq!(replay(&house, &["--event", "nothing"]).0, 65);
}

// rows: POL-09
#[tokio::test]
async fn other_policies_are_told_and_asked_only_on_request() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    house.begin(&mut agent, &["mail.read"]).await.unwrap();
    house.event("token.issued").await;
    let stricter = "@id(\"closed\") @code(\"closed\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource)\n\
        when { context.base.scopes.contains(Narrowgate::Scope::\"customers.read\") };";
    write(&house.path("policies/stricter.cedar"), stricter);
    let (exit, said) = replay(&house, &[]);
    assert_eq!((exit, &said["same"], &said["differ"]), (65, &0.into(), &0.into()), "{said}");
    let not_asked = said["not_asked"].to_string();
    assert!(not_asked.contains("policies sha256:") && !not_asked.contains("entities"), "{said}");
    let (exit, said) = replay(&house, &["--with-current-policies"]);
    // Begin, redeem and hand-out of customers.read would be refused now; mail.read would not.
    assert_eq!((exit, &said["differ"], &said["same"]), (1, &3.into(), &1.into()), "{said}");
    let change = &said["list"][0]["changes"][0];
    assert_eq!((&change["what"], &change["recorded"]), (&"answer".into(), &"allow".into()), "{said}");
    assert_eq!(change["replayed"], "deny, forbid_matched");
    // What an agent is counts as much as what the policies say.
    fs::remove_file(house.path("policies/stricter.cedar")).unwrap();
    assert_eq!(replay(&house, &[]).0, 0);
    let agents = fs::read_to_string(house.path("agents.toml")).unwrap();
    write(&house.path("agents.toml"), &agents.replacen("trust = 3", "trust = 0", 1));
    let (exit, said) = replay(&house, &[]);
    assert!(exit == 65 && said["not_asked"].to_string().contains("entities sha256:"), "{said}");
    let (exit, said) = replay(&house, &["--with-current-policies"]);
    assert_eq!((exit, said["list"][0]["agent"].as_str()), (1, Some("quoter")), "{said}");
    // Nothing of this touched the daemon.
    get(&mut agent, &redeemed.grant).await.unwrap();
}

// rows: POL-09 AUD-05
#[tokio::test]
async fn a_log_that_cannot_be_read_is_no_proof() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let whole = house.audit_text();
    let log = house.path("log.jsonl");
    let said = |text: &str| {
        write(&log, text);
        replay(&house, &["--audit", &log.display().to_string()])
    };
    assert_eq!(said(&whole).0, 0);
    // A last line that is being written is no line yet.
    assert_eq!(said(whole.trim_end()).1["lines"].as_u64().unwrap() + 1, said(&whole).1["lines"].as_u64().unwrap());
    for bad in ["no event\n".to_owned(), format!("{{\"x\":\"{}\"}}\n", "y".repeat(2 << 20))] {
        let (exit, found) = said(&(bad + &whole));
        assert_eq!((exit, &found["unusable"]), (65, &1.into()));
    }
    for (from, to) in
        [("\"asked\":", "\"inputs\":"), ("\"base\":0", "\"base\":7"), ("\"part\":\"gate\"", "\"part\":\"x\"")]
    {
        assert!(whole.contains(from), "{whole}");
        let (exit, found) = said(&whole.replace(from, to));
        assert_eq!((exit, &found["unusable"], &found["same"]), (65, &1.into(), &0.into()), "{from}: {found}");
    }
    assert_eq!(replay(&house, &["--audit", "/nowhere/at/all"]).0, 64);
}
