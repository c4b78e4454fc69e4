//! `narrowgate health`: works without gRPC tools at hand, as a container's probe.

use super::{DaemonArgs, Exit, client, output::Output};
use crate::api::{ISSUERS_HEADER, POLICY_HEADER, WHY};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write, time::Duration};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

const POLL_EVERY: Duration = Duration::from_millis(100);
/// The longest one question may take.
const ASK_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(daemon: &DaemonArgs, service: &str, wait: Option<Duration>, output: &Output) -> Exit {
    let attempts = async {
        loop {
            match ask(daemon, service).await {
                Ok(whole) if whole.why_not.is_none() => return Ok(whole),
                last if wait.is_none() => return last,
                _ => tokio::time::sleep(POLL_EVERY).await,
            }
        }
    };
    let limit = wait.unwrap_or(ASK_MAX);
    match tokio::time::timeout(limit, attempts).await {
        Ok(Ok(Health { why_not, policy, issuers })) => {
            let word = if why_not.is_none() { "SERVING" } else { "NOT_SERVING" };
            let mut text = word.to_owned();
            // A person reads what is wrong; a program all there is.
            for (alias, word) in issuers.iter().filter(|(_, word)| *word != "SERVING") {
                // Writing to a text cannot fail.
                let _ = write!(text, "\nissuer/{alias} {word}");
            }
            if let Some(policy) = &policy {
                let _ = write!(text, "\npolicy: {policy}");
            }
            let mut json = json!({ "status": word });
            if let Some(members) = json.as_object_mut() {
                members.extend(why_not.as_ref().map(|why| ("why".to_owned(), json!(why))));
                members.extend(policy.as_ref().map(|policy| ("policy".to_owned(), json!(policy))));
                members.extend((!issuers.is_empty()).then(|| ("issuers".to_owned(), json!(issuers))));
            }
            output.result(&text, &json);
            why_not.map_or(Exit::Ok, |why| {
                output.say(&format!("not serving: {why}"));
                Exit::Refused
            })
        }
        Ok(Err((exit, wrong))) => output.fail(exit, &wrong),
        Err(_) => output
            .fail(Exit::Unavailable, &format!("{} does not serve after {limit:?}; look at its log", daemon.endpoint)),
    }
}

/// What the daemon says.
struct Health {
    /// Why it does not serve; `None` if it does.
    why_not: Option<String>,
    /// What is to be known of the policy set, if anything.
    policy: Option<String>,
    /// Of each issuer, where the whole was asked for.
    issuers: BTreeMap<String, String>,
}

async fn ask(daemon: &DaemonArgs, service: &str) -> Result<Health, (Exit, String)> {
    let channel = client::connect(daemon).await?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel).check(request).await;
    match answer {
        Ok(response) => {
            let words = response.metadata().get_all(ISSUERS_HEADER).iter().filter_map(|value| value.to_str().ok());
            let issuers = words.filter_map(|word| word.split_once('=')).map(|(a, w)| (a.to_owned(), w.to_owned()));
            let issuers = issuers.collect();
            let why = response.metadata().get(WHY).and_then(|why| why.to_str().ok()).unwrap_or("look at its log");
            let serves = response.get_ref().status == i32::from(ServingStatus::Serving);
            let policy = response.metadata().get(POLICY_HEADER).and_then(|said| said.to_str().ok()).map(str::to_owned);
            Ok(Health { why_not: (!serves).then(|| why.to_owned()), policy, issuers })
        }
        Err(status) => Err((Exit::Refused, format!("{}: {}", client::code_name(status.code()), status.message()))),
    }
}
