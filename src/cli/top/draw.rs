//! The screen as cells. Pure: state in, a buffer of cells out; what of them goes over the line is the
//! difference to the buffer before.
//!
//! ```text
//!   tandem 0.1.0 running, up 3h 07m                        every 1s      header
//!    1 Overview  2 Workers  3 Queues  4 Devices  5 Drops                 from 8 lines on
//!   calls  …                                                             the body: properties,
//!   WORKER  BUSY  RX PPS  TX PPS …                                       tables
//!   q quit  p pause  ←→ view  ↑↓ scroll  s sort  ? help                  from 6 lines on
//! ```
//!
//! Numbers stand at fixed places, so that a refresh changes digits and nothing else.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use terminal::units::{spell_nanos, spell_rate, spell_seconds};

use super::picture::Picture;
use super::screen::{Link, Screen};
use super::tables::{Cell, Table, Tone, View, drops, table};

/// Blanks between columns.
const GAP: usize = 2;
/// Lines that the drops keep in the overview, however many workers there are.
const DROPS_LEAST: u16 = 4;
/// From a number of a property to its next.
const PITCH: usize = 19;
const TABS_FROM: u16 = 8;
const KEYS_FROM: u16 = 6;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);
const SORTED: Style = Style::new().add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED));
const WARNING: Style = Style::new().fg(Color::Yellow);
const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

const HELP: [&str; 16] = [
    "q, Ctrl-C            quit",
    "p, space             pause: the picture stays, tandem goes on",
    "1-5, tab, ← →        the views",
    "↑ ↓, page, home, end scroll",
    "s                    sort by the next column of numbers, largest first",
    "Ctrl-L               draw everything again",
    "",
    "pps, bit/s           frames a second, their bits without preamble and checksum",
    "busy, idle, asleep   the worker's time: polls with work, without, sleep",
    "drops/s              by the worker, and by the kernel at its rings",
    "p50, p99, max        of this interval's frames: from the read of the RX ring",
    "                     to the return of the TX kick",
    "rx ring, fill ring   packets waiting, frames left for the kernel; last poll",
    "kernel, times        something was wanting; the frames are in rx_dropped",
    "",
    "Any key closes this.",
];

/// Draws all of it.
pub(super) fn draw(screen: &Screen, area: Rect, buffer: &mut Buffer) {
    let mut rest = Lines { area, buffer };
    header(screen, &mut rest);
    if area.height >= KEYS_FROM {
        let last = rest.cut_last();
        keys(screen, last, rest.buffer);
    }
    if area.height >= TABS_FROM {
        tabs(screen, &mut rest);
    }
    if screen.help {
        help(screen, &mut rest);
        return;
    }
    let Some(picture) = &screen.picture else {
        let text = match screen.link {
            Link::Measuring => "measuring the first interval ...",
            _ => "",
        };
        rest.line(text, DIM);
        return;
    };
    let body = rest.area;
    match screen.view {
        View::Overview => overview(screen, picture, &mut rest),
        view => {
            let shown = table(view, picture).sorted_by(screen.sort());
            if shown.rows.is_empty() {
                rest.line("none since the start", DIM);
            } else {
                draw_table(&shown, screen.sort(), screen.scrolled(), &mut rest);
            }
        }
    }
    // Figures of a connection that is lost are old ones.
    if screen.link != Link::Up {
        buffer.set_style(body, DIM);
    }
}

/// What is left of the screen, filled from above.
struct Lines<'a> {
    area: Rect,
    buffer: &'a mut Buffer,
}

impl Lines<'_> {
    fn left(&self) -> u16 {
        self.area.height
    }

    /// The next line.
    fn cut(&mut self) -> Rect {
        let line = Rect {
            height: self.area.height.min(1),
            ..self.area
        };
        self.area.y += line.height;
        self.area.height -= line.height;
        line
    }

    fn cut_last(&mut self) -> Rect {
        let height = self.area.height.min(1);
        self.area.height -= height;
        Rect {
            y: self.area.y + self.area.height,
            height,
            ..self.area
        }
    }

    fn line(&mut self, text: &str, style: Style) {
        let line = self.cut();
        put(self.buffer, line, 0, text, style);
    }

    fn blank(&mut self) {
        self.cut();
    }
}

/// Writes into a line from a column on, as far as it reaches; where it ended.
fn put(buffer: &mut Buffer, line: Rect, at: usize, text: &str, style: Style) -> usize {
    let at = u16::try_from(at).unwrap_or(u16::MAX).min(line.width);
    if line.height == 0 || at >= line.width {
        return usize::from(at);
    }
    let room = usize::from(line.width - at);
    let (end, _) = buffer.set_stringn(line.x + at, line.y, text, room, style);
    usize::from(end - line.x)
}

