//! Each switch of `[issuer.accept]`: off, the answer is refused and the log names the line; on, exactly that is taken.

use crate::{
    house::{
        House, Plan, fact, get, reason,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{BOTH, MALFORMED, READ, facts, members, raw_with, refuses, settled},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tonic::Code;

const WRITE: &str = "customers.write";
const UPGRADED: (Code, &str) = (Code::FailedPrecondition, "SCOPE_UPGRADED");
const MISMATCH: (Code, &str) = (Code::FailedPrecondition, "TOKEN_BINDING_MISMATCH");
const PKCE: &str = "code_challenge_methods_supported";

/// A plan whose issuer accepts this.
fn accepting(switch: &str) -> Plan {
    let deadline = "deadline = \"5s\"\n";
    crate::kit::plan().config(deadline, &format!("{deadline}[issuer.accept]\n{switch}\n"))
}

/// Fails unless the daemon's log, which is JSON, names this line to add.
async fn assert_told(house: &House, line: &str) {
    let told = format!("[issuer.accept] {}", line.replace('"', "\\\""));
    // The log is written by a thread of its own.
    crate::house::eventually(&format!("the log names {line:?}"), || house.log().contains(&told).then_some(())).await;
}

// rows: TOK-06
#[tokio::test]
async fn a_lifetime_in_a_string_is_taken_where_declared() {
    let house = crate::kit::plan().open().await;
    let mut agent = house.agent().await;
    let status = refuses(&house, &mut agent, Behaviour::Lifetime(json!("3600")), MALFORMED, BOTH).await;
    assert_eq!(fact(&status, "cure").as_deref(), Some("[issuer.accept] expires_in_string"));
    assert_told(&house, "expires_in_string = true").await;
    settled(&house, &mut agent).await;

    let house = accepting("expires_in_string = true").open().await;
    let mut agent = house.agent().await;
    for wrong in ["", "-1", "0", "1h", "3600 ", "3.6e3"] {
        let status = refuses(&house, &mut agent, Behaviour::Lifetime(json!(wrong)), MALFORMED, BOTH).await;
        assert_eq!(fact(&status, "cure"), None, "{wrong:?}");
    }
    house.server.behave(Script::Token(Behaviour::Lifetime(json!("1800"))));
    house.login(&mut agent, &[READ]).await.unwrap();
    assert_eq!(facts(&house.event("token.issued").await)["lifetime_seconds"], 1800);
}

// rows: SCOP-09 SCOP-05
#[tokio::test]
async fn a_scope_that_the_server_adds_is_tolerated_and_granted_to_nobody() {
    let house = crate::kit::plan().open().await;
    let mut agent = house.agent().await;
    let added = || Behaviour::Broader("profile email".to_owned());
    let status = refuses(&house, &mut agent, added(), UPGRADED, BOTH).await;
    assert_eq!(fact(&status, "cure").as_deref(), Some("[issuer.accept] tolerated_extra_scopes or scope_aliases"));
    assert_told(&house, "tolerated_extra_scopes = [\"email\", \"profile\"]").await;

    let switch = "tolerated_extra_scopes = [\"email\", \"profile\"]";
    let house = accepting(switch).config("grants_per_agent = 1", "grants_per_agent = 3").open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(added()));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    assert_eq!(redeemed.token.unwrap().scopes, [READ]);
    assert_eq!(get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap().scopes, [READ]);
    let issued = house.event("token.issued").await;
    assert_eq!(issued["privileges"], json!([READ]));
    assert_eq!(facts(&issued)["tolerated_scopes"], json!(["email", "profile"]));
    // What is tolerated is no more than that: another scope is still one too many, and so is one policy was not asked.
    for beyond in ["profile admin", "email customers.write"] {
        refuses(&house, &mut agent, Behaviour::Broader(beyond.to_owned()), UPGRADED, BOTH).await;
    }
    // Tolerated scopes alone are no grant.
    refuses(&house, &mut agent, Behaviour::Narrower("email".to_owned()), MALFORMED, BOTH).await;

    let seen = r#"@id("test.tolerated")
        @code("carries_profile")
        forbid (principal, action == Narrowgate::Action::"release_token", resource)
        when { context.token.toleratedScopes.contains("profile") };"#;
    let house = accepting(switch).policy(seen).open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(added()));
    let status = house.login(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("carries_profile"));
    settled(&house, &mut agent).await;
}

