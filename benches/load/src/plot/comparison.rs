//! Relays beside each other: the median of their rounds as a bar, with the least and the most.

use super::axis::{Axis, Quantity, Scale};
use super::sheet::{self, BLUE, FRAME, GRID, Hang, INK, LABEL, PALE, SOFT, Sheet, WIDTH, width_of};
use super::{Heading, PlotError};

/// One relay in one panel.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// The least, the median and the most of its rounds.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The most.
    pub max: f64,
    /// Whether it is the one that the others are compared with.
    pub ours: bool,
    /// What stands behind its figures, such as a ratio; may be empty.
    pub remark: String,
}

/// One thing that was measured of every relay.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What it is, with its unit.
    pub name: String,
    /// How its values are spelt.
    pub quantity: Quantity,
    /// How they are spread.
    pub scale: Scale,
    /// The relays, drawn in this order from above.
    pub bars: Vec<Bar>,
}

/// Panels below each other.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// What stands above.
    pub heading: Heading,
    /// The panels.
    pub panels: Vec<Panel>,
}

const BAR: i32 = 18;
const PITCH: i32 = 30;
const ABOVE: i32 = 30;
const BELOW: i32 = 40;
const EDGE: i32 = 28;

/// A horizontal bar for each relay and panel.
///
/// # Errors
/// When the drawing library fails.
pub fn draw(comparison: &Comparison) -> Result<String, PlotError> {
    let tall: i32 = comparison.panels.iter().map(height).sum();
    let tall = tall.max(ABOVE + BELOW).unsigned_abs();
    let bars = || comparison.panels.iter().flat_map(|panel| &panel.bars);
    let names = bars().map(|bar| width_of(&bar.name, LABEL));
    let left = EDGE + names.max().unwrap_or(0).clamp(40, 260) + 12;
    let texts = comparison.panels.iter().flat_map(|panel| {
        let figures = panel.bars.iter().map(|bar| figures(panel.quantity, bar));
        figures.collect::<Vec<_>>()
    });
    let text = texts.map(|text| width_of(&text, LABEL)).max().unwrap_or(0);
    let right = WIDTH as i32 - EDGE - text.clamp(60, 380) - 12;
    sheet::draw(&comparison.heading, tall + 16, |sheet| {
        if comparison.panels.is_empty() {
            let middle = (WIDTH as i32 / 2, sheet.top + ABOVE);
            return sheet.write("no data", middle, LABEL, &SOFT, Hang::Middle);
        }
        for panel in &comparison.panels {
            draw_panel(sheet, panel, left, right)?;
            sheet.top += height(panel);
        }
        Ok(())
    })
}

fn height(panel: &Panel) -> i32 {
    let bars = i32::try_from(panel.bars.len().max(1)).unwrap_or(1);
    ABOVE + PITCH * bars + BELOW
}

fn draw_panel(sheet: &Sheet<'_>, panel: &Panel, left: i32, right: i32) -> Result<(), PlotError> {
    let values = panel
        .bars
        .iter()
        .flat_map(|bar| [bar.min, bar.median, bar.max]);
    let axis = Axis::new(panel.scale, panel.quantity, values);
    let top = sheet.top + ABOVE;
    let bottom = sheet.top + height(panel) - BELOW;
    let column = |at: f64| left + (at * f64::from(right - left)).round() as i32;
    sheet.write(
        &panel.name,
        (EDGE, sheet.top + 14),
        LABEL + 1,
        &INK,
        Hang::Right,
    )?;
    for (at, text) in axis.marks() {
        sheet.line(vec![(column(at), top), (column(at), bottom)], &GRID, 1)?;
        sheet.write(
            &text,
            (column(at), bottom + 13),
            LABEL - 1,
            &SOFT,
            Hang::Middle,
        )?;
    }
    let mut row = top + PITCH / 2;
    for bar in &panel.bars {
        let color = if bar.ours { BLUE } else { PALE };
        let name = if bar.ours { BLUE } else { INK };
        sheet.write(&bar.name, (left - 10, row), LABEL, &name, Hang::Left)?;
        let [least, middle, most] =
            [bar.min, bar.median, bar.max].map(|value| column(axis.place(value)));
        if bar.median.is_finite() {
            sheet.block((left, row - BAR / 2), (middle, row + BAR / 2), &color)?;
        }
        if bar.min.is_finite() && bar.max.is_finite() && bar.max > bar.min {
            sheet.line(vec![(least, row), (most, row)], &INK, 1)?;
            for end in [least, most] {
                sheet.line(vec![(end, row - 4), (end, row + 4)], &INK, 1)?;
            }
        }
        let text = figures(panel.quantity, bar);
        let end = most.max(middle) + 10;
        // Behind its bar if it fits there, or else at the edge.
        let last = WIDTH as i32 - EDGE - width_of(&text, LABEL);
        sheet.write(&text, (end.min(last), row), LABEL, &INK, Hang::Right)?;
        row += PITCH;
    }
    sheet.line(vec![(left, top), (left, bottom)], &FRAME, 1)
}

/// `412 k (398 k to 420 k), 4.1 x`.
fn figures(quantity: Quantity, bar: &Bar) -> String {
    if !bar.median.is_finite() {
        return "not measured".to_owned();
    }
    let mut text = quantity.spell(bar.median);
    if bar.max > bar.min {
        let (min, max) = (quantity.spell(bar.min), quantity.spell(bar.max));
        text.push_str(&format!(" ({min} to {max})"));
    }
    if !bar.remark.is_empty() {
        text.push_str(", ");
        text.push_str(&bar.remark);
    }
    text
}
