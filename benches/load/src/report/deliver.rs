//! The end of a command: a table or JSON on stdout, a plot in a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::table::{devices, machine, packets};
use super::{Run, table};
use crate::plot::{Heading, PlotError, rates};

/// Why a report did not reach its reader.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Stdout.
    #[error("cannot write to stdout: {0}")]
    Stdout(#[source] io::Error),
    /// The plot's file.
    #[error("cannot write {}: {}", .0.display(), .1)]
    File(PathBuf, #[source] io::Error),
    /// The plot.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A figure that JSON cannot hold.
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Prints a run, and leaves its plot in `svg` if that is wanted.
///
/// # Errors
/// What could not be written. The table or JSON comes first: a plot that fails takes nothing with it.
pub fn run(run: &Run, json: bool, svg: Option<&Path>) -> Result<(), DeliveryError> {
    print(run, json, || table::render(run))?;
    svg.map_or(Ok(()), |file| save(&rates::draw(&sheet(run))?, file))
}

/// Prints a report as JSON on one line, or as its table.
pub(crate) fn print(
    report: &impl Serialize,
    json: bool,
    table: impl FnOnce() -> String,
) -> Result<(), DeliveryError> {
    let text = match json {
        true => serde_json::to_string(report)? + "\n",
        false => table(),
    };
    terminal::output::print(&text).map_err(DeliveryError::Stdout)
}

/// Leaves a plot in its file.
pub(crate) fn save(svg: &str, file: &Path) -> Result<(), DeliveryError> {
    fs::write(file, svg).map_err(|error| DeliveryError::File(file.to_owned(), error))
}

/// The run's trials as a plot.
pub fn sheet(run: &Run) -> rates::Rates {
    let share = |part: u64, whole: u64| match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    };
    let point = |trial: &super::Trial| {
        let latency = &trial.latency_ns;
        let figures = [latency.p50, latency.p99, latency.p99_9, latency.max];
        rates::Point {
            rate: match trial.rate_pps {
                0 => trial.sent_pps,
                pps => pps as f64,
            },
            loss: share(trial.lost, trial.sent),
            passed: trial.passed,
            latency: (latency.count > 0).then(|| figures.map(|nanos| nanos as f64)),
        }
    };
    rates::Rates {
        heading: Heading {
            title: packets(&run.packets),
            notes: vec![
                format!("{}; {}", machine(&run.machine), devices(&run.machine)),
                "Latency counts from the time at which a packet was due. A trial fails when a packet is lost or \
                 harmed, or could not be sent in time."
                    .to_owned(),
            ],
        },
        points: run.trials.iter().map(point).collect(),
        ndr: run.ndr_pps.filter(|pps| *pps > 0).map(|pps| pps as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Latency, Trial};

    #[test]
    fn a_run_becomes_a_plot_with_its_figures() {
        let trial = Trial {
            rate_pps: 0,
            sent: 200,
            lost: 20,
            sent_pps: 100.0,
            latency_ns: Latency {
                count: 180,
                p50: 5_000,
                max: 90_000,
                ..Latency::default()
            },
            ..Trial::default()
        };
        let run = Run {
            trials: vec![trial.clone(), Trial { sent: 0, ..trial }],
            ndr_pps: Some(0),
            ..Run::default()
        };
        let sheet = sheet(&run);
        assert_eq!(sheet.points[0].rate, 100.0);
        assert_eq!(sheet.points[0].loss, 0.1);
        assert_eq!(sheet.points[0].latency, Some([5e3, 0.0, 0.0, 9e4]));
        assert_eq!(sheet.points[1].loss, 0.0);
        assert_eq!(sheet.ndr, None);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("plot.svg");
        let svg = rates::draw(&sheet).expect("a plot");
        save(&svg, &file).expect("a file");
        let text = std::fs::read_to_string(&file).expect("the file");
        assert!(text.starts_with("<svg"), "{text}");
        let missing = directory.path().join("no/such/plot.svg");
        let error = save(&svg, &missing).expect_err("no directory");
        assert!(error.to_string().contains("no/such/plot.svg"), "{error}");
    }
}