fn put_right(buffer: &mut Buffer, line: Rect, text: &str, style: Style) {
    let at = usize::from(line.width).saturating_sub(text.chars().count());
    put(buffer, line, at, text, style);
}

fn header(screen: &Screen, rest: &mut Lines<'_>) {
    let line = rest.cut();
    if let Link::Lost(sentence) = &screen.link {
        put(
            rest.buffer,
            line,
            0,
            &format!("not reachable: {sentence}"),
            ALARM,
        );
        return;
    }
    let mut end = put(rest.buffer, line, 0, "tandem", BOLD);
    if let Some(picture) = &screen.picture {
        let up = spell_seconds(picture.uptime_seconds.floor());
        let version = format!(" {} ", picture.version);
        end = put(rest.buffer, line, end, &version, Style::new());
        let style = match picture.state.as_str() {
            "running" => Style::new(),
            _ => WARNING,
        };
        end = put(rest.buffer, line, end, &picture.state, style);
        let up = format!(", up {}, process {}", up.replace(".0 s", " s"), picture.pid);
        put(rest.buffer, line, end, &up, Style::new());
    } else {
        put(rest.buffer, line, end + 1, "asking ...", DIM);
    }
    if screen.paused {
        put_right(rest.buffer, line, " PAUSED ", SELECTED);
    } else if screen.picture.is_some() && screen.link == Link::Measuring {
        put_right(rest.buffer, line, " started again: measuring ", WARNING);
    } else {
        let every = format!("  every {:?}", screen.interval);
        put_right(rest.buffer, line, &every, DIM);
    }
}

fn tabs(screen: &Screen, rest: &mut Lines<'_>) {
    let line = rest.cut();
    let mut at = 0;
    for (index, view) in View::ALL.into_iter().enumerate() {
        let style = match view == screen.view {
            true => SELECTED,
            false => Style::new(),
        };
        let tab = format!(" {} {} ", index + 1, view.name());
        at = put(rest.buffer, line, at, &tab, style) + 1;
    }
    if rest.left() > 10 {
        rest.blank();
    }
}

fn keys(screen: &Screen, line: Rect, buffer: &mut Buffer) {
    let pause = if screen.paused { "go on" } else { "pause" };
    let text = format!("q quit  p {pause}  ←→ view  ↑↓ scroll  s sort  ? help");
    put(buffer, line, 0, &text, DIM);
}

fn help(screen: &Screen, rest: &mut Lines<'_>) {
    for text in HELP {
        rest.line(text, Style::new());
    }
    let line = screen.line;
    if let Some(each) = line.bytes.checked_div(line.refreshes) {
        rest.blank();
        let text = format!("The terminal was sent {each} bytes a refresh so far.");
        rest.line(&text, DIM);
    }
}

fn overview(screen: &Screen, picture: &Picture, rest: &mut Lines<'_>) {
    properties(picture, rest);
    if rest.left() > 2 {
        rest.blank();
    }
    let losses = drops(picture);
    let wanted = losses.rows.len().min(usize::from(u16::MAX)) as u16;
    let kept = match wanted {
        0 => 0,
        // A blank line, the titles, the reasons.
        _ => (wanted + 2).min(DROPS_LEAST),
    };
    let whole = rest.area;
    rest.area.height = whole.height.saturating_sub(kept).max(whole.height.min(3));
    let workers = table(View::Overview, picture).sorted_by(screen.sort());
    draw_table(&workers, screen.sort(), screen.scrolled(), rest);
    rest.area.height = whole.bottom().saturating_sub(rest.area.y);
    if rest.left() > 2 && wanted > 0 {
        rest.blank();
        draw_table(&losses, None, 0, rest);
    }
    for view in [View::Devices, View::Queues] {
        let more = table(view, picture);
        // Whole or not at all: they have views of their own.
        if usize::from(rest.left()) >= more.rows.len() + 2 {
            rest.blank();
            draw_table(&more, None, 0, rest);
        }
    }
}

/// A name, then pairs of a number and what it counts.
type Property = (&'static str, Vec<(String, &'static str)>, Style);

