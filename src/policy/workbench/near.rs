//! Near misses: the permits that would have allowed what nothing allowed, but for one thing. Cedar itself gives no reason
//! for a default deny.

use super::{
    book::{Book, Place, Reach, id_of, principal_words, resource_words},
    clauses::{Clause, Fact, Outcome, placed},
};
use crate::model::Wall;
use cedar_policy::{Effect, Entities, EntityUid, Policy, Request};
use serde::Serialize;

/// The most near misses that are shown of one question.
const SHOWN_MAX: usize = 10;

/// What a permit missed by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Everything holds, but its last day is over (`@expires`).
    Expired,
    /// Its scope fits, and a clause of its condition fails.
    Condition,
    /// Everything holds, but it is about another principal.
    Principal,
    /// Everything holds, but it is about another resource.
    Resource,
}

/// A permit that nearly held.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NearMiss {
    /// Its id.
    pub policy: String,
    /// What it missed by.
    pub missed: Missed,
    /// The first clause that failed, or what its scope says, as it is written.
    pub clause: String,
    /// Where that stands.
    pub place: Option<Place>,
    /// What the clause reads, and what that is in the request.
    pub facts: Vec<Fact>,
    /// Clauses that failed besides, as they are written.
    pub also: Vec<String>,
}

/// Near misses of one question, the nearest first.
#[derive(Default)]
pub(super) struct Near {
    pub(super) misses: Vec<NearMiss>,
    /// Permits about the action that are not shown: they miss by more.
    pub(super) farther: usize,
}

impl Book<'_> {
    /// The near misses of a request that was denied; none where a permit holds, and something else denied it.
    pub(super) fn near_misses(&self, request: &Request, entities: &Entities, now: Option<Wall>) -> Near {
        let Some((principal, action, resource)) = parts(request) else { return Near::default() };
        let (mut misses, mut farther) = (Vec::new(), 0);
        for (entry, reach) in self.about((principal, action, resource), entities) {
            let policy = entry.policy;
            if policy.effect() != Effect::Permit {
                continue;
            }
            let clauses = entry.clauses();
            let failed: Vec<&Clause> =
                clauses.iter().filter(|clause| clause.outcome(request, entities) != Outcome::Holds).collect();
            let miss = |missed, clause: String, at, facts, also| NearMiss {
                policy: id_of(policy),
                missed,
                clause,
                place: self.place(policy, at),
                facts,
                also,
            };
            let who = |name: &str, uid: &EntityUid| vec![Fact { name: name.to_owned(), value: placed(uid, entities) }];
            misses.push(match (reach, failed.as_slice()) {
                (Reach::Fits, []) => match self.expired(policy, now) {
                    Some(day) => miss(Missed::Expired, format!("@expires(\"{day}\")"), 0, Vec::new(), Vec::new()),
                    None => return Near::default(),
                },
                (Reach::Fits, [first, others @ ..]) => {
                    let also = others.iter().map(|clause| clause.text.clone()).collect();
                    miss(Missed::Condition, first.text.clone(), first.at, first.facts(request, entities), also)
                }
                (Reach::OtherPrincipal, []) => {
                    let facts = who("principal", principal);
                    miss(Missed::Principal, principal_words(policy), 0, facts, Vec::new())
                }
                (Reach::OtherResource, []) => {
                    let facts = who("resource", resource);
                    miss(Missed::Resource, resource_words(policy), 0, facts, Vec::new())
                }
                _ => {
                    farther += 1;
                    continue;
                }
            });
        }
        misses.sort_by_key(|miss| (miss.missed, miss.also.len()));
        farther += misses.len().saturating_sub(SHOWN_MAX);
        misses.truncate(SHOWN_MAX);
        Near { misses, farther }
    }

    /// The last day of a permit of narrowgate's own, where that is over.
    fn expired(&self, policy: &Policy, now: Option<Wall>) -> Option<String> {
        let note = self.own?.note(&id_of(policy)).filter(|note| now.is_none_or(|now| note.is_over(now)))?;
        note.expires.map(|day| day.to_string())
    }
}

/// Principal, action and resource of a request that has them all.
pub(super) fn parts(request: &Request) -> Option<(&EntityUid, &EntityUid, &EntityUid)> {
    Some((request.principal()?, request.action()?, request.resource()?))
}
