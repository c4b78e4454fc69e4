//! What tests must hold still: the clock, entropy and files. The only three ports.

pub mod bundle;
pub mod clock;
pub mod digest;
pub mod ed25519;
pub mod entropy;
pub mod files;
pub mod process;
pub mod proof_key;
pub mod sandbox;
pub mod trace;
pub mod vault;
pub mod work;

pub use clock::{Clock, SystemClock};
pub use digest::KeyedHash;
pub use entropy::{Entropy, SystemEntropy};
pub use proof_key::ProofKey;
pub use work::{Underway, Work};