fn properties(picture: &Picture, rest: &mut Lines<'_>) {
    let (calls, totals) = (&picture.calls, &picture.totals);
    let (traffic, lost) = (&totals.traffic, &totals.lost);
    let limit = format!("of {} calls up", calls.limit);
    let stays = |nanos: u64| match totals.residence_ns.count {
        0 => "-".to_owned(),
        _ => spell_nanos(nanos),
    };
    let loss = match (lost.dropped, lost.ring_dropped) {
        (0, 0) => Style::new(),
        (_, 0) => WARNING,
        _ => ALARM,
    };
    let rows: [Property; 5] = [
        (
            "in",
            vec![
                (spell_rate(traffic.rx_pps), "packets/s"),
                (spell_rate(traffic.rx_bps), "bit/s"),
            ],
            BOLD,
        ),
        (
            "out",
            vec![
                (spell_rate(traffic.tx_pps), "packets/s"),
                (spell_rate(traffic.tx_bps), "bit/s"),
            ],
            BOLD,
        ),
        (
            "lost/s",
            vec![
                (spell_rate(lost.dropped_per_second), "by workers"),
                (spell_rate(lost.ring_dropped_per_second), "at rings"),
            ],
            loss,
        ),
        (
            "stayed",
            vec![
                (stays(totals.residence_ns.p50), "p50"),
                (stays(totals.residence_ns.p99), "p99"),
                (stays(totals.residence_ns.max), "max"),
            ],
            Style::new(),
        ),
        (
            "calls/s",
            vec![
                (spell_rate(calls.offered_per_second), "offered"),
                (spell_rate(calls.answered_per_second), "answered"),
                (spell_rate(calls.failed_per_second), "failed"),
                (spell_rate(calls.ended_per_second), "ended"),
            ],
            Style::new(),
        ),
    ];
    let line = rest.cut();
    put(rest.buffer, line, 0, "calls", DIM);
    let end = put(rest.buffer, line, 8, &format!("{:>8}", calls.active), BOLD);
    let flows = format!(" {limit}, {} flows", picture.media.flows);
    put(rest.buffer, line, end, &flows, Style::new());
    for (name, pairs, style) in rows {
        if rest.left() == 0 {
            return;
        }
        let line = rest.cut();
        put(rest.buffer, line, 0, name, DIM);
        for (index, (number, unit)) in pairs.iter().enumerate() {
            let at = 8 + index * PITCH;
            let end = put(rest.buffer, line, at, &format!("{number:>8}"), style);
            put(rest.buffer, line, end + 1, unit, Style::new());
        }
    }
}

/// Which columns fit, and how wide they are.
fn fitting(table: &Table, room: usize) -> Vec<(usize, usize)> {
    let width = |index: usize| {
        let column = &table.columns[index];
        let cells = table.rows.iter().filter_map(|row| row.get(index));
        let widest = cells.map(|(cell, _)| cell.spell().chars().count()).max();
        column
            .width
            .max(column.title.len())
            .max(widest.unwrap_or(0))
    };
    let mut shown: Vec<_> = (0..table.columns.len())
        .map(|index| (index, width(index)))
        .collect();
    let taken = |shown: &[(usize, usize)]| {
        let widths: usize = shown.iter().map(|(_, width)| width + GAP).sum();
        widths.saturating_sub(GAP)
    };
    while taken(&shown) > room {
        // The last of those that matter least.
        let least = shown
            .iter()
            .enumerate()
            .max_by_key(|(_, (index, _))| table.columns[*index].rank);
        match least {
            Some((place, (index, _))) if table.columns[*index].rank > 0 => shown.remove(place),
            _ => break,
        };
    }
    shown
}

/// Titles and as many rows as there is room for, the last line saying how many are not shown.
fn draw_table(table: &Table, sort: Option<usize>, scrolled: usize, rest: &mut Lines<'_>) {
    let columns = fitting(table, usize::from(rest.area.width));
    let line = rest.cut();
    let mut at = 0;
    for &(index, width) in &columns {
        let title = table.columns[index].title.to_uppercase();
        let style = if sort == Some(index) { SORTED } else { BOLD };
        let indent = match table.is_right(index) {
            true => width - title.len(),
            false => 0,
        };
        put(rest.buffer, line, at + indent, &title, style);
        at += width + GAP;
    }
    let room = usize::from(rest.left());
    let all = table.rows.len();
    // Not further than until the last row is seen.
    let scrolled = match all > room {
        true => scrolled.min(all.saturating_sub(room.saturating_sub(1))),
        false => 0,
    };
    let shown = match all - scrolled > room {
        true => room.saturating_sub(1),
        false => room,
    };
    for row in table.rows.iter().skip(scrolled).take(shown) {
        let line = rest.cut();
        draw_row(table, row, &columns, line, rest.buffer);
    }
    let hidden = (all - scrolled).saturating_sub(shown);
    if hidden > 0 && rest.left() > 0 {
        rest.line(&format!("... {hidden} more"), DIM);
    }
}

fn draw_row(
    table: &Table,
    row: &[(Cell, Tone)],
    columns: &[(usize, usize)],
    line: Rect,
    buffer: &mut Buffer,
) {
    let mut at = 0;
    for &(index, width) in columns {
        let Some((cell, tone)) = row.get(index) else {
            continue;
        };
        let text = cell.spell();
        let indent = match table.is_right(index) {
            true => width.saturating_sub(text.chars().count()),
            false => 0,
        };
        put(buffer, line, at + indent, &text, style_of(*tone));
        at += width + GAP;
    }
}

fn style_of(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Quiet => DIM,
        Tone::Warning => WARNING,
        Tone::Alarm => ALARM,
    }
}
