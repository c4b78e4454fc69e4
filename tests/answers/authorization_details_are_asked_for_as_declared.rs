use crate::{
    details_kit::{TYPES, asking, begin, changed, customer, granted, login, payment, plan, with},
    house::{fact, get, reason, redeem, scripted_as::par::Offer},
    kit::{READ, about, facts},
};
use serde_json::{Value, json};
use tonic::Code;
use url::Url;

/// An array in an array, so deep.
fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("x"), |inner, _| json!([inner]))
}

// rows: RES-05
#[tokio::test]
async fn what_is_not_declared_or_too_large_is_not_asked_for() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let one = |element: Value| json!([element]).to_string();
    let long = |bytes: usize| one(with(payment("1"), "creditor", json!("x".repeat(bytes))));
    let mut bad = vec![
        ("an unknown type", one(json!({ "type": "everything" }))),
        ("a type of another API", one(json!({ "type": "mailing", "actions": ["send"] }))),
        ("no type", one(json!({ "actions": ["initiate"] }))),
        ("an unknown field", one(with(payment("1"), "extra", json!(1)))),
        ("an unknown field inside", one(with(payment("1"), "instructedAmount", json!({ "amount": "1", "fee": "2" })))),
        ("a name with a dot", one(with(customer(), "instructedAmount.amount", json!("1")))),
        ("a field of the server's", one(with(payment("1"), "consent_id", json!("x")))),
        ("65 deep", one(with(payment("1"), "creditor", nested(63)))),
        ("9 deep", one(with(payment("1"), "creditor", nested(7)))),
        ("127 deep", one(with(payment("1"), "creditor", nested(140)))),
        ("17 elements", json!(vec![customer(); 17]).to_string()),
        ("more than 16 KiB", long(16 * 1024)),
        ("60 KiB", long(60_000)),
        ("an object", payment("1").to_string()),
        ("an empty array", "[]".to_owned()),
        ("an array of texts", json!(["payment_initiation"]).to_string()),
        ("no JSON", "payment_initiation".to_owned()),
        ("two values", format!("{}[]", one(payment("1")))),
        ("a set of nothing", one(with(customer(), "actions", json!([])))),
        ("a set of numbers", one(with(customer(), "actions", json!([1])))),
        ("a text for a set", one(with(customer(), "actions", json!("read")))),
    ];
    for amount in [json!("-1"), json!(-1), json!(1e300), json!("1e3"), json!("1,5"), json!(null), json!(["1"])] {
        bad.push(("an amount", one(changed(payment("1"), "/instructedAmount/amount", amount))));
    }
    let text = one(customer());
    for (from, to) in [
        ("\"type\":", "\"type\":\"payment_initiation\",\"type\":"),
        ("\"identifier\":", "\"identifier\":\"customer-2\",\"identifier\":"),
    ] {
        bad.push(("a member twice", text.replacen(from, to, 1)));
    }
    for (what, text) in &bad {
        let status = begin(&mut agent, text).await.err().expect(what);
        let told = (status.code(), reason(&status));
        assert_eq!(told, (Code::InvalidArgument, "AUTHORIZATION_DETAILS_INVALID".to_owned()), "{what}: {status:?}");
        assert!(status.message().contains("`authorization_details`"), "{what}: {}", status.message());
        assert!(!status.message().contains("everything"), "its own words are not sent back");
    }
    // A message of 1 MiB does not even get that far.
    let status = begin(&mut agent, long(1 << 20)).await.err().unwrap();
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned()));
    assert_eq!(house.events("exchange.refused").len(), bad.len(), "each is on record");
    // At the limits it may be asked for.
    let most = json!(vec![customer(); 16]).to_string();
    let deep = one(with(payment("1"), "creditor", nested(6)));
    let (short, full) = (long(0).len(), 16 * 1024);
    for good in [most, deep, long(full - short)] {
        begin(&mut agent, good).await.unwrap();
    }
}

// rows: RES-05
#[tokio::test]
async fn a_type_that_the_server_does_not_list_is_not_asked_for() {
    let house = plan().open().await;
    house.server.offer_par(Offer::Offered);
    let mut agent = house.agent().await;
    let both = json!([customer(), { "type": "unlisted", "actions": ["read"] }]);
    let status = begin(&mut agent, both).await.err().unwrap();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "AUTHORIZATION_DETAILS_UNSUPPORTED")
    );
    assert_eq!(fact(&status, "authorization_details_type").as_deref(), Some("unlisted"));
    assert_eq!(house.server.token_connections(), 0);

    // Metadata that lists nothing supports nothing.
    let silent = plan().build();
    let null = json!({ "authorization_details_types_supported": null });
    silent.server.metadata_override(null.as_object().unwrap().clone());
    let mut silent = silent;
    silent.start();
    silent.wait_until_serving().await;
    let mut agent = silent.agent().await;
    let status = begin(&mut agent, json!([customer()])).await.err().unwrap();
    assert_eq!(reason(&status), "AUTHORIZATION_DETAILS_UNSUPPORTED");
    silent.begin(&mut agent, &[READ]).await.unwrap();
}

