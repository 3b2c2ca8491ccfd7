//! Plots as SVG: data in, a document out.
//!
//! Four sheets: [`rates`] shows what a relay loses and how late its packets are at each rate, [`comparison`]
//! ranks relays with the spread of their rounds, [`curves`] lays their lines over each other, [`calls`] shows a
//! signalling load over time and by rate.
//! Nothing here reads a clock, a file or the machine: what a sheet says of the machine is handed in as text.
//!
//! Values that are not finite are left out, an empty plot says that there is no data, and text may hold
//! anything: what XML cannot say is dropped.

mod axis;
pub mod calls;
pub mod comparison;
pub mod curves;
pub mod rates;
mod sheet;

pub use axis::{Quantity, Scale};

/// A sheet that could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the plot cannot be drawn: {0}")]
pub struct PlotError(String);

/// What stands above a plot.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// What was measured, in one line.
    pub title: String,
    /// How and on what: machine, kernel, driver, XDP mode, packet size, streams. A line each.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests;
