//! Between the wire and the model. Secrets leave prost's strings here at once.

use super::proto;
use crate::{
    audit::Recorded,
    exchange::{BeginInput, BegunReply, RedeemInput, RegisterInput, RegisteredReply, RevokedReply, TokenInput},
    grant::{self, By, Reply, Wanted},
    model::{
        ApprovalRecord, Boot, Claimed, CodeVerifier, DpopProof, Fault, Handle, LoginDemand, Reason, Scope, ScopeSet,
        TokenBinding, TokenType, Wall, scope::SCOPES_MAX,
    },
    oauth::Outcome,
    transaction::{self, Callback, Registration},
};
use proto::{redeem_code_request::Callback as WireCallback, watch_token_response::Event as WireEvent};
use std::time::Duration;

pub(super) fn begin(request: proto::BeginAuthorizationRequest) -> Result<BeginInput, Fault> {
    required("client", &request.client)?;
    let login = login(&request)?;
    Ok(BeginInput {
        login,
        client: request.client,
        issuer: request.issuer,
        scopes: request.scopes,
        resource: request.resource,
        authorization_details: request.authorization_details,
        redirect_uri: request.redirect_uri,
        allow_partial: request.allow_partial,
        claimed: claimed(request.claimed)?,
        proof: proof(request.dpop_proof),
        approval: approval(request.approval)?,
    })
}

/// The record that a person approves, where one comes.
pub(super) fn approval(text: String) -> Result<Option<ApprovalRecord>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Fault::field(Reason::FieldInvalid, "approval", "is no compact JWS of at most 4096 bytes");
    ApprovalRecord::parse(text).map(Some).ok_or_else(wrong)
}

pub(super) fn begun(reply: BegunReply) -> proto::BeginAuthorizationResponse {
    let refused = |(scope, policy_code): (Scope, String)| proto::RefusedScope { scope: scope.to_string(), policy_code };
    let (token_endpoint, dpop_nonce) = reply.to_be_proven.unwrap_or_default();
    proto::BeginAuthorizationResponse {
        token_endpoint,
        dpop_nonce,
        transaction: reply.transaction.text(transaction::HANDLE_PREFIX),
        authorization_url: reply.url,
        scopes: reply.scopes.to_strings(),
        refused_scopes: reply.refused.into_iter().map(refused).collect(),
        resource: reply.resource.unwrap_or_default(),
        expire_time: Some(timestamp(reply.ends)),
        decision_id: reply.decision.to_string(),
    }
}

pub(super) fn register(request: proto::RegisterAuthorizationRequest) -> Result<RegisterInput, Fault> {
    required("client", &request.client)?;
    required("for_agent", &request.for_agent)?;
    Ok(RegisterInput {
        registration: Registration::read(
            request.code_challenge,
            &request.code_challenge_method,
            &request.state_hash,
            request.nonce,
        )?,
        for_agent: request.for_agent,
        request: BeginInput {
            login: LoginDemand::default(),
            client: request.client,
            issuer: request.issuer,
            scopes: request.scopes,
            resource: request.resource,
            authorization_details: request.authorization_details,
            redirect_uri: request.redirect_uri,
            allow_partial: false,
            claimed: claimed(request.claimed)?,
            proof: None,
            approval: None,
        },
    })
}

pub(super) fn registered(reply: &RegisteredReply) -> proto::RegisterAuthorizationResponse {
    proto::RegisterAuthorizationResponse {
        transaction: reply.begun.handle.text(transaction::HANDLE_PREFIX),
        resource: reply.begun.opening.resource().unwrap_or_default().to_owned(),
        expire_time: Some(timestamp(reply.begun.ends_wall)),
        decision_id: reply.decision.to_string(),
    }
}

pub(super) fn redeem(request: proto::RedeemCodeRequest, received: Boot) -> Result<RedeemInput, Fault> {
    let callback = match request.callback {
        Some(WireCallback::Response(r)) => Callback::from_fields(r.code, r.state, r.iss)?,
        Some(WireCallback::CallbackUrl(url)) => Callback::from_url(&zeroize::Zeroizing::new(url))?,
        None => return Err(Fault::field(Reason::FieldRequired, "callback", "pass `response` or `callback_url`")),
    };
    required("transaction", &request.transaction)?;
    let request_id = match request.request_id.as_str() {
        "" => None,
        text => Some(
            uuid::Uuid::try_parse(text)
                .map_err(|_| Fault::field(Reason::FieldInvalid, "request_id", "must be a UUID"))?,
        ),
    };
    Ok(RedeemInput {
        transaction: request.transaction,
        callback,
        request_id,
        redirect_uri: (!request.redirect_uri.is_empty()).then_some(request.redirect_uri),
        required: scopes("required_scopes", &request.required_scopes)?,
        code_verifier: code_verifier(request.code_verifier)?,
        claimed: claimed(request.claimed)?,
        proof: proof(request.dpop_proof),
        received,
    })
}

