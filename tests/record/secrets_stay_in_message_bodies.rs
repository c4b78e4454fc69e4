//! Canaries through every RPC and error path, with the daemon's log at TRACE: they are in message bodies, where they
//! were asked for, and nowhere else.

use crate::{
    house::{
        Agent, House, Plan, begin_request, eventually, redeem_request,
        scripted_as::behaviour::{Behaviour, Script},
    },
    raw::{self, Answer},
};
use narrowgate::api::proto::{
    AuthorizationResponse, BeginAuthorizationResponse, GetTokenRequest, GetTokenResponse, RedeemCodeRequest,
    RedeemCodeResponse, ResolveChallengeRequest, RevokeGrantRequest, SignProofRequest,
    redeem_code_request::Callback as Wire,
};
use prost::Message;
use std::collections::BTreeSet;

/// A secret of the caller's making, in places where callers put secrets by mistake.
const CALLERS: &str = "canary-caller-0123456789abcdef0123456789abcdef";

struct Tapped {
    house: House,
    answers: Vec<(String, Answer)>,
}

impl Tapped {
    async fn call(&mut self, method: &str, message: &impl Message) -> &Answer {
        let path = format!("/narrowgate.v1.TokenService/{method}");
        let headers = [("authorization", CALLERS), ("x-api-key", CALLERS)];
        let answer = raw::call(&self.house.path("run/agent.sock"), &path, &headers, &message.encode_to_vec()).await;
        self.answers.push((method.to_owned(), answer));
        &self.answers.last().unwrap().1
    }

    async fn begin(&mut self) -> BeginAuthorizationResponse {
        let answer = self.call("BeginAuthorization", &begin_request(&["customers.read"])).await;
        BeginAuthorizationResponse::decode(&answer.body[5..]).unwrap()
    }

    /// Approves and redeems; the answer's status code.
    async fn login(&mut self) -> Option<RedeemCodeResponse> {
        let begun = self.begin().await;
        let callback = self.house.server.approve(&begun.authorization_url);
        let answer = self.call("RedeemCode", &redeem_request(&begun.transaction, &callback.url)).await;
        (answer.status().code() == tonic::Code::Ok).then(|| RedeemCodeResponse::decode(&answer.body[5..]).unwrap())
    }

    /// Every way for a caller to go wrong with secrets in its hands.
    async fn clumsy_callers(&mut self) {
        let begun = self.begin().await;
        let callback = self.house.server.approve(&begun.authorization_url);
        let url = callback.url.clone();
        let urls = [
            url.replace("state=", "state=x"),
            url.replace("iss=https", "iss=http"),
            url.replace("/callback", "/other"),
            format!("{url}&code={CALLERS}"),
            format!("{url}#access_token={CALLERS}"),
            format!("{url}&id_token={CALLERS}"),
            format!("{url}&error={CALLERS}&error_description={CALLERS}"),
            url.replace("code=", "code=%00"),
            url.replace("http://", "http ://"),
            url.split('?').next().unwrap().to_owned(),
            format!("/callback?{CALLERS}"),
            format!("/callback?code={CALLERS}&state={CALLERS}"),
        ];
        for url in urls {
            self.call("RedeemCode", &redeem_request(&begun.transaction, &url)).await;
            self.call("RedeemCode", &redeem_request(CALLERS, &url)).await;
        }
        let fields = AuthorizationResponse { code: callback.code, state: CALLERS.to_owned(), iss: CALLERS.to_owned() };
        let request =
            RedeemCodeRequest { callback: Some(Wire::Response(fields)), ..redeem_request(&begun.transaction, "") };
        self.call("RedeemCode", &request).await;
        let mut request = redeem_request(&begun.transaction, &url);
        request.request_id = CALLERS.to_owned();
        self.call("RedeemCode", &request).await;
        request.agent = CALLERS.to_owned();
        self.call("RedeemCode", &request).await;
        for field in 0..4 {
            let mut request = begin_request(&["customers.read"]);
            match field {
                0 => request.client = CALLERS.to_owned(),
                1 => request.issuer = CALLERS.to_owned(),
                2 => request.resource = CALLERS.to_owned(),
                _ => request.redirect_uri = format!("https://app.example/cb?token={CALLERS}"),
            }
            self.call("BeginAuthorization", &request).await;
        }
        self.call("GetToken", &GetTokenRequest { grant: CALLERS.to_owned(), ..GetTokenRequest::default() }).await;
        let prove = SignProofRequest {
            grant: CALLERS.to_owned(),
            http_method: "GET".to_owned(),
            http_uri: format!("https://crm.example.test/{CALLERS}?{CALLERS}"),
            nonce: CALLERS.to_owned(),
            ..SignProofRequest::default()
        };
        self.call("SignProof", &prove).await;
        self.call("RevokeGrant", &RevokeGrantRequest { grant: CALLERS.to_owned(), ..RevokeGrantRequest::default() })
            .await;
        let scope = format!("Bearer error=\"insufficient_scope\", scope=\"customers.read\", realm=\"{CALLERS}\"");
        let elsewhere = format!("Bearer resource_metadata=\"https://{CALLERS}.example/{CALLERS}\"");
        for (host, header) in [("crm", &scope), ("crm", &elsewhere), ("nobody", &scope), ("crm", &CALLERS.to_owned())] {
            let resolve = ResolveChallengeRequest {
                url: format!("https://{host}.example.test/api?token={CALLERS}"),
                www_authenticate: vec![header.clone()],
                ..ResolveChallengeRequest::default()
            };
            self.call("ResolveChallenge", &resolve).await;
        }
        self.call("NoSuchMethod", &redeem_request(CALLERS, CALLERS)).await;
    }
}

