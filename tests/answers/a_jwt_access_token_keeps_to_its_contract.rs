use crate::{
    house::{
        House, Plan, eventually, fact, get, reason,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{BOTH, READ, facts, members, plan, refuses, settled},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::{
    api::proto::GetTokenRequest,
    platform::{Clock, SystemClock},
};
use serde_json::{Value, json};
use tonic::Code;

const VIOLATION: (Code, &str) = (Code::FailedPrecondition, "AT_CONTRACT_VIOLATION");
const AUDIENCE: (Code, &str) = (Code::FailedPrecondition, "AUDIENCE_MISMATCH");
const API: &str = "https://crm.example.test/api";
const WRITE: &str = "customers.write";

fn agreed(plan: Plan, more: &str) -> Plan {
    let lines = format!("deadline = \"5s\"\n\n[issuer.access_token]\ncontract = \"jwt\"\n{more}\n");
    plan.config("deadline = \"5s\"\n", &lines)
}

fn claims<const N: usize>(changes: [(&str, Value); N]) -> Behaviour {
    Behaviour::JwtClaims(members(changes))
}

fn honest() -> Behaviour {
    claims([])
}

/// Something with this header that nobody has signed.
fn unsigned(header: &Value, signature: &[u8]) -> Behaviour {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let claims = json!({"iss": "canary-iss"}).to_string();
    Behaviour::AccessTokenValue(
        [part(header.to_string().as_bytes()), part(claims.as_bytes()), part(signature)].join("."),
    )
}

// rows: INTR-08 INTR-07 INTR-01
#[tokio::test]
async fn each_field_that_is_wrong_refuses_it() {
    let house = agreed(plan(), "").open().await;
    let mut agent = house.agent().await;
    let header = |name: &str, value: Value| {
        let mut header = json!({"typ": "at+jwt", "alg": "ES256", "kid": "scripted-1"});
        header[name] = value;
        unsigned(&header, &[0; 64])
    };
    let wrong = [
        ("iss", claims([("iss", json!("https://elsewhere.example"))])),
        ("client_id", claims([("client_id", json!("somebody-else"))])),
        ("client_id", claims([("client_id", json!(null))])),
        ("exp", claims([("exp", json!(1_700_000_000))])),
        ("exp", claims([("exp", json!(null))])),
        ("nbf", claims([("nbf", json!(4_102_444_800_u64))])),
        // It says more than was asked: never widened, and never used.
        ("scope", claims([("scope", json!("customers.read customers.delete"))])),
        ("scope", claims([("scope", json!(["customers.read"]))])),
        ("form", Behaviour::Honest),
        ("typ", header("typ", json!("JWT"))),
        ("typ", header("typ", json!(null))),
        ("typ", header("typ", json!("logout+jwt"))),
        ("typ", header("typ", json!("token-introspection+jwt"))),
        ("typ", Behaviour::JwtTyp("JWT".to_owned())),
        ("alg", header("alg", json!("none"))),
        ("alg", header("alg", json!("HS256"))),
        ("alg", header("alg", json!("RS256"))),
        ("unknown_key", header("kid", json!("id-2"))),
        ("signature", header("kid", json!("scripted-1"))),
        // Another of the issuer's keys.
        ("signature", header("kid", json!("id-1"))),
    ];
    for (rule, behaviour) in wrong {
        let well_signed = matches!(behaviour, Behaviour::JwtTyp(_));
        let status = refuses(&house, &mut agent, behaviour, VIOLATION, BOTH).await;
        assert_eq!(fact(&status, "rule").as_deref(), Some(rule));
        // A line of the configuration is named where it would help, and only there.
        let cure = fact(&status, "cure");
        assert_eq!(cure.as_deref(), well_signed.then_some("[issuer.accept] access_token_typ"));
        let failed = house.events("exchange.failed").pop().unwrap();
        assert_eq!(facts(&failed)["rule"], rule);
    }
    assert!(!house.events("detect.scope_escalation").is_empty());
    // The log says which line would allow it.
    assert!(house.log().contains("access_token_typ"), "{}", house.log());
    assert!(!house.log().contains(r#"algs = [\"RS256\"]"#), "{}", house.log());
    house.server.always(Script::Token(honest()));
    settled(&house, &mut agent).await;
}

// rows: RES-04 INTR-01
#[tokio::test]
async fn one_for_another_resource_is_refused() {
    let house = agreed(plan(), "").open().await;
    let mut agent = house.agent().await;
    for aud in [
        json!("https://mail.example.test/api"),
        json!(format!("{API}/")),
        json!([API, "https://mail.example.test/api"]),
        json!([]),
        json!(null),
        json!(house.server.issuer()),
    ] {
        let status = refuses(&house, &mut agent, claims([("aud", aud)]), AUDIENCE, BOTH).await;
        assert_eq!(fact(&status, "rule").as_deref(), Some("aud"));
    }
    assert!(!house.events("detect.scope_escalation").is_empty());
    house.server.always(Script::Token(claims([("aud", json!([API]))])));
    settled(&house, &mut agent).await;
}

// rows: INTR-08 JOSE-01
#[tokio::test]
async fn its_algorithm_is_one_that_is_agreed_on() {
    let house = agreed(plan(), "algs = [\"PS256\"]").open().await;
    let mut agent = house.agent().await;
    let status = refuses(&house, &mut agent, honest(), VIOLATION, BOTH).await;
    assert_eq!(fact(&status, "cure").as_deref(), Some("[issuer.access_token] algs"));
    for (settings, says) in [
        ("contract = \"jwtt\"", "must be \"opaque\", \"jwt\" or \"introspection\""),
        ("algs = [\"ES256\"]", "belongs to contract = \"jwt\""),
        ("contract = \"jwt\"\nalgs = []", "must name at least one algorithm"),
        ("introspection_cache = \"1h\"", "must be between"),
    ] {
        let lines = format!("deadline = \"5s\"\n\n[issuer.access_token]\n{settings}\n");
        let house = plan().config("deadline = \"5s\"\n", &lines).build();
        let output = house.command("check").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(64) && told.contains(says), "{settings}: {told}");
    }
}

// rows: INTR-08
#[tokio::test]
async fn its_typ_is_the_one_that_is_agreed_on() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let house = agreed(plan(), "").open().await;
        house.server.always(Script::Token(Behaviour::JwtTyp(typ.to_owned())));
        let mut agent = house.agent().await;
        settled(&house, &mut agent).await;
    }
    let house = agreed(plan(), "\n[issuer.accept]\naccess_token_typ = \"JWT\"\n").open().await;
    let mut agent = house.agent().await;
    refuses(&house, &mut agent, Behaviour::JwtTyp("at+jwt".to_owned()), VIOLATION, BOTH).await;
    house.server.always(Script::Token(Behaviour::JwtTyp("jwt".to_owned())));
    settled(&house, &mut agent).await;
}

// rows: INTR-08 MTLS-08
#[tokio::test]
async fn its_binding_is_checked_where_one_is_demanded() {
    let bound = "owner = \"sales\"\nbound_tokens = true\nshared_certificate = true";
    let house = agreed(plan(), "").config("owner = \"sales\"", bound).open().await;
    let mut agent = house.agent().await;
    for cnf in [json!(null), json!({}), json!({"x5t#S256": "AAAA"}), json!({"jkt": "AAAA"})] {
        let status = refuses(&house, &mut agent, claims([("cnf", cnf)]), VIOLATION, BOTH).await;
        assert_eq!(fact(&status, "rule").as_deref(), Some("cnf"));
    }
    house.server.always(Script::Token(honest()));
    settled(&house, &mut agent).await;
}

/// A house with a contract, and a grant to read and write.
async fn granted() -> (House, crate::house::Agent, String) {
    let house = agreed(plan(), "").open().await;
    house.server.always(Script::Token(honest()));
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &[READ, WRITE]).await.unwrap().grant;
    (house, agent, grant)
}

