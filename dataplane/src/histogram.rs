//! A histogram with one writer: log-linear buckets, at the most a sixteenth as wide as their values.
//!
//! ```text
//!   value      0 … 31 | 32 … 63 | 64 … 127 | …
//!   bucket       1 wide|  2 wide |  4 wide  | …      16 buckets for each doubling
//! ```

use crate::tally::Counter;

/// Buckets for each doubling.
const STEPS: usize = 16;
/// Values from 2^40 (18 minutes in nanoseconds) on are counted in the last bucket.
const MAX_BITS: usize = 40;
const BUCKETS: usize = (MAX_BITS - 3) * STEPS;

/// Counts of values.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[Counter]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Counter::default()).collect(),
        }
    }
}

impl Histogram {
    /// Counts a value so many times.
    #[inline]
    pub fn record(&self, value: u64, times: u64) {
        if let Some(counter) = self.buckets.get(bucket(value)) {
            counter.add(times);
        }
    }

    /// The middle of each bucket that counted any, rising, and its count.
    pub fn counts(&self) -> Vec<(u64, u64)> {
        let counts = self.buckets.iter().map(Counter::read);
        counts
            .enumerate()
            .filter(|(_, count)| *count > 0)
            .map(|(index, count)| (middle(index), count))
            .collect()
    }
}

#[inline]
const fn bucket(value: u64) -> usize {
    if value < 2 * STEPS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() as usize - STEPS.ilog2() as usize;
    let index = shift * STEPS + (value >> shift) as usize;
    if index < BUCKETS { index } else { BUCKETS - 1 }
}

const fn middle(index: usize) -> u64 {
    if index < 2 * STEPS {
        return index as u64;
    }
    let shift = index / STEPS - 1;
    let mantissa = (index % STEPS + STEPS) as u64;
    (mantissa << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        let mut last = 0;
        for value in 0..1_000_000 {
            let index = bucket(value);
            assert!(index == last || index == last + 1, "{value}");
            last = index;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_buckets_middle_is_near_its_values(value in 0_u64..1 << 40) {
            let near = middle(bucket(value));
            prop_assert!(near.abs_diff(value) <= value / 16);
            prop_assert_eq!(bucket(near), bucket(value));
        }
    }

    #[test]
    fn counts_add_up() {
        let histogram = Histogram::default();
        histogram.record(100, 3);
        histogram.record(100, 2);
        histogram.record(7, 1);
        assert_eq!(histogram.counts(), [(7, 1), (102, 5)]);
    }
}
