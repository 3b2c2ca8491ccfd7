//! A picture as tables: what stands in which column, without saying how it is drawn. The screen draws them in
//! the room that it has, `--once` prints them whole.

use std::cmp::Ordering;

use terminal::table::Columns;
use terminal::units::{spell_count, spell_nanos, spell_rate};

use super::picture::{Cpu, Lost, Picture, Traffic};
use crate::admin::views::{Residence, Ring};
use terminal::table::spell_counts;

/// One of the screen's views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Overview,
    Workers,
    Queues,
    Devices,
    Drops,
}

impl View {
    pub(super) const ALL: [Self; 5] = [
        Self::Overview,
        Self::Workers,
        Self::Queues,
        Self::Devices,
        Self::Drops,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Workers => "Workers",
            Self::Queues => "Queues",
            Self::Devices => "Devices",
            Self::Drops => "Drops",
        }
    }

    /// Its place in [`View::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// What a cell holds. Numbers keep their value, for sorting and for scripts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Text(String),
    Count(u64),
    /// A second.
    Rate(f64),
    /// A second.
    Bits(f64),
    /// From 0 to 1.
    Share(Option<f64>),
    Nanos(Option<u64>),
    Ring(Ring),
}

/// How a cell stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    /// Nothing happens there.
    Quiet,
    /// Frames are lost for what they are.
    Warning,
    /// Frames are lost for want of room, or a worker is dead.
    Alarm,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// The least width, so that columns stand still while their numbers change.
    pub(super) width: usize,
    /// Columns of a higher rank are left out first where there is no room; 0 never is.
    pub(super) rank: u8,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<(Cell, Tone)>>,
}

impl Cell {
    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// For people: short, at the price of digits.
    pub(super) fn spell(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => spell_count(*count),
            Self::Rate(rate) | Self::Bits(rate) => spell_rate(*rate),
            Self::Share(share) => share.map_or_else(dash, |share| format!("{:.0}%", share * 100.0)),
            Self::Nanos(nanos) => nanos.map_or_else(dash, spell_nanos),
            Self::Ring(ring) => format!("{}/{}", ring.level, ring.size),
        }
    }

    /// For scripts: plain numbers in base units.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Rate(rate) => format!("{rate:.1}"),
            Self::Bits(rate) => format!("{rate:.0}"),
            Self::Share(share) => share.map_or_else(dash, |share| format!("{:.1}", share * 100.0)),
            Self::Nanos(nanos) => nanos.map_or_else(dash, |nanos| nanos.to_string()),
            Self::Text(_) | Self::Ring(_) => self.spell(),
        }
    }

    /// What it is sorted by, if it is a number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            Self::Count(count) => Some(*count as f64),
            Self::Rate(rate) | Self::Bits(rate) => Some(*rate),
            Self::Share(share) => Some(share.unwrap_or(-1.0)),
            Self::Nanos(nanos) => Some(nanos.map_or(-1.0, |nanos| nanos as f64)),
            // Of two rings that are equally full in entries the smaller one is fuller.
            Self::Ring(ring) => Some(f64::from(ring.level) / f64::from(ring.size.max(1))),
        }
    }

    /// The unit, where a plain number needs one beside it.
    fn unit(&self) -> &'static str {
        match self {
            Self::Share(_) => " %",
            Self::Nanos(_) => " ns",
            _ => "",
        }
    }
}

fn dash() -> String {
    "-".to_owned()
}

impl Table {
    /// Sorted by a column of numbers, largest first; equals keep their order.
    pub(super) fn sorted_by(mut self, column: Option<usize>) -> Self {
        let key = |row: &[(Cell, Tone)]| {
            let at = column.and_then(|column| row.get(column));
            at.and_then(|(cell, _)| cell.number())
        };
        self.rows.sort_by(|one, other| {
            let order = key(other).partial_cmp(&key(one));
            order.unwrap_or(Ordering::Equal)
        });
        self
    }

    /// The columns that can be sorted by: numbers, the first column apart, which is the name.
    pub(super) fn sortable(&self) -> Vec<usize> {
        let first = self.rows.first().map_or(&[][..], |row| row.as_slice());
        let numbers = first.iter().enumerate().skip(1);
        numbers
            .filter(|(_, (cell, _))| cell.number().is_some())
            .map(|(index, _)| index)
            .collect()
    }

    /// Whether a column holds numbers, which stand to the right.
    pub(super) fn is_right(&self, column: usize) -> bool {
        let cell = self.rows.first().and_then(|row| row.get(column));
        cell.is_some_and(|(cell, _)| cell.number().is_some())
    }