fn reading(grant: &str) -> GetTokenRequest {
    GetTokenRequest { grant: grant.to_owned(), scopes: vec![READ.to_owned()], ..GetTokenRequest::default() }
}

// rows: INTR-07 INTR-08
#[tokio::test]
async fn what_it_says_counts_for_less_and_never_for_more() {
    let house = agreed(plan(), "").config("grants_per_agent = 1\n", "").open().await;
    let mut agent = house.agent().await;
    // Without a word of its answer, its own is enough to know that less was granted.
    let less = Behaviour::All(vec![claims([("scope", json!(READ))]), Behaviour::OmitScope]);
    house.server.behave(Script::Token(less));
    let token = house.login(&mut agent, &[READ, WRITE]).await.unwrap().token.unwrap();
    assert_eq!(token.scopes, [READ]);
    // It ends when it says, and not later than its answer said.
    let now = SystemClock.wall().0 / 1000;
    house.server.behave(Script::Token(claims([("exp", json!(now + 900))])));
    let sooner = house.login(&mut agent, &[READ]).await.unwrap().token.unwrap().expire_time.unwrap().seconds;
    assert!(sooner <= now + 901, "{sooner}");
    house.server.behave(Script::Token(claims([("exp", json!(4_102_444_800_u64)), ("scope", json!(null))])));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let token = redeemed.token.unwrap();
    let later = token.expire_time.unwrap().seconds;
    assert!(later <= now + 3700, "{later}");
    assert_eq!((token.scopes.as_slice(), token.resource.as_str()), ([READ.to_owned()].as_slice(), API));
    let mut request = reading(&redeemed.grant);
    request.scopes = vec![WRITE.to_owned()];
    assert_eq!(reason(&agent.get_token(request).await.err().unwrap()), "SCOPE_NOT_GRANTED");
    house.assert_no_secret_leaked();
}

