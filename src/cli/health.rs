//! `narrowgate health`: works without gRPC tools at hand, as a container's probe.

use super::{DaemonArgs, Exit, client, output::Output};
use serde_json::json;
use std::time::Duration;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

const POLL_EVERY: Duration = Duration::from_millis(100);
/// The longest one question may take.
const ASK_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(daemon: &DaemonArgs, service: &str, wait: Option<Duration>, output: &Output) -> Exit {
    let attempts = async {
        loop {
            match ask(daemon, service).await {
                Ok(None) => return Ok(None),
                last if wait.is_none() => return last,
                _ => tokio::time::sleep(POLL_EVERY).await,
            }
        }
    };
    let limit = wait.unwrap_or(ASK_MAX);
    match tokio::time::timeout(limit, attempts).await {
        Ok(Ok(None)) => {
            output.result("SERVING", &json!({ "status": "SERVING" }));
            Exit::Ok
        }
        Ok(Ok(Some(why))) => {
            output.result("NOT_SERVING", &json!({ "status": "NOT_SERVING", "why": why }));
            output.say(&format!("not serving: {why}"));
            Exit::Refused
        }
        Ok(Err((exit, wrong))) => output.fail(exit, &wrong),
        Err(_) => output
            .fail(Exit::Unavailable, &format!("{} does not serve after {limit:?}; look at its log", daemon.endpoint)),
    }
}

/// Why the daemon does not serve; `None` if it does.
async fn ask(daemon: &DaemonArgs, service: &str) -> Result<Option<String>, (Exit, String)> {
    let channel = client::connect(daemon).await?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel).check(request).await;
    match answer {
        Ok(response) if response.get_ref().status == i32::from(ServingStatus::Serving) => Ok(None),
        Ok(response) => {
            let why = response.metadata().get(crate::api::WHY).and_then(|why| why.to_str().ok());
            Ok(Some(why.unwrap_or("look at its log").to_owned()))
        }
        Err(status) => Err((Exit::Refused, format!("{}: {}", client::code_name(status.code()), status.message()))),
    }
}
