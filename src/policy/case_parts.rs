//! Parts of a test case that few cases have: an approval, and what a token request says of its subject.

use super::{
    cases::{instant, owned, scope, word},
    context::{boolean, datetime, entity, record, scopes, text},
    value::Value,
};
use crate::{
    config::Table,
    model::{AgentId, IssuerAlias, Scope, TokenType, Wall},
    transaction::Actors,
};

/// An approval.
pub(super) struct Approval {
    pub(super) approver: String,
    pub(super) team: String,
    at: Wall,
    scopes: Vec<Scope>,
}

impl Approval {
    pub(super) fn value(&self) -> Value<'_> {
        record([
            ("approver", entity("User", &self.approver)),
            ("at", datetime(self.at)),
            ("scopes", scopes(&self.scopes)),
        ])
    }
}

pub(super) fn approval(table: &Table<'_>) -> Option<Approval> {
    let approver = table.required("approver", owned);
    let team = table.required("approver_team", owned);
    let at = table.required("at", instant);
    let scopes = table.list("scopes", scope);
    Some(Approval { approver: approver?, team: team?, at: at?, scopes })
}

/// What a token request says of its subject.
pub(super) struct Delegated {
    pub(super) actors: Actors,
    issuer: Option<IssuerAlias>,
    token_type: String,
    requested: String,
    impersonation: bool,
}

pub(super) fn delegated(table: &Table<'_>) -> Delegated {
    let agents = table.list("actors", |t| AgentId::parse(t).ok_or_else(|| "must hold ids of agents".to_owned()));
    let depth = table.integer("actor_depth", 0..=64).and_then(|n| usize::try_from(n).ok());
    Delegated {
        actors: Actors { chain: vec![String::new(); depth.unwrap_or(agents.len())], agents },
        issuer: table.optional("subject_issuer", |t| IssuerAlias::parse(t).ok_or_else(|| "is not an alias".to_owned())),
        token_type: word(table, "subject_token_type").unwrap_or_else(|| TokenType::AccessToken.urn().to_owned()),
        requested: word(table, "requested_token_type").unwrap_or_else(|| TokenType::AccessToken.urn().to_owned()),
        impersonation: table.boolean("impersonation", false),
    }
}

/// What a test case says of a front end's own request.
pub(super) struct Registered {
    /// Who registered what is redeemed.
    by: Option<AgentId>,
    /// Whom it was registered for.
    for_agent: Option<AgentId>,
}

pub(super) fn registered(table: &Table<'_>) -> Registered {
    let agent = |t: &str| AgentId::parse(t).ok_or_else(|| "is no id of an agent".to_owned());
    Registered { by: table.optional("registered_by", agent), for_agent: table.optional("for_agent", agent) }
}

impl Registered {
    /// What is said of it when it is redeemed: never by the caller that began it.
    pub(super) fn redeemed(&self, same_caller: bool) -> impl Iterator<Item = (&'static str, Value<'_>)> {
        let same = ("sameCaller", boolean(same_caller && self.by.is_none()));
        [same].into_iter().chain(self.by.as_ref().map(|by| ("registeredBy", entity("Agent", by.as_str()))))
    }

    /// What is said of it when it is registered: for its front end itself, unless the case says otherwise.
    pub(super) fn registering<'a>(&'a self, own: &'a AgentId) -> (&'static str, Value<'a>) {
        let named = self.for_agent.as_ref().unwrap_or(own);
        ("forAgent", entity("Agent", named.as_str()))
    }
}

impl Delegated {
    /// What the question says besides its base; the subject is of the client's own issuer unless the case says otherwise.
    pub(super) fn fields<'a>(&'a self, action: &str, own: &'a IssuerAlias) -> Vec<(&'static str, Value<'a>)> {
        let issuer = entity("Issuer", self.issuer.as_ref().unwrap_or(own).as_str());
        match action {
            "exchange_token" => vec![
                ("subjectIssuer", issuer),
                ("subjectTokenType", text(&self.token_type)),
                ("requestedTokenType", text(&self.requested)),
                ("impersonation", boolean(self.impersonation)),
            ],
            "jwt_bearer" => vec![("subjectIssuer", issuer)],
            _ => Vec::new(),
        }
    }
}
