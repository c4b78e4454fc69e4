//! Where a [`Caller`] is minted.

use super::{Pin, Svid};
use crate::{
    config::Registry,
    model::{Agent, Fault, Reason, Wall, fault::Detection},
};
use std::{net::IpAddr, sync::Arc};

/// What the kernel says of the peer of a Unix socket (SO_PEERCRED).
#[derive(Clone, Debug)]
pub struct UnixPeer {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its process at connect time: evidence for the audit log, never identity.
    pub pid: Option<i32>,
    /// The process itself.
    pub pin: Arc<Pin>,
}

/// What the transport says of a connection.
#[derive(Clone, Debug)]
pub enum Peer {
    /// A Unix socket. `None`: the kernel gave no credentials.
    Unix(Option<UnixPeer>),
    /// Mutual TLS, chain verified.
    Mtls {
        /// What the certificate says.
        svid: Svid,
        /// The peer's address.
        ip: IpAddr,
    },
}

/// How the caller came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// By Unix socket.
    Uds,
    /// By mutual TLS.
    Mtls,
}

impl Transport {
    /// The word in policy and audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uds => "uds",
            Self::Mtls => "mtls",
        }
    }
}

/// The evidence that the caller is who it is.
#[derive(Clone, Debug)]
pub enum Attestation {
    /// The kernel's peer credentials matched a registered uid.
    UnixPeer(UnixPeer),
    /// A verified X.509-SVID matched a registered SPIFFE ID.
    SpiffeX509 {
        /// The certificate.
        svid: Svid,
        /// Where from.
        ip: IpAddr,
    },
}

/// An attested, registered caller. Minted here alone; not `Clone`.
pub struct Caller {
    agent: Arc<Agent>,
    attestation: Attestation,
    interactive: Option<bool>,
}

impl Caller {
    /// Attests a peer. Asked anew for every call, so that what has ended since the connection was made counts.
    ///
    /// # Errors
    /// [`Reason::PeerCredMissing`], [`Reason::PeerCredentialExpired`], [`Reason::PeerChanged`], [`Reason::AgentUnknown`].
    pub fn attest(peer: &Peer, registry: &Registry, now: Wall) -> Result<Self, Fault> {
        let changed = || Fault::new(Reason::PeerChanged).detected(Detection::PeerChanged);
        let (agent, attestation) = match peer {
            Peer::Unix(None) => return Err(Fault::new(Reason::PeerCredMissing)),
            Peer::Unix(Some(peer)) => {
                let agent = registry.by_unix_peer(peer.uid, peer.gid);
                let program = agent.and_then(|a| a.executable.as_ref());
                let runs_it = || program.is_none_or(|path| peer.pin.executable().as_ref() == Some(path));
                if !peer.pin.is_alive() || !runs_it() {
                    return Err(changed());
                }
                (agent, Attestation::UnixPeer(peer.clone()))
            }
            Peer::Mtls { svid, .. } if !svid.is_valid(now) => return Err(Fault::new(Reason::PeerCredentialExpired)),
            Peer::Mtls { svid, ip } => {
                let agent = registry.by_spiffe_id(&svid.spiffe_id);
                (agent, Attestation::SpiffeX509 { svid: svid.clone(), ip: *ip })
            }
        };
        let agent = agent.ok_or_else(|| Fault::new(Reason::AgentUnknown).detected(Detection::UnknownAgent))?;
        let interactive = match &attestation {
            Attestation::UnixPeer(peer) => peer.pin.is_of_a_person().map_err(|_| changed())?,
            Attestation::SpiffeX509 { .. } => None,
        };
        Ok(Self { agent: Arc::clone(agent), attestation, interactive })
    }

    /// Whether the call comes from a person's login session. `None` where that cannot be known: by mutual TLS, or from
    /// another process namespace.
    #[must_use]
    pub const fn interactive(&self) -> Option<bool> {
        self.interactive
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// The evidence.
    #[must_use]
    pub const fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    /// How it came.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self.attestation {
            Attestation::UnixPeer(_) => Transport::Uds,
            Attestation::SpiffeX509 { .. } => Transport::Mtls,
        }
    }

    /// When its credential ends, if it does.
    #[must_use]
    pub const fn credential_end(&self) -> Option<Wall> {
        match &self.attestation {
            Attestation::UnixPeer(_) => None,
            Attestation::SpiffeX509 { svid, .. } => Some(svid.not_after),
        }
    }

    /// Refuses a request that names another agent than the attested one.
    ///
    /// # Errors
    /// [`Reason::CallerIdentityAsserted`].
    pub fn refuse_other_name(&self, named: &str) -> Result<(), Fault> {
        if named.is_empty() || named == self.agent.id.as_str() {
            return Ok(());
        }
        Err(Fault::field(Reason::CallerIdentityAsserted, "agent", "names another agent than the attested caller"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: CALL-02
    #[test]
    fn a_peer_without_credentials_is_nobody() {
        let fault = Caller::attest(&Peer::Unix(None), &Registry::default(), Wall(0)).err().unwrap();
        assert_eq!(fault.reason, Reason::PeerCredMissing);
    }

    // rows: CALL-06
    #[test]
    fn a_certificate_counts_from_its_beginning_to_its_end() {
        let svid = Svid {
            spiffe_id: "spiffe://acme.test/agent/quoter".to_owned(),
            trust_domain: "acme.test".to_owned(),
            not_before: Wall(1000),
            not_after: Wall(2000),
            thumbprint: String::new(),
        };
        let peer = Peer::Mtls { svid, ip: IpAddr::from([127, 0, 0, 1]) };
        for (now, expected) in [
            (999, Reason::PeerCredentialExpired),
            (1000, Reason::AgentUnknown),
            (1999, Reason::AgentUnknown),
            (2000, Reason::PeerCredentialExpired),
        ] {
            let fault = Caller::attest(&peer, &Registry::default(), Wall(now)).err().unwrap();
            assert_eq!(fault.reason, expected, "{now}");
        }
    }
}
