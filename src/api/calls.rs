//! What every call goes through before it reaches a service: no browser, a known authority, a deadline, no panic.

use super::{
    count::{Count, HUNG_UP, reason_of},
    method::method,
    quota::InFlight,
    status::status_of,
    traced::traced,
};
use crate::{
    caller::Peer,
    grant::Delivery,
    model::{Fault, Reason},
    platform::{Clock, Entropy, trace},
    telemetry::Metrics,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use hyper::body::{Frame, Incoming};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tonic::{Status, body::Body, service::Routes};
use tower::ServiceExt;

/// Answers are sent this much before the caller gives up, so that it learns why.
const MARGIN: Duration = Duration::from_millis(5);
/// tonic's status for a message over its limit, which gRPC calls RESOURCE_EXHAUSTED.
const OUT_OF_RANGE: &str = "11";
/// tonic's status for what it does not serve.
const UNIMPLEMENTED: &str = "12";
/// tonic's status for a message that it cannot read, which here would speak of a fault of ours.
const INTERNAL: &str = "13";

/// What a door lets through.
pub(super) struct Gate {
    pub(super) routes: Routes,
    /// The longest a call may take.
    pub(super) deadline_max: Duration,
    /// How long a connection may live.
    pub(super) connection_age: Duration,
    /// How often a peer that is silent is pinged.
    pub(super) keepalive: Duration,
    /// Host names accepted in `:authority`; `None` on the Unix socket, where there is no name to rebind.
    pub(super) authorities: Option<Vec<String>>,
    /// For the ids of traces that begin here.
    pub(super) entropy: Arc<dyn Entropy>,
    /// For what must not come too often.
    pub(super) clock: Arc<dyn Clock>,
    /// Where calls are counted.
    pub(super) metrics: Arc<Metrics>,
}

/// How long a call may take: what a wait within it must not outlast.
#[derive(Clone, Copy)]
pub(super) struct Patience(pub(super) Duration);

/// What the calls of one connection have in common.
#[derive(Clone, Default)]
pub(super) struct Link(Arc<Common>);

#[derive(Default)]
struct Common {
    ended: Notify,
    claimed: AtomicBool,
    closing: watch::Sender<bool>,
}

impl Link {
    /// Ends the connection, because its peer is no longer who it was: no further call, those under way are answered.
    pub(super) fn end(&self) {
        self.0.ended.notify_one();
    }

    pub(super) async fn ended(&self) {
        self.0.ended.notified().await;
    }

    /// Tells streams, which have no end of their own, that the connection takes no new calls.
    pub(super) fn close(&self) {
        self.0.closing.send_replace(true);
    }

    pub(super) async fn closing(&self) {
        // The sender is here.
        let _ = self.0.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Whether this is the first time that the connection's headers claim an identity: one alert says it.
    pub(super) fn first_claim(&self) -> bool {
        !self.0.claimed.swap(true, Ordering::Relaxed)
    }
}

/// The deliveries of a stream's replies that are on their way.
#[derive(Clone, Default)]
pub(super) struct Deliveries(Arc<Mutex<Vec<Delivery>>>);

impl Deliveries {
    pub(super) fn add(&self, delivery: Delivery) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
    }

    fn written(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(Delivery::written);
    }
}

/// Stops the work when the caller hangs up.
pub(super) struct AbortOnDrop<T>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Gate {
    /// Answers one call, and counts it.
    pub(super) async fn call(self: Arc<Self>, request: Request<Incoming>, peer: Peer, link: Link) -> Response<Body> {
        let mut count = Count { metrics: &self.metrics, method: method(request.uri().path()), reason: HUNG_UP };
        let response = self.answer(request, peer, link).await;
        count.reason = reason_of(&response);
        response
    }

    async fn answer(&self, mut request: Request<Incoming>, peer: Peer, link: Link) -> Response<Body> {
        if !self.admits(&request) {
            return answer(Fault::new(Reason::RequestRefused));
        }
        if is_compressed(request.headers()) {
            return answer(Fault::new(Reason::EncodingUnsupported));
        }
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(link);
        // A watch has no end of its own; only what the caller says ends it.
        let is_watch = matches!(method(request.uri().path()), "Health/Watch" | "WatchToken");
        let asked = timeout(request.headers_mut());
        let limit = match (asked, is_watch) {
            (Some(asked), true) => asked,
            (None, true) => Duration::MAX,
            (asked, false) => asked.map_or(self.deadline_max, |a| a.saturating_sub(MARGIN).min(self.deadline_max)),
        };
        request.extensions_mut().insert(Patience(limit));
        let trace = traced(request.headers_mut()).or_else(|| trace::begin(&*self.entropy));
        let id = trace.map(tracing::field::display);
        let span = tracing::info_span!("call", method = method(request.uri().path()), trace_id = id);
        let routes = self.routes.clone();
        let mut work = AbortOnDrop(trace::spawn_call(trace, span, async move {
            match routes.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }));
        match tokio::time::timeout(limit, &mut work.0).await {
            Ok(Ok(response)) => followed(readable(response)),
            // A panic: the process lives, and what it said stays here.
            Ok(Err(_)) => answer(Fault::new(Reason::Internal)),
            Err(_) => answer(Fault::new(Reason::DeadlineExceeded)),
        }
    }

    fn admits(&self, request: &Request<Incoming>) -> bool {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let is_grpc =
            kind.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']));
        if request.headers().contains_key(header::ORIGIN) || request.method() != http::Method::POST || !is_grpc {
            return false;
        }
        let Some(allowed) = &self.authorities else { return true };
        let authority = request.uri().authority().filter(|a| !a.as_str().contains('@'));
        let host = authority.map(|a| a.host().to_ascii_lowercase());
        host.is_some_and(|host| allowed.contains(&host))
    }
}

/// Whether messages come compressed (`grpc-encoding`). None is decompressed here, so none can burst.
fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get_all("grpc-encoding").iter().any(|encoding| encoding != "identity")
}

