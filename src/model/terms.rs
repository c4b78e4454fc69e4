//! Terms: the obligations that policy attaches to what it allows. Merging only ever makes them stricter.

use std::time::Duration;

/// What sender constraint a token must carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProofDemand {
    /// Any sender constraint.
    Any,
    /// Certificate-bound (RFC 8705 §3).
    Mtls,
    /// DPoP-bound (RFC 9449).
    Dpop,
    /// Two policies demand different ones: nothing can satisfy both.
    Contradiction,
}

impl ProofDemand {
    fn strictest(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Any, b) => b,
            (a, Self::Any) => a,
            _ => Self::Contradiction,
        }
    }

    /// Reads what [`Self::as_str`] writes.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Any, Self::Mtls, Self::Dpop, Self::Contradiction].into_iter().find(|demand| demand.as_str() == word)
    }

    /// The annotation's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Mtls => "mtls",
            Self::Dpop => "dpop",
            Self::Contradiction => "contradiction",
        }
    }
}

/// The merged terms of a decision. The default demands nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// The longest lease.
    pub max_lifetime: Option<Duration>,
    /// The sender constraint demanded.
    pub proof: Option<ProofDemand>,
    /// The refresh token must not be kept.
    pub no_refresh: bool,
    /// The token must be for exactly one audience.
    pub single_audience: bool,
    /// Events about it are of high severity.
    pub audit_high: bool,
    /// Someone is to be told: its events are of high severity, and say so under `terms`, for a detection to key on.
    pub notify: bool,
    /// The most hand-outs of one token.
    pub max_uses: Option<u64>,
}

impl Terms {
    /// The strictest of both, dimension by dimension.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        Self {
            max_lifetime: least(self.max_lifetime, other.max_lifetime),
            proof: match (self.proof, other.proof) {
                (Some(a), Some(b)) => Some(a.strictest(b)),
                (a, b) => a.or(b),
            },
            no_refresh: self.no_refresh || other.no_refresh,
            single_audience: self.single_audience || other.single_audience,
            audit_high: self.audit_high || other.audit_high,
            notify: self.notify || other.notify,
            max_uses: least(self.max_uses, other.max_uses),
        }
    }
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms() -> impl Strategy<Value = Terms> {
        let proof =
            proptest::option::of(prop_oneof![Just(ProofDemand::Any), Just(ProofDemand::Mtls), Just(ProofDemand::Dpop)]);
        let lifetime = proptest::option::of((1u64..7200).prop_map(Duration::from_secs));
        (lifetime, proof, any::<bool>(), any::<bool>(), any::<bool>(), proptest::option::of(1u64..9)).prop_map(
            |(max_lifetime, proof, no_refresh, single_audience, audit_high, max_uses)| Terms {
                max_lifetime,
                proof,
                no_refresh,
                single_audience,
                audit_high,
                notify: false,
                max_uses,
            },
        )
    }

    proptest! {
        #[test]
        fn merging_does_not_depend_on_order_and_never_loosens(a in terms(), b in terms(), c in terms()) {
            let left = a.clone().strictest(b.clone()).strictest(c.clone());
            let right = c.clone().strictest(a.clone()).strictest(b.clone());
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(a.clone().strictest(a.clone()), a.clone());
            for one in [a, b, c] {
                prop_assert!(one.max_lifetime.is_none_or(|l| left.max_lifetime.is_some_and(|m| m <= l)));
                prop_assert!(one.max_uses.is_none_or(|l| left.max_uses.is_some_and(|m| m <= l)));
                prop_assert!(!one.no_refresh || left.no_refresh);
                prop_assert!(one.proof.is_none() || left.proof.is_some());
            }
        }
    }
}
