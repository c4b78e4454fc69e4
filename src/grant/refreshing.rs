//! A grant whose token is missing: who may refresh it, and where the new token goes.

use super::{Grant, Grants, HandOut, Held, Reply, Wanted, key::TokenKey};
use crate::{
    audit::Recorded,
    caller::Caller,
    model::{Fault, Reason},
    oauth::{Kept, Refreshed, Turn, Wish},
    policy::{Releasable, Released},
};
use std::{sync::Arc, time::Duration};

/// A token that is not held, or not for long enough, of a grant that can be refreshed.
pub struct Missing {
    place: Place,
    caller: Caller,
    wish: Wish,
}

/// Where the token goes that a refresh brings.
#[derive(Clone)]
pub struct Place {
    grant: Arc<Grant>,
    key: TokenKey,
    min_ttl: Duration,
    /// It is fetched before it is needed, and nobody waits for it.
    ahead: bool,
}

impl Missing {
    pub(super) fn new(grant: Arc<Grant>, key: TokenKey, caller: Caller, wanted: &Wanted) -> Self {
        let scopes = wanted.scopes.as_ref().unwrap_or(&grant.kept.scopes).clone();
        let wish = Wish { scopes, all_needed: wanted.scopes.is_some() };
        Self { place: Place { grant, key, min_ttl: wanted.min_ttl, ahead: false }, caller, wish }
    }

    /// The grant.
    #[must_use]
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.place.grant
    }

    /// The caller.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Waits for the turn to refresh.
    ///
    /// # Errors
    /// The caller, if the grant has no refresh token after all.
    pub async fn turn(self) -> Result<(Turn, Place), Caller> {
        let Self { place, caller, wish } = self;
        match &place.grant.family {
            Some(family) => Ok((family.turn(caller, wish).await, place)),
            None => Err(caller),
        }
    }
}

impl Place {
    /// The grant.
    #[must_use]
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// Whether the token is fetched before it is needed.
    #[must_use]
    pub const fn is_ahead(&self) -> bool {
        self.ahead
    }
}

impl Grants {
    /// Whether a look would not end in this place any more: someone else brought the token, or ended the grant.
    #[must_use]
    pub fn is_settled(&self, place: &Place) -> bool {
        place.grant.is_ended() || place.grant.servable(&place.key, place.min_ttl, &*self.clock).is_some()
    }

    /// Serves a token no more that its issuer does not stand by.
    pub fn set_aside(&self, hand_out: HandOut) -> Caller {
        let (grant, held, key, caller) = hand_out.into_parts();
        grant.withdraw(&key, &held);
        caller
    }

    /// The turn to fetch the successor of a token that was just handed out, if it is time and nobody else does.
    #[must_use]
    pub fn ahead_of(&self, reply: &Reply, caller: Caller, wanted: &Wanted) -> Option<(Turn, Place)> {
        let (grant, held) = (reply.grant(), reply.held());
        let family = grant.family.as_ref()?;
        if !held.is_aging(&*self.clock, &grant.terms_of(held), family.jitter()) {
            return None;
        }
        let scopes = wanted.scopes.as_ref().unwrap_or(&grant.kept.scopes).clone();
        // A narrow token that was exchanged for has no successor by refresh.
        if !grant.kept.scopes.is_within(&scopes) && !grant.narrows_on_refresh() {
            return None;
        }
        let wish = Wish { scopes, all_needed: wanted.scopes.is_some() };
        if !family.may_go_ahead(&wish, self.clock.boot()) {
            return None;
        }
        let key = grant.key(&wish.scopes, &self.keyed);
        let turn = family.turn_now(caller, wish)?;
        // Whoever had the turn until now may have brought it already.
        let still = grant.servable(&key, Duration::ZERO, &*self.clock).is_some_and(|now| Arc::ptr_eq(&now, held));
        let place = Place { grant: Arc::clone(grant), key, min_ttl: Duration::ZERO, ahead: true };
        still.then_some((turn, place))
    }

    /// Makes a held token of one that a refresh brought. It cannot be found before its reply is recorded and shelved;
    /// until then nobody else has the family's turn.
    ///
    /// # Errors
    /// The token, which must be revoked, and [`Reason::GrantUnknown`] if the grant ended meanwhile or is another.
    pub fn hold(&self, place: &Place, released: Released<Refreshed>) -> Result<(Reply, Turn), Box<(Kept, Fault)>> {
        let (refreshed, verdict, terms) = released.into_parts();
        let (kept, turn) = refreshed.into_parts();
        let grant = &place.grant;
        let same = grant.family.as_ref().is_some_and(|family| Arc::ptr_eq(family, turn.family()));
        if !same || grant.is_ended() {
            return Err(Box::new((kept, Reason::GrantUnknown.into())));
        }
        let terms = terms.strictest(grant.terms.clone()).strictest(kept.terms.clone());
        if !place.ahead
            && let Err(fault) = grant.count_use(&terms)
        {
            return Err(Box::new((kept, fault)));
        }
        let held = Arc::new(Held { kept: Arc::new(kept), until: turn.caller().credential_end() });
        let reply = Reply::refreshed(Arc::clone(grant), held, turn.caller(), verdict, &terms, place.ahead);
        Ok((reply, turn))
    }

    /// Makes a token findable: its outcome is durable.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`] if the grant ended meanwhile: what is left of it must be revoked.
    /// [`Reason::TokenExpired`] if the token does not live for as long as was wanted. It is held all the same.
    pub fn shelve(&self, place: &Place, reply: &Recorded<Reply>) -> Result<(), Fault> {
        place.grant.shelve(place.key, reply.get().held(), &*self.clock);
        if place.grant.is_ended() {
            return Err(Reason::GrantUnknown.into());
        }
        if reply.get().lease() < place.min_ttl { Err(Reason::TokenExpired.into()) } else { Ok(()) }
    }
}
