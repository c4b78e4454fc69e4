//! The one table from reasons to gRPC statuses, and the one way a fault is put on the wire.

use crate::model::{Fault, Reason};
use std::{collections::HashMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `google.rpc.ErrorInfo`.
const DOMAIN: &str = "narrowgate";

/// How long an outage is taken to last, where nobody knows better.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The status a reason comes with. UNAUTHENTICATED and PERMISSION_DENIED speak of the calling agent alone.
#[must_use]
#[expect(clippy::too_many_lines, reason = "it is a table")]
pub const fn code_of(reason: Reason) -> Code {
    use Reason as R;
    match reason {
        R::PeerCredMissing | R::PeerCredentialExpired | R::PeerChanged => Code::Unauthenticated,
        R::AgentUnknown
        | R::OperatorUnknown
        | R::Frozen
        | R::HumanCaller
        | R::RequestRefused
        | R::ScopeNotInTransaction
        | R::ScopeNotGranted
        | R::PolicyDenied
        | R::HumanApprovalRequired
        | R::PolicyEvalError
        | R::ObligationUnmet
        | R::ScopeNoLongerAllowed
        | R::SubjectTokenNotYours
        | R::ScopeNotInSubject
        | R::MayActMismatch
        | R::TargetNotAllowed => Code::PermissionDenied,
        R::CallerIdentityAsserted
        | R::FieldRequired
        | R::FieldInvalid
        | R::CodeSyntax
        | R::ScopeSyntax
        | R::ResourceSyntax
        | R::ParamDuplicate
        | R::ImplicitResponse
        | R::PkceRequired
        | R::DpopProofInvalid
        | R::ScopeUndeclared
        | R::AuthorizationDetailsInvalid
        | R::SubjectTokenInvalid
        | R::ApprovalInvalid
        | R::ActorTokenForbidden => Code::InvalidArgument,
        R::MethodUnknown | R::EncodingUnsupported => Code::Unimplemented,
        R::ServiceUnknown
        | R::ClientUnknown
        | R::IssuerUnknown
        | R::ResourceUnknown
        | R::TxnUnknown
        | R::GrantUnknown => Code::NotFound,
        R::OpenidUnsupported
        | R::RedirectUriMismatch
        | R::TxnTerminal
        | R::StateMismatch
        | R::IssMismatch
        | R::AuthorizationRefused
        | R::CodeExpiredLocally
        | R::TokenExpired
        | R::NarrowingUnavailable
        | R::BindingUnusable
        | R::PkceUnsupported
        | R::PkceMismatch
        | R::MetadataIssuerMismatch
        | R::MetadataRejected
        | R::IssuerEndpointChanged
        | R::ParRequired
        | R::ParResponseMalformed
        | R::AsResponseMalformed
        | R::GrantRejected
        | R::ReauthRequired
        | R::ScopeRejected
        | R::ScopeUpgraded
        | R::AuthorizationDetailsUnsupported
        | R::RarUpgraded
        | R::ScopeNarrowed
        | R::TokenTypeUnsupported
        | R::TokenBindingMismatch
        | R::DpopKeyMismatch
        | R::IdTokenInvalid
        | R::AtContractViolation
        | R::AudienceMismatch
        | R::NonceMismatch
        | R::AtHashMismatch
        | R::StepUpRequired
        | R::GrantTypeDisabled
        | R::IssuedTypeUnexpected
        | R::ActMissing
        | R::ActTooDeep
        | R::ApiUndeclared
        | R::PrmRejected
        | R::PrmResourceMismatch
        | R::NoTrustedIssuer => Code::FailedPrecondition,
        R::QuotaExceeded | R::RequestTooLarge | R::IssuerBusy => Code::ResourceExhausted,
        R::TxnBusy | R::RedeemOutcomeUnknown | R::RefreshOutcomeUnknown | R::RequestOutcomeUnknown => Code::Aborted,
        R::CodeAlreadyUsed | R::CodeReplayed => Code::AlreadyExists,
        R::PolicyNotLoaded
        | R::FreezeNotKept
        | R::MetadataUnavailable
        | R::PrmUnavailable
        | R::JwksUnavailable
        | R::IntrospectionUnavailable
        | R::MetadataStale
        | R::ClientCredentialUnusable
        | R::AsUnreachable
        | R::AsTlsUntrusted
        | R::AsUnavailable
        | R::DpopNonceLoop
        | R::AuditUnavailable
        | R::GrantStoreUnavailable
        | R::ClockImplausible
        | R::ShuttingDown => Code::Unavailable,
        R::AsTimeout | R::DeadlineExceeded => Code::DeadlineExceeded,
        R::AsRedirectRefused | R::AsClientAuthFailed | R::AsRejected | R::Internal => Code::Internal,
    }
}

/// How long to wait before trying again where nobody knows better. `None` where trying again does not help.
fn wait_for(reason: Reason) -> Option<Duration> {
    let passes = matches!(code_of(reason), Code::Unavailable | Code::ResourceExhausted);
    (passes && reason != Reason::RequestTooLarge).then_some(RETRY_AFTER)
}

/// A fault as a `google.rpc.Status` with details. Its text is ours from beginning to end.
#[must_use]
pub fn status_of(fault: &Fault) -> Status {
    let metadata: HashMap<String, String> = fault.metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(fault.reason.name(), DOMAIN, metadata);
    if let Some((field, wrong)) = &fault.field {
        details.add_bad_request_violation(*field, wrong.as_str());
    }
    if let Some(wait) = fault.retry_after.or_else(|| wait_for(fault.reason)) {
        details.set_retry_info(Some(wait));
    }
    let mut message = fault.reason.meaning().to_owned();
    if let Some(detail) = fault.detail {
        message = format!("{message} {detail}");
    }
    if let Some((field, wrong)) = &fault.field {
        message = format!("{message} `{field}` {wrong}.");
    }
    let message = format!("{message} {}", fault.reason.next_step());
    super::advice::attached(Status::with_error_details(code_of(fault.reason), message, details), fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::proto::ErrorReason;

    #[test]
    fn the_list_of_reasons_is_the_protocols() {
        let ours: Vec<String> = Reason::ALL.iter().map(|r| format!("ERROR_REASON_{}", r.name())).collect();
        let protocol: Vec<String> =
            (1..).map_while(|n| ErrorReason::try_from(n).ok()).map(|r| r.as_str_name().to_owned()).collect();
        assert_eq!(ours, protocol);
        for reason in Reason::ALL {
            assert!(reason.name().len() <= 63);
            assert!(reason.name().bytes().all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit()));
        }
    }

    #[test]
    fn the_protocols_words_name_the_status_of_the_table() {
        let text = include_str!("../../proto/narrowgate/v1/errors.proto");
        for reason in Reason::ALL {
            let at = text.find(&format!("  ERROR_REASON_{} = ", reason.name())).unwrap();
            let comment =
                text.get(..at).unwrap().trim_end().rsplit('\n').next().unwrap().trim().trim_start_matches("// ");
            let named = comment.split('.').next().unwrap();
            let code = format!("{:?}", code_of(*reason));
            let plain: String = named
                .split('_')
                .map(|word| word.split_at(1))
                .map(|(first, rest)| first.to_owned() + &rest.to_lowercase())
                .collect();
            assert_eq!(plain, code, "{}", reason.name());
            assert!(comment.contains(reason.meaning()) && comment.contains(reason.next_step()));
        }
    }

    #[test]
    fn no_reason_is_unknown_or_ok() {
        for reason in Reason::ALL {
            let status = status_of(&Fault::new(*reason));
            assert!(!matches!(status.code(), Code::Ok | Code::Unknown | Code::Cancelled | Code::OutOfRange));
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.name(), DOMAIN));
        }
    }
}
