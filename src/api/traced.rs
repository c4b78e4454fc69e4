//! The caller's trace context (W3C Trace Context), as far as it is let in.

use crate::model::TraceId;
use http::HeaderMap;

/// Takes the trace context out of the headers, so that nothing further on can log it, decide by it or pass it on. Of it
/// only the trace id is kept, if there is exactly one well-formed `traceparent`: `tracestate` and `baggage` are anyone's
/// words (§6) and end here, whatever their size.
pub(super) fn traced(headers: &mut HeaderMap) -> Option<TraceId> {
    for unread in ["tracestate", "baggage"] {
        headers.remove(unread);
    }
    let parents: Vec<_> =
        headers.get_all("traceparent").iter().map(|v| TraceId::of_traceparent(v.as_bytes())).collect();
    headers.remove("traceparent");
    match parents.as_slice() {
        [one] => *one,
        _ => None,
    }
}
