//! A vault: small secret records in one file, sealed, that survive a crash at any moment.
//!
//! The file is an embedded redb database. A commit there is all or nothing: after a crash a record is the old one or
//! the new one. What redb does not give is added here:
//!
//! * **Secrecy.** Each record is sealed with AES-256-GCM-SIV (RFC 8452) under a key of this file alone, which is derived
//!   from the configured key and a random salt in the file. Nonces are random; SIV keeps even a repeated one from opening
//!   anything, so there is no count of writes to watch. What the record is of (its id, the format) is authenticated with
//!   it, so that records cannot change places. Ids are keyed digests: they tell nothing of what they stand for.
//! * **Honesty about the file.** It is opened only if every page and every record in it is sound. One that is not is
//!   moved aside whole, by a name that says so. Another key, or the format of a later version, is no damage: to move such
//!   a file aside would lose what is in it, so it is an error and the daemon does not start.
//! * **A disk that fails.** A thread of its own does the I/O, so that no call waits for it unless it wants to. What
//!   could not be written is kept and written when it can be. redb forbids a database to be used after a failed write;
//!   it is not repaired in place but written anew, whole, beside the old file and renamed over it: the thread keeps every
//!   sealed record in memory for that (about a kilobyte each). So a file that was removed while in use comes back too.
//!
//! Not defended against: who can write to the folder can put back an older copy of the whole file. Records in it may
//! have ended since; their refresh tokens are dead or end their family (RFC 9700 §4.14.2).

mod file;
mod seal;
mod writer;

pub use file::{OpenError, Opened, Rejected, Unread, open};
pub use seal::{Id, VaultKey};
pub use writer::{Saving, Vault};

#[cfg(test)]
mod tests;
