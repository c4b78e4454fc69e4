//! `narrowgate token`: what an agent does, by hand.

use super::{DaemonArgs, Exit, challenge, client, listen::CallbackListener, output::Output, span};
use crate::api::proto::{
    BeginAuthorizationRequest, BeginAuthorizationResponse, Claimed, GetTokenRequest, RedeemCodeRequest,
    RevocationOutcome, RevokeGrantRequest, Token, WatchTokenRequest, redeem_code_request::Callback,
    token_service_client::TokenServiceClient, watch_token_response::Event,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{
    io::{IsTerminal, Read},
    pin::pin,
    time::Duration,
};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;
use zeroize::Zeroizing;

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Begin an authorization and print the URL to open; with --listen, wait for the person and print the token.
    Begin(Begin),
    /// Redeem a callback URL, read from standard input so that it is in no process list: pasted at a terminal, or from a
    /// pipe or file, which is read to its end without a prompt.
    Redeem(Redeem),
    /// Get the token of a grant again.
    Get(Get),
    /// Print the token of a grant, and each that comes after it, one JSON object a line, until there is none.
    Watch(Watch),
    /// Say what to begin after an API answered 401 with a challenge.
    Challenge(challenge::Challenge),
    /// End a grant.
    Revoke(Revoke),
}

#[derive(Args)]
pub(super) struct Begin {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Alias of the client registration.
    #[arg(long)]
    client: String,
    /// A scope to ask for; repeat it for more.
    #[arg(long = "scope", required = true)]
    scopes: Vec<String>,
    /// The resource, where the scopes alone do not say.
    #[arg(long, default_value = "")]
    resource: String,
    /// Authorization details (RFC 9396), a JSON array of objects with a `type` that the catalogue declares.
    #[arg(long, default_value = "")]
    authorization_details: String,
    /// The redirect URI, as it stands in `redirect_uris` of the [[client]] in the daemon's configuration (one on a
    /// loopback literal may have a port besides). Only needed where the client has several.
    #[arg(long, default_value = "")]
    redirect_uri: String,
    /// Go on with fewer scopes if policy refuses some.
    #[arg(long)]
    allow_partial: bool,
    /// What the token is for.
    #[arg(long, default_value = "")]
    purpose: String,
    /// How the person must log in (acr), as a refusal names it; repeat it for more. Needs the scope openid.
    #[arg(long = "acr")]
    acr_values: Vec<String>,
    /// An approver's record of this request: what `narrowgate approve sign` prints.
    #[arg(long, default_value = "")]
    approval: String,
    /// Wait for the callback on the redirect URI, which must be on the literal 127.0.0.1 or [::1], and redeem it. The
    /// daemon names the URI if the client has exactly one; else pass --redirect-uri.
    #[arg(long)]
    listen: bool,
    /// How long to wait for the person.
    #[arg(long, default_value = "10m", value_parser = span)]
    timeout: Duration,
    /// Print the token even to a terminal.
    #[arg(long)]
    show_token: bool,
}

#[derive(Args)]
pub(super) struct Redeem {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Handle from begin.
    #[arg(long)]
    transaction: String,
    /// A UUID; the same one asks for a lost reply again.
    #[arg(long)]
    request_id: Option<uuid::Uuid>,
    /// Print the token even to a terminal.
    #[arg(long)]
    show_token: bool,
}

#[derive(Args)]
pub(super) struct Get {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Handle from redeem.
    #[arg(long)]
    grant: String,
    /// A scope of the grant to ask for; repeat it for more. Without any, all of the grant's.
    #[arg(long = "scope")]
    scopes: Vec<String>,
    /// How long the token must still live.
    #[arg(long, value_parser = span)]
    min_ttl: Option<Duration>,
    /// Print the token even to a terminal.
    #[arg(long)]
    show_token: bool,
}

