//! What the development authorization server remembers: codes, and the tokens issued for them.
//! Only SHA-256 digests of codes and tokens are kept.

use std::collections::VecDeque;

use aws_lc_rs::digest;

/// How long a code lives, in seconds. RFC 6749 §4.1.2 allows ten minutes at most.
pub(super) const CODE_LIFETIME_SECS: u64 = 60;

/// How many codes are remembered, spent ones included.
pub(super) const CAPACITY: usize = 1000;

type Digest = [u8; digest::SHA256_OUTPUT_LEN];

/// What the person approved (RFC 6749 §4.1.1, RFC 7636 §4.4, RFC 8707 §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Approval {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) scope: String,
    pub(super) resource: String,
    pub(super) code_challenge: String,
    /// The key that the code is bound to (RFC 9449 §10), where the client named one.
    pub(super) dpop_jkt: Option<String>,
}

/// What presenting a code comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// The code is good, and is spent from now on.
    Fresh(Approval),
    /// The code was presented before: what was issued for it is revoked (RFC 6749 §4.1.2).
    Again,
    /// The code is too old.
    Expired,
    /// There is no such code.
    Unknown,
}

/// What presenting a refresh token comes to (RFC 6749 §6).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// It is the last one issued, and is spent by [`Store::renewed`].
    Live(Approval),
    /// It was presented before: the whole family is revoked (RFC 9700 §4.14.2).
    Again,
    /// There is no such token, or it was revoked, or it is another client's.
    Unknown,
}

/// What revoking a token comes to (RFC 7009 §2.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The token was live and no longer is.
    Now,
    /// The token is unknown or ended before (RFC 7009 §2.2: still a success).
    NothingToEnd,
    /// The token was issued to another client.
    NotYours,
}

/// The tokens issued for one code: a family.
struct Issued {
    access: Vec<Access>,
    refresh: Digest,
    refresh_live: bool,
    /// The refresh tokens before this one.
    rotated: Vec<Digest>,
}

struct Access {
    token: Digest,
    live: bool,
    expires_at: u64,
}

impl Access {
    fn new(token: &str, expires_at: u64) -> Access {
        Access { token: sha256(token), live: true, expires_at }
    }

    const fn is_active(&self, now: u64) -> bool {
        self.live && now < self.expires_at
    }
}

impl Issued {
    fn end_all(&mut self) {
        self.refresh_live = false;
        for access in &mut self.access {
            access.live = false;
        }
    }
}

struct Entry {
    code: Digest,
    approval: Approval,
    made_at: u64,
    spent: bool,
    issued: Option<Issued>,
}

/// Codes and tokens, oldest first.
#[derive(Default)]
pub(super) struct Store {
    entries: VecDeque<Entry>,
}

impl Store {
    /// Remembers a code. False where the store is full of codes that may still be redeemed.
    pub(super) fn add(&mut self, code: &str, approval: Approval, now: u64) -> bool {
        self.entries.retain(|entry| entry.matters(now));
        if self.entries.len() >= CAPACITY {
            let Some(oldest_spent) = self.entries.iter().position(|entry| entry.spent) else {
                return false;
            };
            self.entries.remove(oldest_spent);
        }
        self.entries.push_back(Entry { code: sha256(code), approval, made_at: now, spent: false, issued: None });
        true
    }

