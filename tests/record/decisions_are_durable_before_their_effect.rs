use crate::house::{COURIER, House, Plan, begin_request, eventually, fact, get, redeem};
use narrowgate::api::proto::RevokeGrantRequest;
use serde_json::Value;
use std::{collections::HashSet, fs};

fn of<'a>(events: &'a [Value], code: &str, correlation: &str) -> Vec<&'a Value> {
    let is = |e: &&Value| e["metadata"]["event_code"] == code && e["metadata"]["correlation_uid"] == correlation;
    events.iter().filter(is).collect()
}

// rows: AUD-01 AUD-02 DEC-24
#[tokio::test]
async fn what_was_answered_is_on_disk_already() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    // No waiting anywhere here: when the answer is in, so is the line.
    let begun = house.begin(&mut agent, &["customers.read"]).await.unwrap();
    assert_eq!(of(&house.audit(), "authorization.decided", &begun.decision_id).len(), 1);
    let denied = house.begin(&mut agent, &["customers.delete"]).await.err().unwrap();
    let decided = house.audit();
    let decided = of(&decided, "authorization.decided", &fact(&denied, "decision_id").unwrap());
    assert_eq!((decided.len(), &decided[0]["action_id"]), (1, &Value::from(2)));
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    let events = house.audit();
    let issued =
        events.iter().find(|e| e["metadata"]["event_code"] == "token.issued").expect("durable before the reply");
    assert_eq!(issued["unmapped"]["narrowgate"]["release_decision_id"].as_str().unwrap().len(), 36);
    let correlation = issued["metadata"]["correlation_uid"].as_str().unwrap();
    assert_eq!(of(&events, "exchange.decided", correlation).len(), 1);
    let mut courier = house.svid_agent(COURIER).await;
    get(&mut courier, &redeemed.grant).await.err().unwrap();
    assert!(house.audit().iter().any(|e| e["metadata"]["event_code"] == "exchange.refused"));
    // A hand-out is queued, not awaited; it comes with its own decision, and names the first.
    let served = get(&mut agent, &redeemed.grant).await.unwrap();
    let event = eventually("the hand-out", || {
        of(&house.audit(), "token.served", &served.decision_id).first().map(|e| (*e).clone())
    });
    let event = event.await;
    assert_eq!(event["unmapped"]["narrowgate"]["original_decision_id"], correlation);
    assert_eq!(event["session"]["uid"], issued["session"]["uid"]);
}

fn assert_minimum(event: &Value) {
    let code = event["metadata"]["event_code"].as_str().unwrap();
    for path in [
        "/metadata/uid",
        "/metadata/sequence",
        "/metadata/product/uid",
        "/metadata/product/version",
        "/time",
        "/severity_id",
        "/message",
        "/device/hostname",
    ] {
        assert!(!event.pointer(path).is_none_or(Value::is_null), "{code} has no {path}");
    }
    let agent = ["/actor/user/uid", "/unmapped/narrowgate/owner"].as_slice();
    let client = ["/actor/app_uid", "/actor/app_name", "/actor/idp/uid"].as_slice();
    let decision = [
        "/action",
        "/disposition",
        "/status",
        "/status_code",
        "/metadata/correlation_uid",
        "/policy/uid",
        "/unmapped/narrowgate/policy_digest",
        "/unmapped/narrowgate/schema_digest",
        "/unmapped/narrowgate/entities_digest",
        "/unmapped/narrowgate/generation",
        "/unmapped/narrowgate/asked/questions/0/action",
        "/unmapped/narrowgate/requested_scopes/0",
    ];
    let exchange = [
        "/api/operation",
        "/api/request/uid",
        "/resources/0/uid",
        "/src_endpoint/svc_name",
        "/dst_endpoint/svc_name",
        "/unmapped/narrowgate/transaction_ref",
        "/unmapped/narrowgate/code_ref",
        "/authorizations/0/policy/uid",
    ];
    let token = [
        "/user/uid",
        "/privileges/0",
        "/session/uid",
        "/session/created_time",
        "/session/expiration_time",
        "/unmapped/narrowgate/grant_ref",
    ];
    let revoked = [
        "/metadata/correlation_uid",
        "/session/uid",
        "/unmapped/narrowgate/why",
        "/unmapped/narrowgate/token_kind",
        "/unmapped/narrowgate/revocation",
    ];
    let wanted: Vec<&str> = match code {
        "authorization.decided" => [agent, &decision].concat(),
        "exchange.decided" => [agent, client, &decision, &exchange].concat(),
        "token.issued" | "token.served" => [agent, client, &decision, &token].concat(),
        "token.revoked" => revoked.to_vec(),
        _ => Vec::new(),
    };
    for path in wanted {
        assert!(!event.pointer(path).is_none_or(Value::is_null), "{code} has no {path}: {event}");
    }
}

// rows: AUD-01
#[tokio::test]
async fn each_event_says_who_what_through_what_and_why() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() }).await.unwrap();
    for code in ["authorization.decided", "exchange.decided", "token.issued", "token.served", "token.revoked"] {
        house.event(code).await;
    }
    house.audit().iter().for_each(assert_minimum);
}

async fn begin_many(house: &House, count: usize) -> HashSet<String> {
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let socket = house.path("run/agent.sock");
            tokio::spawn(async move {
                let mut agent = crate::house::unix_agent(&socket).await;
                let answer = agent.begin_authorization(begin_request(&["customers.read"])).await;
                answer.map_or_else(|s| fact(&s, "decision_id").unwrap(), |r| r.into_inner().decision_id)
            })
        })
        .collect();
    let mut ids = HashSet::new();
    for call in calls {
        assert!(ids.insert(call.await.unwrap()), "each call has a decision of its own");
    }
    ids
}

// rows: AUD-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_as_many_events_as_decisions() {
    let house =
        Plan::new().config("[limits]", "[limits]\ntransactions_per_agent = 1000\ncalls_in_flight = 1000").open().await;
    let ids = begin_many(&house, 300).await;
    let events = house.audit();
    let decided: Vec<&Value> =
        events.iter().filter(|e| e["metadata"]["event_code"] == "authorization.decided").collect();
    assert_eq!(decided.len(), ids.len());
    assert!(decided.iter().all(|e| ids.contains(e["metadata"]["correlation_uid"].as_str().unwrap())));
    let numbers: Vec<u64> = events.iter().map(|e| e["metadata"]["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    let uids: HashSet<&str> = events.iter().map(|e| e["metadata"]["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), events.len());
}

// rows: AUD-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hand_outs_from_cache_are_all_recorded() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    let mut ids = HashSet::new();
    for _ in 0..100 {
        ids.insert(get(&mut agent, &redeemed.grant).await.unwrap().decision_id);
    }
    assert_eq!(ids.len(), 100);
    let served = eventually("a hundred hand-outs", || {
        let served = house.events("token.served");
        (served.len() >= 100).then_some(served)
    });
    let recorded: HashSet<String> =
        served.await.iter().map(|e| e["metadata"]["correlation_uid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(recorded, ids);
}

// rows: AUD-10
#[tokio::test]
async fn the_log_and_its_key_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let house = Plan::new().open().await;
    for entry in fs::read_dir(house.path("audit")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let wanted = if entry.path().extension().is_some_and(|e| e == "key") { 0o600 } else { 0o640 };
        assert_eq!(mode & !wanted, 0, "{:?} has mode {mode:o}", entry.path());
    }
}
