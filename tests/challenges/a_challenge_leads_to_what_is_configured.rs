use crate::{
    house::{COURIER, Plan, begin_request, fact, reason},
    kit::{Resource, Trap, open_with, resolve},
};
use narrowgate::api::proto::{BeginAuthorizationRequest, ResolveChallengeRequest};
use tonic::Code;

const STEP_UP: &str =
    r#"Bearer error="insufficient_scope", scope="customers.read customers.write admin:* mail.read openid""#;

// rows: MCP-02 (what nobody declared is never asked for; what policy refuses is refused with no URL to open)
#[tokio::test]
async fn from_the_catalogue_alone() {
    let resource = Resource::start();
    let house = open_with(Plan::new(), &resource, "").await;
    let mut agent = house.agent().await;
    let resolved = resolve(&mut agent, &resource.url("/api/customers/7?x=1"), &[STEP_UP]).await.unwrap();
    let [option] = resolved.options.as_slice() else { panic!("{:?} options", resolved.options.len()) };
    assert_eq!((option.api.as_str(), option.issuer.as_str()), ("crm", "corp"));
    assert_eq!(option.resource, resource.url("/api"));
    assert_eq!(option.clients, ["sales-crm"]);
    assert_eq!(option.scopes, ["customers.read", "customers.write", "openid"]);
    // Of another API, and of none.
    assert_eq!(option.unknown_scopes, ["admin:*", "mail.read"]);
    assert!(option.supported_scopes.is_empty() && !resolved.from_metadata);
    assert!(resolved.step_up && resolved.schemes == ["bearer"]);
    assert_eq!(resolved.error, "insufficient_scope");
    // What it names can be begun with, as it is.
    let begin = |scopes: &[&str]| BeginAuthorizationRequest {
        client: option.clients[0].clone(),
        resource: option.resource.clone(),
        ..begin_request(scopes)
    };
    let read: Vec<&str> = option.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid").collect();
    agent.begin_authorization(begin(&read)).await.unwrap();
    let refused = agent.begin_authorization(begin(&["admin:*"])).await.err().unwrap();
    assert_eq!(reason(&refused), "SCOPE_UNDECLARED");
    let refused = agent.begin_authorization(begin(&["customers.delete"])).await.err().unwrap();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED"));
    // A place elsewhere says that the challenge is not the API's, whether it would be looked at or not.
    let evil = r#"Bearer resource_metadata="https://evil.example/.well-known/oauth-protected-resource""#;
    let refused = resolve(&mut agent, &resource.url("/api"), &[evil]).await.err().unwrap();
    assert_eq!((reason(&refused).as_str(), fact(&refused, "rule").as_deref()), ("PRM_REJECTED", Some("origin")));
    let own = format!("Bearer resource_metadata=\"{}\"", resource.url("/.well-known/oauth-protected-resource/api"));
    assert!(!resolve(&mut agent, &resource.url("/api"), &[&own]).await.unwrap().from_metadata);
    assert_eq!(resource.connections(), 0, "without metadata_ca nothing is fetched");
}

// rows: IDT-07 (RFC 9470: what the API demands of the login is passed on)
#[tokio::test]
async fn with_the_login_that_is_demanded() {
    let resource = Resource::start();
    let house = open_with(Plan::new(), &resource, "").await;
    let header = r#"Bearer error="insufficient_user_authentication", acr_values="gold silver", max_age=300"#;
    let resolved =
        resolve(&mut house.agent().await, &resource.url("/api"), &[header, "DPoP algs=ES256"]).await.unwrap();
    assert_eq!(resolved.acr_values, ["gold", "silver"]);
    assert_eq!(resolved.max_age.map(|age| age.seconds), Some(300));
    assert_eq!(resolved.error, "insufficient_user_authentication");
    assert!(!resolved.step_up && resolved.schemes == ["bearer", "dpop"]);
    let resolved = resolve(&mut house.agent().await, &resource.url("/api"), &[]).await.unwrap();
    assert!(resolved.error.is_empty() && resolved.schemes.is_empty() && resolved.options.len() == 1);
}

