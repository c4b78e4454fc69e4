use crate::{
    house::{
        Agent, Plan, fact, redeem_request,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{CRM, READ, Resource, WRITE, granted, narrow, plan, proving, refused, sign},
};
use narrowgate::api::proto::{RevokeGrantRequest, SignProofRequest, SignProofResponse};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};
use tonic::{Code, Request, Status};

// rows: DPOP-10 DPOP-01
#[tokio::test]
async fn a_resource_server_takes_the_token_with_its_proof_and_not_with_another() {
    let (house, mut agent, redeemed) = granted(plan()).await;
    let token = redeemed.token.unwrap();
    let mut resource = Resource::knowing(&token);
    let signed = sign(&mut agent, proving(&redeemed.grant, &format!("{CRM}?page=2#top"))).await.unwrap();
    assert_eq!(signed.jkt, token.jkt);
    resource.get(CRM, &token, &signed.proof).unwrap();
    // Once, and nowhere else.
    assert_eq!(resource.get(CRM, &token, &signed.proof).err().unwrap(), "it was seen before");
    let other = sign(&mut agent, proving(&redeemed.grant, CRM)).await.unwrap();
    assert!(resource.get("https://crm.example.test/api/orders", &token, &other.proof).is_err());
    // A narrower token has a proof of its own: each is for one token alone.
    let narrower = narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    resource.keys.insert(narrower.access_token.clone(), narrower.jkt.clone());
    let for_all = sign(&mut agent, proving(&redeemed.grant, CRM)).await.unwrap();
    assert_eq!(resource.get(CRM, &narrower, &for_all.proof).err().unwrap(), "ath is not the token's");
    let request = SignProofRequest { scopes: vec![READ.to_owned()], ..proving(&redeemed.grant, CRM) };
    let for_one = sign(&mut agent, request).await.unwrap();
    resource.get(CRM, &narrower, &for_one.proof).unwrap();
    let event = house.event("proof.signed").await;
    let facts = &event["unmapped"]["narrowgate"];
    assert_eq!((&facts["proof_origin"], &facts["jkt"]), (&json!("https://crm.example.test"), &json!(token.jkt)));
    assert_eq!((&facts["proof_method"], &facts["proof_nonce"]), (&json!("GET"), &json!(false)));
    assert_eq!(event["class_uid"], 3003);
}

// rows: DPOP-10
#[tokio::test]
async fn nothing_is_signed_for_an_address_that_is_not_the_apis() {
    let mut plan = plan();
    let identifier = "identifier = \"https://crm.example.test/api\"";
    let more = format!("{identifier}\norigins = [\"https://eu.crm.example.test:8443\"]");
    plan.apis = plan.apis.replacen(identifier, &more, 1);
    let (house, mut agent, redeemed) = granted(plan).await;
    for elsewhere in [
        "https://evil.test/api/customers",
        "https://mail.example.test/api",
        "https://crm.example.test.evil.test/api",
        "https://crm.example.test:444/api",
        "http://crm.example.test/api",
        "https://eu.crm.example.test/api",
        &house.server.token_url(),
    ] {
        let answer = sign(&mut agent, proving(&redeemed.grant, elsewhere)).await;
        refused(answer, Code::PermissionDenied, "SCOPE_NOT_GRANTED");
    }
    for wrong in ["", "customers", "/api", "https://me@crm.example.test/", "https://crm.example.test/ x", "urn:crm"] {
        let status = sign(&mut agent, proving(&redeemed.grant, wrong)).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{wrong}");
    }
    for method in ["", "get", "GET /", "GET\r\nX: y", &"G".repeat(33)] {
        let request = SignProofRequest { http_method: method.to_owned(), ..proving(&redeemed.grant, CRM) };
        assert_eq!(sign(&mut agent, request).await.err().unwrap().code(), Code::InvalidArgument, "{method}");
    }
    assert!(house.events("proof.signed").is_empty());
    for own in [CRM, "https://CRM.example.test:443/", "https://eu.crm.example.test:8443/api"] {
        sign(&mut agent, proving(&redeemed.grant, own)).await.unwrap();
    }
}

/// The request with members that it does not have.
#[derive(Clone, PartialEq, prost::Message)]
struct Forged {
    #[prost(string, tag = "1")]
    grant: String,
    #[prost(string, tag = "4")]
    http_method: String,
    #[prost(string, tag = "5")]
    http_uri: String,
    #[prost(int64, tag = "98")]
    iat: i64,
    #[prost(string, tag = "99")]
    ath: String,
    #[prost(string, tag = "100")]
    access_token: String,
}

