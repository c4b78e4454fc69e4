//! A redemption that stands still at a known point of its way.

use crate::{
    house::{
        Agent, House, eventually, redeem_request,
        scripted_as::{
            Callback,
            behaviour::{Behaviour, Script},
        },
    },
    strace::Injected,
};
use narrowgate::api::proto::{RedeemCodeRequest, RedeemCodeResponse};
use tokio::task::JoinHandle;
use tonic::Status;

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// The decision is written, and the disk has not confirmed it. Needs strace.
    Deciding,
    /// The decision is durable, and the connection has no TLS yet.
    Connecting,
    /// The code has arrived, and the server says nothing.
    Sent,
    /// Half of the answer has arrived.
    HalfAnswered,
    /// The answer has arrived; its record is written, and the disk has not confirmed it. Needs strace.
    Recording,
}

impl Phase {
    /// Those that every machine can show.
    pub(crate) const EVERYWHERE: [Self; 3] = [Self::Connecting, Self::Sent, Self::HalfAnswered];
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Deciding, Self::Connecting, Self::Sent, Self::HalfAnswered, Self::Recording];

    /// Whether the code has left by then.
    pub(crate) fn is_sent(self) -> bool {
        !matches!(self, Self::Deciding | Self::Connecting)
    }
}

pub(crate) type Call = JoinHandle<Result<RedeemCodeResponse, Status>>;

/// A redemption that was stopped on its way.
pub(crate) struct Held {
    pub(crate) request: RedeemCodeRequest,
    pub(crate) callback: Callback,
    pub(crate) phase: Phase,
    /// The correlation of its exchange.
    pub(crate) exchange: String,
    call: Option<Call>,
    injected: Option<Injected>,
}

fn text(event: &serde_json::Value) -> String {
    event["metadata"]["correlation_uid"].as_str().unwrap().to_owned()
}

/// Begins, has the person approve, redeems with `call`, and returns when the redemption stands still. `None` where
/// this machine cannot do it.
pub(crate) async fn hold_by<F>(
    house: &House,
    agent: &mut Agent,
    phase: Phase,
    call: impl FnOnce(RedeemCodeRequest) -> F,
) -> Option<Held>
where
    F: Future<Output = Result<RedeemCodeResponse, Status>> + Send + 'static,
{
    let (transaction, callback) = house.approved(agent, &["customers.read"]).await;
    let request = RedeemCodeRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..redeem_request(&transaction, &callback.url)
    };
    let server = &house.server;
    let (posts, halves, connections) = (server.token_posts(), server.half_answers(), server.token_connections());
    let (decided, issued) = (house.events("exchange.decided").len(), house.events("token.issued").len());
    let mut injected = None;
    match phase {
        Phase::Deciding => injected = Some(Injected::into(house, SLOW_DISK).await?),
        Phase::Connecting => server.hold_handshakes(true),
        Phase::Sent | Phase::Recording => server.set_pause(true),
        Phase::HalfAnswered => {
            server.hold_halves(true);
            server.behave(Script::Token(Behaviour::HalfAnswer));
        }
    }
    let call = tokio::spawn(call(request.clone()));
    let on_record = |code: &str, before: usize| {
        let events = house.events(code);
        (events.len() > before).then(|| text(events.last().unwrap()))
    };
    let exchange = eventually("the decision", || on_record("exchange.decided", decided)).await;
    match phase {
        Phase::Deciding => {}
        Phase::Connecting => eventually("TCP", || (server.token_connections() > connections).then_some(())).await,
        Phase::Sent => eventually("the POST", || (server.token_posts() > posts).then_some(())).await,
        Phase::HalfAnswered => eventually("half", || (server.half_answers() > halves).then_some(())).await,
        Phase::Recording => {
            eventually("the POST", || (server.token_posts() > posts).then_some(())).await;
            injected = Some(Injected::into(house, SLOW_DISK).await?);
            server.set_pause(false);
            eventually("the issue's line", || on_record("token.issued", issued)).await;
        }
    }
    Some(Held { request, callback, phase, exchange, call: Some(call), injected })
}

/// An fdatasync that takes this long, in microseconds: longer than anything that is done meanwhile.
const SLOW_DISK: &str = "delay_enter=4000000";

/// As [`hold_by`], with the agent's own connection.
pub(crate) async fn hold(house: &House, agent: &mut Agent, phase: Phase) -> Option<Held> {
    let mut caller = agent.clone();
    hold_by(house, agent, phase, |request| async move { Ok(caller.redeem_code(request).await?.into_inner()) }).await
}

impl Held {
    /// Lets it go on.
    pub(crate) fn go_on(&mut self, house: &House) {
        match self.phase {
            Phase::Connecting => house.server.hold_handshakes(false),
            Phase::Sent => house.server.set_pause(false),
            Phase::HalfAnswered => house.server.hold_halves(false),
            Phase::Deciding | Phase::Recording => drop(self.injected.take()),
        }
    }

    /// The caller hangs up: the stream is reset.
    pub(crate) async fn hang_up(&mut self) {
        let call = self.call.take().unwrap();
        call.abort();
        assert!(call.await.err().unwrap().is_cancelled());
    }

    /// What the caller is told.
    pub(crate) async fn answer(&mut self) -> Result<RedeemCodeResponse, Status> {
        self.call.take().unwrap().await.unwrap()
    }
}
