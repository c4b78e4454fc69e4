//! What tests of authorization details share: declared types, a policy about them, and requests.

use crate::{
    house::{
        Agent, House, Plan, begin_request, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{READ, member},
};
use narrowgate::api::proto::{BeginAuthorizationRequest, BeginAuthorizationResponse, RedeemCodeResponse};
use serde_json::{Value, json};
use tonic::Status;

/// Two types that the server supports, one that it does not, and one of another API.
pub(crate) const TYPES: &str = r#"
[[authorization_details_type]]
type = "payment_initiation"
api = "crm"
fields = { actions = "set", locations = "set", "instructedAmount.amount" = "at_most", "instructedAmount.currency" = "equal", creditor = "equal", consent_id = "ignore" }

[[authorization_details_type]]
type = "customer_information"
api = "crm"
fields = { actions = "set", datatypes = "set", identifier = "equal" }

[[authorization_details_type]]
type = "unlisted"
api = "crm"
fields = { actions = "set" }

[[authorization_details_type]]
type = "mailing"
api = "mail"
fields = { actions = "set" }
"#;

const POLICY: &str = r#"
@id("details.payment")
permit (principal, action == Narrowgate::Action::"grant_detail", resource == Narrowgate::AuthorizationDetailsType::"payment_initiation")
when {
  context.detail has amount && context.detail.amount.lessThanOrEqual(decimal("500.0"))
  && context.detail.values.contains("instructedAmount.currency=EUR")
  && context.detail has actions && ["initiate", "status"].containsAll(context.detail.actions)
};
@id("details.customer")
permit (principal, action == Narrowgate::Action::"grant_detail", resource == Narrowgate::AuthorizationDetailsType::"customer_information")
when { context.detail has identifier && context.detail.identifier == "customer-1" && context.base.scopes.contains(Narrowgate::Scope::"customers.read") };
@id("details.unlisted")
permit (principal, action == Narrowgate::Action::"grant_detail", resource == Narrowgate::AuthorizationDetailsType::"unlisted");
"#;

/// A house in which they may be asked for.
pub(crate) fn plan() -> Plan {
    let mut plan = crate::kit::plan().policy(POLICY);
    plan.apis.push_str(TYPES);
    plan
}

/// A payment of this much.
pub(crate) fn payment(amount: &str) -> Value {
    json!({
        "type": "payment_initiation",
        "actions": ["initiate", "status"],
        "locations": ["https://crm.example.test/payments"],
        "instructedAmount": { "amount": amount, "currency": "EUR" },
        "creditor": { "name": "Merchant A", "iban": "DE02100100109307118603" },
    })
}

/// The facts of one customer.
pub(crate) fn customer() -> Value {
    json!({ "type": "customer_information", "actions": ["read"], "datatypes": ["contacts"], "identifier": "customer-1" })
}

/// The element with this change.
pub(crate) fn changed(mut element: Value, pointer: &str, value: Value) -> Value {
    *element.pointer_mut(pointer).unwrap() = value;
    element
}

/// The element with this member besides.
pub(crate) fn with(mut element: Value, name: &str, value: Value) -> Value {
    element[name] = value;
    element
}

/// A request to begin that asks for these.
pub(crate) fn asking(details: impl ToString) -> BeginAuthorizationRequest {
    BeginAuthorizationRequest { authorization_details: details.to_string(), ..begin_request(&[READ]) }
}

pub(crate) async fn begin(agent: &mut Agent, details: impl ToString) -> Result<BeginAuthorizationResponse, Status> {
    Ok(agent.begin_authorization(asking(details)).await?.into_inner())
}

/// The whole flow, asking for these.
pub(crate) async fn login(
    house: &House,
    agent: &mut Agent,
    details: impl ToString,
) -> Result<RedeemCodeResponse, Status> {
    let begun = begin(agent, details).await?;
    let callback = house.server.approve(&begun.authorization_url);
    redeem(agent, &begun.transaction, &callback).await
}

/// What came with a token.
pub(crate) fn granted(reply: &RedeemCodeResponse) -> Value {
    serde_json::from_str(&reply.token.as_ref().unwrap().authorization_details).unwrap()
}

/// The next token answer says this of what it grants; null: nothing.
pub(crate) fn answer(house: &House, details: Value) {
    house.server.behave(Script::Token(answered(details)));
}

pub(crate) fn answered(details: Value) -> Behaviour {
    member("authorization_details", details)
}
