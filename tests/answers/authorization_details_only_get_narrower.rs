use crate::{
    details_kit::{answer, answered, asking, changed, customer, granted, login, payment, plan, with},
    house::{
        Agent, House, eventually, fact, get, reason, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{BOTH, READ, about, facts, members, settled},
};
use narrowgate::api::proto::GetTokenRequest;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// It is refused as wider, and what came with it is revoked.
async fn revoked(house: &House, before: usize, status: &Status, (what, rule): (&str, &str)) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::FailedPrecondition, "RAR_UPGRADED"), "{what}");
    assert_eq!(fact(status, "rule").as_deref(), Some(rule), "{what}");
    let gone = eventually(what, || {
        let seen = house.server.revocations().split_off(before);
        (seen.len() >= BOTH.len()).then_some(seen)
    });
    assert_eq!(gone.await.iter().map(|(hint, _)| hint.as_str()).collect::<Vec<_>>(), BOTH, "{what}");
}

// rows: RES-06 INTR-01
#[tokio::test]
async fn a_wider_answer_is_refused_and_revoked() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let asked = json!([payment("100"), customer()]);
    let (absent, wider) = ("authorization_details_absent", "authorization_details_wider");
    let malformed = "authorization_details_malformed";
    let mut lacking = payment("100");
    lacking.as_object_mut().unwrap().remove("instructedAmount");
    let mut unnamed = payment("100");
    unnamed.as_object_mut().unwrap().remove("actions");
    let cases = [
        ("absent", Value::Null, absent),
        ("nothing granted", json!([]), absent),
        ("a further element", json!([payment("100"), customer(), customer()]), wider),
        ("one of them twice", json!([payment("100"), payment("100")]), wider),
        ("an element of another type", json!([payment("100"), { "type": "unlisted", "actions": ["read"] }]), wider),
        ("a larger amount", json!([payment("100.01"), customer()]), wider),
        ("a larger amount as a number", json!([changed(payment("1"), "/instructedAmount/amount", json!(101))]), wider),
        ("no amount", json!([lacking]), wider),
        ("an amount that is none", json!([payment("100 and more")]), wider),
        ("a further action", json!([changed(payment("1"), "/actions", json!(["initiate", "cancel"]))]), wider),
        ("no actions", json!([unnamed]), wider),
        ("no action", json!([changed(payment("1"), "/actions", json!([]))]), wider),
        ("another location", json!([changed(payment("1"), "/locations", json!(["https://other.test"]))]), wider),
        ("another currency", json!([changed(payment("1"), "/instructedAmount/currency", json!("USD"))]), wider),
        ("another creditor", json!([changed(payment("1"), "/creditor/iban", json!("DE00"))]), wider),
        ("a field nobody asked for", json!([with(payment("1"), "privileges", json!(["admin"]))]), wider),
        ("an undeclared object", json!([with(payment("1"), "more", json!({ "all": true }))]), wider),
        ("a text", json!("all"), malformed),
        ("an object", payment("1"), malformed),
        ("an element without type", json!([{ "actions": ["initiate"] }]), malformed),
        ("more than 16 KiB", json!([with(payment("1"), "consent_id", json!("x".repeat(17_000)))]), malformed),
        ("nested too deep", json!([with(payment("1"), "consent_id", json!([[[[[[[[1]]]]]]]]))]), malformed),
    ];
    for (what, details, rule) in cases {
        let before = house.server.revocations().len();
        answer(&house, details);
        let status = login(&house, &mut agent, &asked).await.err().expect(what);
        revoked(&house, before, &status, (what, rule)).await;
        let decision = fact(&status, "decision_id").unwrap();
        let closing = about(&house, "exchange.failed", &decision);
        assert_eq!((closing.len(), &closing[0]["status_code"]), (1, &json!("RAR_UPGRADED")), "{what}");
    }
    // Details that nobody asked for are an element too many.
    let before = house.server.revocations().len();
    answer(&house, json!([customer()]));
    let status = house.login(&mut agent, &[READ]).await.err().unwrap();
    revoked(&house, before, &status, ("unasked", wider)).await;
    assert!(!house.events("detect.scope_escalation").is_empty());
    settled(&house, &mut agent).await;
}

