//! The fixed words of events: their OCSF class, their severity, their sentence.

use super::{
    Code, Event, Severity,
    tree::{Tree, tree},
};
use crate::model::fault::Detection;

/// A class of events: uid, name, category uid and name.
pub(super) struct Class(pub(super) u32, pub(super) &'static str, pub(super) u8, pub(super) &'static str);

const AUTHENTICATION: Class = Class(3002, "Authentication", 3, "Identity & Access Management");
const AUTHORIZE_SESSION: Class = Class(3003, "Authorize Session", 3, "Identity & Access Management");
const ENTITY_MANAGEMENT: Class = Class(3004, "Entity Management", 3, "Identity & Access Management");
const API_ACTIVITY: Class = Class(6003, "API Activity", 6, "Application Activity");
const LIFECYCLE: Class = Class(6002, "Application Lifecycle", 6, "Application Activity");
const EVENT_LOG: Class = Class(1008, "Event Log Activity", 1, "System Activity");
const FINDING: Class = Class(2004, "Detection Finding", 2, "Findings");

/// The class, activity id and activity name of an event.
pub(super) fn class(code: Code) -> (Class, u8, &'static str) {
    match code {
        Code::AgentRejected => (AUTHENTICATION, 1, "Logon"),
        Code::TokenRevoked | Code::TokenRevokeFailed => (AUTHENTICATION, 2, "Logoff"),
        Code::AuthorizationDecided
        | Code::ExchangeDecided
        | Code::RevocationDecided
        | Code::ExchangeRefused
        | Code::ExchangeFailed
        | Code::ExchangeUnknown
        | Code::AdminDecided
        | Code::AdminCompleted => (API_ACTIVITY, 1, "Create"),
        Code::TokenIssued | Code::TokenRefreshed | Code::TokenServed | Code::ProofSigned | Code::TokenWithheld => {
            (AUTHORIZE_SESSION, 1, "Assign Privileges")
        }
        Code::PolicyActivated | Code::PolicyRejected => (ENTITY_MANAGEMENT, 3, "Update"),
        Code::GrantsRestored => (ENTITY_MANAGEMENT, 2, "Read"),
        Code::GrantStoreRejected | Code::GrantDropped | Code::RegistrationRemoved => (ENTITY_MANAGEMENT, 4, "Delete"),
        Code::GrantStoreFailed => (ENTITY_MANAGEMENT, 12, "Suspend"),
        Code::GrantStoreResumed => (ENTITY_MANAGEMENT, 13, "Resume"),
        Code::IssuerUnavailable | Code::Frozen => (ENTITY_MANAGEMENT, 12, "Suspend"),
        Code::IssuerRecovered | Code::Unfrozen => (ENTITY_MANAGEMENT, 13, "Resume"),
        Code::ClientAuthenticationWeak => (ENTITY_MANAGEMENT, 3, "Update"),
        Code::DaemonStarted => (LIFECYCLE, 3, "Start"),
        Code::DaemonStopped => (LIFECYCLE, 4, "Stop"),
        Code::AuditResumed => (EVENT_LOG, 9, "Enable"),
        Code::AuditFileLost => (EVENT_LOG, 2, "Delete"),
        Code::Candidate(code) => (ENTITY_MANAGEMENT, code.activity().0, code.activity().1),
        Code::Detected(_) => (FINDING, 1, "Create"),
    }
}

