//! When packets are due.
//!
//! A schedule is a train of evenly spaced times that knows nothing of whether the generator keeps up: packet `k`
//! is due at `start + k * interval`. Who falls behind sends late what was due, and latency counts from when it was
//! due. That is how coordinated omission is avoided: a relay that makes the generator wait cannot make it skip,
//! or postpone unseen, the very packets that would have waited.
//!
//! G.711 pacing is the same train: with every stream visited in turn at 50 packets a second for each, each stream
//! has one packet every 20 ms, and the phases of the streams are spread evenly.

/// Packets of G.711 that a stream sends each second in each direction.
pub const G711_PPS: u64 = 50;

/// Bits of an interval after the point: over 10^10 packets the error stays below 3 ns.
const FRACTION: u32 = 32;

/// A train of due times.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: u64,
    /// Nanoseconds, with [`FRACTION`] bits after the point.
    interval: u128,
    /// Packets in all.
    total: u64,
    /// Packets taken.
    taken: u64,
}

impl Schedule {
    /// `total` packets, `rate` a second, the first due at `start` and `phase` intervals.
    pub fn new(start: u64, rate: f64, phase: f64, total: u64) -> Self {
        let interval = 1e9 / rate * (1_u64 << FRACTION) as f64;
        Self {
            start: start + (phase * 1e9 / rate) as u64,
            interval: interval as u128,
            total,
            taken: 0,
        }
    }

    /// How many are due at `now` and not taken, `most` at the most.
    #[inline]
    pub fn due(&self, now: u64, most: usize) -> usize {
        let left = (self.total - self.taken).min(most as u64);
        let mut count = 0;
        while count < left && self.time_of(self.taken + count) <= now {
            count += 1;
        }
        count as usize
    }

    /// Takes the next packet: when it is, or was, due.
    #[inline]
    pub fn take(&mut self) -> u64 {
        let due = self.time_of(self.taken);
        self.taken += 1;
        due
    }

    /// Packets in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether all are taken.
    pub fn is_over(&self) -> bool {
        self.taken == self.total
    }

    #[inline]
    fn time_of(&self, packet: u64) -> u64 {
        self.start + ((u128::from(packet) * self.interval) >> FRACTION) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_evenly_spaced_for_days() {
        let mut schedule = Schedule::new(1_000, 3.0, 0.0, 1_000_000);
        assert_eq!(schedule.take(), 1_000);
        assert_eq!(schedule.take(), 1_000 + 333_333_333);
        assert_eq!(schedule.time_of(900_000), 1_000 + 300_000_000_000_000 - 1);
    }

    #[test]
    fn what_is_due_waits_and_is_not_skipped() {
        let mut schedule = Schedule::new(0, 1e6, 0.5, 10);
        assert_eq!(schedule.due(499, 64), 0);
        assert_eq!(schedule.due(500, 64), 1);
        assert_eq!(schedule.due(4_500, 64), 5);
        assert_eq!(schedule.due(4_500, 3), 3);
        let taken: Vec<_> = (0..3).map(|_| schedule.take()).collect();
        assert_eq!(taken, [500, 1_500, 2_500]);
        assert_eq!(schedule.due(1_000_000, 64), 7);
        for _ in 0..7 {
            schedule.take();
        }
        assert!(schedule.is_over());
        assert_eq!(schedule.due(u64::MAX, 64), 0);
    }
}