// rows: DPOP-10
#[tokio::test]
async fn time_and_token_are_the_daemons_whatever_a_caller_sends_along() {
    let (house, _, redeemed) = granted(plan()).await;
    let token = redeemed.token.unwrap();
    let forged = Forged {
        grant: redeemed.grant,
        http_method: "GET".to_owned(),
        http_uri: CRM.to_owned(),
        iat: 4_000_000_000,
        ath: "AAAA".to_owned(),
        access_token: "canary-at-stolen".to_owned(),
    };
    let channel = crate::house::unix_channel(&house.path("run/agent.sock")).await;
    let mut raw = tonic::client::Grpc::new(channel);
    raw.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/narrowgate.v1.TokenService/SignProof");
    let codec = tonic_prost::ProstCodec::<Forged, SignProofResponse>::default();
    let signed = raw.unary(Request::new(forged), path, codec).await.unwrap().into_inner();
    // The resource server checks iat against its own clock, and ath against the real token.
    Resource::knowing(&token).get(CRM, &token, &signed.proof).unwrap();
}

// rows: DPOP-10
#[tokio::test]
async fn each_proof_is_a_decision_of_its_own() {
    const READ_ONLY: &str = r#"
@id("test.read-only")
@code("read_only")
forbid (principal, action == Narrowgate::Action::"sign_proof", resource)
unless { context.httpMethod == "GET" && context.origin == "https://crm.example.test" };
"#;
    const NO_BULK: &str = r#"
@id("test.unreleased")
@code("not_today")
forbid (principal, action == Narrowgate::Action::"release_token", resource)
when { context.base.claimed has task && context.base.claimed.task == "late" };
"#;
    let (house, mut agent, redeemed) = granted(plan().policy(READ_ONLY).policy(NO_BULK)).await;
    sign(&mut agent, proving(&redeemed.grant, CRM)).await.unwrap();
    let post = SignProofRequest { http_method: "POST".to_owned(), ..proving(&redeemed.grant, CRM) };
    let denied = refused(sign(&mut agent, post).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&denied, "policy_code").as_deref(), Some("read_only"));
    let withheld = house.event("token.withheld").await;
    assert_eq!(withheld["status_code"], "POLICY_DENIED");
    // What would not be released now is not proven either.
    let claimed = narrowgate::api::proto::Claimed { task: "late".to_owned(), ..Default::default() };
    let late = SignProofRequest { claimed: Some(claimed), ..proving(&redeemed.grant, CRM) };
    let denied = refused(sign(&mut agent, late).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&denied, "policy_code").as_deref(), Some("not_today"));
    // Each is on record, with a decision of its own.
    sign(&mut agent, proving(&redeemed.grant, CRM)).await.unwrap();
    let ids: BTreeSet<String> = crate::house::eventually("both records", || {
        let signed = house.events("proof.signed");
        (signed.len() == 2).then_some(signed)
    })
    .await
    .iter()
    .map(|event| event["unmapped"]["narrowgate"]["exchange_id"].to_string() + &event["metadata"]["uid"].to_string())
    .collect();
    assert_eq!(ids.len(), 2);
}

// rows: DPOP-10 POL-09
#[tokio::test]
async fn the_decision_of_a_proof_can_be_asked_again() {
    let demand = "@id(\"test.bound\") @proof(\"dpop\")\n\
        permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);";
    let (mut house, mut agent, redeemed) = granted(plan().policy(demand)).await;
    sign(&mut agent, proving(&redeemed.grant, CRM)).await.unwrap();
    let late = SignProofRequest { scopes: vec![WRITE.to_owned()], ..proving(&redeemed.grant, CRM) };
    narrow(&mut agent, &redeemed.grant, &[WRITE]).await.unwrap();
    sign(&mut agent, late).await.unwrap();
    crate::house::eventually("both records", || (house.events("proof.signed").len() == 2).then_some(())).await;
    house.stop().await;
    let mut command = crate::house::binary();
    command.args(["policy", "replay", "--output", "json", "--config"]).arg(house.path("narrowgate.toml"));
    let output = command.output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert!(output.status.success() && said["differ"] == 0, "{output:?}");
    let signed = house.events("proof.signed");
    assert!(signed[0]["unmapped"]["narrowgate"]["asked"]["bound"] == "dpop", "{}", signed[0]);
}