#[derive(Args)]
pub(super) struct Watch {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Handle from redeem.
    #[arg(long)]
    grant: String,
    /// A scope of the grant to ask for; repeat it for more. Without any, all of the grant's.
    #[arg(long = "scope")]
    scopes: Vec<String>,
    /// Print the tokens even to a terminal.
    #[arg(long)]
    show_token: bool,
}

#[derive(Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Handle from redeem.
    #[arg(long)]
    grant: String,
}

/// What went wrong: no daemon, or its answer.
pub(super) enum Wrong {
    Here(Exit, String),
    There(Box<Status>),
    /// It has been printed.
    Told,
}

impl From<(Exit, String)> for Wrong {
    fn from((exit, text): (Exit, String)) -> Self {
        Self::Here(exit, text)
    }
}

impl From<Status> for Wrong {
    fn from(status: Status) -> Self {
        Self::There(Box::new(status))
    }
}

pub(super) async fn run(command: TokenCommand, output: &Output) -> Exit {
    let done = match command {
        TokenCommand::Begin(args) => begin(args, output).await,
        TokenCommand::Redeem(args) => redeem_stdin(args, output).await,
        TokenCommand::Get(args) => get(args, output).await,
        TokenCommand::Watch(args) => watch(args, output).await,
        TokenCommand::Challenge(args) => challenge::challenge(args, output).await,
        TokenCommand::Revoke(args) => revoke(args, output).await,
    };
    match done {
        Ok(()) => Exit::Ok,
        Err(Wrong::Here(exit, text)) => output.fail(exit, &text),
        Err(Wrong::Told) => Exit::Refused,
        Err(Wrong::There(status)) => {
            let (text, value) = client::explain(&status);
            if output.is_json() {
                output.result("", &value)
            } else {
                output.say(&text)
            }
            Exit::Refused
        }
    }
}

async fn service(daemon: &DaemonArgs) -> Result<TokenServiceClient<Channel>, Wrong> {
    Ok(TokenServiceClient::new(client::connect(daemon).await?))
}

async fn begin(args: Begin, output: &Output) -> Result<(), Wrong> {
    let mut request = BeginAuthorizationRequest {
        client: args.client,
        scopes: args.scopes,
        resource: args.resource,
        authorization_details: args.authorization_details,
        redirect_uri: args.redirect_uri,
        allow_partial: args.allow_partial,
        acr_values: args.acr_values,
        approval: args.approval,
        claimed: (!args.purpose.is_empty()).then(|| Claimed { purpose: args.purpose, ..Claimed::default() }),
        ..BeginAuthorizationRequest::default()
    };
    // Where the URI is known, what cannot be listened on is told before anything is begun.
    let named = args.listen && !request.redirect_uri.is_empty();
    let mut listener = if named { Some(listen_on(&mut request).await?) } else { None };
    let mut service = service(&args.daemon).await?;
    let mut begun =
        service.begin_authorization(request.clone()).await.map_err(|status| name_it(status, output))?.into_inner();
    if args.listen && listener.is_none() {
        let only = redirect_of(&begun.authorization_url);
        request.redirect_uri.clone_from(&only);
        listener = Some(listen_on(&mut request).await?);
        if request.redirect_uri != only {
            // The port that was free is part of the URI. What was begun without it ends by itself.
            begun = service.begin_authorization(request).await?.into_inner();
        }
    }
    let Some(mut listener) = listener else {
        print_begun(&begun, output);
        return Ok(());
    };
    output.say(&format!("Open this in your browser; waiting for {:?}:\n\n{}\n", args.timeout, begun.authorization_url));
    let mut over = pin!(tokio::time::sleep(args.timeout));
    loop {
        let arrived = tokio::select! {
            arrived = listener.callback() => arrived,
            () = &mut over => return Err((Exit::Refused, "nobody came back in time; begin again".to_owned()).into()),
        };
        let callback = arrived.map_err(|e| (Exit::Unavailable, format!("the callback listener failed: {e}")))?;
        match redeem(&mut service, &begun.transaction, &callback, None, args.show_token, output).await {
            Err(Wrong::There(status)) if client::is_forged(&status) => {
                output.say("a callback that is not this login's came, and was refused; still waiting");
            }
            done => return done,
        }
    }
}

