//! Every call counted once, by method and reason: both are closed sets.

use crate::{model::Reason, telemetry::Metrics};
use http::Response;
use tonic::{Status, body::Body};
use tonic_types::StatusExt;

/// The word for a call that was answered as it asked.
const OK: &str = "OK";
/// The word for a call whose caller went away before the answer.
pub(super) const HUNG_UP: &str = "HUNG_UP";
/// The word for an answer without a reason of ours.
const NONE: &str = "NONE";

/// One call; counted when dropped, however it ends.
pub(super) struct Count<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) method: &'static str,
    pub(super) reason: &'static str,
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.metrics.called(self.method, self.reason);
    }
}

/// The reason that an answer carries, as the code's own word. Of a stream its beginning is the answer.
pub(super) fn reason_of(response: &Response<Body>) -> &'static str {
    let Some(status) = Status::from_header_map(response.headers()).filter(|status| status.code() != tonic::Code::Ok)
    else {
        return OK;
    };
    let named = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    Reason::ALL.iter().map(|reason| reason.name()).find(|name| *name == named).unwrap_or(NONE)
}
