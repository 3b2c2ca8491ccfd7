//! Load for an RTP relay, and the proof of what became of every packet of it.
//!
//! ```text
//!                    ┌────────── tandem-load ───────────┐
//!   streams file ─►  │  schedule ─► build ─► TX  device A ──►┐
//!   or tandem's      │  verify  ◄─────────── RX          ◄──┐│      the relay
//!   admin socket     │                                      ││  a ⇄ relay_a │ relay_b ⇄ b
//!                    │  schedule ─► build ─► TX  device B ──┼┤
//!                    │  verify  ◄─────────── RX          ◄──┴┘
//!                    └──────────┬───────────────────────┘
//!                               ▼
//!                 a table, JSON, an SVG: [`report::Run`]
//! ```
//!
//! Each packet names its stream, its sequence and the time at which it was due; the sink knows from these
//! every byte that must arrive, so nothing is sampled.

#![forbid(unsafe_code)]

pub mod admin_client;
pub mod calls;
pub mod churn;
pub mod cli;
pub mod engine;
pub mod install;
pub mod machine;
pub mod ndr;
pub mod neighbours;
pub mod ng;
pub mod pace;
pub mod packet;
pub mod plot;
pub mod report;
pub mod rig;
pub mod rtp;
pub mod streams;
pub mod trial;
pub mod verify;