/// Listens where the request's redirect URI points, and puts the port that was given into it.
async fn listen_on(request: &mut BeginAuthorizationRequest) -> Result<CallbackListener, Wrong> {
    let bound = CallbackListener::bind(&request.redirect_uri).await;
    let listener = bound.map_err(|wrong| (Exit::Usage, format!("{wrong}; {REDIRECT_URI_STANDS}")))?;
    request.redirect_uri.clone_from(&listener.redirect_uri);
    Ok(listener)
}

const REDIRECT_URI_STANDS: &str =
    "--redirect-uri takes one of the `redirect_uris` of the [[client]] in the daemon's configuration";

/// The redirect URI in an authorization URL: the client's only one, where none was asked for.
fn redirect_of(authorization_url: &str) -> String {
    let url = url::Url::parse(authorization_url).ok();
    let found = url.and_then(|url| url.query_pairs().find(|(name, _)| name == "redirect_uri").map(|(_, v)| v.into()));
    found.unwrap_or_default()
}

/// Says what to pass where the daemon cannot know which redirect URI is meant, or knows none like it.
fn name_it(status: Status, output: &Output) -> Wrong {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    if violations.iter().any(|violation| violation.field == "redirect_uri") {
        output.say(REDIRECT_URI_STANDS);
    }
    status.into()
}

fn print_begun(begun: &BeginAuthorizationResponse, output: &Output) {
    let refused: Vec<Value> =
        begun.refused_scopes.iter().map(|r| json!({ "scope": r.scope, "policy_code": r.policy_code })).collect();
    let value = json!({
        "transaction": begun.transaction, "authorization_url": begun.authorization_url, "scopes": begun.scopes,
        "refused_scopes": refused, "resource": begun.resource, "expire_time": time(begun.expire_time), "decision_id": begun.decision_id,
    });
    let mut text = format!("transaction: {}\nscopes: {}\n", begun.transaction, begun.scopes.join(" "));
    for scope in &begun.refused_scopes {
        text = format!("{text}refused: {} ({})\n", scope.scope, scope.policy_code);
    }
    text = format!("{text}expires: {}\n\nOpen in a browser:\n{}\n", time(begun.expire_time), begun.authorization_url);
    let next = format!("{text}\nThen: narrowgate token redeem --transaction {} < callback-url.txt", begun.transaction);
    output.result(&next, &value);
}

async fn redeem_stdin(args: Redeem, output: &Output) -> Result<(), Wrong> {
    if std::io::stdin().is_terminal() {
        output.say("Paste the callback URL, then Enter and Ctrl-D:");
    }
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().take(64 * 1024).read_to_string(&mut text);
    read.map_err(|e| (Exit::Usage, format!("cannot read the callback URL from standard input: {e}")))?;
    let mut service = service(&args.daemon).await?;
    let callback = Zeroizing::new(text.trim().to_owned());
    redeem(&mut service, &args.transaction, &callback, args.request_id, args.show_token, output).await
}

async fn redeem(
    service: &mut TokenServiceClient<Channel>,
    transaction: &str,
    callback: &Zeroizing<String>,
    request_id: Option<uuid::Uuid>,
    show: bool,
    output: &Output,
) -> Result<(), Wrong> {
    let request = RedeemCodeRequest {
        transaction: transaction.to_owned(),
        callback: Some(Callback::CallbackUrl(callback.to_string())),
        request_id: request_id.unwrap_or_else(uuid::Uuid::new_v4).to_string(),
        ..RedeemCodeRequest::default()
    };
    let redeemed = service.redeem_code(request).await?.into_inner();
    print_token(redeemed.token, Some(&redeemed.grant), &redeemed.decision_id, show, output);
    Ok(())
}

