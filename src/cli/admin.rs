//! `narrowgate admin`: what operators do.

use super::{Exit, admin_explain, admin_policy, client, output::Output, policy::explain::AskedArgs, token::time};
use crate::api::proto::{
    DrainRequest, FreezeEntry, FreezeRequest, GetStatusRequest, GrantSummary, ListFreezesRequest, ListGrantsRequest,
    RevokeGrantsRequest, Target, Toll, UnfreezeRequest, admin_service_client::AdminServiceClient,
    revoke_grants_request::Which, target::Kind,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use tonic::{Status, transport::Channel};

const AFTER_HELP: &str = "\
Operators are the [[operator]] tables of the agents file; the daemon serves them where [listen.admin] is set. What each
may do is for policy to say (admin_status, admin_list_grants, admin_revoke, admin_freeze, admin_unfreeze, admin_drain,
admin_reload, admin_explain, admin_what_if).

In an incident: narrowgate admin freeze --agent NAME --ticket incident-4711";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Admin {
    /// The socket that [listen.admin] names.
    #[arg(long, global = true, env = "NARROWGATE_ADMIN", default_value = "/run/narrowgate/admin.sock")]
    socket: PathBuf,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Subcommand)]
enum AdminCommand {
    /// Say how the daemon is.
    Status,
    /// List grants, by fingerprint: the grant_ref of the audit log.
    Grants {
        #[command(flatten)]
        of: Whose,
    },
    /// End grants and revoke their tokens. Agents may begin anew: freeze those that must not.
    Revoke {
        #[command(flatten)]
        of: Revoked,
    },
    /// Stop everything of an agent, a client or an issuer, from the next call on, until it is unfrozen.
    Freeze {
        #[command(flatten)]
        of: One,
        /// Where to read why, such as incident-4711.
        #[arg(long, default_value = "")]
        ticket: String,
    },
    /// Lift a freeze. It restores nothing: agents begin anew.
    Unfreeze {
        #[command(flatten)]
        of: One,
    },
    /// List what is frozen.
    Freezes,
    /// Take policies, agents and APIs anew from their files; list every mistake if there is one.
    ///
    /// Exit codes: 0 another set is current, or nothing is new · 1 not allowed · 65 mistakes; nothing was changed.
    Reload {
        /// Have the set of this digest become current although it allows what was denied of late (`[policy]
        /// require_ack_for_weakening`): `admin status` names the one that waits.
        #[arg(long, value_name = "DIGEST")]
        accept_weakening: Option<String>,
    },
    /// Say why policy answered as it did, or would answer a request: which policies determine it, and which nearly do.
    ///
    /// Exit codes: 0 allowed · 1 denied, or not allowed to ask · 64 wrong usage.
    Explain(Box<admin_explain::ExplainArgs>),
    /// Say what policy would answer if facts were others than they are. Nothing comes of it.
    ///
    /// Exit codes: 0 allowed · 1 denied, or not allowed to ask · 64 wrong usage.
    WhatIf(Box<AskedArgs>),
    /// Stop the daemon in an orderly way, as SIGTERM does.
    Drain,
}

/// Of whom; of everyone unless said.
#[derive(Args)]
#[group(multiple = false)]
struct Whose {
    /// Of this agent.
    #[arg(long)]
    agent: Option<String>,
    /// By this client.
    #[arg(long)]
    client: Option<String>,
    /// At this issuer.
    #[arg(long)]
    issuer: Option<String>,
}

/// Exactly one of them.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct One {
    /// This agent.
    #[arg(long)]
    agent: Option<String>,
    /// This client, for every agent.
    #[arg(long)]
    client: Option<String>,
    /// This issuer, with all its clients.
    #[arg(long)]
    issuer: Option<String>,
}

/// One grant, or all of one of them.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Revoked {
    /// The grant with this fingerprint.
    #[arg(long)]
    grant: Option<String>,
    /// Every grant of this agent.
    #[arg(long)]
    agent: Option<String>,
    /// Every grant by this client.
    #[arg(long)]
    client: Option<String>,
    /// Every grant at this issuer.
    #[arg(long)]
    issuer: Option<String>,
}

fn target(agent: Option<String>, client: Option<String>, issuer: Option<String>) -> Option<Target> {
    let kind = agent.map(Kind::Agent).or(client.map(Kind::Client)).or(issuer.map(Kind::Issuer));
    kind.map(|kind| Target { kind: Some(kind) })
}