fn code_verifier(text: String) -> Result<Option<CodeVerifier>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let syntax = || Fault::field(Reason::FieldInvalid, "code_verifier", "must be 43 to 128 unreserved characters");
    CodeVerifier::parse(text).map(Some).ok_or_else(syntax)
}

pub(super) fn redeemed(recorded: Recorded<Reply>) -> proto::RedeemCodeResponse {
    let reply = recorded.into_inner();
    proto::RedeemCodeResponse {
        grant: reply.grant().handle.text(grant::HANDLE_PREFIX),
        decision_id: reply.grant().kept.decided.id.to_string(),
        recovered: reply.is_recovered(),
        token: Some(token(&reply)),
    }
}

pub(super) fn get(request: proto::GetTokenRequest, until: Boot) -> Result<TokenInput, Fault> {
    let grant = grant_handle(&request.grant)?;
    let min_ttl = match request.min_ttl {
        None => Duration::ZERO,
        Some(span) => {
            let bad = || Fault::field(Reason::FieldInvalid, "min_ttl", "must be a duration from 0 to 1 day");
            duration(&span).filter(|span| *span <= Duration::from_secs(86_400)).ok_or_else(bad)?
        }
    };
    let wanted = Wanted {
        scopes: scopes("scopes", &request.scopes)?,
        resource: (!request.resource.is_empty()).then_some(request.resource),
        min_ttl,
        by: By::Get,
    };
    Ok(TokenInput { grant, wanted, claimed: claimed(request.claimed)?, until })
}

/// A watch's request is that of its first token, but for the name of the call.
pub(super) fn watch(request: proto::WatchTokenRequest, until: Boot) -> Result<TokenInput, Fault> {
    let proto::WatchTokenRequest { grant, scopes, resource, min_ttl, claimed, agent } = request;
    let mut input = get(proto::GetTokenRequest { grant, scopes, resource, min_ttl, claimed, agent }, until)?;
    input.wanted.by = By::Watch;
    Ok(input)
}

pub(super) fn watched(recorded: Recorded<Reply>) -> proto::WatchTokenResponse {
    proto::WatchTokenResponse { event: Some(WireEvent::Token(got(recorded))) }
}

pub(super) fn ended(fault: &Fault) -> proto::WatchTokenResponse {
    let metadata = fault.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let ended = proto::TokenEnded { reason: fault.reason.name().to_owned(), metadata };
    proto::WatchTokenResponse { event: Some(WireEvent::Ended(ended)) }
}

pub(super) fn got(recorded: Recorded<Reply>) -> proto::GetTokenResponse {
    let reply = recorded.into_inner();
    proto::GetTokenResponse { decision_id: reply.verdict().id.to_string(), token: Some(token(&reply)) }
}

pub(super) fn revoke(request: &proto::RevokeGrantRequest) -> Result<Handle, Fault> {
    grant_handle(&request.grant)
}

