use crate::{
    house::{COURIER, binary, eventually, fact, get, redeem},
    kit::{MAIL, admin, facts, freeze, granted, grants, plan, refused, unfreeze},
};
use tonic::Code;

/// Each way to freeze the one agent, client and issuer there is.
const KINDS: [&str; 3] = ["agent", "client", "issuer"];

// rows: INTR-03 CACH-08
#[tokio::test]
async fn the_next_call_gets_nothing() {
    for kind in KINDS {
        let house = plan().open().await;
        let mut admin = admin(&house).await;
        let (mut agent, grant) = granted(&house).await;
        get(&mut agent, &grant).await.unwrap();
        let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
        let posts = house.server.token_posts();

        let frozen = freeze(&mut admin, kind).await.unwrap();
        assert!(!frozen.already_frozen, "{kind}");
        let toll = frozen.toll.unwrap();
        assert_eq!((toll.grants, toll.transactions), (1, 1), "{kind}");
        assert_eq!((toll.tokens_revoked, toll.tokens_queued, toll.tokens_failed), (2, 0, 0), "{kind}");

        // A cached token is no way out: its grant is gone, and a frozen agent is told so.
        let (code, why) =
            if kind == "agent" { (Code::PermissionDenied, "FROZEN") } else { (Code::NotFound, "GRANT_UNKNOWN") };
        refused(get(&mut agent, &grant).await, code, why);
        let status = refused(house.begin(&mut agent, &MAIL).await, Code::PermissionDenied, "FROZEN");
        assert_eq!(fact(&status, "frozen").as_deref(), Some(kind));
        let (code, why) = if kind == "agent" {
            (Code::PermissionDenied, "FROZEN")
        } else {
            (Code::FailedPrecondition, "TXN_TERMINAL")
        };
        refused(redeem(&mut agent, &transaction, &callback).await, code, why);
        assert_eq!(house.server.token_posts(), posts, "{kind}: a code left");
        assert!(grants(&mut admin).await.is_empty());

        // Revoked at the server, refresh token first, with an event for each token.
        let hints: Vec<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
        assert_eq!(hints, ["refresh_token", "access_token"]);
        eventually("an event for each token", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
        for event in house.events("token.revoked") {
            assert_eq!((&facts(&event)["why"], &facts(&event)["agent"]), (&"frozen".into(), &"courier".into()));
        }
        let event = house.event("admin.frozen").await;
        assert_eq!((&event["severity"], &event["entity"]["type"]), (&"High".into(), &kind.into()));
        assert_eq!(
            (&event["actor"]["user"]["uid"], &facts(&event)["ticket"]),
            (&"root".into(), &"incident-4711".into())
        );
        assert!(!house.events("exchange.refused").is_empty());
    }
}

// rows: INTR-03 CACH-08
#[tokio::test]
async fn an_unfreeze_restores_nothing() {
    for kind in KINDS {
        let house = plan().open().await;
        let mut admin = admin(&house).await;
        let (mut agent, grant) = granted(&house).await;
        let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
        freeze(&mut admin, kind).await.unwrap();
        assert!(freeze(&mut admin, kind).await.unwrap().already_frozen);
        assert!(unfreeze(&mut admin, kind).await);
        assert!(!unfreeze(&mut admin, kind).await, "it is lifted once");
        refused(get(&mut agent, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
        refused(redeem(&mut agent, &transaction, &callback).await, Code::FailedPrecondition, "TXN_TERMINAL");
        // What begins now is new, and works.
        let again = house.login(&mut agent, &MAIL).await.unwrap();
        assert_ne!(again.grant, grant);
        get(&mut agent, &again.grant).await.unwrap();
        assert_eq!(facts(&house.event("admin.unfrozen").await)["was_frozen"], false);
        assert_eq!(facts(&house.events("admin.unfrozen")[0])["was_frozen"], true);
    }
}

// rows: CACH-08
#[tokio::test]
async fn others_do_not_notice() {
    let mut plan = plan();
    plan.agents.push_str("\n[[agent]]\nid = \"runner\"\nspiffe_id = \"spiffe://acme.test/agent/runner\"\nowner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n");
    let house = plan.open().await;
    let mut admin = admin(&house).await;
    let (_, _) = granted(&house).await;
    let mut runner = house.svid_agent("spiffe://acme.test/agent/runner").await;
    let theirs = house.login(&mut runner, &MAIL).await.unwrap().grant;
    freeze(&mut admin, "agent").await.unwrap();
    get(&mut runner, &theirs).await.unwrap();
    house.login(&mut runner, &MAIL).await.unwrap();
    let mut courier = house.svid_agent(COURIER).await;
    refused(house.begin(&mut courier, &MAIL).await, Code::PermissionDenied, "FROZEN");
}

// rows: INTR-03
#[tokio::test]
async fn a_name_that_is_none_is_refused_and_freezes_nothing() {
    use narrowgate::api::proto::{FreezeRequest, Target, target::Kind};
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    for (kind, ticket) in [
        (Some(Kind::Agent("curier".to_owned())), ""),
        (Some(Kind::Client("https://x".to_owned())), ""),
        (Some(Kind::Issuer("\" || true".to_owned())), ""),
        (Some(Kind::Agent("courier".to_owned())), "see\nmail"),
    ] {
        let request = FreezeRequest { target: Some(Target { kind }), ticket: ticket.to_owned() };
        refused(admin.freeze(request).await, Code::InvalidArgument, "FIELD_INVALID");
    }
    refused(admin.freeze(FreezeRequest::default()).await, Code::InvalidArgument, "FIELD_REQUIRED");
    let (mut agent, grant) = granted(&house).await;
    get(&mut agent, &grant).await.unwrap();
}

// rows: LEAK-07
#[tokio::test]
async fn how_much_is_frozen_is_a_number_and_nobodys_name() {
    let numbers = "[metrics]\npath = \"@FOLDER@/run/numbers.sock\"\n\n[audit]";
    let house = plan().config("[audit]", numbers).open().await;
    let mut admin = admin(&house).await;
    for kind in KINDS {
        freeze(&mut admin, kind).await.unwrap();
    }
    let output = binary().arg("metrics").arg("--socket").arg(house.path("run/numbers.sock")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("narrowgate_frozen 3\n"), "{text}");
    assert!(text.contains("narrowgate_calls_total{method=\"Freeze\",reason=\"OK\"} 3\n"), "{text}");
    assert!(!text.contains("courier") && !text.contains("incident"), "{text}");
    // Health is not about it: what is not frozen is served.
    let health = binary().args(["health", "--endpoint", &house.endpoint()]).output().unwrap();
    assert_eq!(health.status.code(), Some(0));
}
