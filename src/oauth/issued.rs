//! Where an [`Issued`] is minted: the server answered well-formed, and within what was allowed. The token is sealed
//! inside until policy has released it.

use super::Vouched;
use crate::{
    caller::Caller,
    model::{
        AccessToken, Approvable, AuthorizationDetails, Boot, Nonce, RefreshToken, Scope, ScopeSet, Subject, Terms,
        TokenBinding, Wall,
    },
    policy::{IssuedFacts, Releasable, Verdict},
    transaction::{Begun, Closing, Flow},
};
use std::{sync::Arc, time::Duration};

/// The tokens of one answer.
pub struct Tokens {
    /// The access token.
    pub(crate) access: AccessToken,
    /// The refresh token, where there is one.
    pub(crate) refresh: Option<RefreshToken>,
    /// A refresh token that policy does not want kept: to be revoked, and nothing else.
    pub(crate) retired: Option<RefreshToken>,
}

impl Tokens {
    /// None: of a grant of the run before, whose tokens were not kept. It is on no shelf, and nothing hands it out.
    #[must_use]
    pub fn none() -> Self {
        Self { access: AccessToken::new(String::new()), refresh: None, retired: None }
    }
}

/// What the server issued, judged but not yet released.
pub struct Issued {
    kept: Kept,
    caller: Caller,
    closing: Closing,
}

/// What is kept of an issued token once it is released.
pub struct Kept {
    /// The transaction it came from.
    pub begun: Arc<Begun>,
    /// The tokens.
    pub tokens: Tokens,
    /// The scopes it carries.
    pub scopes: ScopeSet,
    /// The authorization details that were granted with it (RFC 9396 §7).
    pub details: AuthorizationDetails,
    /// Scopes it carries besides, which the issuer's switch tolerates: granted to nobody.
    pub tolerated: Vec<Scope>,
    /// How long it lives, by the server's word.
    pub lifetime: Duration,
    /// When it came, by both clocks.
    pub at: (Boot, Wall),
    /// What it is bound to.
    pub bound: TokenBinding,
    /// How long its issuer stands by it, where the issuer is asked.
    pub vouched: Vouched,
    /// The person it acts for, where an ID token was asked for.
    pub subject: Option<Subject>,
    /// The nonce that the person's ID token carried: one that comes with a refresh may not carry another.
    pub nonce: Option<Nonce>,
    /// The decision that let its code go.
    pub decided: Verdict,
    /// The terms of that decision.
    pub terms: Terms,
}

impl Kept {
    /// What policy is told of it as it came: the first time, and with nothing besides.
    #[must_use]
    pub fn facts(&self) -> IssuedFacts<'_> {
        let opening = &self.begun.opening;
        IssuedFacts {
            client: &opening.client,
            api: opening.api.as_deref(),
            allowed: &opening.scopes,
            scopes: &self.scopes,
            details: &self.details,
            tolerated: &self.tolerated,
            lifetime: self.lifetime,
            bound: self.bound,
            refreshable: false,
            again: false,
            subject: self.subject.as_ref(),
            begun: self.begun.at,
            registered_by: opening.registered_by.as_ref(),
        }
    }
}

impl Issued {
    pub(super) const fn new(kept: Kept, caller: Caller, closing: Closing) -> Self {
        Self { kept, caller, closing }
    }

    /// The decision that let the code go.
    #[must_use]
    pub const fn decided(&self) -> &Verdict {
        &self.kept.decided
    }

    /// Takes it apart to keep or to revoke it.
    pub(crate) fn into_parts(self) -> (Kept, Caller, Closing) {
        (self.kept, self.caller, self.closing)
    }
}

impl Releasable for Issued {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn flow(&self) -> &Flow {
        &self.kept.begun.opening.flow
    }

    fn approvable(&self) -> &Approvable {
        &self.kept.begun.opening.approvable
    }

    fn facts(&self) -> IssuedFacts<'_> {
        IssuedFacts { refreshable: self.kept.tokens.refresh.is_some(), ..self.kept.facts() }
    }
}
