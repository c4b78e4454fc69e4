//! One call for each reason that a call can provoke: its status is that of the table, its details are in order.

use crate::{
    house::{
        Agent, COURIER, House, Plan, begin_request, get, redeem, redeem_request,
        scripted_as::behaviour::{Behaviour, Script},
    },
    witness::Witness,
};
use narrowgate::{
    api::proto::{
        AuthorizationResponse, BeginAuthorizationRequest, Claimed, GetTokenRequest, RedeemCodeRequest,
        redeem_code_request::Callback as Wire,
    },
    dev::ca::San,
};
use std::{collections::BTreeSet, time::Duration};
use tonic::Code;

const READ: [&str; 1] = ["customers.read"];

/// Reasons that other tests of this binary or of others provoke, or that need a broken machine.
const ELSEWHERE: [&str; 67] = [
    // answers: authorization_details_are_asked_for_as_declared, authorization_details_only_get_narrower
    "AUTHORIZATION_DETAILS_INVALID",
    "AUTHORIZATION_DETAILS_UNSUPPORTED",
    "RAR_UPGRADED",
    // exchange: a_request_begun_elsewhere_is_registered
    "PKCE_REQUIRED",
    "PKCE_MISMATCH",
    // admin: a_freeze_stops_everything_at_once, agents_are_no_operators, a_freeze_survives_a_crash
    "FROZEN",
    "OPERATOR_UNKNOWN",
    "FREEZE_NOT_KEPT",
    // binding
    "DPOP_NONCE_LOOP",
    "DPOP_KEY_MISMATCH",
    "DPOP_PROOF_INVALID",
    // answers: requests_are_pushed_where_that_is_offered
    "PAR_REQUIRED",
    "PAR_RESPONSE_MALFORMED",
    // answers: a_client_shows_its_jwt_svid
    "CLIENT_CREDENTIAL_UNUSABLE",
    // isolation: a_busy_server_refuses_and_loses_nothing
    "ISSUER_BUSY",
    "METHOD_UNKNOWN",
    "SERVICE_UNKNOWN",
    // callers: compression_is_off
    "ENCODING_UNSUPPORTED",
    // answers: metadata_is_kept_while_it_may_be
    "METADATA_STALE",
    "ISSUER_ENDPOINT_CHANGED",
    // doors: people_break_glass_or_stay_out
    "HUMAN_CALLER",
    // callers: a_connection_ends_with_its_process
    "PEER_CHANGED",
    "PEER_CRED_MISSING",
    "PEER_CREDENTIAL_EXPIRED",
    "REQUEST_REFUSED",
    "TXN_BUSY",
    "CODE_EXPIRED_LOCALLY",
    "SCOPE_NO_LONGER_ALLOWED",
    "POLICY_NOT_LOADED",
    "BINDING_UNUSABLE",
    "PKCE_UNSUPPORTED",
    "METADATA_ISSUER_MISMATCH",
    "METADATA_REJECTED",
    "AS_TLS_UNTRUSTED",
    "SCOPE_UNKNOWN",
    "TOKEN_BINDING_MISMATCH",
    "AUDIT_UNAVAILABLE",
    // keeping: a_disk_that_fails_loses_no_grant
    "GRANT_STORE_UNAVAILABLE",
    "CLOCK_IMPLAUSIBLE",
    "SHUTTING_DOWN",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    // answers: a_jwt_access_token_keeps_to_its_contract
    "AT_CONTRACT_VIOLATION",
    "AUDIENCE_MISMATCH",
    // grants: the_issuer_is_asked_again_and_again
    "INTROSPECTION_UNAVAILABLE",
    // identity: an_id_token_is_verified_and_judged, keys_are_believed_for_a_while
    "OPENID_UNSUPPORTED",
    "JWKS_UNAVAILABLE",
    "ID_TOKEN_INVALID",
    "NONCE_MISMATCH",
    "AT_HASH_MISMATCH",
    "STEP_UP_REQUIRED",
    // delegation
    "GRANT_TYPE_DISABLED",
    "SUBJECT_TOKEN_INVALID",
    "SUBJECT_TOKEN_NOT_YOURS",
    "SCOPE_NOT_IN_SUBJECT",
    "ACTOR_TOKEN_FORBIDDEN",
    "MAY_ACT_MISMATCH",
    "TARGET_NOT_ALLOWED",
    "ISSUED_TYPE_UNEXPECTED",
    "ACT_MISSING",
    "ACT_TOO_DEEP",
    "REQUEST_OUTCOME_UNKNOWN",
    // challenges
    "API_UNDECLARED",
    "PRM_UNAVAILABLE",
    "PRM_REJECTED",
    "PRM_RESOURCE_MISMATCH",
    "NO_TRUSTED_ISSUER",
];

