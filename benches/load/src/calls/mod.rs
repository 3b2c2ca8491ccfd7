//! `tandem-load calls`: calls through a back-to-back user agent or proxy, by SIPp at both ends.
//!
//! ```text
//!   caller SIPp ──INVITE──► the relay ──INVITE──► callee SIPp
//!     │ statistics, a log line a response            │ statistics
//!     └───────────────► tandem-load calls ◄──────────┘     one trial for each rate
//!                        ▲ memory and processor time of the relay, when it runs on this machine
//! ```
//!
//! SIPp makes the calls and is believed about them; this module starts it, bounds it, reads what it writes
//! and reports in the form of the media load. A call's post-dial delay begins when SIPp turns to the call,
//! before it has written the INVITE, and ends when it reads the first 180 or 200.

mod args;
mod delays;
mod execute;
mod load;
pub(crate) mod proc;
mod report;
mod scenario;
mod sipp;
mod statistics;
mod tail;
mod timeline;

pub use args::CallsArgs;
pub(crate) use args::EXAMPLES;
pub use execute::{CallsError, execute};
pub use report::{Callee, CallsRun, CallsTrial, Relay, Second, Shape};
