//! Lines of several relays over one axis, such as what each delivers of what it is offered.

use super::axis::{Axis, Quantity, Scale};
use super::sheet::{
    self, BLUE, GREEN, INK, ORANGE, PURPLE, Panel as Frame, RED, SOFT, Sheet, WIDTH,
};
use super::{Heading, PlotError};

/// One relay's line.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its points, in any order.
    pub points: Vec<(f64, f64)>,
}

/// What the lines show.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What stands beside the upright axis.
    pub name: String,
    /// How its values are spelt.
    pub quantity: Quantity,
    /// How they are spread.
    pub scale: Scale,
    /// The lines; each relay keeps its colour by its place here.
    pub lines: Vec<Line>,
}

/// Panels below each other that share the axis along the bottom.
#[derive(Clone, Debug)]
pub struct Curves {
    /// What stands above.
    pub heading: Heading,
    /// What stands below the last panel.
    pub bottom: String,
    /// How values along the bottom are spelt.
    pub quantity: Quantity,
    /// How they are spread.
    pub scale: Scale,
    /// The panels.
    pub panels: Vec<Panel>,
}

const TALL: i32 = 260;
const GAP: i32 = 28;

/// A panel for each thing that was measured.
///
/// # Errors
/// When the drawing library fails.
pub fn draw(curves: &Curves) -> Result<String, PlotError> {
    let count = i32::try_from(curves.panels.len().max(1)).unwrap_or(1);
    let height = (TALL + GAP) * count + 64;
    let lines = || curves.panels.iter().flat_map(|panel| &panel.lines);
    let along = lines().flat_map(|line| line.points.iter().map(|(x, _)| *x));
    let x = Axis::new(curves.scale, curves.quantity, along);
    let names = lines().map(|line| sheet::width_of(&line.name, sheet::LABEL));
    let margin = names.max().unwrap_or(0).clamp(60, 220) + 36;
    sheet::draw(&curves.heading, height.unsigned_abs(), |sheet| {
        let mut top = sheet.top + 8;
        let last = curves.panels.len().saturating_sub(1);
        for (index, panel) in curves.panels.iter().enumerate() {
            let values = panel.lines.iter().flat_map(|line| &line.points);
            let frame = Frame {
                left: 118,
                right: WIDTH as i32 - margin,
                top,
                bottom: top + TALL,
                x: x.clone(),
                y: Axis::new(panel.scale, panel.quantity, values.map(|(_, y)| *y)),
            };
            let bottom = (index == last).then_some(curves.bottom.as_str());
            draw_panel(sheet, &frame, panel, bottom)?;
            top += TALL + GAP;
        }
        Ok(())
    })
}

fn draw_panel(
    sheet: &Sheet<'_>,
    frame: &Frame,
    panel: &Panel,
    bottom: Option<&str>,
) -> Result<(), PlotError> {
    sheet.frame(frame, &panel.name, bottom)?;
    let colors = [BLUE, ORANGE, GREEN, PURPLE, RED, SOFT, INK];
    let mut names = Vec::new();
    for (line, color) in panel.lines.iter().zip(colors.into_iter().cycle()) {
        let mut points = line.points.clone();
        points.retain(|(x, y)| x.is_finite() && y.is_finite());
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        sheet.series(frame, &points, &color)?;
        if let Some((_, y)) = points.last() {
            names.push((frame.row(*y), line.name.clone(), color));
        }
    }
    if names.is_empty() {
        return sheet.no_data(frame);
    }
    sheet.names(frame, names)
}