fn begin_with(change: impl Fn(&mut BeginAuthorizationRequest)) -> BeginAuthorizationRequest {
    let mut request = begin_request(&READ);
    change(&mut request);
    request
}

/// What the sample policies let nobody do.
fn bulk_export() -> Claimed {
    Claimed { purpose: "bulk-export".to_owned(), ..Claimed::default() }
}

async fn bad_begins(agent: &mut Agent, witness: &mut Witness) {
    use Code::{FailedPrecondition, InvalidArgument, NotFound, PermissionDenied};
    let scope = |scope: &'static str| begin_request(&[scope]);
    let cases = [
        (begin_with(|r| r.client.clear()), InvalidArgument, "FIELD_REQUIRED"),
        (begin_request(&[]), InvalidArgument, "FIELD_REQUIRED"),
        (begin_with(|r| r.scopes.push("mail.read".to_owned())), InvalidArgument, "FIELD_INVALID"),
        (begin_with(|r| r.agent = "ledger".to_owned()), InvalidArgument, "CALLER_IDENTITY_ASSERTED"),
        (scope("customers\"read"), InvalidArgument, "SCOPE_SYNTAX"),
        (begin_with(|r| r.scopes = (0..65).map(|n| format!("s{n}")).collect()), InvalidArgument, "SCOPE_SYNTAX"),
        (scope("customers.none"), InvalidArgument, "SCOPE_UNDECLARED"),
        (begin_with(|r| r.resource = "not a uri".to_owned()), InvalidArgument, "RESOURCE_SYNTAX"),
        (begin_with(|r| r.resource = "https://a.example/#x".to_owned()), InvalidArgument, "RESOURCE_SYNTAX"),
        (begin_with(|r| r.resource = "https://other.example/".to_owned()), NotFound, "RESOURCE_UNKNOWN"),
        (begin_with(|r| r.client = "other".to_owned()), NotFound, "CLIENT_UNKNOWN"),
        (begin_with(|r| r.issuer = "other".to_owned()), NotFound, "ISSUER_UNKNOWN"),
        (begin_with(|r| r.issuer = "https://as.example".to_owned()), NotFound, "ISSUER_UNKNOWN"),
        (
            begin_with(|r| r.redirect_uri = "https://evil.example/".to_owned()),
            FailedPrecondition,
            "REDIRECT_URI_MISMATCH",
        ),
        (scope("customers.delete"), PermissionDenied, "HUMAN_APPROVAL_REQUIRED"),
        (begin_with(|r| r.claimed = Some(bulk_export())), PermissionDenied, "POLICY_DENIED"),
        (begin_with(|r| r.approval = "e30.e30.AA".to_owned()), InvalidArgument, "APPROVAL_INVALID"),
        (scope("mail.send"), PermissionDenied, "POLICY_EVAL_ERROR"),
        (scope("mail.read"), PermissionDenied, "OBLIGATION_UNMET"),
    ];
    for (request, code, reason) in cases {
        witness.expect(agent.begin_authorization(request).await, code, reason);
    }
    let mut large = begin_request(&READ);
    large.resource = "x".repeat(70_000);
    witness.expect(agent.begin_authorization(large).await, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
}

async fn bad_redeems(house: &House, agent: &mut Agent, witness: &mut Witness) {
    use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied};
    let (transaction, callback) = house.approved(agent, &READ).await;
    let url = |url: String| redeem_request(&transaction, &url);
    let changed = |from: &str, to: &str| url(callback.url.replace(from, to));
    let code = |code: &str| {
        let fields =
            AuthorizationResponse { code: code.to_owned(), state: callback.state.clone(), iss: callback.iss.clone() };
        RedeemCodeRequest { callback: Some(Wire::Response(fields)), ..redeem_request(&transaction, "") }
    };
    let mut scopes = url(callback.url.clone());
    scopes.required_scopes = vec!["customers.write".to_owned()];
    let mut id = url(callback.url.clone());
    id.request_id = "not-a-uuid".to_owned();
    let mut redirect = url(callback.url.clone());
    redirect.redirect_uri = "http://127.0.0.1:50124/callback".to_owned();
    let cases = [
        (RedeemCodeRequest { callback: None, ..url(String::new()) }, InvalidArgument, "FIELD_REQUIRED"),
        (redeem_request("", &callback.url), InvalidArgument, "FIELD_REQUIRED"),
        (id, InvalidArgument, "FIELD_INVALID"),
        (code("a\tb"), InvalidArgument, "CODE_SYNTAX"),
        (url(format!("{}&state=again", callback.url)), InvalidArgument, "PARAM_DUPLICATE"),
        (url(format!("{}#access_token=x", callback.url)), InvalidArgument, "IMPLICIT_RESPONSE"),
        (redeem_request("txn_0", &callback.url), NotFound, "TXN_UNKNOWN"),
        (changed("state=", "state=x"), FailedPrecondition, "STATE_MISMATCH"),
        (changed("iss=", "iss=x"), FailedPrecondition, "ISS_MISMATCH"),
        (redirect, FailedPrecondition, "REDIRECT_URI_MISMATCH"),
        (scopes, PermissionDenied, "SCOPE_NOT_IN_TRANSACTION"),
    ];
    for (request, code, reason) in cases {
        witness.expect(agent.redeem_code(request).await, code, reason);
    }
    redeem(agent, &transaction, &callback).await.unwrap();
    witness.expect(redeem(agent, &transaction, &callback).await, AlreadyExists, "CODE_ALREADY_USED");
    let (other, fresh) = house.approved(agent, &READ).await;
    let replayed = fresh.url.replace(&fresh.code, &callback.code);
    witness.expect(agent.redeem_code(redeem_request(&other, &replayed)).await, AlreadyExists, "CODE_REPLAYED");
    let begun = house.begin(agent, &READ).await.unwrap();
    let denied = house.server.deny(&begun.authorization_url, "access_denied");
    witness.expect(redeem(agent, &begun.transaction, &denied).await, FailedPrecondition, "AUTHORIZATION_REFUSED");
    witness.expect(redeem(agent, &begun.transaction, &fresh).await, FailedPrecondition, "TXN_TERMINAL");
}

