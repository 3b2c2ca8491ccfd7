//! What one thread has counted in one trial.

use hdrhistogram::Histogram;

use crate::packet::Side;

/// The longest latency that is told from longer ones: a minute.
const LONGEST: u64 = 60_000_000_000;

/// Frames by what became of them; see [`crate::report::Trial`] for each one's meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named and explained in `report::Trial`")]
pub struct Counts {
    /// All of them.
    pub frames: u64,
    pub received: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupt: u64,
    pub wrong_address: u64,
    pub wrong_checksum: u64,
    pub wrong_ttl: u64,
    pub wrong_dscp: u64,
    pub unknown: u64,
    pub stragglers: u64,
    pub unfinished_checksums: u64,
}

impl Counts {
    /// Arrivals that no relay should cause, reordering apart.
    pub fn faults(&self) -> u64 {
        self.duplicated
            + self.corrupt
            + self.wrong_address
            + self.wrong_checksum
            + self.wrong_ttl
            + self.wrong_dscp
    }

    /// Adds another thread's.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.frames, other.frames),
            (&mut self.received, other.received),
            (&mut self.duplicated, other.duplicated),
            (&mut self.reordered, other.reordered),
            (&mut self.corrupt, other.corrupt),
            (&mut self.wrong_address, other.wrong_address),
            (&mut self.wrong_checksum, other.wrong_checksum),
            (&mut self.wrong_ttl, other.wrong_ttl),
            (&mut self.wrong_dscp, other.wrong_dscp),
            (&mut self.unknown, other.unknown),
            (&mut self.stragglers, other.stragglers),
            (&mut self.unfinished_checksums, other.unfinished_checksums),
        ];
        for (mine, theirs) in pairs {
            *mine += theirs;
        }
    }
}

/// A histogram of nanoseconds: three significant digits up to a minute, which stands for all that is longer.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order")
}

/// Counts and latencies.
#[derive(Clone, Debug)]
pub struct Tally {
    /// What arrived.
    pub counts: Counts,
    /// From A to B, and from B to A: by sender.
    latencies: [Histogram<u64>; 2],
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            counts: Counts::default(),
            latencies: [histogram(), histogram()],
        }
    }

    /// Counts a latency of what `sender` sent.
    #[inline]
    pub fn latency(&mut self, sender: Side, nanoseconds: u64) {
        self.latencies[sender.index()].saturating_record(nanoseconds);
    }

    /// The latencies of what `sender` sent.
    pub fn latencies(&self, sender: Side) -> &Histogram<u64> {
        &self.latencies[sender.index()]
    }

    /// Adds another thread's.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            // All have the same bounds, so nothing is out of them.
            let added = mine.add(theirs);
            debug_assert!(added.is_ok());
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}