pub(super) fn revoked(reply: &RevokedReply) -> proto::RevokeGrantResponse {
    let wire = |outcome| match outcome {
        Outcome::Absent => proto::RevocationOutcome::Unspecified,
        Outcome::Revoked => proto::RevocationOutcome::Revoked,
        Outcome::Queued => proto::RevocationOutcome::Queued,
        Outcome::Unsupported => proto::RevocationOutcome::Unsupported,
        Outcome::Failed => proto::RevocationOutcome::Failed,
    };
    proto::RevokeGrantResponse {
        access_token: wire(reply.access).into(),
        refresh_token: wire(reply.refresh).into(),
        decision_id: reply.decision.to_string(),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the wire, and the reply is recorded")]
pub(super) fn token(reply: &Reply) -> proto::Token {
    let kept = &reply.held().kept;
    proto::Token {
        access_token: reply.token().reveal().to_owned(),
        token_type: reply.token_type().to_owned(),
        scopes: reply.scopes().to_strings(),
        authorization_details: kept.details.to_json(),
        resource: kept.begun.opening.resource().unwrap_or_default().to_owned(),
        expire_time: Some(timestamp(reply.expires())),
        lease_time: Some(timestamp(reply.lease_ends())),
        not_for_authorization: kept.begun.opening.flow.token_type() != TokenType::AccessToken,
        binding: match kept.bound {
            TokenBinding::Unbound => proto::Binding::Bearer,
            TokenBinding::Certificate => proto::Binding::Mtls,
            TokenBinding::Dpop => proto::Binding::Dpop,
        }
        .into(),
        jkt: kept.begun.bound_key.as_ref().map(|bound| bound.jkt.clone()).unwrap_or_default(),
    }
}

/// An agent's own proof, where there is one.
fn proof(text: String) -> Option<DpopProof> {
    (!text.is_empty()).then(|| DpopProof::new(text))
}

/// A duration that is not negative, in its one spelling: prost would set right what `google.protobuf.Duration` forbids,
/// nanoseconds below zero or of a second and more.
fn duration(span: &prost_types::Duration) -> Option<Duration> {
    let (seconds, nanos) = (u64::try_from(span.seconds).ok()?, u32::try_from(span.nanos).ok()?);
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// A grant's handle. An ill-formed one is as unknown as any other: nothing is to be learnt by trying.
pub(super) fn grant_handle(text: &str) -> Result<Handle, Fault> {
    required("grant", text)?;
    Handle::parse(grant::HANDLE_PREFIX, text).ok_or_else(|| Reason::GrantUnknown.into())
}

pub(super) fn required(field: &'static str, text: &str) -> Result<(), Fault> {
    if text.is_empty() { Err(Fault::field(Reason::FieldRequired, field, "is required")) } else { Ok(()) }
}

/// Scopes that may be left out.
pub(super) fn scopes(field: &'static str, texts: &[String]) -> Result<Option<ScopeSet>, Fault> {
    if texts.is_empty() {
        return Ok(None);
    }
    let bad = || Fault::field(Reason::ScopeSyntax, field, "each must be a scope-token (RFC 6749 §3.3), at most 64");
    if texts.len() > SCOPES_MAX {
        return Err(bad());
    }
    let parsed: Option<Vec<Scope>> = texts.iter().map(|t| Scope::parse(t)).collect();
    parsed.and_then(ScopeSet::new).map(Some).ok_or_else(bad)
}

/// How the person is to log in.
fn login(request: &proto::BeginAuthorizationRequest) -> Result<LoginDemand, Fault> {
    let wrong = |(field, wrong): (&'static str, &'static str)| Fault::field(Reason::FieldInvalid, field, wrong);
    let span =
        |span: &prost_types::Duration| duration(span).ok_or_else(|| wrong(("max_age", "must be a duration from 0 on")));
    let max_age = request.max_age.as_ref().map(span).transpose()?;
    LoginDemand::parse(&request.prompt, max_age, request.acr_values.clone(), request.login_hint.clone()).map_err(wrong)
}

pub(super) fn claimed(claimed: Option<proto::Claimed>) -> Result<Claimed, Fault> {
    let Some(claimed) = claimed else { return Ok(Claimed::default()) };
    let word = |field, text: String, bytes_max| {
        if text.len() > bytes_max || text.chars().any(char::is_control) {
            return Err(Fault::field(
                Reason::FieldInvalid,
                field,
                format!("must be at most {bytes_max} bytes without control characters"),
            ));
        }
        Ok((!text.is_empty()).then_some(text))
    };
    let (tags_max, tag_bytes_max) = Claimed::TAGS_MAX;
    if claimed.tags.len() > tags_max {
        return Err(Fault::field(Reason::FieldInvalid, "claimed.tags", format!("at most {tags_max}")));
    }
    let tags: Result<Vec<Option<String>>, Fault> =
        claimed.tags.into_iter().map(|tag| word("claimed.tags", tag, tag_bytes_max)).collect();
    Ok(Claimed {
        purpose: word("claimed.purpose", claimed.purpose, Claimed::TEXT_BYTES_MAX)?,
        task: word("claimed.task", claimed.task, Claimed::TEXT_BYTES_MAX)?,
        session: word("claimed.session", claimed.session, Claimed::TEXT_BYTES_MAX)?,
        tags: tags?.into_iter().flatten().collect(),
    })
}

pub(super) fn timestamp(at: Wall) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1000)).unwrap_or(0) * 1_000_000;
    prost_types::Timestamp { seconds: at.0.div_euclid(1000), nanos }
}
