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
                Ok(true) => return Ok(true),
                last if wait.is_none() => return last,
                _ => tokio::time::sleep(POLL_EVERY).await,
            }
        }
    };
    let limit = wait.unwrap_or(ASK_MAX);
    match tokio::time::timeout(limit, attempts).await {
        Ok(Ok(serving)) => {
            let word = if serving { "SERVING" } else { "NOT_SERVING" };
            output.result(word, &json!({ "status": word }));
            if serving { Exit::Ok } else { Exit::Refused }
        }
        Ok(Err((exit, wrong))) => output.fail(exit, &wrong),
        Err(_) => output
            .fail(Exit::Unavailable, &format!("{} does not serve after {limit:?}; look at its log", daemon.endpoint)),
    }
}

async fn ask(daemon: &DaemonArgs, service: &str) -> Result<bool, (Exit, String)> {
    let channel = client::connect(daemon).await?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel).check(request).await;
    match answer {
        Ok(response) => Ok(response.into_inner().status == i32::from(ServingStatus::Serving)),
        Err(status) => Err((Exit::Refused, format!("{}: {}", client::code_name(status.code()), status.message()))),
    }
}