// rows: RES-05 SCOP-03
#[tokio::test]
async fn each_element_needs_a_permit() {
    let late = r#"
        @id("details.late") @code("too_late")
        forbid (principal, action == Narrowgate::Action::"grant_detail", resource)
        when { context.flow == "code" && context.detail has amount && context.detail.amount.greaterThan(decimal("400.0")) };
        @id("details.once") @code("only_once")
        forbid (principal, action == Narrowgate::Action::"grant_detail", resource)
        when { context.flow == "hold" && context.detail has amount && context.detail.amount.greaterThan(decimal("300.0")) };"#;
    let house = plan().policy(late).open().await;
    let mut agent = house.agent().await;
    for (details, why) in [
        (json!([payment("500.01")]), "no_permit"),
        (json!([customer(), payment("501")]), "no_permit"),
        (json!([changed(payment("1"), "/instructedAmount/currency", json!("USD"))]), "no_permit"),
        (json!([changed(payment("1"), "/actions", json!(["initiate", "cancel"]))]), "no_permit"),
        (json!([changed(customer(), "/identifier", json!("customer-2"))]), "no_permit"),
    ] {
        let status = begin(&mut agent, &details).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"), "{details}");
        assert_eq!(fact(&status, "policy_code").as_deref(), Some(why));
        assert!(fact(&status, "authorization_details_types").is_some(), "{status:?}");
    }
    // Policy is asked again when the code is redeemed, before it leaves,
    let begun = begin(&mut agent, json!([payment("450")])).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let status = redeem(&mut agent, &begun.transaction, &callback).await.err().unwrap();
    assert_eq!(
        (reason(&status).as_str(), fact(&status, "policy_code").as_deref()),
        ("SCOPE_NO_LONGER_ALLOWED", Some("too_late"))
    );
    assert_eq!(house.server.token_connections(), 0);
    // and at each hand-out.
    let redeemed = login(&house, &mut agent, json!([payment("350")])).await.unwrap();
    let status = get(&mut agent, &redeemed.grant).await.err().unwrap();
    assert_eq!(
        (reason(&status).as_str(), fact(&status, "policy_code").as_deref()),
        ("POLICY_DENIED", Some("only_once"))
    );
    // The record holds what was asked about each.
    let decided = house.events("authorization.decided").pop().unwrap();
    let asked = facts(&decided).to_string();
    assert!(asked.contains("grant_detail") && asked.contains("350"), "{asked}");
    // An answer may be one that was given before, but only about the same: what is on record is what was asked for, also
    // where no policy looks at it.
    for datatype in ["contacts", "orders", "contacts"] {
        let asked = changed(customer(), "/datatypes", json!([datatype]));
        let decision = begin(&mut agent, json!([asked])).await.unwrap().decision_id;
        let decided = about(&house, "authorization.decided", &decision).pop().unwrap();
        let by = facts(&decided)["answered_by"].as_str().unwrap_or(&decision);
        let asked = facts(&about(&house, "authorization.decided", by)[0]).to_string();
        assert!(asked.contains(datatype) && asked.contains("grant_detail"), "{datatype} {asked}");
        assert_eq!(asked.contains("orders"), datatype == "orders", "{asked}");
    }
    let mut replay = crate::house::binary();
    replay.args(["policy", "replay", "--output", "json", "--config"]).arg(house.path("narrowgate.toml"));
    let output = replay.output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "each decision is the same when it is asked again: {said}");
}

// rows: RES-05
#[tokio::test]
async fn it_travels_in_the_url_or_in_the_pushed_request() {
    let details = json!([payment("100.50"), customer()]);
    for offer in [Offer::No, Offer::Offered] {
        let mut house = plan().build();
        house.server.offer_par(offer);
        house.start();
        house.wait_until_serving().await;
        let mut agent = house.agent().await;
        let begun = agent.begin_authorization(asking(&details)).await.unwrap().into_inner();
        let url = Url::parse(&begun.authorization_url).unwrap();
        let sent = match house.server.pushed_requests().pop() {
            Some(pushed) => pushed.param("authorization_details").unwrap().to_owned(),
            None => url.query_pairs().find(|(name, _)| name == "authorization_details").unwrap().1.into_owned(),
        };
        assert_eq!(serde_json::from_str::<Value>(&sent).unwrap(), details);
        let callback = house.server.approve(&begun.authorization_url);
        let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
        assert_eq!(granted(&redeemed), details);
        let again = get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap();
        assert_eq!(again.authorization_details, redeemed.token.unwrap().authorization_details);
    }
}

// rows: RES-05 RES-06
#[test]
fn a_type_that_cannot_be_compared_does_not_load() {
    let declared = |fields: &str| format!("[[authorization_details_type]]\ntype = \"t\"\napi = \"crm\"\n{fields}\n");
    for (more, told) in [
        (declared(""), "compares nothing"),
        (declared("fields = { }"), "compares nothing"),
        (declared("fields = { id = \"ignore\" }"), "compares nothing"),
        (declared("fields = { actions = \"subset\" }"), "must say \"set\", \"equal\", \"at_most\" or \"ignore\""),
        (declared("fields = { \"a..b\" = \"set\" }"), "is no path of a field"),
        (declared("fields = { type = \"equal\" }"), "is no path of a field"),
        (declared("fields = { a = \"at_most\", b = \"at_most\" }"), "more than one at_most"),
        (declared("fields = { a = \"equal\", \"a.b\" = \"set\" }"), "a field and one inside it"),
        (declared("fields = { a = \"set\" }").replace("crm", "nowhere"), "names no declared API"),
        (format!("{TYPES}{TYPES}"), "is declared twice"),
    ] {
        let mut plan = crate::house::Plan::new();
        plan.apis.push_str(&more);
        let house = plan.build();
        let output = house.command("check").output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && said.contains(told), "{told:?} is not in {said}");
    }
}