// rows: RES-06
#[tokio::test]
async fn a_narrower_answer_is_what_the_agent_gets() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let asked = json!([payment("100"), customer()]);
    let less = changed(payment("99.99"), "/actions", json!(["status"]));
    // The server names its consent, in a field that it alone may add; and another order is no more.
    let less = with(less, "consent_id", json!("consent-1"));
    answer(&house, json!([customer(), less]));
    let redeemed = login(&house, &mut agent, &asked).await.unwrap();
    assert_eq!(granted(&redeemed), json!([customer(), less]));
    // Policy is told at release of what was granted, not of what was asked.
    let issued = house.event("token.issued").await;
    let told = facts(&issued).to_string();
    assert!(told.contains("99.9900") && !told.contains("100.0000"), "{told}");
}

/// A grant of these and of two scopes, to be had one by one.
async fn granting(house: &House, agent: &mut Agent, asked: &Value, answer: Option<Value>) -> String {
    house.server.behave(Script::Token(answer.map_or(Behaviour::Honest, answered)));
    let mut request = asking(asked);
    request.scopes.push("customers.write".to_owned());
    let begun = agent.begin_authorization(request).await.unwrap().into_inner();
    let callback = house.server.approve(&begun.authorization_url);
    redeem(agent, &begun.transaction, &callback).await.unwrap().grant
}

/// Another token of the grant, of one scope: what came with it.
async fn refreshed(agent: &mut Agent, grant: &str) -> Result<Value, Status> {
    let scopes = vec![READ.to_owned()];
    let request = GetTokenRequest { grant: grant.to_owned(), scopes, ..GetTokenRequest::default() };
    let token = agent.get_token(request).await?.into_inner().token.unwrap();
    Ok(serde_json::from_str(&token.authorization_details).unwrap())
}

// rows: RES-06
#[tokio::test]
async fn a_refresh_widens_nothing() {
    let mut plan = plan();
    plan.config = plan.config.replace("grants_per_agent = 1", "grants_per_agent = 10");
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let asked = json!([payment("100"), customer()]);
    // Said again, or not said at all, it is as it was.
    for said in [Some(asked.clone()), None] {
        let grant = granting(&house, &mut agent, &asked, None).await;
        if said.is_none() {
            answer(&house, Value::Null);
        }
        assert_eq!(refreshed(&mut agent, &grant).await.unwrap(), asked);
    }
    // What it says of less holds for that token.
    let grant = granting(&house, &mut agent, &asked, None).await;
    answer(&house, json!([payment("10")]));
    assert_eq!(refreshed(&mut agent, &grant).await.unwrap(), json!([payment("10")]));
    // More than was granted is more, though it was once asked for; and the grant is over.
    let less = json!([payment("40")]);
    for wider in [asked.clone(), json!([payment("41")]), json!([payment("40"), payment("40")]), json!([])] {
        let grant = granting(&house, &mut agent, &asked, Some(less.clone())).await;
        let before = house.server.revocations().len();
        answer(&house, wider.clone());
        let status = refreshed(&mut agent, &grant).await.expect_err(&wider.to_string());
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "RAR_UPGRADED"), "{wider}");
        let gone = eventually("both tokens are revoked", || {
            let kinds: Vec<String> =
                house.server.revocations().split_off(before).into_iter().map(|one| one.0).collect();
            BOTH.iter().all(|kind| kinds.iter().any(|one| one == kind)).then_some(())
        });
        gone.await;
        assert!(get(&mut agent, &grant).await.is_err(), "the grant is over");
    }
}

// rows: RES-06 INTR-08
#[tokio::test]
async fn a_token_that_can_be_read_carries_no_more_than_its_answer() {
    let lines = "deadline = \"5s\"\n\n[issuer.access_token]\ncontract = \"jwt\"\n";
    let house = plan().config("deadline = \"5s\"\n", lines).open().await;
    let mut agent = house.agent().await;
    let asked = json!([payment("100"), customer()]);
    let less = json!([payment("40")]);
    let carrying = |details: &Value| Behaviour::JwtClaims(members([("authorization_details", details.clone())]));
    for (what, carried) in [
        ("what was asked and not granted", asked.clone()),
        ("a larger amount", json!([payment("41")])),
        ("another type", json!([{ "type": "unlisted", "actions": ["read"] }])),
    ] {
        let before = house.server.revocations().len();
        house.server.behave(Script::Token(Behaviour::All(vec![answered(less.clone()), carrying(&carried)])));
        let status = login(&house, &mut agent, &asked).await.err().expect(what);
        revoked(&house, before, &status, (what, "authorization_details_wider")).await;
    }
    // What it carries is what the agent is told; a token that does not say is taken at its answer's word.
    house.server.behave(Script::Token(Behaviour::All(vec![answered(asked.clone()), carrying(&less)])));
    let redeemed = login(&house, &mut agent, &asked).await.unwrap();
    assert_eq!(granted(&redeemed), less);
}
