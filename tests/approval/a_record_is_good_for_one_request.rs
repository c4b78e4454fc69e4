use crate::{
    house::{Agent, COURIER, House, fact, get, reason, redeem},
    kit::{DELETE, Key, READ, advice, asking, begin, header, plan, refused, rewrite, seconds, wanted},
};
use narrowgate::api::proto::ApprovalWanted;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// Begins with a record, and goes through with it.
async fn approved(house: &House, agent: &mut Agent, record: &str) -> Result<String, Status> {
    let begun = begin(agent, asking(&[DELETE], record)).await?;
    let callback = house.server.approve(&begun.authorization_url);
    redeem(agent, &begun.transaction, &callback).await.map(|redeemed| redeemed.grant)
}

/// The record is refused by this rule, on record, and nothing leaves.
async fn breaks(house: &House, agent: &mut Agent, scopes: &[&str], record: &str, rule: &str) {
    let (asked, before) = (house.server.requests().len(), house.events("exchange.refused").len());
    let status = refused(begin(agent, asking(scopes, record)).await, Code::InvalidArgument, "APPROVAL_INVALID");
    assert_eq!(fact(&status, "rule").as_deref(), Some(rule));
    assert!(!format!("{status:?}").contains(record));
    let events = house.events("exchange.refused");
    assert_eq!((events.len(), house.server.requests().len()), (before + 1, asked), "{rule}");
    assert_eq!(events.last().unwrap()["status_code"], "APPROVAL_INVALID", "{rule}");
}

