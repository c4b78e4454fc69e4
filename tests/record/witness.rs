//! What holds of every status that narrowgate sends, whatever it is about.

use std::collections::BTreeSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Sees statuses, and remembers their reasons.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) seen: BTreeSet<String>,
}

impl Witness {
    /// The result must be this code and reason, and its status must be in order.
    pub(crate) fn expect<T>(&mut self, result: Result<T, Status>, code: Code, reason: &str) -> Status {
        let Err(status) = result else { panic!("{reason} was not refused") };
        assert_in_order(&status);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
        self.seen.insert(info.reason);
        status
    }
}

/// A code of the fixed table, one `ErrorInfo` of the closed list, bounded and printable text.
pub(crate) fn assert_in_order(status: &Status) {
    assert!(!matches!(status.code(), Code::Ok | Code::Unknown | Code::Cancelled | Code::DataLoss | Code::OutOfRange));
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "narrowgate");
    let listed = narrowgate::model::Reason::ALL.iter().find(|r| r.name() == info.reason);
    let listed = listed.unwrap_or_else(|| panic!("{} is not in the closed list", info.reason));
    assert!(info.reason.len() <= 63 && info.reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
    assert!(status.message().starts_with(listed.meaning()), "{status:?}");
    assert!(status.message().ends_with(listed.next_step()), "{status:?}");
    for (key, value) in &info.metadata {
        assert!(key.len() <= 64 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{key}");
        assert!(value.len() <= 1024 && !value.chars().any(char::is_control), "{key}: {value:?}");
    }
    assert!(details.debug_info().is_none(), "no DebugInfo in release");
    let input = status.code() == Code::InvalidArgument && !info.metadata.contains_key("scopes");
    if input {
        let violations = &details.bad_request().unwrap_or_else(|| panic!("no field in {status:?}")).field_violations;
        assert!(violations.iter().all(|v| !v.field.is_empty() && !v.description.is_empty()), "{status:?}");
    }
    // GRPC-03: what passes by itself says when to come back; what does not, does not.
    let passes =
        matches!(status.code(), Code::Unavailable | Code::ResourceExhausted) && info.reason != "REQUEST_TOO_LARGE";
    let wait = details.retry_info().and_then(|retry| retry.retry_delay);
    assert_eq!(wait.is_some_and(|wait| !wait.is_zero()), passes, "{status:?}");
    let headers: usize = status.metadata().clone().into_headers().iter().map(|(k, v)| k.as_str().len() + v.len()).sum();
    assert!(status.details().len() + status.message().len() + headers < 4096, "trailers must fit any client");
}
