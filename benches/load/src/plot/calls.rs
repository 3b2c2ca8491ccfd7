//! A signalling load: calls a second and failed calls over time, and the post-dial delay at each rate.

use super::axis::{Axis, Quantity};
use super::sheet::{
    self, BLUE, GREEN, Hang, LABEL, ORANGE, PURPLE, Panel, RED, SOFT, Sheet, WIDTH,
};
use super::{Heading, PlotError};

/// One second of it.
#[derive(Clone, Copy, Debug)]
pub struct Second {
    /// Seconds since the load began.
    pub at: f64,
    /// Calls started a second.
    pub started: f64,
    /// Calls answered and ended well a second.
    pub ended: f64,
    /// Calls failed a second.
    pub failed: f64,
    /// Calls a second that were asked for.
    pub asked: f64,
    /// Calls up.
    pub up: f64,
}

/// One rate of it.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Calls a second that were asked for.
    pub rate: f64,
    /// Failed calls as a share of those started.
    pub failed: f64,
    /// Post-dial delay in nanoseconds: median, 90th and 99th percentile, maximum. `None` without an answer.
    pub delay: Option<[f64; 4]>,
}

/// A load.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// What stands above.
    pub heading: Heading,
    /// Its seconds, in order.
    pub seconds: Vec<Second>,
    /// Its rates.
    pub points: Vec<Point>,
}

const LEFT: i32 = 118;
const NAMES: [&str; 4] = ["p50", "p90", "p99", "max"];

/// Calls a second, calls up, and, when there were several rates, the delay at each.
///
/// # Errors
/// When the drawing library fails.
pub fn draw(calls: &Calls) -> Result<String, PlotError> {
    let mut points = calls.points.clone();
    points.retain(|point| point.rate.is_finite());
    points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let by_rate = points.len() > 1;
    let height = if by_rate { 726 } else { 428 };
    sheet::draw(&calls.heading, height, |sheet| {
        let seconds = &calls.seconds;
        let time = Axis::linear(Quantity::Rate, seconds.iter().map(|second| second.at));
        let top = sheet.top + 12;
        let rates = |second: &Second| [second.started, second.ended, second.failed, second.asked];
        let pace = Panel {
            left: LEFT,
            right: WIDTH as i32 - 110,
            top,
            bottom: top + 220,
            x: time.clone(),
            y: Axis::linear(Quantity::Rate, seconds.iter().flat_map(rates)),
        };
        let up = Panel {
            top: pace.bottom + 24,
            bottom: pace.bottom + 144,
            x: time,
            y: Axis::linear(Quantity::Rate, seconds.iter().map(|second| second.up)),
            ..pace
        };
        draw_pace(sheet, &pace, seconds)?;
        draw_up(sheet, &up, seconds)?;
        if by_rate {
            let delay = Panel {
                top: up.bottom + 80,
                bottom: up.bottom + 300,
                x: Axis::linear(Quantity::Rate, points.iter().map(|point| point.rate)),
                y: Axis::log(
                    Quantity::Nanos,
                    points.iter().filter_map(|point| point.delay).flatten(),
                ),
                ..up
            };
            draw_delay(sheet, &delay, &points)?;
        }
        Ok(())
    })
}

/// A line by time, and its name at its end.
fn draw_pace(sheet: &Sheet<'_>, panel: &Panel, seconds: &[Second]) -> Result<(), PlotError> {
    sheet.frame(panel, "calls a second", None)?;
    let Some(last) = seconds.last() else {
        return sheet.no_data(panel);
    };
    let values = |second: &Second| [second.asked, second.ended, second.started, second.failed];
    let lines = [
        ("asked for", SOFT),
        ("ended well", GREEN),
        ("started", BLUE),
        ("failed", RED),
    ];
    let mut names = Vec::new();
    for ((index, (name, color)), value) in lines.into_iter().enumerate().zip(values(last)) {
        let points: Vec<_> = seconds
            .iter()
            .map(|second| panel.point(second.at, values(second)[index]))
            .collect();
        match points.as_slice() {
            [only] => sheet.dot(*only, &color, true)?,
            _ => sheet.line(points, &color, if name == "asked for" { 1 } else { 2 })?,
        }
        names.push((panel.row(value), name.to_owned(), color));
    }
    sheet.names(panel, names)
}

fn draw_up(sheet: &Sheet<'_>, panel: &Panel, seconds: &[Second]) -> Result<(), PlotError> {
    sheet.frame(panel, "calls up", Some("seconds"))?;
    let points: Vec<_> = seconds
        .iter()
        .map(|second| (second.at, second.up))
        .collect();
    if points.is_empty() {
        return sheet.no_data(panel);
    }
    if points.len() > 1 {
        let places = points.iter().map(|(at, up)| panel.point(*at, *up));
        sheet.line(places.collect(), &PURPLE, 2)
    } else {
        sheet.series(panel, &points, &PURPLE)
    }
}

fn draw_delay(sheet: &Sheet<'_>, panel: &Panel, points: &[Point]) -> Result<(), PlotError> {
    sheet.frame(panel, "post-dial delay", Some("calls a second asked for"))?;
    let colors = [BLUE, PURPLE, ORANGE, SOFT];
    let mut names = Vec::new();
    for (index, (name, color)) in NAMES.into_iter().zip(colors).enumerate() {
        let values: Vec<_> = points
            .iter()
            .filter_map(|point| Some((point.rate, *point.delay?.get(index)?)))
            .collect();
        sheet.series(panel, &values, &color)?;
        if let Some((_, value)) = values.last() {
            names.push((panel.row(*value), name.to_owned(), color));
        }
    }
    for point in points.iter().filter(|point| point.failed > 0.0) {
        let text = format!("{} failed", Quantity::Share.spell(point.failed));
        let at = (panel.column(point.rate), panel.top - 10);
        sheet.write(&text, at, LABEL, &RED, Hang::Middle)?;
    }
    if names.is_empty() {
        return sheet.no_data(panel);
    }
    sheet.names(panel, names)
}
