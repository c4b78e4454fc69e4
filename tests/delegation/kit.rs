//! A house whose client may exchange, and how these tests ask.

use crate::house::{
    Agent, House, Plan, reason,
    scripted_as::{
        behaviour::{Behaviour, Script},
        delegation::ACCESS_TOKEN,
    },
    write,
};
use narrowgate::{
    api::proto::{
        ClientCredentialsGrant, ExchangeTokenRequest, ExchangeTokenResponse, JwtBearerGrant, ObtainTokenRequest,
        ObtainTokenResponse, exchange_token_request::Subject, obtain_token_request::Grant,
    },
    dev::ca::San,
};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

pub(crate) const READ: &str = "customers.read";
pub(crate) const WRITE: &str = "customers.write";
/// What tokens call `quoter`.
pub(crate) const QUOTER_NAME: &str = "https://quoter.acme.test";

/// The tables of the client that switch everything on. `more` are further lines of `token_exchange`.
pub(crate) fn switched_on(more: &str) -> String {
    format!(
        r#"client_credentials = true
[client.token_exchange]
actor_key = "actor.key"
agents = {{ "{QUOTER_NAME}" = "quoter" }}
audiences = {{ "crm-service" = "crm", "crm-standby" = "crm", "mail-service" = "mail" }}
{more}
[client.jwt_bearer]
agents = {{ "{QUOTER_NAME}" = "quoter" }}
"#
    )
}

/// Opens a house with this client.
pub(crate) async fn open(plan: Plan, more: &str) -> House {
    open_with(plan, &switched_on(more)).await
}

pub(crate) async fn open_with(mut plan: Plan, tables: &str) -> House {
    plan.config.push_str(tables);
    let mut house = plan.build();
    let actor = house.clients_ca.client("actor", &[San::Uri("spiffe://acme.test/actor")]).unwrap();
    write(&house.path("actor.key"), &actor.key_pem);
    house.server.trust_actor_key(&actor.key_pem);
    house.start();
    house.wait_until_serving().await;
    house
}

/// A subject token that somebody obtained for `quoter`, with these claims changed.
pub(crate) fn subject(house: &House, changes: &Value) -> String {
    let mut claims = json!({ "aud": QUOTER_NAME, "client_id": "front-end", "scope": format!("{READ} {WRITE}") });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    house.server.token_of(&json!({}), &claims)
}

/// A request to exchange a token.
pub(crate) fn request(token: &str, scopes: &[&str]) -> ExchangeTokenRequest {
    ExchangeTokenRequest {
        client: "sales-crm".to_owned(),
        subject: Some(Subject::SubjectToken(token.to_owned())),
        subject_token_type: ACCESS_TOKEN.to_owned(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        ..ExchangeTokenRequest::default()
    }
}

pub(crate) async fn exchange(
    agent: &mut Agent,
    request: ExchangeTokenRequest,
) -> Result<ExchangeTokenResponse, Status> {
    Ok(agent.exchange_token(request).await?.into_inner())
}

/// A request by client credentials, or with an assertion.
pub(crate) fn obtain_request(assertion: Option<&str>, scopes: &[&str]) -> ObtainTokenRequest {
    ObtainTokenRequest {
        client: "sales-crm".to_owned(),
        grant: Some(match assertion {
            None => Grant::ClientCredentials(ClientCredentialsGrant {}),
            Some(assertion) => Grant::JwtBearer(JwtBearerGrant { assertion: assertion.to_owned() }),
        }),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        ..ObtainTokenRequest::default()
    }
}

pub(crate) async fn obtain(agent: &mut Agent, request: ObtainTokenRequest) -> Result<ObtainTokenResponse, Status> {
    Ok(agent.obtain_token(request).await?.into_inner())
}

/// The next answer has these members added, replaced, or (null) removed.
pub(crate) fn answer(house: &House, members: Value) {
    house.server.behave(Script::Token(Behaviour::Members(object(members))));
}

/// The next token has these claims added, replaced, or (null) removed.
pub(crate) fn issue(house: &House, claims: Value) {
    house.server.behave(Script::Token(Behaviour::JwtClaims(object(claims))));
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("no object: {value}") };
    map
}

pub(crate) fn refused<T>(result: Result<T, Status>, code: Code, why: &str) -> Status {
    let status = result.err().unwrap_or_else(|| panic!("it was not refused: {why}"));
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{status:?}");
    status
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "these tests make tokens by the clock of the daemon under test")]
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