    /// As text without a screen, every column of it.
    pub(super) fn plain(&self) -> String {
        let titles: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let cell = self.rows.first().and_then(|row| row.get(index));
                let unit = cell.map_or("", |(cell, _)| cell.unit());
                let right = if self.is_right(index) { ">" } else { "" };
                format!("{right}{}{unit}", column.title)
            })
            .collect();
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        let mut columns = Columns::new(&titles);
        for row in &self.rows {
            columns.row(row.iter().map(|(cell, _)| cell.plain()));
        }
        columns.render()
    }
}

/// The table of a view; the overview's is that of the workers, narrowed.
pub(super) fn table(view: View, picture: &Picture) -> Table {
    match view {
        View::Overview => workers(picture, false),
        View::Workers => workers(picture, true),
        View::Queues => queues(picture),
        View::Devices => devices(picture),
        View::Drops => drops(picture),
    }
}

const fn column(title: &'static str, width: usize, rank: u8) -> Column {
    Column { title, width, rank }
}

fn rate(rate: f64) -> (Cell, Tone) {
    (Cell::Rate(rate), quiet_at_zero(rate))
}

fn bits(rate: f64) -> (Cell, Tone) {
    (Cell::Bits(rate), quiet_at_zero(rate))
}

fn plain(cell: Cell) -> (Cell, Tone) {
    (cell, Tone::Plain)
}

fn quiet_at_zero(number: f64) -> Tone {
    if number > 0.0 {
        Tone::Plain
    } else {
        Tone::Quiet
    }
}

/// A rate that ought to be zero.
fn losses(rate: f64, tone: Tone) -> (Cell, Tone) {
    let tone = if rate > 0.0 { tone } else { Tone::Quiet };
    (Cell::Rate(rate), tone)
}

fn traffic(traffic: &Traffic) -> [(Cell, Tone); 4] {
    [
        rate(traffic.rx_pps),
        rate(traffic.tx_pps),
        bits(traffic.rx_bps),
        bits(traffic.tx_bps),
    ]
}

/// Columns for [`traffic`]; the ranks are those of the bits, received and sent.
const fn traffic_columns(received: u8, sent: u8) -> [Column; 4] {
    [
        column("rx pps", 6, 0),
        column("tx pps", 6, 0),
        column("rx bit/s", 8, received),
        column("tx bit/s", 8, sent),
    ]
}

fn loss_tone(lost: &Lost) -> Tone {
    match lost.ring_dropped > 0 {
        true => Tone::Alarm,
        false => Tone::Warning,
    }
}

fn share(cpu: Option<Cpu>, of: fn(Cpu) -> f64) -> (Cell, Tone) {
    plain(Cell::Share(cpu.map(of)))
}

fn residence(residence: &Residence) -> [(Cell, Tone); 3] {
    let known = residence.count > 0;
    [residence.p50, residence.p99, residence.max]
        .map(|nanos| plain(Cell::Nanos(known.then_some(nanos))))
}

/// The fullest RX ring of a worker.
fn fullest(picture: &Picture, worker: u16) -> Ring {
    let own = picture.queues.iter().filter(|queue| queue.worker == worker);
    let rings = own.map(|queue| queue.rx_ring);
    let fullness = |ring: &Ring| u64::from(ring.level) * 1_000_000 / u64::from(ring.size.max(1));
    rings.max_by_key(fullness).unwrap_or_default()
}

