//! Between the wire and the model, for operators. There is no secret in either.

use super::{proto, wire::timestamp, wire_reload};
use crate::{
    exchange::{FrozenReply, GrantsReply, PAGE, StatusReply, Toll},
    grant::{GrantFilter, GrantSummary},
    model::{Fault, FreezeTarget, OperatorId, Reason},
    policy::{Freeze, Shadow},
};
use proto::{revoke_grants_request::Which, target::Kind};

pub(super) fn target(target: Option<proto::Target>) -> Result<FreezeTarget, Fault> {
    let missing = || Fault::field(Reason::FieldRequired, "target", "name an agent, a client or an issuer");
    let (kind, name) = match target.and_then(|target| target.kind).ok_or_else(missing)? {
        Kind::Agent(id) => ("agent", id),
        Kind::Client(alias) => ("client", alias),
        Kind::Issuer(alias) => ("issuer", alias),
    };
    FreezeTarget::parse(kind, &name).ok_or_else(|| Fault::field(Reason::FieldInvalid, "target", "is not a name"))
}

pub(super) fn ticket(ticket: String) -> Result<Option<String>, Fault> {
    // Who reads the log must be able to trust its words: no free text.
    let wrong = || Fault::field(Reason::FieldInvalid, "ticket", "must be letters, digits and . _ : / - alone");
    match ticket.as_str() {
        "" => Ok(None),
        text => OperatorId::parse(text).map(|_| Some(ticket)).ok_or_else(wrong),
    }
}

pub(super) fn page(request: proto::ListGrantsRequest) -> Result<(GrantFilter, String, usize), Fault> {
    let filter = match request.of {
        None => GrantFilter::All,
        of => GrantFilter::Of(target(of)?),
    };
    let most = usize::try_from(request.page_size).ok().filter(|most| *most > 0).unwrap_or(PAGE);
    Ok((filter, request.page_token, most))
}

pub(super) fn which(request: proto::RevokeGrantsRequest) -> Result<GrantFilter, Fault> {
    match request.which {
        Some(Which::Fingerprint(fingerprint)) => is_fingerprint(&fingerprint)
            .then_some(GrantFilter::Fingerprint(fingerprint))
            .ok_or_else(|| Fault::field(Reason::FieldInvalid, "fingerprint", "is not one that ListGrants gives")),
        Some(Which::Of(of)) => Ok(GrantFilter::Of(target(Some(of))?)),
        None => Err(Fault::field(Reason::FieldRequired, "which", "name a fingerprint, or whose grants")),
    }
}

/// Whether a text may be a keyed reference.
fn is_fingerprint(text: &str) -> bool {
    let digits = text.strip_prefix("hk1:").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn status(reply: StatusReply, shadow: Option<&Shadow>) -> proto::GetStatusResponse {
    let policy = reply.policy.as_deref().map(wire_reload::set);
    let standing = reply.standing;
    let issuers = reply.issuers.into_iter().map(|(issuer, left_alone)| proto::IssuerStatus { issuer, left_alone });
    proto::GetStatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        policy_generation: policy.as_ref().map_or(0, |set| set.generation),
        policy_digest: policy.as_ref().map(|set| set.policy_digest.clone()).unwrap_or_default(),
        policy_time: standing.activated.map(|(at, _)| timestamp(at)),
        policy_trigger: standing.activated.map(|(_, trigger)| trigger.as_str().to_owned()).unwrap_or_default(),
        policy_check_time: standing.checked.map(|(_, at)| timestamp(at)),
        policy_failure: standing.failure.as_ref().map(|failure| wire_reload::failure(failure, standing.failed)),
        policy_pending: standing.pending.as_deref().map(wire_reload::pending),
        shadow: shadow.map(wire_reload::shadow),
        policy,
        audit_writable: reply.audit_writable,
        grants: count(reply.grants),
        transactions: count(reply.transactions),
        under_way: count(reply.under_way),
        frozen: count(reply.frozen),
        issuers: issuers.collect(),
        decision_id: reply.decision.to_string(),
    }
}

pub(super) fn grants(reply: GrantsReply) -> proto::ListGrantsResponse {
    let last = reply.grants.last().map(|grant| grant.fingerprint.clone());
    proto::ListGrantsResponse {
        next_page_token: last.filter(|_| reply.more).unwrap_or_default(),
        grants: reply.grants.into_iter().map(grant).collect(),
        decision_id: reply.decision.to_string(),
    }
}

fn grant(grant: GrantSummary) -> proto::GrantSummary {
    proto::GrantSummary {
        fingerprint: grant.fingerprint,
        agent: grant.agent.to_string(),
        client: grant.client.to_string(),
        issuer: grant.issuer.to_string(),
        scopes: grant.scopes.iter().map(ToString::to_string).collect(),
        resource: grant.resource.unwrap_or_default(),
        create_time: Some(timestamp(grant.created)),
        expire_time: Some(timestamp(grant.ends)),
        refreshable: grant.refreshable,
        uses: grant.uses,
    }
}

pub(super) fn toll(toll: Toll) -> proto::Toll {
    proto::Toll {
        grants: count(toll.grants),
        transactions: count(toll.transactions),
        tokens_revoked: count(toll.revoked),
        tokens_queued: count(toll.queued),
        tokens_unsupported: count(toll.unsupported),
        tokens_failed: count(toll.failed),
    }
}

pub(super) fn frozen(target: &FreezeTarget, reply: FrozenReply) -> proto::FreezeResponse {
    proto::FreezeResponse {
        freeze: Some(entry(target, reply.freeze)),
        already_frozen: !reply.is_new,
        toll: Some(toll(reply.toll)),
        decision_id: reply.decision.to_string(),
    }
}

pub(super) fn freezes(freezes: Vec<(FreezeTarget, Freeze)>) -> proto::ListFreezesResponse {
    let freezes = freezes.into_iter().map(|(target, freeze)| entry(&target, freeze));
    proto::ListFreezesResponse { freezes: freezes.collect() }
}

fn entry(target: &FreezeTarget, freeze: Freeze) -> proto::FreezeEntry {
    let name = target.name().to_owned();
    let kind = match target {
        FreezeTarget::Agent(_) => Kind::Agent(name),
        FreezeTarget::Client(_) => Kind::Client(name),
        FreezeTarget::Issuer(_) => Kind::Issuer(name),
    };
    proto::FreezeEntry {
        target: Some(proto::Target { kind: Some(kind) }),
        create_time: Some(timestamp(freeze.since)),
        operator: freeze.by.to_string(),
        ticket: freeze.ticket.unwrap_or_default(),
        decision_id: freeze.decision.to_string(),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
