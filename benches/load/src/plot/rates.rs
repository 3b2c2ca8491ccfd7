//! What a relay loses, and how late its packets come out, at each rate that it is offered.

use super::axis::{Axis, Quantity};
use super::sheet::{
    self, BLUE, GREEN, Hang, LABEL, ORANGE, PURPLE, Panel, RED, SOFT, Sheet, WIDTH,
};
use super::{Heading, PlotError};

/// One trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Packets a second that were offered, both directions together.
    pub rate: f64,
    /// Lost packets as a share of those sent.
    pub loss: f64,
    /// Whether the trial counts as passed: nothing was lost or damaged.
    pub passed: bool,
    /// Latency in nanoseconds: median, 99th percentile, 99.9th, maximum. `None` when no packet came.
    pub latency: Option<[f64; 4]>,
}

/// The trials of a run, in any order.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// What stands above.
    pub heading: Heading,
    /// The trials.
    pub points: Vec<Point>,
    /// The zero-loss rate, if it was searched for.
    pub ndr: Option<f64>,
}

const NAMES: [&str; 4] = ["p50", "p99", "p99.9", "max"];

/// Loss and latency against the rate, below each other on one axis.
///
/// # Errors
/// When the drawing library fails.
pub fn draw(rates: &Rates) -> Result<String, PlotError> {
    let mut points: Vec<_> = rates.points.clone();
    points.retain(|point| point.rate.is_finite() && point.loss.is_finite());
    points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let ndr = rates.ndr.filter(|rate| rate.is_finite());
    sheet::draw(&rates.heading, 588, |sheet| {
        let x = Axis::linear(
            Quantity::Rate,
            points.iter().map(|point| point.rate).chain(ndr),
        );
        let top = sheet.top + 12;
        let loss = Panel {
            left: 118,
            right: WIDTH as i32 - 110,
            top,
            bottom: top + 210,
            x: x.clone(),
            y: Axis::log(
                Quantity::Share,
                points.iter().map(|point| point.loss).chain([0.0]),
            ),
        };
        let latency = Panel {
            top: loss.bottom + 34,
            bottom: loss.bottom + 304,
            x,
            y: Axis::log(
                Quantity::Nanos,
                points.iter().filter_map(|point| point.latency).flatten(),
            ),
            ..loss
        };
        draw_loss(sheet, &loss, &points)?;
        draw_latency(sheet, &latency, &points)?;
        if let Some(rate) = ndr {
            for panel in [&loss, &latency] {
                let column = panel.column(rate);
                sheet.dashes((column, panel.top), (column, panel.bottom), &SOFT)?;
            }
            let text = format!("zero loss up to {}pps", padded(Quantity::Rate.spell(rate)));
            let (column, row) = (loss.column(rate), loss.top - 10);
            sheet.write(&text, (column, row), LABEL, &SOFT, Hang::Middle)?;
        }
        Ok(())
    })
}

/// `412 k` stands before its unit as it is, `950` needs a blank.
fn padded(number: String) -> String {
    match number.ends_with(|c: char| c.is_ascii_digit()) {
        true => number + " ",
        false => number,
    }
}

/// Of several trials at one rate, the one that a line goes through: the one that lost least, the last of these.
fn best(points: &[Point]) -> Vec<Point> {
    let mut found: Vec<Point> = Vec::with_capacity(points.len());
    for point in points {
        match found.last_mut() {
            Some(last) if last.rate == point.rate => {
                let better = (point.passed, -point.loss) >= (last.passed, -last.loss);
                *last = if better { *point } else { *last };
            }
            _ => found.push(*point),
        }
    }
    found
}

fn draw_loss(sheet: &Sheet<'_>, panel: &Panel, points: &[Point]) -> Result<(), PlotError> {
    sheet.frame(panel, "packets lost", None)?;
    if points.is_empty() {
        return sheet.no_data(panel);
    }
    let line: Vec<_> = best(points)
        .iter()
        .map(|point| panel.point(point.rate, point.loss))
        .collect();
    if line.len() > 1 {
        sheet.line(line, &RED, 1)?;
    }
    for point in points {
        let color = if point.passed { GREEN } else { RED };
        sheet.dot(panel.point(point.rate, point.loss), &color, point.passed)?;
    }
    let rows = [(panel.top, "failed", RED), (panel.bottom, "passed", GREEN)];
    let shown = rows.into_iter().filter(|(_, name, _)| {
        let wanted = *name == "passed";
        points.iter().any(|point| point.passed == wanted)
    });
    let names = shown.map(|(row, name, color)| (row, name.to_owned(), color));
    sheet.names(panel, names.collect())
}

fn draw_latency(sheet: &Sheet<'_>, panel: &Panel, points: &[Point]) -> Result<(), PlotError> {
    let bottom = "packets a second offered, both directions together";
    sheet.frame(panel, "latency", Some(bottom))?;
    let colors = [BLUE, PURPLE, ORANGE, SOFT];
    let points = best(points);
    let mut names = Vec::new();
    for (index, (name, color)) in NAMES.into_iter().zip(colors).enumerate() {
        let values: Vec<_> = points
            .iter()
            .filter_map(|point| Some((point.rate, *point.latency?.get(index)?)))
            .collect();
        sheet.series(panel, &values, &color)?;
        if let Some((_, value)) = values.last() {
            names.push((panel.row(*value), name.to_owned(), color));
        }
    }
    if names.is_empty() {
        return sheet.no_data(panel);
    }
    sheet.names(panel, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_through_the_best_trial_of_each_rate() {
        let point = |rate, loss: f64| Point {
            rate,
            loss,
            passed: loss == 0.0,
            latency: None,
        };
        let trials = [
            point(1.0, 0.0),
            point(2.0, 0.1),
            point(2.0, 0.0),
            point(2.0, 0.2),
        ];
        assert_eq!(best(&trials), [point(1.0, 0.0), point(2.0, 0.0)]);
    }
}
