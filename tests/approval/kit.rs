//! A house with an approver, who signs what these tests say.

use crate::house::{Agent, House, Plan, begin_request, reason, write};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::{
    api::proto::{Advice, ApprovalWanted, BeginAuthorizationRequest, BeginAuthorizationResponse},
    platform::{Clock, SystemClock},
};
use prost::Message;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

pub(crate) const READ: &str = "customers.read";
pub(crate) const WRITE: &str = "customers.write";
/// What the sample policies let nobody have without an approval.
pub(crate) const DELETE: &str = "customers.delete";
pub(crate) const OPENID: &str = "openid";

/// An approver's key.
pub(crate) struct Key(Ed25519KeyPair);

impl Key {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn jwk(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","use":"sig"}}"#)
    }

    pub(crate) fn pem(&self) -> String {
        let der = self.0.to_pkcs8v1().unwrap();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    /// The table of the agents file.
    pub(crate) fn table(&self, id: &str, team: &str) -> String {
        format!("\n[[approver]]\nid = \"{id}\"\nteams = [\"{team}\"]\njwk = '{}'\n", self.jwk())
    }

    /// A compact JWS of this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// The record of an approver named `ann`, with these claims changed or (null) removed.
    pub(crate) fn record(&self, wanted: &ApprovalWanted, changes: &Value) -> String {
        let mut claims = claims(wanted);
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.remove(name)
            } else {
                claims.insert(name.clone(), value.clone())
            };
        }
        self.sign(&header(), &Value::Object(claims))
    }
}

pub(crate) fn header() -> Value {
    json!({ "typ": "narrowgate-approval+jwt", "alg": "EdDSA" })
}

pub(crate) fn seconds(moved: i64) -> Value {
    json!(SystemClock.wall().0 / 1000 + moved)
}

fn claims(wanted: &ApprovalWanted) -> Map<String, Value> {
    let claims = json!({
        "iss": "ann",
        "request_digest": wanted.request_digest,
        "policy_digest": wanted.policy_digest,
        "iat": seconds(0),
        "exp": seconds(600),
        "jti": uuid::Uuid::new_v4().to_string(),
        "ticket": "CHG-17",
    });
    let Value::Object(claims) = claims else { panic!("no object") };
    claims
}

/// A plan in which `ann` of `sales` may approve with this key.
pub(crate) fn plan(key: &Key) -> Plan {
    let mut plan = Plan::new();
    plan.agents.push_str(&key.table("ann", "sales"));
    plan
}

pub(crate) fn asking(scopes: &[&str], approval: &str) -> BeginAuthorizationRequest {
    BeginAuthorizationRequest { approval: approval.to_owned(), ..begin_request(scopes) }
}

pub(crate) async fn begin(
    agent: &mut Agent,
    request: BeginAuthorizationRequest,
) -> Result<BeginAuthorizationResponse, Status> {
    Ok(agent.begin_authorization(request).await?.into_inner())
}

pub(crate) fn refused<T>(result: Result<T, Status>, code: Code, why: &str) -> Status {
    let status = result.err().unwrap_or_else(|| panic!("{why} was expected"));
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{status:?}");
    status
}

/// The advice in a status, if there is one.
pub(crate) fn advice(status: &Status) -> Option<Advice> {
    let rich = tonic_types::Status::decode(status.details()).unwrap();
    assert_eq!((rich.code, rich.message.as_str()), (status.code() as i32, status.message()));
    let mut found = rich.details.iter().filter(|any| any.type_url == "type.googleapis.com/narrowgate.v1.Advice");
    let advice = found.next().map(|any| Advice::decode(any.value.as_slice()).unwrap());
    assert!(found.next().is_none());
    advice
}

/// What an approver is to approve for these scopes.
pub(crate) async fn wanted(agent: &mut Agent, scopes: &[&str]) -> ApprovalWanted {
    let status = begin(agent, begin_request(scopes)).await.err().expect("an approval is needed");
    refused::<()>(Err(status.clone()), Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
    advice(&status).unwrap().approval.unwrap()
}

/// Puts another agents file in place of the running one.
pub(crate) fn rewrite(house: &House, name: &str, change: impl FnOnce(String) -> String) {
    let path = house.path(name);
    let text = change(std::fs::read_to_string(&path).unwrap());
    let beside = house.path(&format!("{name}.next"));
    write(&beside, &text);
    std::fs::rename(beside, path).unwrap();
}
