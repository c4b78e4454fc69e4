//! The bounds on one agent, and the way out of each.

use super::{Fault, Reason};
use std::time::Duration;

/// A bound that an agent has met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgentQuota {
    /// Calls a second.
    CallsPerSecond,
    /// Calls under way.
    CallsInFlight,
    /// Calls a second of a peer that is not registered.
    UnknownPeers,
    /// Transactions that are open.
    TransactionsOpen,
    /// Transactions begun, the ended ones included for as long as they are remembered.
    TransactionsRemembered,
    /// Grants.
    Grants,
    /// Tokens that are watched.
    Streams,
    /// Documents of APIs that are fetched for it.
    MetadataFetches,
}

impl AgentQuota {
    /// The name in `quota`; where there is a configured limit, that of the limit.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallsPerSecond => "calls_per_second",
            Self::CallsInFlight => "calls_in_flight",
            Self::UnknownPeers => "unknown_peers",
            Self::MetadataFetches => "metadata_fetches",
            Self::TransactionsOpen | Self::TransactionsRemembered => "transactions_per_agent",
            Self::Grants => "grants_per_agent",
            Self::Streams => "streams_per_agent",
        }
    }

    /// What there is too much of, and how it gets less.
    const fn way_out(self) -> &'static str {
        match self {
            Self::CallsPerSecond => "It calls too often: call less often.",
            Self::CallsInFlight => "Too many of its calls are under way: wait for some of them.",
            Self::MetadataFetches => "Its challenges name ever new places of metadata: ask less often.",
            Self::UnknownPeers => "Peers that are not registered call too often.",
            Self::TransactionsOpen => {
                "Too many transactions are open: redeem the callback of one, that of a refusal too, which ends it; each \
                 ends by itself after `transaction_ttl`."
            }
            Self::TransactionsRemembered => {
                "Too many transactions were begun in a short time: those that have ended are remembered for a while."
            }
            Self::Grants => "It holds too many grants: revoke some (RevokeGrant); each ends by itself with its tokens.",
            Self::Streams => "It watches too many tokens: end some of its streams.",
        }
    }

    /// The fault of having met it, and when there is room again.
    #[must_use]
    pub fn met(self, wait: Duration) -> Fault {
        Fault::new(Reason::QuotaExceeded).with("quota", self.name()).in_detail(self.way_out()).retry_after(wait)
    }
}