// rows: SSRF-01 (the API is a declared one, or nothing is fetched)
#[tokio::test]
async fn for_urls_of_declared_apis_alone() {
    let (resource, trap) = (Resource::start(), Trap::new());
    let house = open_with(Plan::new(), &resource, "metadata_ca = \"resource-ca.pem\"").await;
    let mut agent = house.agent().await;
    let own = resource.url("");
    for url in [
        own.clone(),
        format!("{own}/"),
        format!("{own}/apis"),
        format!("{own}/api/../admin"),
        format!("{own}/api%2fx"),
        own.replace("127.0.0.1", "localhost") + "/api",
        own.replace("127.0.0.1", "127.0.0.1.evil.test") + "/api",
        format!("https://127.0.0.1:{}/api", trap.port()),
        "https://crm.example.test/api".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let place = format!(
            "{}/.well-known/oauth-protected-resource",
            url::Url::parse(&url).unwrap().origin().ascii_serialization()
        );
        for header in [vec![], vec![format!("Bearer resource_metadata=\"{place}\"")]] {
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let status = resolve(&mut agent, &url, &header).await.err().expect(&url);
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::FailedPrecondition, "API_UNDECLARED"),
                "{url}"
            );
        }
    }
    trap.assert_untouched();
    assert_eq!(resource.connections(), 0);
    let event = house.event("exchange.refused").await;
    assert_eq!((&event["status_code"], &event["actor"]["user"]["uid"]), (&"API_UNDECLARED".into(), &"quoter".into()));
}

// rows: SSRF-08
#[tokio::test]
async fn what_is_malformed_is_refused_whole() {
    let resource = Resource::start();
    let house = open_with(Plan::new(), &resource, "metadata_ca = \"resource-ca.pem\"").await;
    let mut agent = house.agent().await;
    let url = resource.url("/api");
    let long = format!("Bearer realm=\"{}\"", "x".repeat(9000));
    for headers in [
        vec![r#"Bearer scope="a", scope="b""#],
        vec![r#"Bearer scope="a"#],
        vec![r#"Bearer scope="customers.read", DPoP scope="customers.write""#],
        vec!["Basic realm=x"],
        vec!["Bearer", "Bearer realm="],
        vec!["Bearer"; 9],
        vec![long.as_str()],
    ] {
        let status = resolve(&mut agent, &url, &headers).await.err().unwrap_or_else(|| panic!("{headers:?} was taken"));
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"), "{headers:?}");
        assert!(status.message().contains("`www_authenticate`"), "{status:?}");
    }
    for url in ["http://127.0.0.1/api", "https://u:p@127.0.0.1/api", "file:///etc/passwd", "https://127.0.0.1/#x"] {
        let status = resolve(&mut agent, url, &[]).await.err().expect(url);
        assert_eq!((reason(&status).as_str(), status.message().contains("`url`")), ("FIELD_INVALID", true), "{url}");
    }
    assert_eq!(reason(&resolve(&mut agent, "", &[]).await.err().unwrap()), "FIELD_REQUIRED");
    assert_eq!(resource.connections(), 0);
}

// rows: CALL-01 CALL-02 GRPC-09 (the call of a challenge too)
#[tokio::test]
async fn only_an_attested_caller_is_told() {
    let resource = Resource::start();
    let few = Plan::new().config("[limits]\n", "[limits]\ncalls_per_second = 1\ncalls_burst = 3\n");
    let house = open_with(few, &resource, "metadata_ca = \"resource-ca.pem\"").await;
    let url = resource.url("/api");
    let mut stranger = house.svid_agent("spiffe://acme.test/agent/nobody").await;
    let status = resolve(&mut stranger, &url, &[]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "AGENT_UNKNOWN"));
    let mut courier = house.svid_agent(COURIER).await;
    let request = ResolveChallengeRequest { url, agent: "quoter".to_owned(), ..ResolveChallengeRequest::default() };
    let status = courier.resolve_challenge(request.clone()).await.err().unwrap();
    assert_eq!(reason(&status), "CALLER_IDENTITY_ASSERTED");
    assert_eq!(resource.connections(), 0);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.extend(courier.resolve_challenge(request.clone()).await.err());
    }
    let limited = statuses.iter().find(|status| reason(status) == "QUOTA_EXCEEDED").expect("calls are metered");
    assert_eq!(fact(limited, "quota").as_deref(), Some("calls_per_second"));
}