// rows: SCOP-09
#[tokio::test]
async fn a_scope_has_another_name_only_where_declared() {
    let house = crate::kit::plan().open().await;
    let mut agent = house.agent().await;
    for name in ["customers", "customers.*", "crm"] {
        let status = refuses(&house, &mut agent, Behaviour::Narrower(name.to_owned()), UPGRADED, BOTH).await;
        assert_eq!(fact(&status, "scopes").as_deref(), Some(name));
    }
    let house = accepting("scope_aliases = { \"customers\" = \"customers.read\" }").open().await;
    let mut agent = house.agent().await;
    refuses(&house, &mut agent, Behaviour::Narrower("customers customers.write".to_owned()), UPGRADED, BOTH).await;
    house.server.behave(Script::Token(Behaviour::Narrower("customers".to_owned())));
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    assert_eq!(redeemed.token.unwrap().scopes, [READ]);
}

// rows: SCOP-09
#[test]
fn a_switch_lets_no_declared_scope_past_policy() {
    let wrong = [
        ("tolerated_extra_scopes = [\"customers.delete\"]", "holds `customers.delete`, which the catalogue declares"),
        (
            "scope_aliases = { \"customers.delete\" = \"customers.read\" }",
            "maps `customers.delete` to `customers.read`",
        ),
        ("scope_aliases = { \"customers\" = \"customers.raed\" }", "maps `customers` to `customers.raed`"),
        ("scope_aliases = { \"a b\" = \"customers.read\" }", "must hold scope-tokens"),
        ("scope_aliases = [\"customers\"]", "must be a table of texts"),
        ("scope_aliases = { \"customers\" = [\"customers.read\"] }", "must hold texts only"),
        ("tolerated_extra_scopes = [\"\"]", "must hold scope-tokens"),
        ("access_token_typ = \"\"", "must be a media type"),
        ("insecure = true", "unknown key `issuer.accept.insecure`"),
    ];
    for (switch, says) in wrong {
        let output = accepting(switch).build().command("check").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{switch}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(says), "{switch}: {told}");
    }
}

/// A plan whose server says this of PKCE.
fn advertising(plan: Plan, methods: Value) -> Plan {
    plan.server(move |setup| drop(setup.metadata_override.insert(PKCE.to_owned(), methods.clone())))
}

// rows: PKCE-03
#[tokio::test]
async fn pkce_may_be_unadvertised_where_declared_and_is_used_all_the_same() {
    let house = advertising(Plan::new(), json!(null)).open().await;
    let status = house.begin(&mut house.agent().await, &[READ]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "PKCE_UNSUPPORTED"));
    assert_eq!(fact(&status, "cure").as_deref(), Some("[issuer.accept] pkce_unadvertised"));
    assert_told(&house, "pkce_unadvertised = true").await;

    let house = advertising(accepting("pkce_unadvertised = true"), json!(null)).open().await;
    // The scripted server refuses an authorization request without an S256 challenge, and a code without its verifier.
    house.login(&mut house.agent().await, &[READ]).await.unwrap();

    // Methods without S256 are no silence.
    for methods in [json!(["plain"]), json!([]), json!("S256"), json!(["s256"])] {
        let house = advertising(accepting("pkce_unadvertised = true"), methods.clone()).open().await;
        let status = house.begin(&mut house.agent().await, &[READ]).await.err().unwrap();
        assert_eq!((reason(&status).as_str(), fact(&status, "cure")), ("PKCE_UNSUPPORTED", None), "{methods}");
    }
}

// rows: PKCE-03
#[tokio::test]
async fn no_switch_excuses_an_issuer_of_the_mcp_profile() {
    let mcp = || accepting("pkce_unadvertised = true").config("[[issuer]]\n", "[[issuer]]\nprofile = \"mcp\"\n");
    let house = advertising(mcp(), json!(null)).open().await;
    let mut agent = house.agent().await;
    for _ in 0..2 {
        let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "PKCE_UNSUPPORTED"));
        assert_eq!(fact(&status, "cure"), None);
    }
    assert_eq!(house.server.token_connections(), 0);
    let house = mcp().open().await;
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    // Nobody could see what is advertised where nothing is discovered.
    let endpoints = "endpoints = { authorization = \"https://as.example/a\", token = \"https://as.example/t\" }\n";
    let house = mcp().config("profile", &format!("{endpoints}profile")).build();
    let output = house.command("check").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("\"mcp\" needs discovery"), "{output:?}");
}

// rows: RURI-04
#[tokio::test]
async fn the_token_request_omits_the_redirect_uri_only_where_declared() {
    let house = crate::kit::plan().open().await;
    let mut agent = house.agent().await;
    house.server.refuse_redirect_uri_at_token(true);
    let status = house.login(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "AS_REJECTED");
    assert!(house.server.last_token_request().unwrap().param("redirect_uri").is_some());
    assert_told(&house, "redirect_uri_omitted = true").await;

    let house = accepting("redirect_uri_omitted = true").open().await;
    house.server.refuse_redirect_uri_at_token(true);
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    assert_eq!(house.server.last_token_request().unwrap().param("redirect_uri"), None);
}

