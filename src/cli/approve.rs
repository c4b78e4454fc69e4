//! `narrowgate approve`: an approver's side. It needs no daemon: a record is a signature, and goes to whoever asks.

use super::{Exit, output::Output, span};
use crate::{
    config::SigningKey,
    exchange::request_digest,
    model::{APPROVAL_LIFETIME_MAX, ApproverId},
    oauth::{ApprovalClaims, sign_approval},
    platform::{Clock, SystemClock, SystemEntropy, entropy::random_base64url},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

/// Bytes of a request.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;

#[derive(Subcommand)]
pub(super) enum ApproveCommand {
    /// Print the public key of a private one as `jwk` of an [[approver]] table of the agents file.
    Key {
        /// The private key in PEM: Ed25519 or P-256, PKCS#8, readable by its owner alone, such as
        /// `openssl genpkey -algorithm ed25519 -out approver.key` makes.
        #[arg(long)]
        key: PathBuf,
    },
    /// Sign a record that you approve of one request, once, for a while.
    Sign(Sign),
}

#[derive(Args)]
pub(super) struct Sign {
    /// Your private key in PEM.
    #[arg(long)]
    key: PathBuf,
    /// Your id in the agents file.
    #[arg(long, value_parser = approver)]
    approver: ApproverId,
    /// What you approve: `request` of the Advice in the refusal, or - for standard input. READ IT: it is all you sign.
    #[arg(long)]
    request: String,
    /// What you approve it under: `policy_digest` of the Advice.
    #[arg(long)]
    policy_digest: String,
    /// Your reference to where it was talked about.
    #[arg(long)]
    ticket: Option<String>,
    /// How long it counts: 1h at most.
    #[arg(long, default_value = "15m", value_parser = span)]
    lifetime: Duration,
}

fn approver(text: &str) -> Result<ApproverId, String> {
    ApproverId::parse(text).ok_or_else(|| "is no id".to_owned())
}

pub(super) fn run(command: ApproveCommand, output: &Output) -> Exit {
    let done = match command {
        ApproveCommand::Key { key } => print_key(&key, output),
        ApproveCommand::Sign(sign) => signed(&sign, output),
    };
    done.map_or_else(|wrong| output.fail(Exit::Usage, &wrong), |()| Exit::Ok)
}

fn print_key(key: &std::path::Path, output: &Output) -> Result<(), String> {
    let jwk = SigningKey::load(key, None)?.jwk();
    output.result(&jwk, &json!({ "jwk": jwk }));
    Ok(())
}

fn signed(sign: &Sign, output: &Output) -> Result<(), String> {
    if sign.lifetime > APPROVAL_LIFETIME_MAX || sign.lifetime.as_secs() == 0 {
        return Err("--lifetime must be from 1s to 1h".to_owned());
    }
    let word = |text: &str| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if sign.ticket.as_deref().is_some_and(|ticket| !word(ticket)) || !word(&sign.policy_digest) {
        return Err("--ticket and --policy-digest must be 1 to 128 visible ASCII characters".to_owned());
    }
    let request = match sign.request.as_str() {
        "-" => read_request()?,
        text => text.to_owned(),
    };
    let shown = match serde_json::from_str(&request) {
        Ok(Value::Object(members)) => facts(&members),
        _ => return Err("--request must be the JSON object of the Advice, as it is".to_owned()),
    };
    let key = SigningKey::load(&sign.key, None)?;
    let no_random = |_| "the system gives no random bits".to_owned();
    let id = random_base64url::<16>(&SystemEntropy::new()).map_err(no_random)?;
    let digest = request_digest(&request);
    let claims = ApprovalClaims {
        approver: &sign.approver,
        request_digest: &digest,
        policy_digest: &sign.policy_digest,
        ticket: sign.ticket.as_deref(),
        id: &id,
        at: SystemClock.wall(),
        lifetime: sign.lifetime,
    };
    let record = sign_approval(&key, &claims).ok_or("the key does not sign")?;
    output.say(&format!("{} approves, for {} s:\n{shown}", sign.approver, sign.lifetime.as_secs()));
    output.result(&record, &json!({ "approval": record, "request_digest": digest }));
    Ok(())
}

/// One fact a line. Control characters would fool the approver's eyes; JSON escapes them.
fn facts(members: &serde_json::Map<String, Value>) -> String {
    members
        .iter()
        .map(|(name, value)| format!("  {}: {value}", Value::from(name.as_str())))
        .collect::<Vec<_>>()
        .join("\n")
}

fn read_request() -> Result<String, String> {
    let mut text = String::new();
    let read = io::stdin().lock().take(REQUEST_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|e| format!("standard input: {e}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
