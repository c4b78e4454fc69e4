use crate::{
    asking::{READ, ask, begin, refused},
    house::{COURIER, Plan, QUOTER, begin_request, fact, redeem_request},
};
use narrowgate::api::proto::{
    BeginAuthorizationRequest, GetTokenRequest, RedeemCodeRequest, RevokeGrantRequest, SignProofRequest,
    token_service_client::TokenServiceClient,
};
use tonic::{Code, Request, metadata::MetadataValue, service::Interceptor};

/// Policies that can tell the two agents apart.
const NO_QUOTER: &str = r#"
@id("test.no-quoter")
@code("it_is_quoter")
forbid (principal == Narrowgate::Agent::"quoter", action == Narrowgate::Action::"begin_authorization", resource);
"#;
const NO_COURIER: &str = r#"
@id("test.no-courier")
@code("it_is_courier")
forbid (principal == Narrowgate::Agent::"courier", action == Narrowgate::Action::"begin_authorization", resource);
"#;

/// Claims to be another agent in every header that someone might believe.
#[derive(Clone)]
struct Impostor(&'static str);

impl Interceptor for Impostor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        let metadata = request.metadata_mut();
        for name in ["x-agent-id", "agent", "agent-id", "x-spiffe-id", "x-forwarded-user", "authorization"] {
            metadata.insert(name, MetadataValue::from_static(self.0));
        }
        Ok(request)
    }
}

// rows: CALL-01
#[tokio::test]
async fn policy_sees_the_kernels_peer_whatever_the_metadata_says() {
    let house = Plan::new().policy(NO_COURIER).open().await;
    let channel = crate::asking::channel(&house.path("run/agent.sock")).await;
    let mut agent = TokenServiceClient::with_interceptor(channel, Impostor("courier"));
    agent.begin_authorization(begin_request(&[READ])).await.unwrap();
    let decided = house.event("authorization.decided").await;
    assert_eq!(decided["actor"]["user"]["uid"], QUOTER);
    assert!(decided["actor"]["process"]["pid"].is_u64());
}

// rows: CALL-01
#[tokio::test]
async fn metadata_buys_no_way_around_a_rule_about_the_real_caller() {
    let house = Plan::new().policy(NO_QUOTER).open().await;
    let channel = crate::asking::channel(&house.path("run/agent.sock")).await;
    let mut agent = TokenServiceClient::with_interceptor(channel, Impostor("courier"));
    let result = agent.begin_authorization(begin_request(&[READ])).await;
    let status = refused(result, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("it_is_quoter"));
    assert_eq!(house.event("authorization.decided").await["actor"]["user"]["uid"], QUOTER);
    // The real courier is not stopped by that rule.
    let mut courier = house.svid_agent(COURIER).await;
    house.begin(&mut courier, &[READ]).await.unwrap();
    assert_eq!(house.event("authorization.decided").await["actor"]["user"]["uid"], "courier");
}

// rows: CALL-01
#[tokio::test]
async fn naming_another_agent_in_a_request_is_refused_and_changes_nothing() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let decided = house.events("authorization.decided").len();
    for other in ["courier", "Quoter", "quoter ", "nobody", COURIER, "0"] {
        let request = BeginAuthorizationRequest { agent: other.to_owned(), ..begin_request(&[READ]) };
        refused(begin(&mut agent, request).await, Code::InvalidArgument, "CALLER_IDENTITY_ASSERTED");
        let named = RedeemCodeRequest { agent: other.to_owned(), ..redeem_request(&transaction, &callback.url) };
        refused(ask(&mut agent, named).await, Code::InvalidArgument, "CALLER_IDENTITY_ASSERTED");
    }
    assert_eq!(house.events("authorization.decided").len(), decided);
    assert_eq!(house.server.token_connections(), 0);
    // Its own name is no claim to another identity, and the transaction is untouched.
    let own = RedeemCodeRequest { agent: QUOTER.to_owned(), ..redeem_request(&transaction, &callback.url) };
    let grant = ask(&mut agent, own).await.unwrap().grant;
    let get = GetTokenRequest { grant: grant.clone(), agent: "courier".to_owned(), ..GetTokenRequest::default() };
    refused(agent.get_token(get).await, Code::InvalidArgument, "CALLER_IDENTITY_ASSERTED");
    let prove = SignProofRequest { grant: grant.clone(), agent: "courier".to_owned(), ..SignProofRequest::default() };
    refused(agent.sign_proof(prove).await, Code::InvalidArgument, "CALLER_IDENTITY_ASSERTED");
    let revoke = RevokeGrantRequest { grant: grant.clone(), agent: "courier".to_owned() };
    refused(agent.revoke_grant(revoke).await, Code::InvalidArgument, "CALLER_IDENTITY_ASSERTED");
    assert_eq!(house.server.revocation_posts(), 0);
    crate::house::get(&mut agent, &grant).await.unwrap();
}