fn workers(picture: &Picture, whole: bool) -> Table {
    let mut columns = vec![
        column("worker", 6, 0),
        column("core", 4, 2),
        column("state", 5, 2),
        column("busy", 4, 0),
    ];
    if whole {
        columns.extend([column("idle", 4, 5), column("asleep", 6, 6)]);
    }
    columns.extend(traffic_columns(3, 4));
    columns.extend([
        column("drops/s", 7, 0),
        column("p50", 8, 1),
        column("p99", 8, 1),
    ]);
    if whole {
        columns.extend([
            column("max", 8, 6),
            column("rx ring", 9, 5),
            column("free frames", 11, 7),
            column("flows", 6, 5),
            column("batch", 5, 7),
        ]);
    }
    let row = |worker: &super::picture::WorkerPicture| {
        let (state, tone) = match worker.running {
            true => ("runs", Tone::Plain),
            false => ("DEAD", Tone::Alarm),
        };
        let mut row = vec![
            plain(Cell::Text(worker.worker.to_string())),
            plain(Cell::Text(worker.core.to_string())),
            (Cell::text(state), tone),
            share(worker.cpu, |cpu| cpu.busy),
        ];
        if whole {
            row.push(share(worker.cpu, |cpu| cpu.idle));
            row.push(share(worker.cpu, |cpu| cpu.asleep));
        }
        row.extend(traffic(&worker.traffic));
        row.push(losses(worker.lost.per_second(), loss_tone(&worker.lost)));
        let [p50, p99, max] = residence(&worker.residence_ns);
        row.extend([p50, p99]);
        if whole {
            let batch = worker.traffic.rx_packets as f64 / worker.batches.max(1) as f64;
            row.extend([
                max,
                plain(Cell::Ring(fullest(picture, worker.worker))),
                plain(Cell::Ring(Ring {
                    level: worker.free_frames,
                    size: worker.frames,
                })),
                plain(Cell::Count(worker.flows)),
                rate(batch),
            ]);
        }
        row
    };
    Table {
        columns,
        rows: picture.workers.iter().map(row).collect(),
    }
}

fn queues(picture: &Picture) -> Table {
    let mut columns = vec![
        column("device", 8, 0),
        column("queue", 5, 0),
        column("worker", 6, 2),
    ];
    columns.extend(traffic_columns(3, 5));
    columns.extend([
        column("drops/s", 7, 0),
        column("rx ring", 9, 1),
        column("rx most", 7, 4),
        column("fill ring", 9, 1),
        column("tx ring", 9, 4),
        column("fill empty/s", 12, 6),
    ]);
    let row = |queue: &super::picture::QueuePicture| {
        let mut row = vec![
            plain(Cell::text(&queue.device)),
            plain(Cell::Text(queue.queue.to_string())),
            plain(Cell::Text(queue.worker.to_string())),
        ];
        row.extend(traffic(&queue.traffic));
        let starved = queue.xdp_statistics.rx_fill_ring_empty_descs as f64;
        row.extend([
            losses(queue.ring_dropped_per_second, Tone::Alarm),
            plain(Cell::Ring(queue.rx_ring)),
            plain(Cell::Count(queue.rx_ring_max.into())),
            plain(Cell::Ring(queue.fill_ring)),
            plain(Cell::Ring(queue.tx_ring)),
            losses(starved * 1e9 / picture.interval_ns as f64, Tone::Alarm),
        ]);
        row
    };
    Table {
        columns,
        rows: picture.queues.iter().map(row).collect(),
    }
}

fn devices(picture: &Picture) -> Table {
    let mut columns = vec![
        column("device", 8, 0),
        column("driver", 6, 5),
        column("mode", 9, 2),
        column("queues", 6, 4),
    ];
    columns.extend(traffic_columns(1, 2));
    columns.extend([
        column("drops/s", 7, 0),
        column("to kernel/s", 11, 1),
        column("verdicts in the interval", 0, 6),
    ]);
    let row = |device: &super::picture::DevicePicture| {
        let mut row = vec![
            plain(Cell::text(&device.device)),
            plain(Cell::text(&device.driver)),
            plain(Cell::text(&device.xdp_mode)),
            plain(Cell::Text(device.queues.to_string())),
        ];
        row.extend(traffic(&device.traffic));
        row.extend([
            losses(device.ring_dropped_per_second, Tone::Alarm),
            rate(device.kernel_pps),
            plain(Cell::Text(spell_counts(&device.verdicts))),
        ]);
        row
    };
    Table {
        columns,
        rows: picture.devices.iter().map(row).collect(),
    }
}

pub(super) fn drops(picture: &Picture) -> Table {
    use super::picture::CountedBy;
    let columns = vec![
        column("reason", 24, 0),
        column("counted by", 13, 1),
        column("drops/s", 7, 0),
        column("this interval", 13, 2),
        column("since start", 11, 0),
    ];
    let row = |drop: &super::picture::Drop| {
        let tone = match (drop.count, drop.counted_by) {
            (0, _) => Tone::Quiet,
            (_, CountedBy::Worker) => Tone::Warning,
            _ => Tone::Alarm,
        };
        vec![
            (Cell::text(&drop.reason), tone),
            (Cell::text(drop.counted_by.name()), tone),
            losses(drop.per_second, tone),
            (Cell::Count(drop.count), tone),
            (Cell::Count(drop.since_start), Tone::Plain),
        ]
    };
    Table {
        columns,
        rows: picture.drops.iter().map(row).collect(),
    }
}
