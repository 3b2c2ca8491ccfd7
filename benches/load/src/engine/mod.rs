//! The generator and the sink: one loop a thread that sends what is due and verifies what arrives.
//!
//! ```text
//!   until all is sent:   A: what is due, a batch at the most ─► kernel     ┐
//!                        both: what has arrived ─► verifier                │ each in turn
//!                        B: what is due, a batch at the most ─► kernel     │
//!                        both: what has arrived ─► verifier                ┘
//!   then:                both, until everything is back or 200 ms have passed
//! ```
//!
//! A batch is small (32 by default): a veth pair has 256 entries between its ends and loses what exceeds them, and
//! what the sink has not read yet waits no longer than one batch takes. With one thread for both sides nothing is
//! shared; with several, each has its own queues, its own share of the flows to send, and the expectations in
//! common.

mod control;
mod load;
mod wire;
mod xsk;

pub use control::{Control, Sums};
pub use load::{Load, Outcome, Plan, Speed};
pub use wire::Wire;
pub use xsk::{Clock, OpenDevice, Opened, Opening, XskWire, open};

#[cfg(test)]
mod simulation;