/// Every way for a server to go wrong with secrets in its answer.
fn misbehaviours() -> Vec<Behaviour> {
    let error = |error: &str| Behaviour::OAuthError {
        status: 400,
        error: error.to_owned(),
        description: Some("canary-description-0123456789abcdef".to_owned()),
    };
    vec![
        Behaviour::Broader("customers.delete".to_owned()),
        Behaviour::EmptyScope,
        Behaviour::Lifetime(7200.into()),
        Behaviour::Lifetime("3600".into()),
        Behaviour::TokenType(Some("canary-type-0123456789abcdef".to_owned())),
        Behaviour::TokenType(None),
        Behaviour::AccessTokenValue("canary-at with spaces 0123456789".to_owned()),
        Behaviour::ExtraMembers,
        Behaviour::DuplicateKeys("access_token"),
        Behaviour::Trailing,
        Behaviour::Bom,
        Behaviour::SetCookie,
        Behaviour::ContentType(Some("text/html".to_owned())),
        Behaviour::TokenWith400,
        Behaviour::CutBody,
        Behaviour::Gzip,
        Behaviour::HugeHeader(70_000),
        Behaviour::ErrorWith200,
        error("invalid_grant"),
        error("canary-error-0123456789abcdef"),
        Behaviour::Redirect { status: 302, location: "https://127.0.0.1/?t=canary-location-0123456789".to_owned() },
        Behaviour::Unauthorized401Basic,
        Behaviour::Status(500),
        Behaviour::Bytes(b"HTTP/1.1 200 canary-reason-0123456789\r\nx: canary-header-0123456789\r\n\r\n{".to_vec()),
        Behaviour::ResetAfterRequest,
        Behaviour::ResetBeforeRequest,
    ]
}

async fn scenario() -> Tapped {
    let house = Plan::new().config("[limits]", "[limits]\ntransactions_per_agent = 500").open().await;
    let mut tapped = Tapped { house, answers: Vec::new() };
    let redeemed = tapped.login().await.expect("an honest login");
    let again = GetTokenRequest { grant: redeemed.grant.clone(), ..GetTokenRequest::default() };
    let answer = tapped.call("GetToken", &again).await;
    let token = GetTokenResponse::decode(&answer.body[5..]).unwrap().token.unwrap().access_token;
    assert!(token.starts_with("canary-at-"), "the canaries are alive");
    tapped.clumsy_callers().await;
    for behaviour in misbehaviours() {
        tapped.house.server.behave(Script::Token(behaviour));
        tapped.login().await;
    }
    let revoke = RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() };
    tapped.call("RevokeGrant", &revoke).await;
    tapped
}

fn canaries(house: &House) -> BTreeSet<String> {
    let mut secrets = house.server.secrets();
    secrets.insert(CALLERS.to_owned());
    for name in ["description", "type", "error", "location", "reason", "header", "cookie"] {
        secrets.insert(format!("canary-{name}-0123456789"));
    }
    secrets.insert("canary-at with spaces".to_owned());
    secrets
}

// rows: LEAK-01 GRPC-14 GRPC-02 AUD-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_in_headers_trailers_or_status_text() {
    let mut tapped = scenario().await;
    let secrets = canaries(&tapped.house);
    assert!(secrets.len() > 100, "{}", secrets.len());
    let mut failures = 0;
    for (method, answer) in &tapped.answers {
        let around = answer.around_the_message();
        assert!(secrets.iter().all(|s| !around.contains(s.as_str())), "{method}: {around}");
        if answer.status().code() != tonic::Code::Ok {
            failures += 1;
            assert!(answer.body.is_empty(), "{method}: a refusal has no message");
            let named = method == "NoSuchMethod";
            assert!(named || around.contains("narrowgate"), "{method} has no ErrorInfo: {around}");
        }
        // A token is answered to those who ask for one, and begin and revoke have none to give.
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        let tokens = tapped.house.server.secrets().into_iter().filter(|s| s.starts_with("canary-at"));
        let gives = method == "RedeemCode" || method == "GetToken";
        assert!(gives || tokens.into_iter().all(|t| !body.contains(&t)), "{method}");
        assert!(!body.contains("canary-rt-") && !body.contains(CALLERS), "{method}");
    }
    assert!(failures > 50, "{failures}");
    // Let what is still under way end, and look at every sink with the daemon stopped.
    let retries = || (tapped.house.events("token.revoked").len() >= 10).then_some(());
    eventually("revocations", retries).await;
    assert_eq!(tapped.house.stop().await, Some(0));
    let (log, audit) = (tapped.house.log(), tapped.house.audit_text());
    assert!(log.contains("narrowgate is up") && audit.contains("daemon.stopped"));
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()) && !audit.contains(secret.as_str()), "{secret:.12}");
    }
}

