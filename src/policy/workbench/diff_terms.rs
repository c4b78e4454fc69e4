//! Whether terms became looser or tighter. Cedar ignores annotations, and so does a solver: this is where they count.

use crate::{
    model::{ProofDemand, Terms},
    policy::annotations::Note,
};
use cedar_policy::{Effect, Policy};
use std::{cmp::Ordering, collections::BTreeSet};

/// Which way a change goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lean {
    /// Towards neither: a text, a name.
    Neither,
    /// It can only refuse more, or demand more.
    Tighter,
    /// It can allow more, or demand less.
    Looser,
    /// That cannot be told by looking at it.
    Untold,
}

impl Lean {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Neither => "neither",
            Self::Tighter => "tighter",
            Self::Looser => "looser",
            Self::Untold => "untold",
        }
    }

    /// From how many things allowed, or how much of one: none at all is without bound.
    fn by_bound<T: Ord>(old: Option<T>, new: Option<T>) -> Self {
        match (old, new) {
            (None, None) => Self::Neither,
            (None, Some(_)) => Self::Tighter,
            (Some(_), None) => Self::Looser,
            (Some(old), Some(new)) => match new.cmp(&old) {
                Ordering::Less => Self::Tighter,
                Ordering::Equal => Self::Neither,
                Ordering::Greater => Self::Looser,
            },
        }
    }

    /// From whether something is demanded.
    const fn by_demand(old: bool, new: bool) -> Self {
        match (old, new) {
            (false, true) => Self::Tighter,
            (true, false) => Self::Looser,
            _ => Self::Neither,
        }
    }

    fn by_proof(old: Option<ProofDemand>, new: Option<ProofDemand>) -> Self {
        match (old, new) {
            (old, new) if old == new => Self::Neither,
            (None, _) | (Some(ProofDemand::Any), Some(_)) | (Some(_), Some(ProofDemand::Contradiction)) => {
                Self::Tighter
            }
            (_, None) | (Some(_), Some(ProofDemand::Any)) | (Some(ProofDemand::Contradiction), _) => Self::Looser,
            // Another kind of proof: whoever had the one may not have the other.
            _ => Self::Untold,
        }
    }
}

/// An annotation that is not what it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnotationChange {
    /// Its key, without `@`.
    pub key: String,
    /// Its value in OLD, if it was there.
    pub old: Option<String>,
    /// Its value in NEW, if it is there.
    pub new: Option<String>,
    /// Which way that goes.
    pub lean: Lean,
}

/// The annotations of a policy that are not what they were, but for `@id`. In a set that is not narrowgate's they mean
/// nothing that can be judged.
pub(super) fn annotations(old: &Policy, new: &Policy, is_own: bool) -> Vec<AnnotationChange> {
    let keys: BTreeSet<&str> = old.annotations().chain(new.annotations()).map(|(key, _)| key).collect();
    let notes = is_own.then(|| Some((Note::read(old).ok()?, Note::read(new).ok()?))).flatten();
    let changed = keys.into_iter().filter(|key| *key != "id" && old.annotation(key) != new.annotation(key));
    let change = |key: &str| AnnotationChange {
        key: key.to_owned(),
        old: old.annotation(key).map(str::to_owned),
        new: new.annotation(key).map(str::to_owned),
        lean: match &notes {
            // Of another effect: it is the effect that counts.
            Some((old, new)) if old.effect == new.effect => by_key(key, old, new),
            _ => Lean::Neither,
        },
    };
    changed.map(change).collect()
}

fn by_key(key: &str, old: &Note, new: &Note) -> Lean {
    let term = of_terms(&old.terms, &new.terms).into_iter().find(|(term, _)| *term == key);
    match term {
        Some((_, lean)) => lean,
        // A forbid goes on forbidding past its date.
        None if key == "expires" && new.effect == Effect::Permit => Lean::by_bound(old.expires, new.expires),
        None => Lean::Neither,
    }
}

/// Each term, and which way it went.
#[must_use]
pub fn of_terms(old: &Terms, new: &Terms) -> [(&'static str, Lean); 7] {
    [
        ("max_lifetime", Lean::by_bound(old.max_lifetime, new.max_lifetime)),
        ("max_uses", Lean::by_bound(old.max_uses, new.max_uses)),
        ("proof", Lean::by_proof(old.proof, new.proof)),
        ("no_refresh", Lean::by_demand(old.no_refresh, new.no_refresh)),
        ("single_audience", Lean::by_demand(old.single_audience, new.single_audience)),
        ("audit", Lean::by_demand(old.audit_high, new.audit_high)),
        ("notify", Lean::by_demand(old.notify, new.notify)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn terms_lean_as_they_should() {
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
        let lean = |key: &str, old: &Terms, new: &Terms| {
            of_terms(old, new).into_iter().find(|(term, _)| *term == key).unwrap().1
        };
        let strict = Terms {
            max_lifetime: minutes(5),
            proof: Some(ProofDemand::Mtls),
            no_refresh: true,
            single_audience: true,
            audit_high: true,
            notify: true,
            max_uses: Some(1),
        };
        for (key, _) in of_terms(&strict, &strict) {
            assert_eq!(lean(key, &strict, &strict), Lean::Neither);
            assert_eq!(lean(key, &strict, &Terms::default()), Lean::Looser, "{key}");
            assert_eq!(lean(key, &Terms::default(), &strict), Lean::Tighter, "{key}");
        }
        let longer = Terms { max_lifetime: minutes(6), ..strict.clone() };
        assert_eq!(lean("max_lifetime", &strict, &longer), Lean::Looser);
        assert_eq!(lean("max_lifetime", &longer, &strict), Lean::Tighter);
        let [any, dpop, neither] = [ProofDemand::Any, ProofDemand::Dpop, ProofDemand::Contradiction]
            .map(|proof| Terms { proof: Some(proof), ..strict.clone() });
        assert_eq!(lean("proof", &strict, &any), Lean::Looser);
        assert_eq!(lean("proof", &any, &strict), Lean::Tighter);
        assert_eq!(lean("proof", &strict, &dpop), Lean::Untold);
        assert_eq!(lean("proof", &strict, &neither), Lean::Tighter);
        assert_eq!(lean("proof", &neither, &any), Lean::Looser);
    }
}
