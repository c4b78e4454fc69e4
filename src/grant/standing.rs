//! The token of a grant as the ground of a further request: nobody is handed it.

use super::{Grant, Grants, Held, Reply};
use crate::{
    audit::Recorded,
    model::{Fault, Reason},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

impl Grants {
    /// The token with all of a grant's scopes, if it is held and may still be served. It counts as a use.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`], [`Reason::ReauthRequired`], or [`Reason::TokenExpired`]: `GetToken` brings another one,
    /// where one can be had.
    pub fn whole_token(&self, grant: &Arc<Grant>) -> Result<Arc<Held>, Fault> {
        grant.lives(&self.keeping, &*self.clock)?;
        let key = grant.key(&grant.kept.scopes, &self.keyed);
        let held = grant.servable(&key, Duration::ZERO, &*self.clock).ok_or(Reason::TokenExpired)?;
        let terms = grant.terms_of(&held);
        grant.count_use(&terms)?;
        drop(self.save_count(grant, &terms));
        grant.used.store(self.clock.boot().0, Ordering::Relaxed);
        Ok(held)
    }

    /// Makes a token findable in the grant that it was exchanged from: its outcome is durable. It ends with that grant.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`] if the grant ended meanwhile: the token must be revoked.
    pub fn take_home(&self, grant: &Arc<Grant>, reply: &Recorded<Reply>) -> Result<(), Fault> {
        let held = reply.get().held();
        grant.shelve(grant.key(&held.kept.begun.opening.scopes, &self.keyed), held, &*self.clock);
        if grant.is_ended() { Err(Reason::GrantUnknown.into()) } else { Ok(()) }
    }
}
