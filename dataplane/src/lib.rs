//! tandem's dataplane: per-core workers that forward RTP through AF_XDP.
//!
//! ```text
//!                 mailbox            ┌── pipeline: classify ─► flow_table ─► latch ─► rewrite ──┐
//!   Dataplane ═ commands, events ═ worker                                                       │
//!       ▲                            └── port: receive, transmit, kick, tend, sleep ◄───────────┘
//!       └── report ◄─ tally ◄────────┘       xsk_port (AF_XDP) or memory_port (its twin)
//! ```
//!
//! The pipeline is pure: packets, commands and time in, verdicts and events out. A worker is the loop
//! that owns rings and mailboxes. Public beside [`Dataplane`] are the parts that tests and benchmarks
//! drive by themselves. Nothing here knows SIP, SDP or calls.

#![forbid(unsafe_code)]

pub mod address_index;
mod bring_up;
pub mod cache;
pub mod classify;
pub mod commands;
mod dataplane;
pub mod flow_table;
pub mod histogram;
pub mod injection;
pub mod latch;
pub mod mailbox;
pub mod memory_port;
pub mod news;
mod pinned;
pub mod pipeline;
pub mod port;
pub mod pressing;
pub mod reception;
pub mod report;
pub mod rewrite;
pub mod settings;
mod start_error;
pub mod steering;
pub mod storage;
pub mod tally;
pub mod tap;
pub mod toeplitz;
pub mod wire;
pub mod worker;
pub mod xsk_port;

pub use dataplane::{Bell, Dataplane, Injector, MailboxFull};
pub use start_error::StartError;
