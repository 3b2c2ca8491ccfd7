//! The boundary between tandem's two planes: plain data, no IO, no clock, no locks.
//!
//! The control plane owns the truth about every flow and sends [`Command`]s; each worker of the
//! dataplane holds a private copy of every entry, answers each command with one [`Event`], and
//! reports what only it can see (a latch, silence). This crate imports nothing of tandem's, and the
//! planes never import each other: what is not said here, one plane cannot know of the other.
//!
//! ```text
//!   control plane ── Command (Install, Update, Remove) ──► worker      one bounded mailbox each way
//!                 ◄── Event (Installed … Latched, Idle) ──             for each worker
//! ```
//!
//! Beside them stand the media services, with [`ServiceOrder`]s and [`ServiceEvent`]s of their own.

#![forbid(unsafe_code)]

mod command;
mod drop_reason;
mod flow;
mod handling;
mod homes;
mod ids;
mod link;
mod services;
mod time;

pub use command::{Command, Event, Refusal};
pub use drop_reason::DropReason;
pub use flow::{DscpMarking, Egress, FlowEntry, FlowKey, Latch, LatchPolicy, Payload};
pub use handling::{
    Digits, Events, Handling, MAX_COPIES, MAX_DIGITS, Media, PayloadTypes, Press, TapId,
};
pub use homes::Homes;
pub use ids::{DeviceId, FlowId, QueueId, WorkerId};
pub use link::{Link, MacAddress, VlanTag, VlanTags};
pub use services::{
    Forwarding, PlayFormat, PlayId, PlaySource, Playing, Recording, ServiceEvent, ServiceOrder,
};
pub use time::Timestamp;
