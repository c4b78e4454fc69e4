//! The typed detail of errors that an agent can act on.

use super::proto;
use crate::model::{APPROVAL_LIFETIME_MAX, Advice, Fault};
use prost::Message;
use tonic::Status;

/// Its name in `google.protobuf.Any`.
const TYPE_URL: &str = "type.googleapis.com/narrowgate.v1.Advice";
/// The longest text of a request that is told: all details travel in the trailers, which clients bound.
const REQUEST_BYTES_MAX: usize = 1024;

/// The status with the fault's advice among its details.
pub(super) fn attached(status: Status, fault: &Fault) -> Status {
    let Some(advice) = &fault.advice else { return status };
    // What the library has just encoded.
    let Ok(mut rich) = tonic_types::Status::decode(status.details()) else { return status };
    let value = proto::Advice::from(&**advice).encode_to_vec();
    rich.details.push(prost_types::Any { type_url: TYPE_URL.to_owned(), value });
    Status::with_details(status.code(), status.message(), rich.encode_to_vec().into())
}

impl From<&Advice> for proto::Advice {
    fn from(advice: &Advice) -> Self {
        let span = |span| prost_types::Duration::try_from(span).ok();
        let step_up = advice.step_up.as_ref().map(|step_up| proto::StepUp {
            acr_values: step_up.acr_values.clone(),
            max_age: step_up.max_age.and_then(span),
        });
        let approval = advice.approval.as_ref().map(|wanted| proto::ApprovalWanted {
            request: Some(&wanted.request).filter(|text| text.len() <= REQUEST_BYTES_MAX).cloned().unwrap_or_default(),
            request_digest: wanted.request_digest.clone(),
            policy_digest: wanted.policy_digest.clone(),
            max_lifetime: span(APPROVAL_LIFETIME_MAX),
        });
        Self { step_up, approval }
    }
}