async fn bad_gets(house: &House, agent: &mut Agent, witness: &mut Witness) {
    let scopes = ["customers.read", "customers.write"];
    // Without a refresh token no other token can be had.
    house.server.behave(Script::Token(Behaviour::NoRefreshToken));
    let grant = house.login(agent, &scopes).await.unwrap().grant;
    let wanted = |scopes: &[&str], resource: &str, seconds| GetTokenRequest {
        grant: grant.clone(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        resource: resource.to_owned(),
        min_ttl: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..GetTokenRequest::default()
    };
    let cases = [
        (wanted(&["customers.delete"], "", 0), Code::PermissionDenied, "SCOPE_NOT_GRANTED"),
        (wanted(&[], "https://mail.example.test/api", 0), Code::PermissionDenied, "SCOPE_NOT_GRANTED"),
        (wanted(&["customers.read"], "", 0), Code::FailedPrecondition, "NARROWING_UNAVAILABLE"),
        (wanted(&[], "", 3000), Code::FailedPrecondition, "TOKEN_EXPIRED"),
        (wanted(&[], "", -1), Code::InvalidArgument, "FIELD_INVALID"),
        (wanted(&[], "", 100_000), Code::InvalidArgument, "FIELD_INVALID"),
        (GetTokenRequest::default(), Code::InvalidArgument, "FIELD_REQUIRED"),
    ];
    for (request, code, reason) in cases {
        witness.expect(agent.get_token(request).await, code, reason);
    }
    let mut courier = house.svid_agent(COURIER).await;
    let foreign = witness.expect(get(&mut courier, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    let none = get(agent, "grant_0").await.err().unwrap();
    assert_eq!(foreign.message(), none.message(), "another's grant is as unknown as none");
    assert_eq!(foreign.details(), none.details());
}

async fn bad_refreshes(house: &House, agent: &mut Agent, witness: &mut Witness) {
    let invalid = Behaviour::OAuthError { status: 400, error: "invalid_grant".to_owned(), description: None };
    for (behaviour, code, reason) in [
        (invalid, Code::FailedPrecondition, "REAUTH_REQUIRED"),
        (Behaviour::ResetAfterRequest, Code::Aborted, "REFRESH_OUTCOME_UNKNOWN"),
    ] {
        let grant = house.login(agent, &["customers.read", "customers.write"]).await.unwrap().grant;
        house.server.behave(Script::Token(behaviour));
        let scopes = vec!["customers.read".to_owned()];
        let request = GetTokenRequest { grant, scopes, ..GetTokenRequest::default() };
        witness.expect(agent.get_token(request).await, code, reason);
    }
}

async fn bad_servers(house: &House, agent: &mut Agent, witness: &mut Witness) {
    use Code::{Aborted, DeadlineExceeded, FailedPrecondition, Internal, Unavailable};
    let error = |error: &str| Behaviour::OAuthError { status: 400, error: error.to_owned(), description: None };
    let redirect = Behaviour::Redirect { status: 307, location: "https://127.0.0.1/".to_owned() };
    let cases = [
        (error("invalid_grant"), FailedPrecondition, "GRANT_REJECTED"),
        (error("invalid_target"), FailedPrecondition, "SCOPE_REJECTED"),
        (error("unheard_of"), Internal, "AS_REJECTED"),
        (Behaviour::Unauthorized401Basic, Internal, "AS_CLIENT_AUTH_FAILED"),
        (redirect, Internal, "AS_REDIRECT_REFUSED"),
        (Behaviour::Trailing, FailedPrecondition, "AS_RESPONSE_MALFORMED"),
        (Behaviour::TokenType(None), FailedPrecondition, "TOKEN_TYPE_UNSUPPORTED"),
        (Behaviour::Broader("customers.delete".to_owned()), FailedPrecondition, "SCOPE_UPGRADED"),
        (Behaviour::Status(503), Unavailable, "AS_UNAVAILABLE"),
        (Behaviour::Delay { ms: 2000, then: Box::new(Behaviour::Honest) }, DeadlineExceeded, "AS_TIMEOUT"),
        (Behaviour::ResetAfterRequest, Aborted, "REDEEM_OUTCOME_UNKNOWN"),
    ];
    for (behaviour, code, reason) in cases {
        house.server.behave(Script::Token(behaviour));
        witness.expect(house.login(agent, &READ).await, code, reason);
    }
    let scopes = ["customers.read", "customers.write"];
    let (transaction, callback) = house.approved(agent, &scopes).await;
    house.server.behave(Script::Token(Behaviour::Narrower("customers.read".to_owned())));
    let mut request = redeem_request(&transaction, &callback.url);
    request.required_scopes = vec!["customers.write".to_owned()];
    witness.expect(agent.redeem_code(request).await, FailedPrecondition, "SCOPE_NARROWED");
    let (transaction, callback) = house.approved(agent, &READ).await;
    house.server.stop_listening_token();
    witness.expect(redeem(agent, &transaction, &callback).await, Unavailable, "AS_UNREACHABLE");
    house.server.resume_listening_token();
    redeem(agent, &transaction, &callback).await.expect("the code was not sent, so it is still good");
}

const EXTRA: &str = r#"
@id("erring") permit (principal, action == Narrowgate::Action::"grant_scope", resource == Narrowgate::Scope::"mail.send")
when { principal.trust * 9223372036854775807 > 5 };
@id("unkept") @proof("dpop")
permit (principal, action == Narrowgate::Action::"grant_scope", resource == Narrowgate::Scope::"mail.read");
"#;

// rows: GRPC-01 GRPC-02 GRPC-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_every_reason() {
    let plan = Plan::new()
        .policy(EXTRA)
        .config("deadline = \"5s\"", "deadline = \"700ms\"")
        .config("[limits]", "[limits]\ntransactions_per_agent = 60");
    let house = plan.open().await;
    let mut witness = Witness::default();
    let mut agent = house.agent().await;
    bad_begins(&mut agent, &mut witness).await;
    bad_redeems(&house, &mut agent, &mut witness).await;
    bad_gets(&house, &mut agent, &mut witness).await;
    bad_refreshes(&house, &mut agent, &mut witness).await;
    bad_servers(&house, &mut agent, &mut witness).await;
    let mut stranger = house.svid_agent("spiffe://acme.test/agent/nobody").await;
    witness.expect(house.begin(&mut stranger, &READ).await, Code::PermissionDenied, "AGENT_UNKNOWN");
    let mut begun = house.begin(&mut agent, &READ).await;
    for _ in 0..60 {
        if begun.is_err() {
            break;
        }
        begun = house.begin(&mut agent, &READ).await;
    }
    let full = witness.expect(begun, Code::ResourceExhausted, "QUOTA_EXCEEDED");
    for way_out in ["Too many transactions are open", "that of a refusal too", "ends by itself"] {
        assert!(full.message().contains(way_out), "{way_out:?} is not in {:?}", full.message());
    }
    assert!(tonic_types::StatusExt::get_details_retry_info(&full).is_some(), "it says when to come back");
    // Nothing on the list is left out, here or elsewhere.
    let listed: BTreeSet<String> = narrowgate::model::Reason::ALL.iter().map(|r| r.name().to_owned()).collect();
    let mut covered = witness.seen;
    covered.extend(ELSEWHERE.map(str::to_owned));
    let missing: Vec<&String> = listed.difference(&covered).collect();
    assert_eq!(missing, ["METADATA_UNAVAILABLE"], "see for_a_server_without_metadata");
}

// rows: GRPC-01
#[tokio::test]
async fn for_a_server_without_metadata() {
    let house = Plan::new().open().await;
    house.server.stop_listening_front();
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &READ).await;
    Witness::default().expect(begun, Code::Unavailable, "METADATA_UNAVAILABLE");
    house.server.resume_listening_front();
    house.begin(&mut agent, &READ).await.unwrap();
}

// rows: GRPC-01
#[tokio::test]
async fn for_a_credential_that_ended() {
    let house = Plan::new().open().await;
    let started = std::fs::metadata(house.path("narrowgate.toml")).unwrap().modified().unwrap();
    let now = started.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let validity = narrowgate::dev::ca::Validity { not_before_secs: now - 60, not_after_secs: now + 3 };
    let identity = house.agents_ca.issue("agent", &[San::Uri(COURIER)], validity).unwrap();
    let mut agent = house.tls_agent(identity).await.unwrap();
    house.begin(&mut agent, &READ).await.unwrap();
    let refused = async {
        loop {
            match house.begin(&mut agent, &READ).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(status) => break status,
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(20), refused).await.expect("the credential ends");
    Witness::default().expect::<()>(Err(status), Code::Unauthenticated, "PEER_CREDENTIAL_EXPIRED");
}

// rows: GRPC-01 GRPC-02 GRPC-12
#[tokio::test]
async fn for_what_is_not_served() {
    let house = Plan::new().open().await;
    let socket = house.path("run/agent.sock");
    for path in [
        "/narrowgate.v1.TokenService/Nothing",
        "/narrowgate.v2.TokenService/GetToken",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/",
    ] {
        let answer = crate::raw::call(&socket, path, &[], b"").await;
        Witness::default().expect::<()>(Err(answer.status()), Code::Unimplemented, "METHOD_UNKNOWN");
    }
    let unknown = tonic_health::pb::HealthCheckRequest { service: "narrowgate.v1.Nothing".to_owned() };
    let unknown = prost::Message::encode_to_vec(&unknown);
    let answer = crate::raw::call(&socket, "/grpc.health.v1.Health/Check", &[], &unknown).await;
    Witness::default().expect::<()>(Err(answer.status()), Code::NotFound, "SERVICE_UNKNOWN");
}
