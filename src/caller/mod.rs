//! Who is calling.
//!
//! Invariant: a [`Caller`] is minted only from what the kernel or a verified certificate says, and only if the
//! registry knows it. No request field and no metadata reaches this room.

mod mint;
mod operator;
mod person;
mod pin;
mod svid;

pub use mint::{Attestation, Caller, Peer, Transport, UnixPeer};
pub use operator::AttestedOperator;
pub use pin::{Ended, Pin};
pub use svid::Svid;
