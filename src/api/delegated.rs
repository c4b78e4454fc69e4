//! `ExchangeToken` and `ObtainToken` between the wire and the model. Secrets leave prost's strings here at once.

use super::{
    proto,
    wire::{approval, claimed, grant_handle, required, token},
};
use crate::{
    audit::Recorded,
    exchange::{ExchangeInput, ObtainInput, SubjectInput},
    grant::{self, Reply},
    model::{Fault, Reason, SubjectToken, TokenType},
};
use proto::{exchange_token_request::Subject, obtain_token_request::Grant};

/// Resources or audiences of one request.
const TARGETS_MAX: usize = 8;
/// The only types there are here (RFC 8693 §3).
const TYPES: &str =
    "must be urn:ietf:params:oauth:token-type:access_token or urn:ietf:params:oauth:token-type:jwt (RFC 8693 §3)";

pub(super) fn exchange(request: proto::ExchangeTokenRequest) -> Result<ExchangeInput, Fault> {
    required("client", &request.client)?;
    let actor = SubjectToken::new(request.actor_token);
    let brings_actor = !actor.matches(&SubjectToken::new(String::new()));
    if !brings_actor && !request.actor_token_type.is_empty() {
        // RFC 8693 §2.1: it MUST NOT be there without an actor token.
        return Err(Fault::field(Reason::FieldInvalid, "actor_token_type", "is there without an actor_token"));
    }
    let subject = match request.subject {
        Some(Subject::SubjectToken(text)) => {
            let token = subject_token("subject_token", text)?;
            required("subject_token_type", &request.subject_token_type)?;
            SubjectInput::Token(token, token_type("subject_token_type", &request.subject_token_type)?)
        }
        Some(Subject::SubjectGrant(_)) if !request.subject_token_type.is_empty() => {
            return Err(Fault::field(Reason::FieldInvalid, "subject_token_type", "belongs to subject_token"));
        }
        Some(Subject::SubjectGrant(handle)) => SubjectInput::Grant(grant_handle(&handle)?),
        None => {
            let either = "pass `subject_token` or `subject_grant`";
            return Err(Fault::field(Reason::FieldRequired, "subject", either));
        }
    };
    let wanted = match request.requested_token_type.as_str() {
        "" => TokenType::AccessToken,
        urn => token_type("requested_token_type", urn)?,
    };
    for (field, targets) in [("resources", &request.resources), ("audiences", &request.audiences)] {
        if targets.len() > TARGETS_MAX {
            return Err(Fault::field(Reason::FieldInvalid, field, format!("at most {TARGETS_MAX}")));
        }
    }
    Ok(ExchangeInput {
        client: request.client,
        subject,
        brings_actor,
        scopes: request.scopes,
        resources: request.resources,
        audiences: request.audiences,
        wanted,
        claimed: claimed(request.claimed)?,
        approval: approval(request.approval)?,
    })
}

pub(super) fn exchanged(recorded: Recorded<Reply>) -> proto::ExchangeTokenResponse {
    let reply = recorded.into_inner();
    proto::ExchangeTokenResponse {
        grant: reply.grant().handle.text(grant::HANDLE_PREFIX),
        issued_token_type: reply.grant().kept.begun.opening.flow.token_type().urn().to_owned(),
        decision_id: reply.grant().kept.decided.id.to_string(),
        token: Some(token(&reply)),
    }
}

pub(super) fn obtain(request: proto::ObtainTokenRequest) -> Result<ObtainInput, Fault> {
    required("client", &request.client)?;
    let assertion = match request.grant {
        Some(Grant::ClientCredentials(_)) => None,
        Some(Grant::JwtBearer(grant)) => Some(subject_token("assertion", grant.assertion)?),
        None => {
            let either = "pass `client_credentials` or `jwt_bearer`";
            return Err(Fault::field(Reason::FieldRequired, "grant", either));
        }
    };
    Ok(ObtainInput {
        client: request.client,
        assertion,
        scopes: request.scopes,
        resource: request.resource,
        claimed: claimed(request.claimed)?,
        approval: approval(request.approval)?,
    })
}

pub(super) fn obtained(recorded: Recorded<Reply>) -> proto::ObtainTokenResponse {
    let reply = recorded.into_inner();
    proto::ObtainTokenResponse {
        grant: reply.grant().handle.text(grant::HANDLE_PREFIX),
        decision_id: reply.grant().kept.decided.id.to_string(),
        token: Some(token(&reply)),
    }
}

fn subject_token(field: &'static str, text: String) -> Result<SubjectToken, Fault> {
    required(field, &text)?;
    SubjectToken::parse(text).ok_or_else(|| Fault::field(Reason::FieldInvalid, field, "is no token (RFC 6750 §2.1)"))
}

fn token_type(field: &'static str, urn: &str) -> Result<TokenType, Fault> {
    TokenType::parse(urn).ok_or_else(|| Fault::field(Reason::FieldInvalid, field, TYPES))
}