async fn get(args: Get, output: &Output) -> Result<(), Wrong> {
    let mut service = service(&args.daemon).await?;
    let min_ttl = args.min_ttl.and_then(|ttl| prost_types::Duration::try_from(ttl).ok());
    let request = GetTokenRequest { grant: args.grant, scopes: args.scopes, min_ttl, ..GetTokenRequest::default() };
    let got = service.get_token(request).await?.into_inner();
    print_token(got.token, None, &got.decision_id, args.show_token, output);
    Ok(())
}

async fn watch(args: Watch, output: &Output) -> Result<(), Wrong> {
    let mut service = service(&args.daemon).await?;
    let request = WatchTokenRequest { grant: args.grant, scopes: args.scopes, ..WatchTokenRequest::default() };
    let mut messages = service.watch_token(request).await?.into_inner();
    let line = |value: &Value| output.text(&format!("{value}\n"));
    while let Some(message) = messages.message().await? {
        match message.event {
            Some(Event::Token(got)) => {
                let Some(token) = got.token else { continue };
                line(&of_token(&token, &shown(&token, args.show_token, output), None, &got.decision_id));
            }
            Some(Event::Ended(ended)) => {
                line(&json!({ "ended": ended.reason, "metadata": ended.metadata }));
                return Err(Wrong::Told);
            }
            None => {}
        }
    }
    Ok(())
}

async fn revoke(args: Revoke, output: &Output) -> Result<(), Wrong> {
    let mut service = service(&args.daemon).await?;
    let revoked = service
        .revoke_grant(RevokeGrantRequest { grant: args.grant, ..RevokeGrantRequest::default() })
        .await?
        .into_inner();
    let word = |outcome: i32| match RevocationOutcome::try_from(outcome) {
        Ok(RevocationOutcome::Revoked) => "revoked",
        Ok(RevocationOutcome::Queued) => "queued",
        Ok(RevocationOutcome::Unsupported) => "unsupported",
        Ok(RevocationOutcome::Failed) => "failed",
        _ => "absent",
    };
    let (access, refresh) = (word(revoked.access_token), word(revoked.refresh_token));
    let value = json!({ "access_token": access, "refresh_token": refresh, "decision_id": revoked.decision_id });
    output.result(
        &format!("access token: {access}\nrefresh token: {refresh}\ndecision: {}", revoked.decision_id),
        &value,
    );
    Ok(())
}

/// Prints a token; to a terminal its value only on demand.
fn print_token(token: Option<Token>, grant: Option<&str>, decision: &str, show: bool, output: &Output) {
    let Some(token) = token else { return };
    let shown = shown(&token, show, output);
    let value = of_token(&token, &shown, grant, decision);
    let mut text = format!("scopes: {}\nresource: {}\n", token.scopes.join(" "), token.resource);
    text = format!("{text}expires: {}\nlease ends: {}\n", time(token.expire_time), time(token.lease_time));
    if let Some(grant) = grant {
        text = format!("{text}grant: {grant}\n");
    }
    output.result(&format!("{text}decision: {decision}\naccess token: {}", shown.as_str()), &value);
}

fn shown(token: &Token, show: bool, output: &Output) -> Zeroizing<String> {
    let shown = if show || !output.is_terminal() { token.access_token.as_str() } else { "(hidden; add --show-token)" };
    Zeroizing::new(shown.to_owned())
}

fn of_token(token: &Token, shown: &str, grant: Option<&str>, decision: &str) -> Value {
    json!({
        "access_token": shown, "token_type": token.token_type, "scopes": token.scopes, "resource": token.resource,
        "expire_time": time(token.expire_time), "lease_time": time(token.lease_time), "grant": grant, "decision_id": decision,
        "authorization_details": serde_json::from_str::<Value>(&token.authorization_details).ok(),
    })
}

pub(super) fn time(at: Option<prost_types::Timestamp>) -> String {
    at.map(|at| crate::model::Wall(at.seconds.saturating_mul(1000)).rfc3339()).unwrap_or_default()
}
