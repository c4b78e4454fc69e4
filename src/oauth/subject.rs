//! Where a [`VerifiedSubject`] is minted: a subject token, or an assertion, verified here before anything leaves, and its
//! presenter's to use.

use super::{
    AuthorizationServers, Kept,
    bound::media_type,
    jose::{
        Kind,
        delegated::{Claims, Confirmation, Expected, claimed_issuer, judge},
        jws::{Rejected, Verified, verify},
    },
};
use crate::{
    caller::{Attestation, Caller},
    config::{Client, Config, Contract, Issuer, Subjects},
    model::{
        Algorithms, Boot, Fault, IssuerAlias, Reason, ScopeSet, Subject, SubjectToken, Terms, TokenType, Wall,
        fault::Detection,
    },
    platform::KeyedHash,
    transaction::Begun,
};
use std::{sync::Arc, time::Duration};

/// A verified subject token. Nothing of it goes to anyone but the authorization server.
pub struct VerifiedSubject {
    pub(super) token: SubjectToken,
    token_type: TokenType,
    issuer: IssuerAlias,
    scopes: Option<ScopeSet>,
    actors: Vec<String>,
    ends: (Boot, Wall),
    /// Issuer and `sub`, for the log's keyed reference; `None` where no token was read.
    person: Option<String>,
    /// The person whom an ID token named when the caller's own grant began.
    subject: Option<Subject>,
    /// The transaction that it came of, where it is the token of a grant.
    begun: Option<Arc<Begun>>,
    /// The terms that bind what comes of it.
    pub(super) terms: Terms,
}

/// What it is held against.
pub struct PresentedSubject<'a> {
    /// Who brings it.
    pub caller: &'a Caller,
    /// The client that is to use it.
    pub client: &'a Client,
    /// Whose tokens the client takes.
    pub subjects: &'a Subjects,
    /// What it must be for.
    pub purpose: Purpose,
    /// Its type, by the caller's word.
    pub token_type: TokenType,
}

/// What a token that is brought is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A subject token: made for us.
    Exchange,
    /// An assertion: made for the authorization server (RFC 7523 §3).
    Assertion,
}

impl VerifiedSubject {
    /// Of a token of the caller's own grant, which may be served on these terms for so long from now on. No signature need
    /// be checked: it came from its issuer.
    #[expect(clippy::disallowed_methods, reason = "the token is copied from secret to secret")]
    pub(crate) fn of_grant(kept: &Kept, terms: Terms, left: Duration, now: (Boot, Wall)) -> Self {
        let opening = &kept.begun.opening;
        // Not what its server says: what comes of it is served no longer than it would be itself.
        let by_clocks = (now.0.plus(left), now.1.plus(left));
        let ends = opening.flow.ends().map_or(by_clocks, |(b, w)| (b.min(by_clocks.0), w.min(by_clocks.1)));
        Self {
            token: SubjectToken::new(kept.tokens.access.reveal().to_owned()),
            token_type: opening.flow.token_type(),
            issuer: opening.issuer.alias.clone(),
            scopes: Some(kept.scopes.clone()),
            actors: opening.flow.actors().chain.clone(),
            ends,
            person: kept.subject.as_ref().map(|person| format!("{}\n{}", person.issuer, person.sub)),
            subject: kept.subject.clone(),
            begun: Some(Arc::clone(&kept.begun)),
            terms,
        }
    }

    /// Its issuer.
    #[must_use]
    pub const fn issuer(&self) -> &IssuerAlias {
        &self.issuer
    }

    /// Its type.
    #[must_use]
    pub const fn token_type(&self) -> TokenType {
        self.token_type
    }

    /// The scopes it carries; `None` where it does not say.
    #[must_use]
    pub const fn scopes(&self) -> Option<&ScopeSet> {
        self.scopes.as_ref()
    }

    /// Who acted so far, the current actor first.
    #[must_use]
    pub fn actors(&self) -> &[String] {
        &self.actors
    }

    /// When it ends, by both clocks.
    #[must_use]
    pub const fn ends(&self) -> (Boot, Wall) {
        self.ends
    }

