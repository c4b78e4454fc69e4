use crate::{
    house::{
        Agent, House, begin_request, fact, get, reason, redeem,
        scripted_as::{
            ScriptedAs, Setup,
            behaviour::{Behaviour, Script},
            identity::Forgery,
        },
        write,
    },
    kit::{BOTH, OPENID, claims, facts, login, object, roomy},
};
use narrowgate::api::proto::{BeginAuthorizationRequest, RedeemCodeResponse};
use serde_json::json;
use std::fs;
use tonic::Status;

const OTHER: [&str; 2] = ["other.read", OPENID];
const CATALOGUE: &str = r#"
[[api]]
alias = "other-crm"
identifier = "https://other.example.test/api"
issuer = "other"
owner = "sales"
data_class = "internal"

[[scope]]
name = "other.read"
api = "other-crm"
risk = 1
groups = ["crm.readonly"]
"#;

/// A house with a second issuer, `other`, and a client there.
async fn two(policies: &[&str]) -> (House, ScriptedAs) {
    let plan = roomy("keys_refresh = \"1s\"");
    let mut plan = policies.iter().fold(plan, |plan, policy| plan.policy(policy));
    plan.apis = plan.apis.replace("issuers = [\"corp\"]", "issuers = [\"corp\", \"other\"]") + CATALOGUE;
    let mut house = plan.build();
    let other = ScriptedAs::start(Setup::new(&house.server_ca, house.clients_ca.certificate_pem()));
    let file = house.path("narrowgate.toml");
    let config = fs::read_to_string(&file).unwrap();
    let second = config[config.find("[[issuer]]").unwrap()..]
        .replace("\"corp\"", "\"other\"")
        .replace("sales-crm", "other-client")
        .replace(&house.server.issuer(), &other.issuer())
        .replace(&house.server.token_port().to_string(), &other.token_port().to_string());
    write(&file, &format!("{config}\n{second}"));
    house.start();
    house.wait_until_serving().await;
    (house, other)
}

async fn login_there(agent: &mut Agent, other: &ScriptedAs) -> Result<RedeemCodeResponse, Status> {
    let request = BeginAuthorizationRequest { client: "other-client".to_owned(), ..begin_request(&OTHER) };
    let begun = agent.begin_authorization(request).await.unwrap().into_inner();
    redeem(agent, &begun.transaction, &other.approve(&begun.authorization_url)).await
}

// rows: IDT-11
#[tokio::test]
async fn the_same_sub_is_two_users() {
    let rule = "@id(\"out\") @code(\"not_this_person\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource)\n\
        when { context has subject && context.subject.user == Narrowgate::User::\"corp|ana\" };";
    let (house, other) = two(&[rule]).await;
    let mut agent = house.agent().await;
    for server in [&house.server, &other] {
        server.person(&object(json!({"sub": "ana"})));
    }
    let status = login(&house, &mut agent).await.err().unwrap();
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("not_this_person"));
    let theirs = login_there(&mut agent, &other).await.unwrap();
    get(&mut agent, &theirs.grant).await.unwrap();
    // Nor can an issuer name another's user.
    other.person(&object(json!({"sub": "corp|ana"})));
    login_there(&mut agent, &other).await.unwrap();
    house.server.person(&object(json!({"sub": "bob"})));
    other.person(&object(json!({"sub": "bob"})));
    login(&house, &mut agent).await.unwrap();
    login_there(&mut agent, &other).await.unwrap();
    let mut seen: Vec<String> = house
        .events("token.issued")
        .iter()
        .map(|event| facts(event)["subject_ref"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(seen.len(), 4);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "the log does not take them for one either");
}

// rows: JOSE-11 JOSE-04
#[tokio::test]
async fn the_keys_of_one_verify_nothing_of_the_other() {
    let (house, other) = two(&[]).await;
    let mut agent = house.agent().await;
    login(&house, &mut agent).await.unwrap();
    login_there(&mut agent, &other).await.unwrap();
    // The other's own word, well signed with its own key: once as itself, once as the first.
    for iss in [other.issuer(), house.server.issuer()] {
        let begun = house.begin(&mut agent, &BOTH).await.unwrap();
        let url = url::Url::parse(&begun.authorization_url).unwrap();
        let nonce = url.query_pairs().find(|(key, _)| key == "nonce").unwrap().1.into_owned();
        let callback = house.server.approve(&begun.authorization_url);
        let forged = claims(json!({"iss": iss, "nonce": nonce, "at_hash": null, "aud": "narrowgate-sales"}));
        other.behave(Script::Token(Behaviour::IdToken(forged)));
        login_there(&mut agent, &other).await.err().unwrap();
        let token = other.secrets().into_iter().filter(|s| s.matches('.').count() == 2).find(|s| made_for(s, &nonce));
        house.server.behave(Script::Token(Behaviour::IdToken(Forgery::Instead(json!(token.unwrap())))));
        let status = redeem(&mut agent, &begun.transaction, &callback).await.err().unwrap();
        assert_eq!(reason(&status), "ID_TOKEN_INVALID");
        assert_eq!(fact(&status, "rule").as_deref(), Some("signature"), "the same name, another issuer's key");
    }
    login(&house, &mut agent).await.unwrap();
}

/// Whether an ID token carries this nonce.
fn made_for(token: &str, nonce: &str) -> bool {
    use base64::Engine;
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    String::from_utf8_lossy(&payload).contains(nonce)
}
