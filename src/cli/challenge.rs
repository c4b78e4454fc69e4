//! `narrowgate token challenge`: what to begin after an API answered 401.

use super::{DaemonArgs, client, output::Output, token::Wrong};
use crate::api::proto::{
    AuthorizationOption, ResolveChallengeRequest, ResolveChallengeResponse, token_service_client::TokenServiceClient,
};
use clap::Args;
use serde_json::{Value, json};

#[derive(Args)]
pub(super) struct Challenge {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// The https URL that was requested.
    url: String,
    /// The value of each WWW-Authenticate header of the answer, such as 'Bearer scope="customers.read"'.
    www_authenticate: Vec<String>,
}

pub(super) async fn challenge(args: Challenge, output: &Output) -> Result<(), Wrong> {
    let mut service = TokenServiceClient::new(client::connect(&args.daemon).await?);
    let request = ResolveChallengeRequest {
        url: args.url,
        www_authenticate: args.www_authenticate,
        ..ResolveChallengeRequest::default()
    };
    let resolved = service.resolve_challenge(request).await?.into_inner();
    output.result(&text(&resolved), &value(&resolved));
    Ok(())
}

fn text(resolved: &ResolveChallengeResponse) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, words: &[String]| {
        if !words.is_empty() {
            lines.push(format!("{name}: {}", words.join(" ")));
        }
    };
    for option in &resolved.options {
        line("api", std::slice::from_ref(&option.api));
        line("  resource", std::slice::from_ref(&option.resource));
        line("  issuer", std::slice::from_ref(&option.issuer));
        line("  clients", &option.clients);
        line("  scopes demanded", &option.scopes);
        line("  not declared, never asked for", &option.unknown_scopes);
        line("  scopes it lists", &option.supported_scopes);
    }
    if !resolved.error.is_empty() {
        line("error", std::slice::from_ref(&resolved.error));
    }
    line("acr_values", &resolved.acr_values);
    if let Some(age) = &resolved.max_age {
        line("max_age", &[format!("{}s", age.seconds)]);
    }
    let next = resolved.options.iter().find_map(|option| option.clients.first().map(|client| (option, client)));
    if let Some((option, client)) = next {
        let scopes = if option.scopes.is_empty() { &option.supported_scopes } else { &option.scopes };
        let scopes: Vec<String> = scopes.iter().map(|scope| format!(" --scope {scope}")).collect();
        let scopes = if scopes.is_empty() { " --scope ...".to_owned() } else { scopes.concat() };
        let held = if resolved.step_up { ", with the scopes held already besides" } else { "" };
        lines.push(format!(
            "\nThen: narrowgate token begin --client {client} --resource {}{scopes}{held}",
            option.resource
        ));
    }
    lines.join("\n")
}

fn value(resolved: &ResolveChallengeResponse) -> Value {
    let option = |option: &AuthorizationOption| {
        json!({
            "api": option.api, "resource": option.resource, "issuer": option.issuer, "clients": option.clients,
            "scopes": option.scopes, "unknown_scopes": option.unknown_scopes,
            "supported_scopes": option.supported_scopes,
        })
    };
    json!({
        "options": resolved.options.iter().map(option).collect::<Vec<_>>(),
        "error": resolved.error, "step_up": resolved.step_up, "schemes": resolved.schemes,
        "acr_values": resolved.acr_values, "max_age_seconds": resolved.max_age.as_ref().map(|age| age.seconds),
        "from_metadata": resolved.from_metadata,
    })
}
