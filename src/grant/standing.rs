//! The token of a grant as the ground of a further request: nobody is handed it.

use super::{Grant, Grants, Held, Reply};
use crate::{
    audit::Recorded,
    model::{Fault, Reason},
    oauth::{Kept, Obtained},
    policy::Released,
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
        grant.count_use(&grant.terms_of(&held))?;
        drop(self.save_count(grant));
        grant.used.store(self.clock.boot().0, Ordering::Relaxed);
        Ok(held)
    }

    /// Makes a token of a grant of one that was exchanged for its own. It cannot be found before its reply is recorded and
    /// taken home. The use was counted with [`Self::whole_token`].
    ///
    /// # Errors
    /// The token, which must be revoked, and [`Reason::GrantUnknown`] if the grant ended meanwhile.
    pub fn keep_home(&self, home: &Arc<Grant>, released: Released<Obtained>) -> Result<Reply, Box<(Kept, Fault)>> {
        let (obtained, verdict, terms) = released.into_parts();
        let (kept, caller) = obtained.into_parts();
        if home.is_ended() {
            return Err(Box::new((kept, Reason::GrantUnknown.into())));
        }
        let terms = terms.strictest(home.terms.clone()).strictest(kept.terms.clone());
        let held = Arc::new(Held::obtained(Arc::new(kept), &caller));
        Ok(Reply::first(Arc::clone(home), held, &caller, verdict, &terms))
    }

    /// Makes a token findable in the grant that it was exchanged from: its outcome is durable. It ends with that grant.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`] if the grant ended meanwhile: the token must be revoked.
    pub fn take_home(&self, reply: &Recorded<Reply>) -> Result<(), Fault> {
        let (grant, held) = (reply.get().grant(), reply.get().held());
        grant.shelve(grant.key(&held.kept.begun.opening.scopes, &self.keyed), held, &*self.clock);
        if grant.is_ended() { Err(Reason::GrantUnknown.into()) } else { Ok(()) }
    }
}