// rows: GRPC-14
#[tokio::test]
async fn an_unset_oneof_is_an_error() {
    let house = Plan::new().open().await;
    let mut agent: Agent = house.agent().await;
    let begun = house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let request = RedeemCodeRequest { transaction: begun.transaction, ..RedeemCodeRequest::default() };
    let status = agent.redeem_code(request).await.err().unwrap();
    assert_eq!(
        (status.code(), crate::house::reason(&status).as_str()),
        (tonic::Code::InvalidArgument, "FIELD_REQUIRED")
    );
}

/// As much of a file descriptor set as knows `debug_redact`, which prost-types does not.
mod descriptor {
    #[derive(prost::Message)]
    pub(super) struct Set {
        #[prost(message, repeated, tag = "1")]
        pub(super) file: Vec<File>,
    }
    #[derive(prost::Message)]
    pub(super) struct File {
        #[prost(string, tag = "2")]
        pub(super) package: String,
        #[prost(message, repeated, tag = "4")]
        pub(super) messages: Vec<Type>,
    }
    #[derive(prost::Message)]
    pub(super) struct Type {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, repeated, tag = "2")]
        pub(super) fields: Vec<Field>,
    }
    #[derive(prost::Message)]
    pub(super) struct Field {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "8")]
        pub(super) options: Option<Options>,
    }
    #[derive(prost::Message)]
    pub(super) struct Options {
        #[prost(bool, tag = "16")]
        pub(super) debug_redact: bool,
    }
}

// rows: GRPC-14 LEAK-01
#[test]
fn fields_that_hold_secrets_are_marked_and_messages_cannot_be_printed() {
    let set = descriptor::Set::decode(narrowgate::api::proto::DESCRIPTORS).unwrap();
    let mut marked = BTreeSet::new();
    for message in set.file.iter().filter(|f| f.package == "narrowgate.v1").flat_map(|f| &f.messages) {
        for field in message.fields.iter().filter(|f| f.options.as_ref().is_some_and(|o| o.debug_redact)) {
            marked.insert(format!("{}.{}", message.name, field.name));
        }
    }
    let secret = [
        "AuthorizationResponse.code",
        "AuthorizationResponse.state",
        "BeginAuthorizationRequest.approval",
        // They may name people and accounts.
        "BeginAuthorizationRequest.authorization_details",
        "BeginAuthorizationRequest.dpop_proof",
        "BeginAuthorizationRequest.login_hint",
        "BeginAuthorizationResponse.authorization_url",
        "ExchangeTokenRequest.actor_token",
        "ExchangeTokenRequest.approval",
        "ExchangeTokenRequest.subject_token",
        "JwtBearerGrant.assertion",
        "ObtainTokenRequest.approval",
        "RedeemCodeRequest.callback_url",
        "RedeemCodeRequest.code_verifier",
        "RedeemCodeRequest.dpop_proof",
        "RegisterAuthorizationRequest.authorization_details",
        "RegisterAuthorizationRequest.nonce",
        "ResolveChallengeRequest.url",
        "SignProofRequest.http_uri",
        "SignProofResponse.proof",
        "Token.access_token",
        "Token.authorization_details",
    ];
    assert_eq!(marked.iter().collect::<Vec<_>>(), secret);
    // An inherent constant wins over a trait's where its bound holds: without Debug, the trait's is left.
    macro_rules! has_debug {
        ($type:ty) => {{
            struct Probe<T>(std::marker::PhantomData<T>);
            trait Without {
                const DEBUG: bool = false;
            }
            impl<T> Without for Probe<T> {}
            impl<T: std::fmt::Debug> Probe<T> {
                const DEBUG: bool = true;
            }
            Probe::<$type>::DEBUG
        }};
    }
    assert!(has_debug!(String), "the probe works");
    assert!(!has_debug!(narrowgate::api::proto::Token));
    assert!(!has_debug!(RedeemCodeRequest) && !has_debug!(AuthorizationResponse));
    assert!(!has_debug!(RedeemCodeResponse) && !has_debug!(GetTokenResponse));
    assert!(!has_debug!(narrowgate::model::AccessToken) && !has_debug!(narrowgate::model::CodeVerifier));
}
