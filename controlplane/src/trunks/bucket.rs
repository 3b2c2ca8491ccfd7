//! A token bucket: so many a second in the long run, so many at once after a quiet time.
//!
//! ```text
//!   rate ──► ┌─────────┐ burst at the most
//!            │ tokens  │──► one for each that is let through; none left: it is not
//!            └─────────┘
//! ```
//!
//! Integers only: a level in billionths of a thousandth of a token, so that nothing is lost between
//! two looks, however close they are.

use std::time::Duration;

use contract::Timestamp;

use crate::settings::Rate;

/// A token, in the units of [`Bucket::level`]: a rate of a thousandth a second, times a nanosecond.
const TOKEN: u64 = 1_000 * 1_000_000_000;

/// A token bucket on virtual time.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Tokens that flow in, in thousandths a second.
    rate: u64,
    /// The most that it holds.
    depth: u64,
    level: u64,
    filled: Timestamp,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: Rate, now: Timestamp) -> Self {
        let depth = u64::from(rate.burst.max(1)).saturating_mul(TOKEN);
        Self {
            rate: u64::from(rate.per_second).saturating_mul(1_000),
            depth,
            level: depth,
            filled: now,
        }
    }

    /// Changes the rate from now on, in thousandths a second; what is in the bucket stays.
    pub(crate) fn set_rate(&mut self, millis: u64, now: Timestamp) {
        self.fill(now);
        self.rate = millis;
    }

    /// Changes how many it holds from now on: one at least. What does not fit is lost.
    pub(crate) fn set_burst(&mut self, burst: u32) {
        self.depth = u64::from(burst.max(1)).saturating_mul(TOKEN);
        self.level = self.level.min(self.depth);
    }

    /// Whether there is a token.
    pub(crate) fn has(&mut self, now: Timestamp) -> bool {
        self.fill(now);
        self.level >= TOKEN
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        let has = self.has(now);
        if has {
            self.level -= TOKEN;
        }
        has
    }

    fn fill(&mut self, now: Timestamp) {
        let elapsed: Duration = now.since(self.filled);
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let more = nanos.saturating_mul(self.rate);
        self.level = self.level.saturating_add(more).min(self.depth);
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_nanos(micros * 1_000)
    }

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second, burst }
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::new(rate(10, 3), at(0));
        let taken = (0..5).filter(|_| bucket.take(at(0))).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take(at(99_999)));
        assert!(bucket.take(at(100_000)));
        assert!(!bucket.take(at(100_000)));
        // A long rest fills it up, and no more than that.
        let taken = (0..9).filter(|_| bucket.take(at(60_000_000))).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn a_rate_may_change_and_time_may_stand_still() {
        let mut bucket = Bucket::new(rate(1, 1), at(5));
        assert!(bucket.take(at(5)));
        bucket.set_rate(2_500, at(5));
        assert!(!bucket.take(at(4)), "an earlier time fills nothing");
        assert!(!bucket.take(at(5 + 399_999)));
        assert!(bucket.take(at(5 + 400_000)));
    }

    proptest! {
        /// In no window of time do more get through than the burst and what flows in meanwhile.
        #[test]
        fn never_more_than_burst_and_rate(
            per_second in 1_u32..500,
            burst in 1_u32..50,
            gaps in prop::collection::vec(0_u64..30_000, 1..300),
        ) {
            let mut bucket = Bucket::new(rate(per_second, burst), at(0));
            let mut now = 0;
            let mut taken = Vec::new();
            for gap in gaps {
                now += gap;
                if bucket.take(at(now)) {
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, until) in taken.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u64;
                    let flowed = (until - from) * u64::from(per_second) / 1_000_000;
                    prop_assert!(count <= u64::from(burst) + flowed, "{count} in {from}..{until}");
                }
            }
        }

        /// Who asks again and again gets all that there is: the burst, and the rate to a token.
        #[test]
        fn never_less_than_the_rate(per_second in 1_u32..500, burst in 2_u32..50, step in 1_u64..2_000) {
            let mut bucket = Bucket::new(rate(per_second, burst), at(0));
            let end = 1_000_000;
            let mut taken = 0_u64;
            let mut now = 0;
            while now <= end {
                taken += u64::from(bucket.take(at(now)));
                now += step;
            }
            // What flowed in last may not have been asked for yet.
            let due = u64::from(burst) + u64::from(per_second) - 1;
            prop_assert!(taken >= due.min(end / step), "{taken} of {due}");
        }
    }
}