    /// The transaction that it came of, where it is the token of a grant.
    #[must_use]
    pub const fn begun(&self) -> Option<&Arc<Begun>> {
        self.begun.as_ref()
    }

    /// The person it acts for at this issuer, where an ID token of that issuer named them: who they are decides at each
    /// later release too.
    pub(super) fn subject_at(&self, issuer: &IssuerAlias) -> Option<Subject> {
        self.subject.clone().filter(|_| self.issuer == *issuer)
    }

    /// Tells it from every other, and tells nothing of it: the grant that it is of, or the token itself.
    #[must_use]
    pub fn reference(&self, keyed: &KeyedHash) -> String {
        match &self.begun {
            Some(begun) => keyed.reference("approvable grant", begun.handle.bits()),
            None => keyed.secret_reference("approvable token", &self.token),
        }
    }

    /// What the log's reference to the person is made of.
    #[must_use]
    pub fn person(&self) -> Option<&str> {
        self.person.as_deref()
    }
}

impl AuthorizationServers {
    /// Verifies a token that a caller brings, with the keys of the issuer that it names, if the client takes tokens of
    /// that one; and whether it is the caller's to use.
    ///
    /// # Errors
    /// [`Reason::SubjectTokenInvalid`] with its `rule`, [`Reason::SubjectTokenNotYours`], [`Reason::MayActMismatch`],
    /// [`Reason::JwksUnavailable`], or as discovery fails.
    pub async fn verify_subject(
        self: &Arc<Self>,
        config: &Config,
        token: SubjectToken,
        presented: &PresentedSubject<'_>,
    ) -> Result<VerifiedSubject, Fault> {
        let issuer = claimed(config, &token, presented).ok_or_else(|| invalid("iss"))?;
        let verified = self.verified_subject(&token, issuer, presented).await?;
        let own = config.issuers.get(&presented.client.issuer).ok_or(Reason::IssuerUnknown)?;
        let names: Vec<&str> = presented.subjects.names_of(presented.caller.agent()).collect();
        let mut audiences: Vec<&str> = presented.subjects.audiences.iter().map(String::as_str).collect();
        match presented.purpose {
            Purpose::Exchange => audiences.extend(names.iter().copied().chain([presented.client.client_id.as_str()])),
            Purpose::Assertion => audiences.push(&own.url),
        }
        let expected = Expected { issuer: &issuer.url, audiences: &audiences, skew: issuer.id_tokens.clock_skew };
        let now = (self.clock.boot(), self.clock.wall());
        let claims = judge(&verified, &expected, now.1).map_err(invalid)?;
        belongs(&claims, &names, presented)?;
        let left = u64::try_from(claims.ends.0.saturating_sub(now.1.0)).unwrap_or(0);
        Ok(VerifiedSubject {
            token,
            token_type: presented.token_type,
            issuer: issuer.alias.clone(),
            scopes: claims.scopes,
            actors: claims.actors,
            ends: (now.0.plus(Duration::from_millis(left)), claims.ends),
            person: Some(format!("{}\n{}", issuer.url, claims.sub)),
            subject: None,
            begun: None,
            terms: Terms::default(),
        })
    }

    #[expect(clippy::disallowed_methods, reason = "a subject token is read to be judged")]
    async fn verified_subject(
        self: &Arc<Self>,
        token: &SubjectToken,
        issuer: &Issuer,
        presented: &PresentedSubject<'_>,
    ) -> Result<Verified, Fault> {
        let endpoints = self.all_endpoints(&issuer.alias, &presented.caller.agent().id).await?;
        let url = endpoints.jwks.as_deref().ok_or(Reason::JwksUnavailable)?;
        let keys = self.keys_at(&issuer.alias, url).await?;
        let once = |keys: &super::jose::jwks::KeySet| {
            let mut last = Rejected::Type;
            for kind in kinds(issuer, presented.purpose) {
                match verify(token.reveal(), keys, algorithms(issuer, presented.purpose), *kind) {
                    Err(Rejected::Type) => {}
                    Err(other) => last = other,
                    Ok(verified) => return Ok(verified),
                }
            }
            Err(last)
        };
        match once(&keys) {
            // A key that is not there may be new.
            Err(Rejected::UnknownKey) => match self.sought_at(&issuer.alias, url).await {
                Some(keys) => once(&*keys?).map_err(|rejected| invalid(rejected.rule())),
                None => Err(invalid(Rejected::UnknownKey.rule())),
            },
            answer => answer.map_err(|rejected| invalid(rejected.rule())),
        }
    }
}

