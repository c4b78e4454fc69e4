//! How these tests ask, and how they expect to be refused.

use crate::house::{Agent, begin_request, eventually, reason, scripted_as::Callback};
use narrowgate::{
    api::proto::{
        AuthorizationResponse, BeginAuthorizationRequest, BeginAuthorizationResponse, RedeemCodeRequest,
        RedeemCodeResponse, redeem_code_request::Callback as WireCallback,
    },
    platform::{Clock, SystemClock},
};
use std::process::{Child, Command, Output, Stdio};
use tonic::{Code, Status};

/// The scope that most tests ask for.
pub(crate) const READ: &str = "customers.read";
/// Another that the sample policies allow `quoter`.
pub(crate) const WRITE: &str = "customers.write";

/// Fails unless the call was refused with this status and reason; gives the status back.
pub(crate) fn refused<T>(result: Result<T, Status>, code: Code, why: &str) -> Status {
    let Err(status) = result else { panic!("expected {why}, and it went through") };
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{status:?}");
    status
}

pub(crate) async fn begin(
    agent: &mut Agent,
    request: BeginAuthorizationRequest,
) -> Result<BeginAuthorizationResponse, Status> {
    Ok(agent.begin_authorization(request).await?.into_inner())
}

/// Begins with this redirect URI.
pub(crate) async fn begin_on(agent: &mut Agent, redirect_uri: &str) -> Result<BeginAuthorizationResponse, Status> {
    let request = BeginAuthorizationRequest { redirect_uri: redirect_uri.to_owned(), ..begin_request(&[READ]) };
    begin(agent, request).await
}

pub(crate) async fn ask(agent: &mut Agent, request: RedeemCodeRequest) -> Result<RedeemCodeResponse, Status> {
    Ok(agent.redeem_code(request).await?.into_inner())
}

/// A request to redeem by separate fields.
pub(crate) fn by_fields(transaction: &str, code: &str, state: &str, iss: &str) -> RedeemCodeRequest {
    let response = AuthorizationResponse { code: code.to_owned(), state: state.to_owned(), iss: iss.to_owned() };
    RedeemCodeRequest {
        transaction: transaction.to_owned(),
        callback: Some(WireCallback::Response(response)),
        ..RedeemCodeRequest::default()
    }
}

/// Redeems a callback under another state.
pub(crate) async fn with_state(
    agent: &mut Agent,
    transaction: &str,
    callback: &Callback,
    state: &str,
) -> Result<RedeemCodeResponse, Status> {
    ask(agent, by_fields(transaction, &callback.code, state, &callback.iss)).await
}

/// Redeems a callback under another issuer.
pub(crate) async fn with_iss(
    agent: &mut Agent,
    transaction: &str,
    callback: &Callback,
    iss: &str,
) -> Result<RedeemCodeResponse, Status> {
    ask(agent, by_fields(transaction, &callback.code, &callback.state, iss)).await
}

/// A parameter of a URL.
pub(crate) fn param(url: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A process that does not outlive its test.
pub(crate) struct Kept(pub(crate) Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command that must end by itself.
pub(crate) async fn run(mut command: Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut kept = Kept(child);
    let status = eventually("the command to end", || kept.0.try_wait().unwrap()).await;
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
    std::io::Read::read_to_end(&mut kept.0.stdout.take().unwrap(), &mut output.stdout).unwrap();
    std::io::Read::read_to_end(&mut kept.0.stderr.take().unwrap(), &mut output.stderr).unwrap();
    output
}

/// Everything a command said.
pub(crate) fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A channel over the agents' socket, for clients that are not the generated one.
pub(crate) async fn channel(socket: &std::path::Path) -> tonic::transport::Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.unwrap()
}

/// Waits until a time that a reply named has passed.
pub(crate) async fn until(time: Option<prost_types::Timestamp>) {
    let time = time.unwrap();
    let ends = time.seconds * 1000 + i64::from(time.nanos / 1_000_000);
    // Replies name whole milliseconds.
    let wait = u64::try_from(ends + 2 - SystemClock.wall().0).unwrap_or(0);
    tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
}