/// The severity's id and caption.
pub(super) const fn severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Informational => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// A fixed sentence for each event, with nothing in it but names from the configuration.
pub(super) fn message(event: &Event) -> String {
    let agent = event.actor.as_ref().map_or("an unknown peer", |a| a.agent.as_str());
    let denied = event.verdict.as_ref().is_some_and(|v| v.denied.is_some());
    match event.code {
        Code::AgentRejected => "A peer was rejected".to_owned(),
        Code::AuthorizationDecided if denied => format!("Policy denied {agent} to begin an authorization"),
        Code::AuthorizationDecided => format!("Policy allowed {agent} to begin an authorization"),
        Code::ExchangeDecided if event.operation == "GetToken" => {
            format!("Policy {} a token refresh for {agent}", if denied { "denied" } else { "allowed" })
        }
        Code::ExchangeDecided if event.operation != "RedeemCode" => {
            format!("Policy {} a token request of {agent}", if denied { "denied" } else { "allowed" })
        }
        Code::ExchangeDecided if denied => format!("Policy denied code redemption for {agent}"),
        Code::ExchangeDecided => format!("Policy allowed code redemption for {agent}"),
        Code::RevocationDecided if denied => format!("Policy denied {agent} to end a grant"),
        Code::RevocationDecided => format!("{agent} ended a grant"),
        Code::ExchangeRefused => format!("A request of {agent} was refused before policy"),
        Code::ExchangeFailed => format!("An exchange of {agent} failed"),
        Code::ExchangeUnknown => {
            "The outcome of an exchange is unknown: the daemon stopped before it was recorded".to_owned()
        }
        Code::TokenIssued => format!("A token was issued to {agent}"),
        Code::TokenRefreshed => format!("A token of a grant of {agent} was refreshed"),
        Code::TokenServed => format!("A held token was handed out to {agent} again"),
        Code::ProofSigned => format!("A proof for a held token was signed for {agent}"),
        Code::TokenWithheld => format!("A held token was withheld from {agent}"),
        Code::TokenRevoked => format!("A token of {agent} was revoked"),
        Code::TokenRevokeFailed => format!("A token of {agent} could not be revoked"),
        Code::PolicyActivated => "A policy set is active".to_owned(),
        Code::PolicyRejected => "A policy set was rejected".to_owned(),
        Code::RegistrationRemoved => format!("{} is not registered any more", fact(event, "target")),
        Code::DaemonStarted => "narrowgate started".to_owned(),
        Code::DaemonStopped => "narrowgate stopped".to_owned(),
        Code::AuditResumed => "The audit log can be written again".to_owned(),
        Code::IssuerUnavailable => "An authorization server fails again and again, and is left alone".to_owned(),
        Code::IssuerRecovered => "An authorization server answers again".to_owned(),
        Code::AdminDecided => {
            format!("Policy {} operator {agent} to do {}", if denied { "denied" } else { "allowed" }, event.operation)
        }
        Code::AdminCompleted => format!("Operator {agent} has done {}", event.operation),
        Code::Frozen => format!("Operator {agent} froze {}", fact(event, "target")),
        Code::Unfrozen => format!("Operator {agent} unfroze {}", fact(event, "target")),
        Code::ClientAuthenticationWeak => "A client's authentication is weaker than it need be".to_owned(),
        Code::AuditFileLost => "A file of the audit log was removed, replaced or changed while in use".to_owned(),
        Code::GrantsRestored
        | Code::GrantStoreRejected
        | Code::GrantStoreFailed
        | Code::GrantStoreResumed
        | Code::GrantDropped => of_the_store(event.code).to_owned(),
        Code::Candidate(code) => code.message().to_owned(),
        Code::Detected(detection) => of_detection(detection, agent),
    }
}

/// The sentence of a detection.
fn of_detection(detection: Detection, agent: &str) -> String {
    match detection {
        Detection::UnknownAgent => "An unregistered peer called".to_owned(),
        Detection::UnknownOperator => "A peer that is no operator called the admin service".to_owned(),
        Detection::PeerChanged => "A connection outlived its process, or came from another program".to_owned(),
        Detection::HumanCaller => format!("A person called as {agent} and was refused"),
        Detection::BreakGlass => format!("A person calls as {agent}, by a break-glass permit"),
        Detection::ProxyIdentityHeader => format!("{agent} sent a header that claims an identity"),
        Detection::CrossAgentHandle => format!("{agent} presented a handle of another agent"),
        Detection::CodeReplay => format!("{agent} presented a code that was seen before"),
        Detection::PkceMismatch => {
            format!("{agent} presented a verifier that is not that of the registered challenge")
        }
        Detection::StateMismatch => format!("{agent} presented a wrong state"),
        Detection::IssMismatch => format!("{agent} presented a wrong issuer"),
        Detection::RedirectMismatch => format!("{agent} presented a wrong redirect URI"),
        Detection::ScopeEscalation => "The authorization server issued more than allowed".to_owned(),
        Detection::JwksChanged => "An issuer replaced all its keys, or gave a key ID to another key".to_owned(),
        Detection::JwksRejected => "An issuer's key set was refused".to_owned(),
        Detection::JwksWeakKey => "An issuer publishes a key too weak to be used".to_owned(),
        Detection::IdTokenForged => "An ID token was not made for its transaction".to_owned(),
        Detection::SubjectTokenMisuse => "A subject token was misused".to_owned(),
        Detection::ApprovalMisuse => "An approval record was misused".to_owned(),
        Detection::DelegationStripped => "A delegation came back without its actors".to_owned(),
        Detection::UnexpectedRefreshToken => "A refresh token came unasked".to_owned(),
        Detection::UntrustedIssuer => {
            "An API's metadata names an authorization server that is not trusted for it".to_owned()
        }
        Detection::MetadataDowngrade => "METADATA_DOWNGRADE: an issuer's metadata promises less than before".to_owned(),
    }
}

/// The sentence of an event of the file that grants are kept in.
const fn of_the_store(code: Code) -> &'static str {
    match code {
        Code::GrantsRestored => "Grants of the run before are held again",
        Code::GrantStoreRejected => {
            "The file that grants are kept in cannot be used and was moved aside; its grants are lost"
        }
        Code::GrantStoreFailed => "The file that grants are kept in cannot be written",
        Code::GrantStoreResumed => "The file that grants are kept in can be written again",
        _ => "A grant of the run before is not held any more",
    }
}

/// A fact of an event that is a text.
pub(super) fn fact<'e>(event: &'e Event, key: &str) -> &'e str {
    event.facts.iter().find(|(k, _)| *k == key).and_then(|(_, value)| value.as_str()).unwrap_or("none")
}

/// What whoever does it is after (MITRE ATT&CK).
pub(super) fn attacks() -> Tree<'static> {
    Tree::List(vec![tree!({
        "version": "17.1",
        "tactic": tree!({ "uid": "TA0006", "name": "Credential Access" }),
        "technique": tree!({ "uid": "T1528", "name": "Steal Application Access Token" }),
    })])
}
