use crate::{
    house::{
        Agent, House, Plan, begin_request, get, redeem,
        scripted_as::{ScriptedAs, Setup},
        write,
    },
    kit::{OPENID, READ, WRITE, refused},
};
use narrowgate::{
    api::proto::{BeginAuthorizationRequest, ExchangeTokenRequest, GetTokenRequest, exchange_token_request::Subject},
    dev::ca::San,
};
use serde_json::json;
use std::fs;
use tonic::Code;

const CATALOGUE: &str = r#"
[[api]]
alias = "other-crm"
identifier = "https://other.example.test/api"
issuer = "other"
owner = "sales"
data_class = "internal"

[[scope]]
name = "other.write"
api = "other-crm"
risk = 1
groups = ["crm.readonly"]
"#;
const OTHER_WRITE: &str = "other.write";

/// A house with a second issuer, `other`, for whose API it is that `other.write` writes.
async fn two() -> (House, ScriptedAs) {
    let mut plan = Plan::new();
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
    let exchange = "[client.token_exchange]\nactor_key = \"actor.key\"\naudiences = { \"crm-service\" = \"crm\" }\n";
    write(&file, &format!("{config}\n{exchange}\n{second}"));
    let actor = house.clients_ca.client("actor", &[San::Uri("spiffe://acme.test/actor")]).unwrap();
    write(&house.path("actor.key"), &actor.key_pem);
    house.server.trust_actor_key(&actor.key_pem);
    house.start();
    house.wait_until_serving().await;
    (house, other)
}

async fn more_of(agent: &mut Agent, grant: &str, scope: &str) -> Result<(), tonic::Status> {
    let scopes = vec![scope.to_owned()];
    let request = GetTokenRequest { grant: grant.to_owned(), scopes, ..GetTokenRequest::default() };
    agent.get_token(request).await.map(|_| ())
}

// rows: AGNT-08
#[tokio::test]
async fn the_same_sub_elsewhere_may_write_and_here_still_only_read() {
    let (house, other) = two().await;
    let mut agent = house.agent().await;
    let serde_json::Value::Object(ana) = json!({ "sub": "ana" }) else { panic!("no object") };
    for server in [&house.server, &other] {
        server.person(&ana);
    }
    // What the person granted first: to read.
    let read = house.login(&mut agent, &[READ, OPENID]).await.unwrap();
    // Later, somebody of the same name lets the same agent write elsewhere.
    let request =
        BeginAuthorizationRequest { client: "other-client".to_owned(), ..begin_request(&[OTHER_WRITE, OPENID]) };
    let begun = agent.begin_authorization(request).await.unwrap().into_inner();
    let write = redeem(&mut agent, &begun.transaction, &other.approve(&begun.authorization_url)).await.unwrap();
    assert!(write.token.unwrap().scopes.contains(&OTHER_WRITE.to_owned()));
    let posts = house.server.token_posts();
    // Not by asking for it under the first grant, nor by handing that on.
    for scope in [OTHER_WRITE, WRITE] {
        refused(more_of(&mut agent, &read.grant, scope).await, Code::PermissionDenied, "SCOPE_NOT_GRANTED");
        let request = ExchangeTokenRequest {
            client: "sales-crm".to_owned(),
            subject: Some(Subject::SubjectGrant(read.grant.clone())),
            scopes: vec![scope.to_owned()],
            ..ExchangeTokenRequest::default()
        };
        let status = agent.exchange_token(request).await.map(|_| ()).err().unwrap();
        let why = if scope == WRITE { "SCOPE_NOT_IN_SUBJECT" } else { "SCOPE_UNDECLARED" };
        assert_eq!(crate::house::reason(&status), why);
    }
    // Nor does a second login of the same person at the same server: it is another grant.
    let wider = house.login(&mut agent, &[WRITE, OPENID]).await.unwrap();
    assert_ne!(wider.grant, read.grant);
    refused(more_of(&mut agent, &read.grant, WRITE).await, Code::PermissionDenied, "SCOPE_NOT_GRANTED");
    let still = get(&mut agent, &read.grant).await.unwrap();
    assert!(!still.token.unwrap().scopes.contains(&WRITE.to_owned()));
    assert_eq!(house.server.token_posts(), posts + 1, "the second login, and nothing else");
}
