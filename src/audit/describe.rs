//! How permits describe themselves in the log.

use super::{Auditable, Code, Event};
use crate::{
    model::Fault,
    platform::KeyedHash,
    policy::{
        AdminPermitted, BeginPermitted, DenyKind, Permitted, RefreshPermitted, Refreshable, Refused, RegisterPermitted,
        RequestPermitted, Requestable,
    },
    telemetry::metrics::Happening,
    transaction::{Begun, Flow},
};

impl Auditable for BeginPermitted {
    fn event(&self, _: &KeyedHash) -> Event {
        let ask = self.ask();
        let mut event =
            Event::new(Code::AuthorizationDecided, "BeginAuthorization").by(self.caller()).decided(self.verdict());
        event.requested = ask.scopes.to_strings();
        event.resource = ask.api.as_ref().map(|api| api.identifier.clone());
        event.with("client", ask.client.alias.as_str())
    }
}

impl Auditable for RegisterPermitted {
    fn event(&self, _: &KeyedHash) -> Event {
        let ask = self.ask();
        let mut event =
            Event::new(Code::AuthorizationDecided, "RegisterAuthorization").by(self.caller()).decided(self.verdict());
        event.requested = ask.scopes.to_strings();
        event.resource = ask.api.as_ref().map(|api| api.identifier.clone());
        event.with("client", ask.client.alias.as_str()).with("for_agent", self.agent().id.as_str())
    }
}

impl Auditable for Permitted {
    fn event(&self, keyed: &KeyedHash) -> Event {
        let claim = self.claim();
        about_exchange(Event::new(Code::ExchangeDecided, "RedeemCode"), claim.begun(), keyed)
            .by(claim.caller())
            .decided(self.verdict())
            .with("phase", "intent")
            .with("code_ref", code_reference(claim.code_hash()))
    }
}

impl<T: Refreshable> Auditable for RefreshPermitted<T> {
    fn event(&self, keyed: &KeyedHash) -> Event {
        let subject = self.subject();
        let mut event = about_exchange(Event::new(Code::ExchangeDecided, "GetToken"), subject.begun(), keyed)
            .by(subject.caller())
            .decided(self.verdict());
        event.requested = subject.facts().allowed.to_strings();
        let event = event.acting_for(subject.facts().subject, keyed);
        event.with("phase", "intent").with("grant_type", "refresh_token").with("refresh_count", subject.refreshes())
    }
}

impl Auditable for AdminPermitted {
    fn event(&self, _: &KeyedHash) -> Event {
        let event = Event::new(Code::AdminDecided, self.operation()).by_operator(self.operator());
        event.decided(self.verdict()).with("target", self.target())
    }
}

impl<T: Requestable> Auditable for RequestPermitted<T> {
    fn event(&self, keyed: &KeyedHash) -> Event {
        let request = self.request();
        let operation = request.begun().opening.flow.operation();
        about_exchange(Event::new(Code::ExchangeDecided, operation), request.begun(), keyed)
            .by(request.caller())
            .decided(self.verdict())
            .with("phase", "intent")
            .representing(request, keyed)
    }
}

impl Event {
    /// Says on whose behalf a token is asked for: the person by keyed reference, like everywhere.
    #[must_use]
    pub fn representing<T: Requestable>(mut self, request: &T, keyed: &KeyedHash) -> Self {
        let Some(subject) = request.subject() else { return self };
        self.subject = subject.person.map(|person| keyed.reference("subject", person.as_bytes()));
        self.with("subject_issuer", subject.issuer.as_str())
            .with("subject_token_type", subject.token_type)
            .with("requested_token_type", subject.requested)
            .with("impersonation", subject.impersonation)
    }

    /// A no of policy.
    #[must_use]
    pub fn refused(self, refused: &Refused) -> Self {
        let event = match &refused.verdict {
            Some(verdict) => self.decided(verdict),
            None => self,
        };
        let severity = event.severity;
        event.failed(&refused.fault, severity)
    }

    /// A fault with its detection, if the SOC should know of it.
    #[must_use]
    pub fn detection(&self, fault: &Fault) -> Option<Self> {
        let detection = fault.detection?;
        Some(
            Self { code: Code::Detected(detection), severity: super::Severity::High, ..self.clone() }
                .failed(fault, super::Severity::High),
        )
    }
}

/// What every event of an exchange says of its transaction.
pub(super) fn about_exchange(event: Event, begun: &Begun, keyed: &KeyedHash) -> Event {
    let opening = &begun.opening;
    let mut event = event.through(&opening.client, &opening.issuer);
    event.requested = opening.scopes.to_strings();
    event.resource = opening.resource().map(str::to_owned);
    if let Some(front_end) = &opening.registered_by {
        event = event.with("registered_by", front_end.as_str());
    }
    let event = event.with("transaction_ref", keyed.reference("transaction", begun.handle.bits()));
    match &opening.flow {
        Flow::AuthorizationCode => event,
        flow => {
            let agents: Vec<String> = flow.actors().agents.iter().map(ToString::to_string).collect();
            let event = event.with("grant_type", flow.grant_type());
            event.with("actor_depth", flow.actors().chain.len()).with("actors", agents)
        }
    }
}

/// The code's keyed hash in the form of the log.
pub(super) fn code_reference(hash: &[u8; 32]) -> String {
    let hex = crate::platform::digest::hex(hash);
    format!("hk1:{}", hex.get(..32).unwrap_or_default())
}

/// What a fault that an answer led to says of the answer, in words and numbers of ours.
const OF_AN_ANSWER: [&str; 4] = ["oauth_error", "oauth_error_description_bytes", "scopes", "rule"];

impl Event {
    /// What the authorization server answered, where it did, and what was wrong with that.
    #[must_use]
    pub fn answered(self, status: Option<u16>, fault: &Fault) -> Self {
        let event = match status {
            Some(status) => self.with("http_status", status),
            None => self,
        };
        let facts = OF_AN_ANSWER.into_iter().filter_map(|key| Some((key, fault.metadata.get(key)?.as_str())));
        facts.fold(event, |event, (key, value)| event.with(key, value))
    }

    /// An event of an exchange that has begun.
    #[must_use]
    pub fn on(self, begun: &Begun, keyed: &KeyedHash) -> Self {
        about_exchange(self, begun, keyed)
    }
}

impl Event {
    /// What it adds to the numbers.
    pub(super) fn counted(&self) -> Happening {
        let token = match self.code {
            Code::TokenIssued => Some("issued"),
            Code::TokenRefreshed => Some("refreshed"),
            Code::TokenServed => Some("served"),
            Code::TokenWithheld => Some("withheld"),
            Code::TokenRevoked => Some("revoked"),
            Code::TokenRevokeFailed => Some("revoke_failed"),
            _ => None,
        };
        let issuer = self.client.as_ref().map_or_else(|| "none".to_owned(), |client| client.issuer_alias.clone());
        // A detection repeats the event that it is about; its decision is counted there.
        let decided = self.verdict.as_ref().filter(|_| !matches!(self.code, Code::Detected(_)));
        Happening {
            code: self.code.as_str(),
            operation: self.operation,
            outcome: decided.map(|verdict| verdict.denied.map_or("allowed", DenyKind::as_str)),
            cached: decided.is_some_and(|verdict| verdict.answered_by.is_some()),
            token: token.map(|event| (event, issuer)),
        }
    }
}