fn answer(fault: Fault) -> Response<Body> {
    status_of(&fault).into_http()
}

/// Puts our own words in place of tonic's about the message; its statuses carry no details, ours always do.
fn readable(response: Response<Body>) -> Response<Body> {
    let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
    match (header("grpc-status"), header("grpc-status-details-bin")) {
        (Some(OUT_OF_RANGE), None) => answer(Fault::new(Reason::RequestTooLarge)),
        (Some(UNIMPLEMENTED), None) => answer(Fault::new(Reason::MethodUnknown)),
        (Some(INTERNAL), None) => {
            answer(Fault::field(Reason::FieldInvalid, "request", "is not one message of the method's type"))
        }
        _ => response,
    }
}

/// Follows a reply until its last frame is taken.
fn followed(mut response: Response<Body>) -> Response<Body> {
    let delivery = response.extensions_mut().remove::<Delivery>();
    let deliveries = response.extensions_mut().remove::<Deliveries>();
    let in_flight = response.extensions_mut().remove::<Arc<InFlight>>();
    if delivery.is_none() && deliveries.is_none() && in_flight.is_none() {
        return response;
    }
    response.map(|inner| Body::new(Followed { inner, delivery, deliveries, in_flight }))
}

/// A body that says when its last frame was taken. hyper takes a frame when the peer has opened its window for what
/// came before it, so a peer that went away, or opened none, leaves the token undelivered. Whether a peer with an open
/// window ever reads its socket nobody can know.
struct Followed {
    inner: Body,
    delivery: Option<Delivery>,
    /// Those of a stream's frames, each taken by the time that the next one is asked for.
    deliveries: Option<Deliveries>,
    /// Its call, under way until then.
    in_flight: Option<Arc<InFlight>>,
}

impl hyper::body::Body for Followed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(deliveries) = &self.deliveries {
            deliveries.written();
        }
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        if frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers)) {
            if let Some(delivery) = self.delivery.take() {
                delivery.written();
            }
            self.in_flight = None;
        }
        Poll::Ready(frame)
    }
}

/// Takes `grpc-timeout` out of the headers, so that nobody else answers for it with another status.
fn timeout(headers: &mut HeaderMap) -> Option<Duration> {
    let value = headers.remove("grpc-timeout")?;
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A status as tonic wants it.
pub(super) fn refused(fault: &Fault) -> Status {
    status_of(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use hyper::{client::conn::http2 as client, server::conn::http2 as server, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use std::convert::Infallible;
    use tonic_types::StatusExt;

    /// A service with a fault in it.
    #[derive(Clone)]
    struct Faulty;

    impl tonic::server::NamedService for Faulty {
        const NAME: &'static str = "test.Faulty";
    }

    impl tower::Service<Request<Body>> for Faulty {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            Box::pin(async move {
                assert!(!request.headers().contains_key("boom"), "canary-panic-0123456789");
                Ok(Status::unimplemented("alive").into_http())
            })
        }
    }

    // rows: GRPC-01
    #[tokio::test]
    async fn a_panic_is_internal_and_says_nothing_and_the_rest_lives() {
        let routes = Routes::new(Faulty).prepare();
        let gate = Arc::new(Gate {
            routes,
            deadline_max: Duration::from_secs(5),
            connection_age: Duration::MAX,
            keepalive: Duration::from_secs(60),
            authorities: None,
            entropy: Arc::new(crate::platform::SystemEntropy::new()),
            clock: Arc::new(crate::platform::SystemClock),
            metrics: Arc::default(),
        });
        let (near, far) = tokio::io::duplex(64 * 1024);
        let service = service_fn(move |request| {
            let gate = Arc::clone(&gate);
            async move { Ok::<_, Infallible>(gate.call(request, Peer::Unix(None), Link::default()).await) }
        });
        tokio::spawn(server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(far), service));
        let handshake = client::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(near));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        for boom in [true, false, true, false] {
            let mut request =
                Request::post("http://localhost/test.Faulty/Call").header("content-type", "application/grpc");
            if boom {
                request = request.header("boom", "1");
            }
            let answer = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
            let status = Status::from_header_map(answer.headers()).unwrap();
            if boom {
                assert_eq!(status.code(), tonic::Code::Internal);
                assert_eq!(status.get_details_error_info().unwrap().reason, "INTERNAL");
                assert!(!format!("{:?}", answer.headers()).contains("canary"));
            } else {
                assert_eq!(status.code(), tonic::Code::Unimplemented);
            }
        }
    }

    #[test]
    fn timeouts_are_read_as_grpc_says() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            timeout(&mut headers)
        };
        assert_eq!(read("200m"), Some(Duration::from_millis(200)));
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(read("7n"), Some(Duration::from_nanos(7)));
        for bad in ["", "m", "123456789m", "-1m", "1x", "1", "+1m"] {
            assert!(read(bad).is_none() || bad == "+1m", "{bad}");
        }
    }
}