/// The issuer that a token names, if the client takes its tokens.
#[expect(clippy::disallowed_methods, reason = "a subject token is read to be judged")]
fn claimed<'c>(config: &'c Config, token: &SubjectToken, presented: &PresentedSubject<'_>) -> Option<&'c Arc<Issuer>> {
    let named = claimed_issuer(token.reveal())?;
    let trusted = |issuer: &&Arc<Issuer>| presented.subjects.trusts(&issuer.alias, &presented.client.issuer);
    config.issuers.values().filter(trusted).find(|issuer| issuer.url == named)
}

/// The kinds of JWT that a token may be (RFC 8725 §3.11). An ID token passes for none: its claims tell.
fn kinds(issuer: &Issuer, purpose: Purpose) -> &'static [Kind] {
    match purpose {
        Purpose::Exchange if access_tokens_are_plain(issuer) => &[Kind::IdToken],
        Purpose::Exchange => &[Kind::AccessToken],
        // One that has the `typ` of the issuer's access tokens may be one: it is no assertion.
        Purpose::Assertion if access_tokens_are_plain(issuer) => &[Kind::IdentityGrant],
        Purpose::Assertion => &[Kind::IdentityGrant, Kind::IdToken],
    }
}

/// Whether the issuer's access tokens have the `typ` of any JWT.
fn access_tokens_are_plain(issuer: &Issuer) -> bool {
    media_type(&issuer.accept.access_token_typ) == "jwt"
}

/// What the issuer may sign such a token with: its access tokens' own algorithms, where they are agreed on.
fn algorithms(issuer: &Issuer, purpose: Purpose) -> &Algorithms {
    match purpose {
        Purpose::Exchange if issuer.access_tokens.contract == Contract::Jwt => &issuer.access_tokens.algorithms,
        _ => &issuer.id_tokens.algorithms,
    }
}

/// Whether a token is its presenter's to use: made for this agent, issued to it, or with it as the actor. A bearer of
/// a token that names somebody else is no more than that.
fn belongs(claims: &Claims, names: &[&str], presented: &PresentedSubject<'_>) -> Result<(), Fault> {
    let named = |name: &String| names.contains(&name.as_str());
    let for_agent = presented.purpose == Purpose::Exchange && claims.audiences.iter().any(named);
    let proven = match &claims.confirmation {
        Confirmation::Bearer => true,
        Confirmation::Certificate(thumbprint) => match presented.caller.attestation() {
            Attestation::SpiffeX509 { svid, .. } => svid.thumbprint == *thumbprint,
            Attestation::UnixPeer(_) => false,
        },
        Confirmation::Other => false,
    };
    let bound = for_agent
        || claims.parties.iter().any(named)
        || claims.actors.first().is_some_and(named)
        || matches!(claims.confirmation, Confirmation::Certificate(_));
    if !proven || !bound {
        return Err(Fault::new(Reason::SubjectTokenNotYours).detected(Detection::SubjectTokenMisuse));
    }
    match &claims.may_act {
        Some(may_act) if !may_act.sub.as_ref().is_some_and(named) => {
            Err(Fault::new(Reason::MayActMismatch).detected(Detection::SubjectTokenMisuse))
        }
        _ => Ok(()),
    }
}

fn invalid(rule: &'static str) -> Fault {
    let fault = Fault::new(Reason::SubjectTokenInvalid).with("rule", rule);
    // Signed by somebody else: no mere slip.
    if matches!(rule, "signature" | "wrong_key") { fault.detected(Detection::SubjectTokenMisuse) } else { fault }
}
