//! Between the wire and the model: challenges.

use super::{proto, wire::required};
use crate::{
    exchange::{AuthorizationOption, ChallengeInput, ResolvedReply},
    model::{Fault, Scope},
    oauth::{Demand, RequestedUrl},
};

pub(super) fn resolve(request: &proto::ResolveChallengeRequest) -> Result<ChallengeInput, Fault> {
    required("url", &request.url)?;
    Ok(ChallengeInput {
        requested: RequestedUrl::parse(&request.url)?,
        demand: Demand::read(&request.www_authenticate)?,
    })
}

pub(super) fn resolved(reply: ResolvedReply) -> proto::ResolveChallengeResponse {
    let max_age = reply.login.max_age.and_then(|age| prost_types::Duration::try_from(age).ok());
    proto::ResolveChallengeResponse {
        options: reply.options.into_iter().map(option).collect(),
        error: reply.error.unwrap_or_default().to_owned(),
        step_up: reply.step_up,
        schemes: reply.schemes,
        acr_values: reply.login.acr_values,
        max_age,
        from_metadata: reply.from_metadata,
    }
}

fn option(option: AuthorizationOption) -> proto::AuthorizationOption {
    let texts = |scopes: Vec<Scope>| scopes.iter().map(ToString::to_string).collect();
    proto::AuthorizationOption {
        api: option.api.to_string(),
        resource: option.resource,
        issuer: option.issuer.to_string(),
        clients: option.clients.iter().map(ToString::to_string).collect(),
        scopes: texts(option.scopes),
        unknown_scopes: texts(option.unknown),
        supported_scopes: texts(option.supported),
    }
}
