//! A sheet of paper: a heading, panels below each other, and the strokes that they are drawn with.
//!
//! ```text
//!   title
//!   notes
//!   ┌ panel ──────────────────────────┬ labels at the ends of lines
//!   │                                 │
//!   └─ marks ─────────────────────────┘
//! ```

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::{Heading, PlotError};

pub(super) const INK: RGBColor = RGBColor(31, 35, 40);
pub(super) const SOFT: RGBColor = RGBColor(101, 109, 118);
pub(super) const GRID: RGBColor = RGBColor(232, 235, 239);
pub(super) const FRAME: RGBColor = RGBColor(190, 196, 203);
pub(super) const BLUE: RGBColor = RGBColor(28, 105, 178);
pub(super) const PALE: RGBColor = RGBColor(154, 183, 214);
pub(super) const GREEN: RGBColor = RGBColor(32, 133, 84);
pub(super) const ORANGE: RGBColor = RGBColor(209, 107, 22);
pub(super) const RED: RGBColor = RGBColor(196, 43, 50);
pub(super) const PURPLE: RGBColor = RGBColor(118, 75, 162);

pub(super) const WIDTH: u32 = 960;
const EDGE: i32 = 28;
const TITLE: i32 = 21;
const NOTE: i32 = 13;
pub(super) const LABEL: i32 = 13;
/// The widest character of a proportional font takes about this share of its size.
const ASPECT: f64 = 0.58;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Where text hangs from its point.
#[derive(Clone, Copy)]
pub(super) enum Hang {
    /// The point is at its left end.
    Right,
    /// The point is at its right end.
    Left,
    /// The point is in the middle.
    Middle,
}

/// A sheet being drawn.
pub(super) struct Sheet<'a> {
    area: Area<'a>,
    /// The first free line below what has been drawn.
    pub(super) top: i32,
}

