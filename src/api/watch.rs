//! `WatchToken`: a stream that asks for its next message only when its reader has room for it. So nothing waits here
//! unsent: a slow reader gets the newest token, and a token is handed out only to be written.

use super::{
    calls::{AbortOnDrop, Deliveries, Link, refused},
    proto::WatchTokenResponse,
    service::Tokens,
    wire,
};
use crate::{
    audit::Recorded,
    caller::{Caller, Peer},
    exchange::{Due, Given, Watching},
    grant::Reply,
    model::{Boot, Fault, Reason, TraceId},
    platform::trace,
};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio_stream::Stream;
use tonic::Status;
use tracing::Span;

const OPERATION: &str = "WatchToken";

type Message = Result<WatchTokenResponse, Status>;

/// A token that is watched.
pub(super) struct Watch {
    pub(super) tokens: Tokens,
    pub(super) peer: Peer,
    pub(super) link: Link,
    pub(super) watching: Watching,
    /// Until when its reader wants it.
    pub(super) until: Boot,
    pub(super) deliveries: Deliveries,
}

/// What one look comes to.
enum Look {
    /// Nothing to tell for this long.
    Nothing(Duration),
    Token(Box<Recorded<Reply>>),
    Ended(Fault),
}

impl Watch {
    /// The stream that begins with this token.
    pub(super) fn begin(self, first: Recorded<Reply>) -> Messages {
        let message = self.message(first);
        let begun = Begun { watch: self, trace: trace::current(), span: Span::current() };
        Messages { state: State::First(Box::new(message), Box::new(begun)) }
    }

    fn message(&self, reply: Recorded<Reply>) -> WatchTokenResponse {
        self.deliveries.add(reply.get().delivery());
        wire::watched(reply)
    }

    /// Looks once, for a caller attested now.
    async fn look(&mut self) -> Result<Look, Fault> {
        let corridor = &self.tokens.corridor;
        if corridor.work.is_stopping() {
            return Err(Reason::ShuttingDown.into());
        }
        let caller = self.tokens.attested(&self.peer, &self.link, OPERATION).await?;
        let due = corridor.due(&self.watching);
        if let Due::Nothing(span) = due {
            return Ok(Look::Nothing(span));
        }
        self.tokens.not_a_person(&caller, OPERATION).await?;
        self.act(due, caller).await
    }

    async fn act(&mut self, due: Due, caller: Caller) -> Result<Look, Fault> {
        let corridor = &self.tokens.corridor;
        Ok(match due {
            Due::Nothing(span) => Look::Nothing(span),
            Due::Ended(fault) => Look::Ended(fault),
            Due::Successor => {
                corridor.fetch_successor(caller, &mut self.watching).await;
                Look::Nothing(Duration::ZERO)
            }
            Due::Token => match corridor.give(caller, &mut self.watching).await? {
                Given::Token(reply) => Look::Token(reply),
                Given::Ended(fault) => Look::Ended(fault),
            },
        })
    }

    /// Waits until something may be due.
    async fn woken(&mut self, most: Duration) -> Result<(), Fault> {
        let corridor = &self.tokens.corridor;
        let patience = self.until.since(corridor.clock.boot());
        tokio::select! {
            biased;
            () = corridor.work.stopped() => Err(Reason::ShuttingDown.into()),
            () = self.link.closing() => {
                // Its peer may have changed, or it is as old as it may be.
                self.tokens.attested(&self.peer, &self.link, OPERATION).await?;
                Err(Fault::new(Reason::ShuttingDown).with("scope", "connection"))
            }
            () = tokio::time::sleep(patience) => Err(Reason::DeadlineExceeded.into()),
            () = self.watching.woken(most) => Ok(()),
        }
    }
}

/// A watch with the trace it belongs to.
struct Begun {
    watch: Watch,
    trace: Option<TraceId>,
    span: Span,
}

impl Begun {
    /// The next message, and the watch if another may come.
    async fn next(mut self: Box<Self>) -> (Message, Option<Box<Self>>) {
        let mut most = Duration::ZERO;
        loop {
            if let Err(fault) = self.watch.woken(most).await {
                return (Err(refused(&fault)), None);
            }
            // On a task of its own: a panic ends this stream with a status, and its records know their trace.
            let (trace, span) = (self.trace, self.span.clone());
            let mut work = AbortOnDrop(trace::spawn_call(trace, span, async move {
                let look = self.watch.look().await;
                (look, self)
            }));
            let Ok((look, same)) = (&mut work.0).await else {
                return (Err(refused(&Reason::Internal.into())), None);
            };
            self = same;
            match look {
                Ok(Look::Nothing(span)) => most = span,
                Ok(Look::Token(reply)) => {
                    let message = self.watch.message(*reply);
                    return (Ok(message), Some(self));
                }
                Ok(Look::Ended(fault)) => return (Ok(wire::ended(&fault)), None),
                Err(fault) => return (Err(refused(&fault)), None),
            }
        }
    }
}

type Next = Pin<Box<dyn Future<Output = (Message, Option<Box<Begun>>)> + Send>>;

enum State {
    First(Box<WatchTokenResponse>, Box<Begun>),
    Idle(Box<Begun>),
    Asking(Next),
    Over,
}

/// The messages of a watch.
pub(super) struct Messages {
    state: State,
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut next = match std::mem::replace(&mut self.state, State::Over) {
            State::First(message, begun) => {
                self.state = State::Idle(begun);
                return Poll::Ready(Some(Ok(*message)));
            }
            State::Idle(begun) => Box::pin(begun.next()),
            State::Asking(next) => next,
            State::Over => return Poll::Ready(None),
        };
        match next.as_mut().poll(context) {
            Poll::Pending => {
                self.state = State::Asking(next);
                Poll::Pending
            }
            Poll::Ready((message, begun)) => {
                self.state = begun.map_or(State::Over, State::Idle);
                Poll::Ready(Some(message))
            }
        }
    }
}
