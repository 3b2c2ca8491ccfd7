//! Call detail records: one line a call, in a file, by a thread that the event loop never waits for.
//!
//! ```text
//!   event loop ── try_send ──► bounded queue ──► writer thread ─► fields ─► JSON or CSV ─► file ─► rotated, synced
//!        └── full: counted, the call goes on           └── cannot write: counted, tried again a second later
//! ```
//!
//! Knows what a record is, nothing of SIP or of how calls come about. `docs/cdr.md` describes the fields.

mod fields;
mod file;
mod lines;
mod tail;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use contract::Timestamp;
use controlplane::records::CallRecord;

pub(crate) use fields::spell_time;
pub(crate) use lines::Format;
pub(crate) use tail::{Tail, TailError};

/// Records that wait for the writer: some ten seconds of a disk that does not answer at 1,500 calls a second.
const QUEUE: usize = 16_384;

/// How long the end of the process waits for the writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the configuration says of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where they are written.
    pub(crate) file: PathBuf,
    /// How.
    pub(crate) format: Format,
    /// A file is closed before it is longer, in bytes.
    pub(crate) rotate_size: Option<u64>,
    /// A file is closed at every multiple of this since 1970, UTC.
    pub(crate) rotate_every: Option<Duration>,
    /// What was written reaches the disk within this; `None`: when the kernel likes.
    pub(crate) sync: Option<Duration>,
}

/// What became of records. The counts only grow, but for `queued`.
#[derive(Debug, Default)]
struct Counts {
    queued: AtomicU64,
    written: AtomicU64,
    unsynced: AtomicU64,
    lost_queue_full: AtomicU64,
    lost_write_failed: AtomicU64,
    rotated: AtomicU64,
}

/// The same at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CountsView {
    /// They wait for the writer.
    pub(crate) queued: u64,
    /// They are in the file.
    pub(crate) written: u64,
    /// They are in the file, and perhaps not on the disk.
    pub(crate) unsynced: u64,
    /// There was no room in the queue.
    pub(crate) lost_queue_full: u64,
    /// The file could not be written.
    pub(crate) lost_write_failed: u64,
    /// Files that were closed and put aside.
    pub(crate) rotated: u64,
}

/// A moment by both clocks: what is known as a [`Timestamp`] is told in the time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    now: Timestamp,
    wall: SystemTime,
}

impl Moment {
    /// This moment, which the event loop calls `now`.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            wall: SystemTime::now(),
        }
    }

    /// The time of day at an earlier moment.
    pub(crate) fn wall(self, at: Timestamp) -> SystemTime {
        let ago = self.now.since(at);
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}

enum Order {
    Write(Box<CallRecord>, Moment),
    /// Somebody has moved the file away: open it anew.
    Reopen,
}

/// The event loop's end of the writer.
#[derive(Debug)]
pub(crate) struct Cdrs {
    orders: Option<SyncSender<Order>>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
    settings: Settings,
}

impl Cdrs {
    /// Starts the writer. A file that cannot be opened is tried again for as long as it takes.
    pub(crate) fn start(settings: Settings) -> std::io::Result<Self> {
        let (orders, inbox) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let writer = writer::Writer::new(settings.clone(), Arc::clone(&counts));
        let thread = thread::Builder::new()
            .name("tandem-cdr".to_owned())
            .spawn(move || writer.run(&inbox))?;
        Ok(Self {
            orders: Some(orders),
            counts,
            thread: Some(thread),
            settings,
        })
    }

    /// Writes a record. Never waits: without room it is lost, and counted.
    pub(crate) fn write(&self, record: Box<CallRecord>, now: Timestamp) {
        self.counts.queued.fetch_add(1, Ordering::Relaxed);
        let order = Order::Write(record, Moment::new(now));
        if !self.send(order) {
            self.counts.queued.fetch_sub(1, Ordering::Relaxed);
            self.counts.lost_queue_full.fetch_add(1, Ordering::Relaxed);
            tracing::error!("a call's record is lost: the writer does not keep up");
        }
    }

    /// Opens the file anew (SIGHUP: somebody may have moved it away).
    pub(crate) fn reopen(&self) {
        self.send(Order::Reopen);
    }

    /// What became of records so far.
    pub(crate) fn counts(&self) -> CountsView {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CountsView {
            queued: read(&self.counts.queued),
            written: read(&self.counts.written),
            unsynced: read(&self.counts.unsynced),
            lost_queue_full: read(&self.counts.lost_queue_full),
            lost_write_failed: read(&self.counts.lost_write_failed),
            rotated: read(&self.counts.rotated),
        }
    }

    /// What it was started with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn send(&self, order: Order) -> bool {
        let orders = self.orders.as_ref();
        orders.is_some_and(|orders| orders.try_send(order).is_ok())
    }
}

impl Drop for Cdrs {
    /// Lets the writer write what waits, and sync.
    fn drop(&mut self) {
        self.orders = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        let until = Instant::now() + PATIENCE;
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        match thread.is_finished() {
            true => drop(thread.join()),
            false => tracing::error!("the disk does not answer: the last calls' records are lost"),
        }
    }
}
