//! What tandem's programs print for people: aligned tables, units that can be read, a line of progress.
//!
//! `tandem` and the programs under `benches/` print with it, so that a figure looks the same wherever it
//! stands. Text goes in and comes out; it knows nothing of what it prints.

#![forbid(unsafe_code)]

pub mod output;
pub mod progress;
pub mod table;
pub mod units;