pub(super) async fn run(admin: Admin, output: &Output) -> Exit {
    let socket = admin.socket.display().to_string();
    let channel = match client::unix(admin.socket).await {
        Ok(channel) => channel,
        Err(wrong) => {
            return output.fail(Exit::Unavailable, &format!("{wrong} ([listen.admin] at {socket}, --socket)"));
        }
    };
    let mut service = AdminServiceClient::new(channel.clone());
    let done = match admin.command {
        AdminCommand::Explain(args) => return answered(admin_explain::explain(channel, *args, output).await, output),
        AdminCommand::WhatIf(asked) => return answered(admin_explain::what_if(channel, *asked, output).await, output),
        AdminCommand::Status => status(&mut service, output).await,
        AdminCommand::Grants { of } => grants(&mut service, target(of.agent, of.client, of.issuer), output).await,
        AdminCommand::Revoke { of } => revoke(&mut service, of, output).await,
        AdminCommand::Freeze { of, ticket } => {
            freeze(&mut service, target(of.agent, of.client, of.issuer), ticket, output).await
        }
        AdminCommand::Unfreeze { of } => unfreeze(&mut service, target(of.agent, of.client, of.issuer), output).await,
        AdminCommand::Freezes => freezes(&mut service, output).await,
        AdminCommand::Reload { accept_weakening } => {
            return answered(admin_policy::reload(&mut service, accept_weakening, output).await, output);
        }
        AdminCommand::Drain => drain(&mut service, output).await,
    };
    answered(done.map(|()| Exit::Ok), output)
}

