use crate::{
    findings,
    house::{Plan, QUOTER, begin_request, fact, reason, redeem_request},
};
use narrowgate::{api::proto::GetTokenRequest, dev::ca::San};
use tonic::Code;

/// An agent id that would be a policy if anything ever parsed it.
const HOSTILE: &str = "x\"}||Agent::\"admin";

// rows: POL-07
#[tokio::test]
async fn hostile_names_name_nothing() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let mut asserted = begin_request(&["customers.read"]);
    asserted.agent = HOSTILE.to_owned();
    let mut client = begin_request(&["customers.read"]);
    client.client = "sales-crm\" || true || \"".to_owned();
    let mut issuer = begin_request(&["customers.read"]);
    issuer.issuer = "corp\"}".to_owned();
    let scope = |scope: &str| begin_request(&[scope]);
    let cases = [
        (asserted, Code::InvalidArgument, "CALLER_IDENTITY_ASSERTED"),
        (client, Code::NotFound, "CLIENT_UNKNOWN"),
        (issuer, Code::NotFound, "ISSUER_UNKNOWN"),
        (scope("customers.read\"||true"), Code::InvalidArgument, "SCOPE_SYNTAX"),
        (scope("customers.read]||true||[Narrowgate::Scope::x"), Code::InvalidArgument, "SCOPE_UNDECLARED"),
        (scope("customers.*"), Code::InvalidArgument, "SCOPE_UNDECLARED"),
    ];
    for (request, code, wanted) in cases {
        let status = agent.begin_authorization(request).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (code, wanted));
        let said = format!("{status:?}");
        // A well-formed scope is named to its sender; nothing else comes back.
        assert!(!said.contains("admin") && (wanted == "SCOPE_UNDECLARED" || !said.contains("||")), "{said}");
    }
    for handle in [HOSTILE, "txn_\"}||true", "grant_00000000000000000000000000000000\" || true"] {
        let status = agent.redeem_code(redeem_request(handle, "/callback?code=c&state=s")).await.err().unwrap();
        assert_eq!(reason(&status), "TXN_UNKNOWN");
        let request = GetTokenRequest { grant: handle.to_owned(), ..GetTokenRequest::default() };
        assert_eq!(reason(&agent.get_token(request).await.err().unwrap()), "GRANT_UNKNOWN");
    }
    let log = house.audit_text();
    assert!(!log.contains("admin") && !log.contains("||"), "what was refused as no name is in no event");
    assert!(house.events("authorization.decided").is_empty());
}

// rows: POL-07
#[tokio::test]
async fn a_hostile_spiffe_id_is_no_caller() {
    let house = Plan::new().open().await;
    for id in [
        "spiffe://acme.test/agent/x\"}||Agent::\"admin",
        "spiffe://acme.test/agent/courier\"",
        "spiffe://acme.test/a||b",
    ] {
        let identity = house.agents_ca.client("agent", &[San::Uri(id)]).unwrap();
        // Refused with the handshake, or before the first call is answered.
        if let Ok(mut agent) = house.tls_agent(identity).await {
            let status = house.begin(&mut agent, &["customers.read"]).await.err().unwrap();
            assert!(!matches!(status.code(), Code::Ok | Code::PermissionDenied), "{status:?}");
        }
    }
    // Well formed, but nobody's.
    let mut stranger = house.svid_agent("spiffe://acme.test/agent/admin").await;
    let status = house.begin(&mut stranger, &["customers.read"]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "AGENT_UNKNOWN"));
    assert!(house.events("authorization.decided").is_empty(), "policy is not asked about strangers");
}

// rows: POL-07
#[tokio::test]
async fn a_hostile_id_cannot_be_registered() {
    for id in [r#"x\"}||Agent::\"admin"#, "a b", "\\u202e", "", ".hidden", "a\\nb", "é"] {
        let mut plan = Plan::new();
        plan.agents = plan.agents.replace("id = \"ledger\"", &format!("id = \"{id}\""));
        let (exit, found) = findings(&plan.build());
        assert_eq!((exit, found.len()), (64, 1), "{id}: {found:?}");
        assert_eq!(found[0]["message"], "`agent.id` is not an id");
    }
}

// rows: POL-07
#[tokio::test]
async fn a_scope_that_looks_like_policy_is_a_name_and_no_more() {
    // RFC 6749 allows all of these in a scope-token; as Cedar text it would permit everything.
    let odd = "x'}||true||Narrowgate::Scope::customers.delete";
    let mut plan = Plan::new().policy(&format!(
        "@id(\"odd\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"{odd}\");"
    ));
    plan.apis = format!("{}\n[[scope]]\nname = \"{odd}\"\napi = \"crm\"\nrisk = 1\n", plan.apis);
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[odd]).await.unwrap();
    assert_eq!(redeemed.token.unwrap().scopes, [odd]);
    let status = house.begin(&mut agent, &[odd, "customers.delete"]).await.err().unwrap();
    assert_eq!(fact(&status, "scopes").unwrap(), "customers.delete");
    assert_eq!(house.event("token.issued").await["privileges"], serde_json::json!([odd]));
    assert_eq!(house.event("token.issued").await["actor"]["user"]["uid"], QUOTER);
}