// rows: AGNT-07 (signed evidence)
#[tokio::test]
async fn an_approvers_record_lifts_the_no_and_is_on_record() {
    let key = Key::new();
    let house = plan(&key).open().await;
    let mut agent = house.agent().await;
    let told = wanted(&mut agent, &[DELETE]).await;
    let record = key.record(&told, &json!({}));
    let grant = approved(&house, &mut agent, &record).await.unwrap();
    let token = get(&mut agent, &grant).await.unwrap().token.unwrap();
    assert_eq!(token.scopes, [DELETE]);
    // Who approved is what each decision was asked with: at the beginning, before the code left, at each hand-out.
    let decided = house.events("exchange.decided").pop().unwrap();
    let base = &decided["unmapped"]["narrowgate"]["asked"]["bases"][0];
    assert_eq!(base["approval"]["ticket"], "CHG-17", "{decided}");
    assert!(base["approval"]["approver"].to_string().contains("ann"), "{base}");
    assert!(!house.audit_text().contains(&record) && !house.log().contains(&record));
    // Once used it is used up: for the same request, at once and after a redemption.
    breaks(&house, &mut agent, &[DELETE], &record, "used").await;
    house.event("detect.approval_misuse").await;
    // Another transaction needs another record; without one the answer is what it was.
    refused(begin(&mut agent, asking(&[DELETE], "")).await, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
    approved(&house, &mut agent, &key.record(&told, &json!({ "ticket": null }))).await.unwrap();
}

// rows: AGNT-07 (signed evidence)
#[tokio::test]
async fn a_record_that_is_not_sound_is_refused_by_its_rule() {
    let (key, other) = (Key::new(), Key::new());
    let mut plan = plan(&key);
    plan.agents.push_str(&other.table("bob", "finance"));
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let told = wanted(&mut agent, &[DELETE]).await;
    for (changes, rule) in [
        (json!({ "request_digest": "0".repeat(64) }), "request_digest"),
        (json!({ "request_digest": null }), "request_digest"),
        (json!({ "policy_digest": "0".repeat(64) }), "policy_digest"),
        (json!({ "policy_digest": [told.policy_digest] }), "policy_digest"),
        (json!({ "exp": seconds(-1), "iat": seconds(-600) }), "exp"),
        (json!({ "exp": null }), "exp"),
        (json!({ "exp": "soon" }), "exp"),
        (json!({ "iat": seconds(120) }), "iat"),
        (json!({ "iat": null }), "iat"),
        (json!({ "exp": seconds(3700) }), "lifetime"),
        (json!({ "iat": seconds(-3500) }), "lifetime"),
        (json!({ "jti": null }), "jti"),
        (json!({ "jti": "" }), "jti"),
        (json!({ "jti": "j".repeat(129) }), "jti"),
        (json!({ "ticket": 7 }), "ticket"),
        (json!({ "iss": "nobody" }), "signature"),
        (json!({ "iss": "corp|ann" }), "signature"),
        (json!({ "iss": null }), "signature"),
        // Signed by one, in the name of another.
        (json!({ "iss": "bob" }), "signature"),
    ] {
        breaks(&house, &mut agent, &[DELETE], &key.record(&told, &changes), rule).await;
    }
    // A header that would choose the trust, another kind of token, or none at all.
    let claims = |record: &str| record.split('.').nth(1).unwrap().to_owned();
    let payload: Value = {
        use base64::Engine;
        let bytes =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims(&key.record(&told, &json!({})))).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let own_key: Value = serde_json::from_str(&other.jwk()).unwrap();
    for (name, value, rule) in [
        ("alg", json!("none"), "alg"),
        ("alg", json!("HS256"), "alg"),
        ("alg", json!("ES256"), "signature"),
        ("typ", json!("JWT"), "typ"),
        ("typ", json!("at+jwt"), "typ"),
        ("crit", json!(["b64"]), "crit"),
        ("kid", json!("ann"), "signature"),
    ] {
        let mut header = header();
        header[name] = value;
        breaks(&house, &mut agent, &[DELETE], &key.sign(&header, &payload), rule).await;
    }
    let mut header = header();
    header["jwk"] = own_key;
    breaks(&house, &mut agent, &[DELETE], &other.sign(&header, &payload), "signature").await;
    let unsigned = key.sign(&json!({ "alg": "none", "typ": "narrowgate-approval+jwt" }), &payload);
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    breaks(&house, &mut agent, &[DELETE], &unsigned, "form").await;
    for odd in ["approved=true", "a b", &"a".repeat(4097)] {
        let status = begin(&mut agent, asking(&[DELETE], odd)).await.err().unwrap();
        assert!(["APPROVAL_INVALID", "FIELD_INVALID"].contains(&reason(&status).as_str()), "{status:?}");
    }
    // None of it used the good one up.
    approved(&house, &mut agent, &key.record(&told, &json!({}))).await.unwrap();
}

// rows: AGNT-07 (bound to the request)
#[tokio::test]
async fn it_is_for_this_agent_these_scopes_and_this_run() {
    let key = Key::new();
    let mut house = plan(&key).open().await;
    let mut agent = house.agent().await;
    let told = wanted(&mut agent, &[DELETE]).await;
    let record = key.record(&told, &json!({}));
    breaks(&house, &mut agent, &[DELETE, READ], &record, "request_digest").await;
    let mut courier = house.svid_agent(COURIER).await;
    breaks(&house, &mut courier, &[DELETE], &record, "request_digest").await;
    // Which records were used is known to one run alone.
    house.stop().await;
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    breaks(&house, &mut agent, &[DELETE], &record, "request_digest").await;
    assert_ne!(wanted(&mut agent, &[DELETE]).await.request_digest, told.request_digest);
}

// rows: AGNT-07 (policy has the last word)
#[tokio::test]
async fn an_approver_of_another_team_lifts_nothing() {
    let (ann, bob) = (Key::new(), Key::new());
    let mut plan = plan(&ann);
    plan.agents.push_str(&bob.table("bob", "finance"));
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let told = wanted(&mut agent, &[DELETE]).await;
    let record = bob.record(&told, &json!({ "iss": "bob" }));
    for _ in 0..2 {
        // What did not serve is not used up.
        let status = begin(&mut agent, asking(&[DELETE], &record)).await;
        let status = refused(status, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
        assert_eq!(advice(&status).unwrap().approval.unwrap().request_digest, told.request_digest);
    }
    // Policy says how old it may be, too: the sample's fifteen minutes.
    let old = ann.record(&told, &json!({ "iat": seconds(-1000), "exp": seconds(600) }));
    refused(begin(&mut agent, asking(&[DELETE], &old)).await, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
}

/// Waits until the grant is withheld for want of an approval.
async fn withheld(agent: &mut Agent, grant: &str) {
    for _ in 0..400 {
        match get(agent, grant).await {
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(25)).await,
            Err(status) => return drop(refused::<()>(Err(status), Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED")),
        }
    }
    panic!("it is handed out for ever");
}

// rows: AGNT-07 (bound to its end)
#[tokio::test]
async fn it_counts_until_it_ends() {
    let key = Key::new();
    let house = plan(&key).open().await;
    let mut agent = house.agent().await;
    let told = wanted(&mut agent, &[DELETE]).await;
    let record = key.record(&told, &json!({ "exp": seconds(4) }));
    let grant = approved(&house, &mut agent, &record).await.unwrap();
    get(&mut agent, &grant).await.unwrap();
    withheld(&mut agent, &grant).await;
}

// rows: AGNT-07 (bound to the policy generation)
#[tokio::test]
async fn another_policy_set_or_approver_wants_another_record() {
    let (key, next) = (Key::new(), Key::new());
    let house = plan(&key).open().await;
    let mut agent = house.agent().await;
    let told = wanted(&mut agent, &[DELETE]).await;
    let grant = approved(&house, &mut agent, &key.record(&told, &json!({}))).await.unwrap();
    get(&mut agent, &grant).await.unwrap();
    let reload = || house.tell(rustix::process::Signal::HUP);
    rewrite(&house, "policies/guardrails.cedar", |text| text.replace("duration(\"15m\")", "duration(\"14m\")"));
    reload();
    withheld(&mut agent, &grant).await;
    breaks(&house, &mut agent, &[DELETE], &key.record(&told, &json!({})), "policy_digest").await;
    let told: ApprovalWanted = wanted(&mut agent, &[DELETE]).await;
    let grant = approved(&house, &mut agent, &key.record(&told, &json!({}))).await.unwrap();
    get(&mut agent, &grant).await.unwrap();
    // Another key of the same name is another word.
    rewrite(&house, "agents.toml", |text| text.replace(&key.table("ann", "sales"), &next.table("ann", "sales")));
    reload();
    withheld(&mut agent, &grant).await;
    breaks(&house, &mut agent, &[DELETE], &key.record(&told, &json!({})), "signature").await;
    approved(&house, &mut agent, &next.record(&told, &json!({}))).await.unwrap();
}