fn answered(done: Result<Exit, Status>, output: &Output) -> Exit {
    match done {
        Ok(exit) => exit,
        Err(status) => {
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

async fn status(service: &mut AdminServiceClient<Channel>, output: &Output) -> Result<(), Status> {
    let it = service.get_status(GetStatusRequest {}).await?.into_inner();
    let alone: Vec<&str> = it.issuers.iter().filter(|i| i.left_alone).map(|i| i.issuer.as_str()).collect();
    let mut text = format!("version: {}\n{}\n", it.version, admin_policy::status_text(&it));
    text = format!("{text}audit log: {}\n", if it.audit_writable { "writable" } else { "not writable" });
    text = format!("{text}grants: {}\ntransactions: {}\nunder way: {}\n", it.grants, it.transactions, it.under_way);
    text = format!("{text}frozen: {}\n", it.frozen);
    text = format!("{text}issuers left alone: {}", if alone.is_empty() { "none".to_owned() } else { alone.join(" ") });
    let issuers = it.issuers.iter().map(|i| json!({ "issuer": i.issuer, "left_alone": i.left_alone }));
    let value = json!({
        "version": it.version, "policy_generation": it.policy_generation, "policy_digest": it.policy_digest,
        "policy": admin_policy::status_value(&it),
        "audit_writable": it.audit_writable, "grants": it.grants, "transactions": it.transactions,
        "under_way": it.under_way, "frozen": it.frozen, "issuers": issuers.collect::<Vec<_>>(),
        "decision_id": it.decision_id,
    });
    output.result(&text, &value);
    Ok(())
}

async fn grants(service: &mut AdminServiceClient<Channel>, of: Option<Target>, output: &Output) -> Result<(), Status> {
    let mut all: Vec<GrantSummary> = Vec::new();
    let mut request = ListGrantsRequest { of, page_size: 1000, page_token: String::new() };
    loop {
        let page = service.list_grants(request.clone()).await?.into_inner();
        all.extend(page.grants);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let line = |g: &GrantSummary| {
        let scopes = g.scopes.join(" ");
        let (until, uses) = (time(g.expire_time), g.uses);
        format!(
            "{}  {}  {} at {}  {scopes}  until {until}, used {uses} times",
            g.fingerprint, g.agent, g.client, g.issuer
        )
    };
    let value = all.iter().map(|g| {
        json!({
            "fingerprint": g.fingerprint, "agent": g.agent, "client": g.client, "issuer": g.issuer,
            "scopes": g.scopes, "resource": g.resource, "create_time": time(g.create_time),
            "expire_time": time(g.expire_time), "refreshable": g.refreshable, "uses": g.uses,
        })
    });
    let text =
        if all.is_empty() { "no grants".to_owned() } else { all.iter().map(line).collect::<Vec<_>>().join("\n") };
    output.result(&text, &json!({ "grants": value.collect::<Vec<_>>() }));
    Ok(())
}

async fn revoke(service: &mut AdminServiceClient<Channel>, of: Revoked, output: &Output) -> Result<(), Status> {
    let which = match of.grant {
        Some(fingerprint) => Some(Which::Fingerprint(fingerprint)),
        None => target(of.agent, of.client, of.issuer).map(Which::Of),
    };
    let done = service.revoke_grants(RevokeGrantsRequest { which }).await?.into_inner();
    let toll = done.toll.unwrap_or_default();
    let value = json!({ "toll": toll_value(&toll), "decision_id": done.decision_id });
    output.result(&format!("{}\ndecision: {}", toll_text(&toll), done.decision_id), &value);
    warn(&toll, output);
    Ok(())
}

async fn freeze(
    service: &mut AdminServiceClient<Channel>,
    target: Option<Target>,
    ticket: String,
    output: &Output,
) -> Result<(), Status> {
    let done = service.freeze(FreezeRequest { target, ticket }).await?.into_inner();
    let (freeze, toll) = (done.freeze.unwrap_or_default(), done.toll.unwrap_or_default());
    let head = if done.already_frozen { "was frozen already, swept again" } else { "frozen" };
    let text = format!("{head}: {}\n{}\ndecision: {}", freeze_text(&freeze), toll_text(&toll), done.decision_id);
    let value = json!({
        "freeze": freeze_value(&freeze), "already_frozen": done.already_frozen, "toll": toll_value(&toll),
        "decision_id": done.decision_id,
    });
    output.result(&text, &value);
    warn(&toll, output);
    Ok(())
}

async fn unfreeze(
    service: &mut AdminServiceClient<Channel>,
    target: Option<Target>,
    output: &Output,
) -> Result<(), Status> {
    let done = service.unfreeze(UnfreezeRequest { target }).await?.into_inner();
    let head = if done.was_frozen { "unfrozen; agents begin anew, nothing comes back" } else { "it was not frozen" };
    let value = json!({ "was_frozen": done.was_frozen, "decision_id": done.decision_id });
    output.result(&format!("{head}\ndecision: {}", done.decision_id), &value);
    Ok(())
}

async fn freezes(service: &mut AdminServiceClient<Channel>, output: &Output) -> Result<(), Status> {
    let freezes = service.list_freezes(ListFreezesRequest {}).await?.into_inner().freezes;
    let text = match freezes.as_slice() {
        [] => "nothing is frozen".to_owned(),
        some => some.iter().map(freeze_text).collect::<Vec<_>>().join("\n"),
    };
    output.result(&text, &json!({ "freezes": freezes.iter().map(freeze_value).collect::<Vec<_>>() }));
    Ok(())
}

async fn drain(service: &mut AdminServiceClient<Channel>, output: &Output) -> Result<(), Status> {
    let done = service.drain(DrainRequest {}).await?.into_inner();
    let value = json!({ "draining": true, "decision_id": done.decision_id });
    output.result(&format!("draining: it ends when what is under way is done\ndecision: {}", done.decision_id), &value);
    Ok(())
}

fn toll_text(toll: &Toll) -> String {
    format!(
        "grants ended: {}\nlogins ended: {}\ntokens: {} revoked, {} queued, {} unsupported, {} failed",
        toll.grants,
        toll.transactions,
        toll.tokens_revoked,
        toll.tokens_queued,
        toll.tokens_unsupported,
        toll.tokens_failed
    )
}

fn toll_value(toll: &Toll) -> Value {
    json!({
        "grants": toll.grants, "transactions": toll.transactions, "tokens_revoked": toll.tokens_revoked,
        "tokens_queued": toll.tokens_queued, "tokens_unsupported": toll.tokens_unsupported,
        "tokens_failed": toll.tokens_failed,
    })
}

/// Says what an operator must not overlook.
fn warn(toll: &Toll, output: &Output) {
    let live = toll.tokens_unsupported + toll.tokens_failed;
    if live > 0 {
        output.say(&format!("{live} tokens could not be revoked: whoever holds one can use it until it ends"));
    }
}

fn freeze_text(freeze: &FreezeEntry) -> String {
    let (kind, name) = named(freeze);
    let ticket = if freeze.ticket.is_empty() { String::new() } else { format!(" ({})", freeze.ticket) };
    format!("{kind} {name} by {}{ticket} since {}", freeze.operator, time(freeze.create_time))
}

fn freeze_value(freeze: &FreezeEntry) -> Value {
    let (kind, name) = named(freeze);
    json!({
        "kind": kind, "name": name, "operator": freeze.operator, "ticket": freeze.ticket,
        "create_time": time(freeze.create_time), "decision_id": freeze.decision_id,
    })
}

fn named(freeze: &FreezeEntry) -> (&'static str, &str) {
    match freeze.target.as_ref().and_then(|target| target.kind.as_ref()) {
        Some(Kind::Agent(name)) => ("agent", name),
        Some(Kind::Client(name)) => ("client", name),
        Some(Kind::Issuer(name)) => ("issuer", name),
        None => ("unknown", ""),
    }
}