/// An unsigned JWT with this `typ`, bound to the house's client certificate.
fn bound_token(house: &House, typ: &str) -> Behaviour {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::from_pem_slice(&std::fs::read(house.path("client.pem")).unwrap()).unwrap();
    let thumbprint = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der).as_ref());
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({ "cnf": { "x5t#S256": thumbprint }, "scope": "admin everything", "exp": 4_102_444_800_i64 });
    Behaviour::AccessTokenValue([part(json!({ "alg": "none", "typ": typ })), part(claims), "c2ln".to_owned()].join("."))
}

// rows: MTLS-06 INTR-07
#[tokio::test]
async fn a_bound_token_of_another_typ_is_taken_only_where_declared() {
    let owner = "owner = \"sales\"";
    let bound = |plan: Plan| plan.config(owner, &format!("{owner}\nbound_tokens = true\nshared_certificate = true"));
    let house = bound(crate::kit::plan()).open().await;
    let mut agent = house.agent().await;
    let status = refuses(&house, &mut agent, bound_token(&house, "JWT"), MISMATCH, BOTH).await;
    assert_eq!(fact(&status, "cure").as_deref(), Some("[issuer.accept] access_token_typ"));
    assert_told(&house, "access_token_typ = \"JWT\"").await;

    let house = bound(accepting("access_token_typ = \"JWT\"")).open().await;
    let mut agent = house.agent().await;
    for typ in ["at+jwt", "logout+jwt", ""] {
        refuses(&house, &mut agent, bound_token(&house, typ), MISMATCH, BOTH).await;
    }
    house.server.behave(Script::Token(bound_token(&house, "JWT")));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    // The claims speak of more; they are not asked.
    assert_eq!(redeemed.token.unwrap().scopes, [READ]);
}

// rows: TOK-04
#[tokio::test]
async fn json_may_name_its_charset_and_is_always_asked_for() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for kind in ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON ; v=1"] {
        for script in [Script::Token, Script::Metadata] {
            house.server.behave(script(Behaviour::ContentType(Some(kind.to_owned()))));
        }
        house.login(&mut agent, &[READ]).await.unwrap();
    }
    for request in house.server.token_requests() {
        assert_eq!(request.header("accept"), Some("application/json"));
    }
    let accepts =
        |headers: &Vec<(String, String)>| headers.contains(&("accept".to_owned(), "application/json".to_owned()));
    assert!(house.server.front_headers().iter().all(accepts));
}

// rows: DISC-02
#[test]
fn an_issuer_that_stands_for_any_tenant_cannot_be_configured() {
    let wrong = [
        "https://login.microsoftonline.com/common/v2.0",
        "https://login.microsoftonline.com/organizations/v2.0",
        "https://login.microsoftonline.com/Consumers/v2.0",
        "https://login.microsoftonline.com/{tenantid}/v2.0",
        "https://login.microsoftonline.us/common/v2.0",
        "https://sts.windows.net/{tenantid}/",
        "https://as.example/{tenant}",
    ];
    for issuer in wrong {
        let house = Plan::new().config("issuer = \"@ISSUER@\"", &format!("issuer = \"{issuer}\"")).build();
        let output = house.command("check").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{issuer}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("stands for any tenant") && told.contains("<tenant id>"), "{issuer}: {told}");
    }
    for fine in [
        "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
        "https://keycloak.example/realms/common",
        "https://as.example/common",
    ] {
        let house = Plan::new().config("issuer = \"@ISSUER@\"", &format!("issuer = \"{fine}\"")).build();
        assert_eq!(house.command("check").output().unwrap().status.code(), Some(0), "{fine}");
    }
}

// rows: DISC-02
#[tokio::test]
async fn metadata_for_any_tenant_is_another_issuers() {
    let house = Plan::new().open().await;
    let template = house.server.issuer() + "/{tenantid}/v2.0";
    house.server.metadata_override(members([("issuer", json!(template))]));
    let status = house.begin(&mut house.agent().await, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "METADATA_ISSUER_MISMATCH");
    // An answer as text is no JSON, whatever the body looks like.
    let text = raw_with(200, &[("Content-Type", "text/plain; x=application/json")], "{}");
    house.server.always(Script::Metadata(text));
    let status = house.begin(&mut house.agent().await, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "METADATA_UNAVAILABLE");
}