    /// Spends a code, whatever comes of it. A second presentation revokes what the first one got.
    pub(super) fn spend(&mut self, code: &str, now: u64) -> Spent {
        let code = sha256(code);
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.code == code) else {
            return Spent::Unknown;
        };
        if entry.spent {
            if let Some(issued) = &mut entry.issued {
                issued.end_all();
            }
            return Spent::Again;
        }
        entry.spent = true;
        if entry.is_young(now) { Spent::Fresh(entry.approval.clone()) } else { Spent::Expired }
    }

    /// Records the tokens issued for a code that was just spent.
    pub(super) fn issued(&mut self, code: &str, access: &str, refresh: &str, expires_at: u64) {
        let code = sha256(code);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.code == code) {
            entry.issued = Some(Issued {
                access: vec![Access::new(access, expires_at)],
                refresh: sha256(refresh),
                refresh_live: true,
                rotated: Vec::new(),
            });
        }
    }

    /// Looks a refresh token up. One that was rotated away revokes its family.
    pub(super) fn renewal(&mut self, refresh: &str, client_id: &str) -> Renewal {
        let refresh = sha256(refresh);
        for entry in self.entries.iter_mut().filter(|entry| entry.approval.client_id == client_id) {
            let Some(issued) = &mut entry.issued else { continue };
            if issued.rotated.contains(&refresh) {
                issued.end_all();
                return Renewal::Again;
            }
            if issued.refresh == refresh && issued.refresh_live {
                return Renewal::Live(entry.approval.clone());
            }
        }
        Renewal::Unknown
    }

    /// Records what was issued for a live refresh token, which is spent by that. The access tokens before live on: they
    /// may be of other scopes.
    pub(super) fn renewed(&mut self, spent: &str, access: &str, refresh: &str, (now, expires_at): (u64, u64)) {
        let spent = sha256(spent);
        let families = self.entries.iter_mut().filter_map(|entry| entry.issued.as_mut());
        for issued in families.filter(|issued| issued.refresh == spent) {
            issued.access.retain(|access| access.is_active(now));
            issued.access.push(Access::new(access, expires_at));
            issued.rotated.push(std::mem::replace(&mut issued.refresh, sha256(refresh)));
        }
    }

    /// Ends a token of a client. With a refresh token its access tokens end too (RFC 7009 §2.1).
    pub(super) fn revoke(&mut self, token: &str, client_id: &str) -> Ended {
        let token = sha256(token);
        for entry in &mut self.entries {
            let Some(issued) = &mut entry.issued else {
                continue;
            };
            let is_refresh = issued.refresh == token;
            if !is_refresh && !issued.access.iter().any(|access| access.token == token) {
                continue;
            }
            if entry.approval.client_id != client_id {
                return Ended::NotYours;
            }
            let was_live = if is_refresh {
                std::mem::take(&mut issued.refresh_live)
            } else {
                issued.access.iter().any(|access| access.token == token && access.live)
            };
            for access in issued.access.iter_mut().filter(|access| is_refresh || access.token == token) {
                access.live = false;
            }
            return if was_live { Ended::Now } else { Ended::NothingToEnd };
        }
        Ended::NothingToEnd
    }

    /// Whether an access token is known and neither revoked nor past its end (RFC 7662 §2.2).
    pub(super) fn is_active(&self, access_token: &str, now: u64) -> bool {
        let access = sha256(access_token);
        self.entries
            .iter()
            .filter_map(|entry| entry.issued.as_ref())
            .flat_map(|issued| &issued.access)
            .any(|issued| issued.token == access && issued.is_active(now))
    }
}

impl Entry {
    fn is_young(&self, now: u64) -> bool {
        now.saturating_sub(self.made_at) <= CODE_LIFETIME_SECS
    }

    /// Whether forgetting it would change an answer.
    fn matters(&self, now: u64) -> bool {
        let lives = |issued: &Issued| issued.refresh_live || issued.access.iter().any(|access| access.is_active(now));
        self.is_young(now) || self.issued.as_ref().is_some_and(lives)
    }
}

fn sha256(text: &str) -> Digest {
    let mut out = [0; digest::SHA256_OUTPUT_LEN];
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    for (to, from) in out.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn redeemed() -> Store {
        let mut store = Store::default();
        let [redirect_uri, resource, code_challenge, scope] = [(); 4].map(|()| String::new());
        let client_id = "c".to_owned();
        let approval = Approval { client_id, redirect_uri, scope, resource, code_challenge, dpop_jkt: None };
        assert!(store.add("code", approval, NOW));
        assert!(matches!(store.spend("code", NOW), Spent::Fresh(_)));
        store.issued("code", "at1", "rt1", NOW + 10);
        store
    }

    #[test]
    fn a_refresh_token_is_good_once_and_a_second_time_ends_its_family() {
        let mut store = redeemed();
        assert_eq!(store.renewal("rt1", "another"), Renewal::Unknown);
        assert!(matches!(store.renewal("rt1", "c"), Renewal::Live(_)));
        store.renewed("rt1", "at2", "rt2", (NOW, NOW + 10));
        assert!(store.is_active("at1", NOW) && store.is_active("at2", NOW));
        assert!(!store.is_active("at2", NOW + 10));
        assert!(matches!(store.renewal("rt2", "c"), Renewal::Live(_)));
        assert_eq!(store.renewal("rt1", "c"), Renewal::Again);
        assert!(!store.is_active("at1", NOW) && !store.is_active("at2", NOW));
        assert_eq!(store.renewal("rt2", "c"), Renewal::Unknown);
    }

    #[test]
    fn an_access_token_is_revoked_alone_and_a_refresh_token_with_all_that_came_of_it() {
        let mut store = redeemed();
        store.renewed("rt1", "at2", "rt2", (NOW, NOW + 10));
        assert_eq!(store.revoke("at1", "another"), Ended::NotYours);
        assert_eq!([store.revoke("at1", "c"), store.revoke("at1", "c")], [Ended::Now, Ended::NothingToEnd]);
        assert!(!store.is_active("at1", NOW) && store.is_active("at2", NOW));
        assert_eq!([store.revoke("rt2", "c"), store.revoke("rt2", "c")], [Ended::Now, Ended::NothingToEnd]);
        assert!(!store.is_active("at2", NOW));
        assert_eq!(store.renewal("rt2", "c"), Renewal::Unknown);
    }
}
