//! narrowgate redeems OAuth authorization codes for AI agents: policy first, mutual TLS, narrow tokens, everything
//! recorded. This page is the map of the house.
//!
//! # One exchange
//! ```text
//!   agent ──▶ api ──▶ caller ──▶ transaction ──▶ policy ──▶ audit ──▶ oauth ──▶ policy ──▶ grant ──▶ audit ──▶ api
//!             door    Caller     Claim           Permitted  Recorded  Issued    Released   Reply     Recorded  reply
//! ```
//! Only [`exchange`] walks this corridor; only [`app`] builds it. Rooms never call each other: each takes the ticket
//! of the room before it. A ticket is minted in one leaf file, is not `Clone`, owns its subject and is consumed. So
//! "every exchange is policy checked, recorded, then redeemed" is a compile error to violate; `tests/tickets` shows
//! the errors.
//!
//! # Rooms, in the order they may import each other
//! | room | what it is for | what never happens there |
//! |---|---|---|
//! | [`model`] | the words of the trade as types | no tokio, tonic, Cedar, hyper, serde |
//! | [`platform`] | clock, entropy, files: the only ports | no policy, no protocol |
//! | [`config`] | files to a checked [`config::Config`], all mistakes at once | nothing is half loaded |
//! | [`caller`] | who is calling; mints [`caller::Caller`], [`caller::AttestedOperator`] | nothing a request says is looked at |
//! | [`transaction`] | begun and not yet finished; mints [`transaction::Claim`] | no network |
//! | [`policy`] | may this be done, and on what terms; mints [`policy::Permitted`], [`policy::RequestPermitted`], [`policy::Released`], [`policy::AdminPermitted`] | no pluggable policy port |
//! | [`audit`] | nothing happens unrecorded; mints [`audit::Recorded`] | no secret, no text from outside |
//! | [`oauth`] | the only room that talks to an authorization server; mints [`oauth::VerifiedSubject`], [`oauth::Issued`], [`oauth::Obtained`] | no retry of a code (but `dpop/retry.rs`), no redirect, no proxy |
//! | [`grant`] | the tokens held for agents | a handle of another agent finds nothing |
//! | [`exchange`] | the corridor | no cleverness: each walk reads top to bottom |
//! | [`api`] | doors, services, the one table of statuses | prost types go no further |
//! | [`app`] | wiring | |
//!
//! To the side: [`telemetry`] (operators' logs), `dev` (the embedded server of the demo), [`cli`].
//! `tests/rooms.rs` holds the import table.
//!
//! # Invariants
//! * A caller is who the kernel or a verified certificate says, asked anew for every call.
//! * Any Cedar evaluation error, missing entity or unknown annotation is a no.
//! * Policies, agents and APIs are one generation: read whole, held against itself, swapped at once
//!   ([`Corridor::reload`](exchange::Corridor::reload)). What is not sound never takes the place of what is.
//! * What an operator has frozen gets no permit and no release, whatever policies say and whatever is under way; what was
//!   begun before a freeze stays ended after it ([`policy::Freezes`]).
//! * A decision is durable before the code leaves; an outcome is durable before the token leaves. What cannot be
//!   recorded is not done, and a token that cannot be recorded is revoked.
//! * A code is used at most once, at the endpoint captured when its transaction began. It is sent once; a second time
//!   only, and only once, where the server has answered that it looked no further than the proof (RFC 9449 §8).
//! * A refresh token is used by one call at a time, inside a recorded permit of that call, with its scopes named.
//! * A grant that outlives the process is sealed on disk before its outcome is on record; while it could not be, nothing
//!   is spent. A file that is not sound is used for nothing.
//! * A subject token is verified before it leaves, and is its presenter's own; the actor is the attested caller, in our
//!   words; what comes of an exchange is no broader than its subject, shows who acts, and is not served for longer.
//! * A held token is found by its agent alone, under everything that decided about it, and each hand-out is decided anew.
//! * A token broader than allowed, in scopes or in authorization details, is revoked, never handed out; so is one that
//!   is not bound as its client demands.
//! * The key of a bound grant signs for that grant's agent alone, about a token that it is served, for a request to an
//!   origin of its API, at the daemon's own time; each proof is a decision, and on record.
//! * Who the person is comes from an ID token alone, verified with its issuer's own keys; it is told to policy at
//!   release, to the log by keyed reference, and to nobody else.
//! * What an API says of itself (RFC 9728) chooses among the issuers that are configured for it, and adds none; a
//!   challenge says where to look only at the server that was called.
//! * Secrets have types that cannot be printed, copied or compared in variable time ([`model::Secret`]). Residue in
//!   the buffers of TLS and HTTP libraries is out of our reach and is freed, not wiped.
//! * The process closes itself before it opens a door: no core, no peeking, no other program, no folder that is not
//!   configured ([`platform::process`], [`platform::sandbox`]).
//! * What must end, ends by the boot clock; a token ends by that or the wall clock, whichever is earlier.
//! * Everything is bounded, and each bound is a named constant or a configured limit.
//!
//! # Where this departs from the drawing board
//! * One [`model::Fault`] instead of three error enums: its reason already says who is at fault.
//! * The servers' connection loop is ours on hyper, not tonic's: it gives deadlines their right status
//!   (DEADLINE_EXCEEDED), refuses browsers before any handler, and turns a panic into INTERNAL.
//! * The clock is in no cache key, and no cached decision has a date of expiry: the outcome of each comparison that a
//!   policy makes with it is in the key instead (`policy::engine`). That holds when clocks step back, too.
//! * An exchange that another policy set overtook is asked again under its own id (`exchange::overtaken`): one exchange
//!   has one end in the log, whatever happened in between.
//! * The lock on a transaction lives in the claim: dropped, it puts the transaction back; so no failure before the
//!   POST can lose a login.

pub mod api;
pub mod app;
pub mod audit;
pub mod caller;
pub mod cli;
pub mod config;
#[cfg(feature = "dev")]
pub mod dev;
pub mod exchange;
pub mod grant;
pub mod model;
pub mod oauth;
pub mod platform;
pub mod policy;
pub mod telemetry;
pub mod transaction;
