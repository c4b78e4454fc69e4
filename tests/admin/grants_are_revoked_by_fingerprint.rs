use crate::{
    house::{
        eventually, get,
        scripted_as::behaviour::{RevocationBehaviour, Script},
    },
    kit::{MAIL, admin, facts, granted, grants, plan, refused, revoke, target},
};
use narrowgate::api::proto::{ListGrantsRequest, RevokeGrantsRequest, Toll, revoke_grants_request::Which};
use tonic::Code;

// rows: INTR-03 CACH-08
#[tokio::test]
async fn revoked_grants_are_gone_at_once_and_their_agent_may_begin_anew() {
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    let (mut agent, first) = granted(&house).await;
    let second = house.login(&mut agent, &MAIL).await.unwrap().grant;
    for grant in [&first, &second] {
        get(&mut agent, grant).await.unwrap();
    }
    let toll = revoke(&mut admin, Which::Of(target("agent"))).await;
    assert!(toll == Toll { grants: 2, tokens_revoked: 4, ..Toll::default() });
    for grant in [&first, &second] {
        refused(get(&mut agent, grant).await, Code::NotFound, "GRANT_UNKNOWN");
    }
    eventually("an event for each token", || Some(()).filter(|()| house.events("token.revoked").len() == 4)).await;
    let revoked = house.events("token.revoked");
    assert!(revoked.iter().all(|event| facts(event)["why"] == "asked_by_operator"), "{revoked:#?}");
    let done = house.event("admin.completed").await;
    assert_eq!((&facts(&done)["grants"], &facts(&done)["tokens_revoked"]), (&2.into(), &4.into()));
    house.login(&mut agent, &MAIL).await.unwrap();
}

// rows: INTR-03
#[tokio::test]
async fn one_grant_goes_by_its_fingerprint_and_no_handle_is_shown() {
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    let (mut agent, first) = granted(&house).await;
    let second = house.login(&mut agent, &["mail.read"]).await.unwrap().grant;
    let listed = admin.list_grants(ListGrantsRequest::default()).await.unwrap().into_inner();
    let bytes = prost::Message::encode_to_vec(&listed);
    let secrets: Vec<String> =
        [&first, &second].into_iter().map(|handle| handle.trim_start_matches("grant_").to_owned()).collect();
    for secret in secrets.iter().chain(&house.server.secrets()) {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    assert_eq!(listed.grants.len(), 2);
    let narrow = listed.grants.iter().find(|grant| grant.scopes == ["mail.read"]).unwrap();
    assert_eq!(
        (narrow.agent.as_str(), narrow.client.as_str(), narrow.issuer.as_str()),
        ("courier", "sales-crm", "corp")
    );
    assert!(narrow.refreshable && narrow.uses == 1 && narrow.resource == "https://mail.example.test/api");
    // It is the log's own word for the grant.
    let issued = house.events("token.issued");
    assert!(issued.iter().any(|event| facts(event)["grant_ref"] == narrow.fingerprint.as_str()));
    let toll = revoke(&mut admin, Which::Fingerprint(narrow.fingerprint.clone())).await;
    assert_eq!((toll.grants, toll.tokens_revoked), (1, 2));
    refused(get(&mut agent, &second).await, Code::NotFound, "GRANT_UNKNOWN");
    get(&mut agent, &first).await.unwrap();
    assert!(revoke(&mut admin, Which::Fingerprint(narrow.fingerprint.clone())).await == Toll::default());
    // A handle is no fingerprint.
    let request = RevokeGrantsRequest { which: Some(Which::Fingerprint(first)) };
    refused(admin.revoke_grants(request).await, Code::InvalidArgument, "FIELD_INVALID");
}

#[tokio::test]
async fn grants_are_listed_page_by_page_each_once() {
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    let (mut agent, _) = granted(&house).await;
    for _ in 0..4 {
        house.login(&mut agent, &["mail.read"]).await.unwrap();
    }
    let all: Vec<String> = grants(&mut admin).await.into_iter().map(|grant| grant.fingerprint).collect();
    let mut paged = Vec::new();
    let mut request = ListGrantsRequest { of: Some(target("client")), page_size: 2, page_token: String::new() };
    loop {
        let page = admin.list_grants(request.clone()).await.unwrap().into_inner();
        assert!(page.grants.len() <= 2);
        paged.extend(page.grants.into_iter().map(|grant| grant.fingerprint));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!((paged.len(), &paged), (5, &all));
    let other = ListGrantsRequest { page_token: String::new(), page_size: 9, ..request };
    assert_eq!(admin.list_grants(other).await.unwrap().into_inner().grants.len(), 5);
}

// rows: INTR-01
#[tokio::test]
async fn what_the_server_said_is_told_honestly() {
    let plan = plan().config("[limits]\n", "[limits]\nrevocation_retry = \"50ms\"\n");
    let house = plan.open().await;
    let mut admin = admin(&house).await;
    let (mut agent, _) = granted(&house).await;
    // A 400 unsupported_token_type is no success, whatever the one before it was.
    house.server.behave(Script::Revocation(RevocationBehaviour::Ok200));
    house.server.behave(Script::Revocation(RevocationBehaviour::Unsupported400));
    let toll = revoke(&mut admin, Which::Of(target("agent"))).await;
    assert!(toll == Toll { grants: 1, tokens_revoked: 1, tokens_unsupported: 1, ..Toll::default() });
    let failed = house.event("token.revoke_failed").await;
    assert_eq!((&facts(&failed)["revocation"], &failed["status"]), (&"REVOKE_UNSUPPORTED".into(), &"Failure".into()));
    // Neither is a 503: it is tried again, and the log says how it ended.
    house.login(&mut agent, &MAIL).await.unwrap();
    house.server.always(Script::Revocation(RevocationBehaviour::Status(503)));
    let toll = revoke(&mut admin, Which::Of(target("issuer"))).await;
    assert!(toll == Toll { grants: 1, tokens_queued: 2, ..Toll::default() });
    let gave_up = || house.events("token.revoke_failed").iter().filter(|e| facts(e)["revocation"] == "gave_up").count();
    eventually("both given up", || Some(()).filter(|()| gave_up() == 2)).await;
    assert_eq!(house.events("token.revoked").len(), 1);
}

// rows: INTR-03
#[tokio::test]
async fn a_fingerprint_opens_nothing() {
    let house = plan().open().await;
    let (mut agent, grant) = granted(&house).await;
    let listed = grants(&mut admin(&house).await).await;
    let as_handle = format!("grant_{}", listed[0].fingerprint.trim_start_matches("hk1:"));
    refused(get(&mut agent, &as_handle).await, Code::NotFound, "GRANT_UNKNOWN");
    get(&mut agent, &grant).await.unwrap();
}