// rows: INTR-08 RES-04
#[tokio::test]
async fn a_refresh_keeps_to_it_too() {
    let mail = json!("https://mail.example.test/api");
    for (behaviour, why) in [
        (claims([("aud", mail)]), "AUDIENCE_MISMATCH"),
        (claims([("iss", json!("https://elsewhere.example"))]), "AT_CONTRACT_VIOLATION"),
        // More than this call asked for, though the grant has it.
        (claims([("scope", json!("customers.read customers.write"))]), "AT_CONTRACT_VIOLATION"),
        (Behaviour::Honest, "AT_CONTRACT_VIOLATION"),
    ] {
        let (house, mut agent, grant) = granted().await;
        house.server.behave(Script::Token(behaviour));
        let status = agent.get_token(reading(&grant)).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, why));
        let gone = eventually("the revocation", || house.server.revocations().pop()).await;
        assert_eq!((gone.0.as_str(), &gone.1), ("access_token", &house.server.issues()[1].access));
        // The grant and its token are as good as before, and the family has not been used twice.
        get(&mut agent, &grant).await.unwrap();
        let mut request = reading(&grant);
        request.scopes = vec![WRITE.to_owned()];
        agent.get_token(request).await.unwrap();
        assert_eq!((house.server.reused_families(), house.server.revocations().len()), (0, 1));
        house.assert_no_secret_leaked();
    }
    // More than the person ever granted ends the grant.
    let (house, mut agent, grant) = granted().await;
    house.server.behave(Script::Token(claims([("scope", json!("customers.read admin"))])));
    let status = agent.get_token(reading(&grant)).await.err().unwrap();
    assert_eq!(reason(&status), "AT_CONTRACT_VIOLATION");
    assert_eq!(reason(&get(&mut agent, &grant).await.err().unwrap()), "REAUTH_REQUIRED");
    eventually("three revocations", || (house.server.revocations().len() == 3).then_some(())).await;
}

// rows: INTR-08
#[tokio::test]
async fn without_keys_no_code_is_spent() {
    let house = agreed(plan(), "").open().await;
    house.server.always(Script::Token(honest()));
    let mut agent = house.agent().await;
    house.server.behave(Script::Jwks(Behaviour::Status(503)));
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let status = crate::house::redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!((reason(&status).as_str(), house.server.token_posts()), ("JWKS_UNAVAILABLE", 0));
    crate::house::redeem(&mut agent, &transaction, &callback).await.unwrap();

    // Metadata without keys is no use where a contract needs them.
    let house = agreed(plan(), "").open().await;
    house.server.metadata_override(members([("jwks_uri", json!(null))]));
    let status = house.begin(&mut house.agent().await, &[READ]).await.err().unwrap();
    assert_eq!((reason(&status).as_str(), fact(&status, "field").as_deref()), ("METADATA_REJECTED", Some("jwks_uri")));
}
