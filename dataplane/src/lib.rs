//! tandem's dataplane: per-core workers that forward RTP through AF_XDP.

#![forbid(unsafe_code)]

mod dataplane;
pub mod report;
pub mod settings;
mod start_error;

pub use dataplane::{Dataplane, MailboxFull};
pub use start_error::StartError;
