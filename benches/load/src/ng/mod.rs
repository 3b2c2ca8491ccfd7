//! `tandem-load ng`: calls over rtpengine's control protocol, from several proxies, as fast as a window allows.
//!
//! ```text
//!   client 0 ─ socket ─┐   each has `window` calls under way; a call is offer, answer, query, delete, each sent when
//!   client 1 ─ socket ─┼─► the door   the one before it is answered, and again when it is not within a second
//!   client … ─ socket ─┘
//! ```
//!
//! Targets are measured one after the other, and each is asked at the end what is left of the calls: nothing. The media
//! that is offered is never sent.

mod args;
mod bencode;
mod client;
mod execute;
mod left;
mod report;
mod script;
mod tally;

pub(crate) use args::EXAMPLES;
pub use args::NgArgs;
pub use execute::{NgError, execute};
pub use report::{NgRun, NgShape, NgTrial};