// rows: DPOP-10
#[tokio::test]
async fn without_a_token_or_a_key_there_is_nothing_to_prove() {
    let (house, mut agent, redeemed) = granted(plan()).await;
    let narrower = SignProofRequest { scopes: vec![WRITE.to_owned()], ..proving(&redeemed.grant, CRM) };
    refused(sign(&mut agent, narrower).await, Code::FailedPrecondition, "TOKEN_EXPIRED");
    let more = SignProofRequest { scopes: vec!["mail.read".to_owned()], ..proving(&redeemed.grant, CRM) };
    refused(sign(&mut agent, more).await, Code::PermissionDenied, "SCOPE_NOT_GRANTED");
    let grant = redeemed.grant.clone();
    agent.revoke_grant(RevokeGrantRequest { grant, ..RevokeGrantRequest::default() }).await.unwrap();
    refused(sign(&mut agent, proving(&redeemed.grant, CRM)).await, Code::NotFound, "GRANT_UNKNOWN");
    drop(house);
    let (_house, mut agent, redeemed) = granted(Plan::new()).await;
    refused(sign(&mut agent, proving(&redeemed.grant, CRM)).await, Code::InvalidArgument, "FIELD_INVALID");
}

// rows: DPOP-10 GRPC-09
#[tokio::test]
async fn proofs_count_as_calls() {
    let plan = plan().config("[limits]", "[limits]\ncalls_per_second = 1\ncalls_burst = 6");
    let (_house, mut agent, redeemed) = granted(plan).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(sign(&mut agent, proving(&redeemed.grant, CRM)).await);
    }
    let status = answers.into_iter().find_map(Result::err).expect("one too many");
    assert_eq!((status.code(), crate::house::reason(&status).as_str()), (Code::ResourceExhausted, "QUOTA_EXCEEDED"));
}

// rows: DPOP-10
#[tokio::test]
async fn the_last_token_that_is_handed_out_is_proven_too() {
    let once = "@id(\"test.once\") @max_uses(\"1\")\n\
        permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);";
    let (house, mut agent, redeemed) = granted(plan().policy(once)).await;
    let token = redeemed.token.unwrap();
    refused(narrow(&mut agent, &redeemed.grant, &[]).await, Code::NotFound, "GRANT_UNKNOWN");
    let mut resource = Resource::knowing(&token);
    for _ in 0..2 {
        let signed = sign(&mut agent, proving(&redeemed.grant, CRM)).await.unwrap();
        resource.get(CRM, &token, &signed.proof).unwrap();
    }
    // No proof is a hand-out: nothing is fetched for it, and what was refused stays so.
    refused(narrow(&mut agent, &redeemed.grant, &[]).await, Code::NotFound, "GRANT_UNKNOWN");
    let narrower = SignProofRequest { scopes: vec![READ.to_owned()], ..proving(&redeemed.grant, CRM) };
    refused(sign(&mut agent, narrower).await, Code::FailedPrecondition, "TOKEN_EXPIRED");
    assert_eq!(house.server.token_posts(), 1);
}

// rows: DPOP-10 INTR-05
#[tokio::test]
async fn what_its_issuer_does_not_stand_by_is_not_proven() {
    let asking = "deadline = \"5s\"\ncircuit_breaker = false\n\n[issuer.access_token]\n\
        contract = \"introspection\"\nintrospection_cache = \"100ms\"\n";
    let house = plan().config("deadline = \"5s\"\n", asking).open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ, WRITE]).await.unwrap();
    let url = url::Url::parse(&begun.authorization_url).unwrap();
    let jkt = url.query_pairs().find(|(name, _)| name == "dpop_jkt").unwrap().1.into_owned();
    let serde_json::Value::Object(bound) = json!({ "cnf": { "jkt": jkt } }) else { panic!("no object") };
    house.server.always(Script::Introspection(Behaviour::Members(bound.clone())));
    let callback = house.server.approve(&begun.authorization_url);
    let request = redeem_request(&begun.transaction, &callback.url);
    let grant = agent.redeem_code(request).await.unwrap().into_inner().grant;
    sign(&mut agent, proving(&grant, CRM)).await.unwrap();
    // Its word is believed for a moment; then nobody knows.
    house.server.always(Script::Introspection(Behaviour::Status(500)));
    let unknown = until_refused(&mut agent, &grant).await;
    refused(Err::<(), _>(unknown), Code::Unavailable, "INTROSPECTION_UNAVAILABLE");
    house.server.always(Script::Introspection(Behaviour::Members(bound)));
    sign(&mut agent, proving(&grant, CRM)).await.unwrap();
    house.server.end_all_access();
    let gone = until_refused(&mut agent, &grant).await;
    refused(Err::<(), _>(gone), Code::FailedPrecondition, "TOKEN_EXPIRED");
    let event = house.events("exchange.refused").pop().unwrap();
    let facts = &event["unmapped"]["narrowgate"];
    assert_eq!((&facts["introspection"], &facts["operation"]), (&json!("inactive"), &json!("SignProof")));
    assert!(house.server.refreshes().is_empty(), "nothing is fetched for a proof");
}

/// Why no proof is signed any more.
async fn until_refused(agent: &mut Agent, grant: &str) -> Status {
    for _ in 0..600 {
        if let Err(status) = sign(agent, proving(grant, CRM)).await {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it is signed for ever")
}