/// A rectangle with an axis along each side, in pixels.
pub(super) struct Panel {
    pub(super) left: i32,
    pub(super) right: i32,
    pub(super) top: i32,
    pub(super) bottom: i32,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Panel {
    pub(super) fn point(&self, x: f64, y: f64) -> (i32, i32) {
        (self.column(x), self.row(y))
    }

    pub(super) fn column(&self, x: f64) -> i32 {
        self.left + (self.x.place(x) * f64::from(self.right - self.left)).round() as i32
    }

    pub(super) fn row(&self, y: f64) -> i32 {
        self.bottom - (self.y.place(y) * f64::from(self.bottom - self.top)).round() as i32
    }
}

/// Draws a sheet of this height below its heading. The heading's own height is added.
pub(super) fn draw(
    heading: &Heading,
    height: u32,
    content: impl FnOnce(&mut Sheet<'_>) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let notes = heading.notes.iter().flat_map(|note| wrap(note));
    let notes: Vec<_> = notes.collect();
    let head = EDGE + TITLE + 8 + (NOTE + 5) * i32::try_from(notes.len()).unwrap_or(0);
    let mut svg = String::new();
    {
        let size = (WIDTH, height.saturating_add(head.unsigned_abs()));
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut sheet = Sheet { area, top: EDGE };
        sheet.write(&heading.title, (EDGE, EDGE), TITLE, &INK, Hang::Right)?;
        sheet.top += TITLE + 2;
        for note in &notes {
            sheet.write(note, (EDGE, sheet.top), NOTE, &SOFT, Hang::Right)?;
            sheet.top += NOTE + 5;
        }
        sheet.top += 6;
        content(&mut sheet)?;
        sheet.area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// Lines that fit the sheet, broken at blanks.
fn wrap(text: &str) -> Vec<String> {
    // Of a whole line the narrow characters make up for the wide ones.
    let fits = f64::from(WIDTH as i32 - 2 * EDGE) / (f64::from(NOTE) * 0.53);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if ((line.chars().count() + 1 + word.chars().count()) as f64) <= fits {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// About how wide text of this size is.
pub(super) fn width_of(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * ASPECT).ceil() as i32
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> PlotError {
    PlotError(error.to_string())
}

/// Without the characters that XML 1.0 cannot hold.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

impl Sheet<'_> {
    pub(super) fn write(
        &self,
        text: &str,
        at: (i32, i32),
        size: i32,
        color: &RGBColor,
        hang: Hang,
    ) -> Result<(), PlotError> {
        self.write_styled(text, at, size, color, hang, FontTransform::None)
    }

    /// Text that reads upwards, centred on its point.
    pub(super) fn write_upwards(
        &self,
        text: &str,
        at: (i32, i32),
        size: i32,
        color: &RGBColor,
    ) -> Result<(), PlotError> {
        let turned = FontTransform::Rotate270;
        self.write_styled(text, at, size, color, Hang::Middle, turned)
    }

    fn write_styled(
        &self,
        text: &str,
        at: (i32, i32),
        size: i32,
        color: &RGBColor,
        hang: Hang,
        turned: FontTransform,
    ) -> Result<(), PlotError> {
        let across = match hang {
            Hang::Right => HPos::Left,
            Hang::Left => HPos::Right,
            Hang::Middle => HPos::Center,
        };
        // Sheets are drawn where no font need be installed: the viewer chooses one.
        let style = TextStyle::from(("sans-serif", size).into_font().transform(turned))
            .color(color)
            .pos(Pos::new(across, VPos::Center));
        let text = printable(text);
        self.area.draw(&Text::new(text, at, style)).map_err(failed)
    }

    pub(super) fn line(
        &self,
        points: Vec<(i32, i32)>,
        color: &RGBColor,
        width: u32,
    ) -> Result<(), PlotError> {
        let style = color.stroke_width(width);
        self.area
            .draw(&PathElement::new(points, style))
            .map_err(failed)
    }

    pub(super) fn dashes(
        &self,
        from: (i32, i32),
        to: (i32, i32),
        color: &RGBColor,
    ) -> Result<(), PlotError> {
        let style = color.stroke_width(1);
        let line = DashedPathElement::new([from, to], 5, 4, style);
        self.area.draw(&line).map_err(failed)
    }

    pub(super) fn dot(
        &self,
        at: (i32, i32),
        color: &RGBColor,
        filled: bool,
    ) -> Result<(), PlotError> {
        let ground = if filled { color } else { &WHITE };
        let dot = |size, style| Circle::new(at, size, style);
        self.area.draw(&dot(4, ground.filled())).map_err(failed)?;
        self.area
            .draw(&dot(4, color.stroke_width(2)))
            .map_err(failed)
    }

    pub(super) fn block(
        &self,
        from: (i32, i32),
        to: (i32, i32),
        color: &RGBColor,
    ) -> Result<(), PlotError> {
        self.area
            .draw(&Rectangle::new([from, to], color.filled()))
            .map_err(failed)
    }

    /// A panel's name, grid and marks. Marks along the bottom are left to the last of panels that share it.
    pub(super) fn frame(
        &self,
        panel: &Panel,
        name: &str,
        bottom: Option<&str>,
    ) -> Result<(), PlotError> {
        for (at, text) in panel.y.marks() {
            let row = panel.bottom - (at * f64::from(panel.bottom - panel.top)).round() as i32;
            self.line(vec![(panel.left, row), (panel.right, row)], &GRID, 1)?;
            self.write(&text, (panel.left - 8, row), LABEL, &SOFT, Hang::Left)?;
        }
        for (at, text) in panel.x.marks() {
            let column = panel.left + (at * f64::from(panel.right - panel.left)).round() as i32;
            self.line(vec![(column, panel.top), (column, panel.bottom)], &GRID, 1)?;
            if bottom.is_some() {
                let under = (column, panel.bottom + 14);
                self.write(&text, under, LABEL, &SOFT, Hang::Middle)?;
            }
        }
        let corners = vec![
            (panel.left, panel.top),
            (panel.left, panel.bottom),
            (panel.right, panel.bottom),
        ];
        self.line(corners, &FRAME, 1)?;
        let middle = (EDGE + 4, i32::midpoint(panel.top, panel.bottom));
        self.write_upwards(name, middle, LABEL, &INK)?;
        if let Some(text) = bottom {
            let under = (i32::midpoint(panel.left, panel.right), panel.bottom + 36);
            self.write(text, under, LABEL, &INK, Hang::Middle)?;
        }
        Ok(())
    }

    /// A line through points, which get a dot each when they are few, with its name at the right.
    pub(super) fn series(
        &self,
        panel: &Panel,
        points: &[(f64, f64)],
        color: &RGBColor,
    ) -> Result<(), PlotError> {
        let finite = points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite());
        let places: Vec<_> = finite.map(|(x, y)| panel.point(*x, *y)).collect();
        if places.len() > 1 {
            self.line(places.clone(), color, 2)?;
        }
        if places.len() <= FEW {
            for place in places {
                self.dot(place, color, true)?;
            }
        }
        Ok(())
    }

    /// Names beside the ends of lines, moved apart where they would overlap. Each has the row it belongs to.
    pub(super) fn names(
        &self,
        panel: &Panel,
        mut names: Vec<(i32, String, RGBColor)>,
    ) -> Result<(), PlotError> {
        names.sort_by_key(|(row, ..)| *row);
        let rows: Vec<_> = names.iter().map(|(row, ..)| *row).collect();
        let rows = apart(&rows, LABEL + 3, panel.top, panel.bottom);
        for (row, (_, name, color)) in rows.into_iter().zip(names) {
            let at = (panel.right + 10, row);
            self.write(&name, at, LABEL, &color, Hang::Right)?;
        }
        Ok(())
    }

    /// Says in the middle of a panel that it has nothing to show.
    pub(super) fn no_data(&self, panel: &Panel) -> Result<(), PlotError> {
        let middle = (
            i32::midpoint(panel.left, panel.right),
            i32::midpoint(panel.top, panel.bottom),
        );
        self.write("no data", middle, LABEL, &SOFT, Hang::Middle)
    }
}

/// More points than these get no dots.
const FEW: usize = 64;

/// Rows in ascending order, moved so that neighbours are `gap` apart and, if there is room, all lie between
/// `top` and `bottom`.
fn apart(rows: &[i32], gap: i32, top: i32, bottom: i32) -> Vec<i32> {
    let mut placed: Vec<i32> = Vec::with_capacity(rows.len());
    for row in rows {
        let lowest = placed.last().map_or(top, |last| last + gap);
        placed.push((*row).max(lowest));
    }
    let mut highest = bottom;
    for row in placed.iter_mut().rev() {
        *row = (*row).min(highest);
        highest = *row - gap;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap_and_stay_in_the_panel() {
        assert_eq!(apart(&[10, 50], 16, 0, 100), [10, 50]);
        assert_eq!(apart(&[10, 12, 14], 16, 0, 100), [10, 26, 42]);
        assert_eq!(apart(&[90, 95, 99], 16, 0, 100), [68, 84, 100]);
        assert_eq!(apart(&[], 16, 0, 100), [0; 0]);
    }

    #[test]
    fn long_notes_are_broken() {
        let lines = wrap(&"streams of packets ".repeat(20));
        assert!(lines.len() >= 3);
        assert!(lines.iter().all(|line| line.len() < 140));
    }
}
