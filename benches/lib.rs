//! A pipeline with flows and the packets to send through it: what the benchmarks measure.
//!
//! ```text
//!   shape (what kind of flows and packets) ─► Scene::prepare ─► frames of a UMEM ─► Scene::process ─► verdicts
//!                                              packets            the port that workers have, without sockets
//! ```
//!
//! Only the pipeline's own work is between a batch and its verdicts: no ring, no kernel. The frames are those
//! of a real UMEM, so that what reaching into one costs is counted. [`Scene::prepare`] writes every packet
//! anew, so every batch is the first that its packets are in.

#![forbid(unsafe_code)]

pub mod packets;
pub mod scene;
pub mod shape;

pub use scene::Scene;
pub use shape::{Shape, cases};
