//! Who administers: an operator, by the kernel's word for the peer of the admin socket. An agent is none there.

use super::{Peer, UnixPeer};
use crate::{
    config::Operators,
    model::{Fault, Operator, Reason, fault::Detection},
};
use std::sync::Arc;

/// An attested, registered operator. Minted here alone; not `Clone`.
pub struct AttestedOperator {
    operator: Arc<Operator>,
    peer: UnixPeer,
    interactive: Option<bool>,
}

impl AttestedOperator {
    /// Attests a peer, anew for every call. A certificate is no proof here: operators come by the socket.
    ///
    /// # Errors
    /// [`Reason::PeerCredMissing`], [`Reason::PeerChanged`], [`Reason::OperatorUnknown`].
    pub fn attest(peer: &Peer, operators: &Operators) -> Result<Self, Fault> {
        let changed = || Fault::new(Reason::PeerChanged).detected(Detection::PeerChanged);
        let peer = match peer {
            Peer::Unix(None) => return Err(Fault::new(Reason::PeerCredMissing)),
            Peer::Unix(Some(peer)) => peer,
            Peer::Mtls { .. } => return Err(Fault::new(Reason::OperatorUnknown)),
        };
        if !peer.pin.is_alive() {
            return Err(changed());
        }
        let operator = operators.by_unix_peer(peer.uid, peer.gid);
        let operator =
            operator.ok_or_else(|| Fault::new(Reason::OperatorUnknown).detected(Detection::UnknownOperator))?;
        // Operators are people: it is told to policy, and nobody is refused for it.
        let interactive = peer.pin.is_of_a_person().map_err(|_| changed())?;
        Ok(Self { operator: Arc::clone(operator), peer: peer.clone(), interactive })
    }

    /// The operator.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// What the kernel says of them.
    #[must_use]
    pub const fn peer(&self) -> &UnixPeer {
        &self.peer
    }

    /// Whether the call comes from a person's login session, where that can be known.
    #[must_use]
    pub const fn interactive(&self) -> Option<bool> {
        self.interactive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: CALL-09
    #[test]
    fn a_peer_without_credentials_is_no_operator() {
        let fault = AttestedOperator::attest(&Peer::Unix(None), &Operators::default()).err().unwrap();
        assert_eq!(fault.reason, Reason::PeerCredMissing);
    }
}
