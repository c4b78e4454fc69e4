//! Refresh tokens that rotate: each is good once, and one used again ends its family (RFC 9700 §4.14.2).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::record::TokenRequest;
use super::world::Grant;

/// Every refresh token ever issued, and what became of it.
#[derive(Debug, Default)]
pub(super) struct Families {
    live: HashMap<String, Grant>,
    spent: HashMap<String, String>,
    ended: HashSet<String>,
    at_once: HashMap<String, usize>,
    most_at_once: usize,
    reused: Vec<String>,
    lasted: HashMap<String, Duration>,
}

impl Families {
    /// Notes a refresh token that goes out. It replaces the one that was used for it.
    pub(super) fn issued(&mut self, token: &str, grant: &Grant) {
        let mut original = grant.clone();
        if let Some(old) = original.refreshing.take() {
            // Rotation keeps the breadth of the grant, however narrow this answer was.
            if let Some(first) = self.live.remove(&old) {
                original.scope = first.scope;
            }
            self.spent.insert(old, grant.family.clone());
        }
        self.live.insert(token.to_owned(), original);
    }

    /// Judges a refresh request: what it grants, or the error and why.
    pub(super) fn refresh(&mut self, request: &TokenRequest) -> Result<Grant, (&'static str, &'static str)> {
        let token = request.param("refresh_token").ok_or(("invalid_request", "refresh_token is missing"))?;
        if let Some(family) = self.spent.get(token) {
            if self.ended.insert(family.clone()) {
                self.reused.push(token.to_owned());
            }
            return Err(("invalid_grant", "the refresh token was used before"));
        }
        let grant = self.live.get(token).ok_or(("invalid_grant", "unknown refresh token"))?;
        if self.ended.contains(&grant.family) {
            return Err(("invalid_grant", "the family has ended"));
        }
        if request.client_id().as_deref() != Some(&grant.client_id) {
            return Err(("invalid_grant", "the refresh token is another client's"));
        }
        let resources = request.form.iter().filter(|(name, _)| name == "resource");
        if resources.into_iter().any(|(_, resource)| !grant.resources.contains(resource)) {
            return Err(("invalid_target", "another resource"));
        }
        let all = grant.scope.as_deref().unwrap_or_default();
        let scope = request.param("scope").unwrap_or(all);
        if scope.split(' ').any(|one| !all.split(' ').any(|granted| granted == one)) {
            return Err(("invalid_scope", "beyond the grant"));
        }
        Ok(Grant { scope: Some(scope.to_owned()), refreshing: Some(token.to_owned()), ..grant.clone() })
    }

    /// Counts a request with this refresh token in; gives its family.
    pub(super) fn enter(&mut self, token: &str) -> Option<String> {
        let family = self.live.get(token).map(|grant| &grant.family).or_else(|| self.spent.get(token))?.clone();
        let count = self.at_once.entry(family.clone()).or_default();
        *count += 1;
        self.most_at_once = self.most_at_once.max(*count);
        Some(family)
    }

    pub(super) fn leave(&mut self, family: &str) {
        if let Some(count) = self.at_once.get_mut(family) {
            *count -= 1;
        }
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.most_at_once
    }

    pub(super) fn is_live(&self, token: &str) -> bool {
        self.live.contains_key(token)
    }

    /// Notes how long the connection lasted on which a refresh token was spent, until its client had closed it.
    pub(super) fn ended_after(&mut self, spent: String, lasted: Duration) {
        self.lasted.insert(spent, lasted);
    }

    pub(super) fn reused(&self) -> usize {
        self.reused.len()
    }

    pub(super) fn reused_though_answered_within(&self, limit: Duration) -> usize {
        let in_time = |token: &&String| self.lasted.get(*token).is_none_or(|lasted| *lasted < limit);
        self.reused.iter().filter(in_time).count()
    }

    pub(super) fn end_all(&mut self) {
        self.ended.extend(self.live.values().map(|grant| grant.family.clone()));
    }
}
