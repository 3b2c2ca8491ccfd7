//! What one target was asked and said.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::script::Step;
use crate::report::Latency;
use crate::trial::latency;

/// The longest latency that is told from longer ones: a minute, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Kinds of errors that are told apart: an unknown one more is counted as another's.
const MOST_KINDS: usize = 32;

/// Counts and latencies.
#[derive(Debug)]
pub(super) struct Tally {
    by_step: [Histogram<u64>; Step::ALL.len()],
    /// Calls that came to their end.
    pub(super) calls: u64,
    /// Requests sent again.
    pub(super) retransmissions: u64,
    /// Requests never answered: their calls were given up.
    pub(super) lost: u64,
    /// Datagrams that answer nothing that is asked: doubles.
    pub(super) strays: u64,
    /// Replies that are not what they have to be, by command and reason.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let histogram = |_| {
            Histogram::new_with_max(LONGEST, 3).expect("three digits up to a minute are in bounds")
        };
        Self {
            by_step: Step::ALL.map(histogram),
            calls: 0,
            retransmissions: 0,
            lost: 0,
            strays: 0,
            errors: BTreeMap::new(),
        }
    }

    /// A reply has come, so long after its request was sent first.
    pub(super) fn answered(&mut self, step: Step, after: Duration) {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(LONGEST);
        if let Some(histogram) = self.by_step.get_mut(step as usize) {
            histogram.saturating_record(nanos);
        }
    }

    pub(super) fn error(&mut self, step: Step, reason: &str) {
        let kind = format!("{}: {reason}", step.command());
        let kind = match self.errors.len() >= MOST_KINDS && !self.errors.contains_key(&kind) {
            true => "others".to_owned(),
            false => kind,
        };
        *self.errors.entry(kind).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (mine, theirs) in self.by_step.iter_mut().zip(&other.by_step) {
            *mine += theirs;
        }
        self.calls += other.calls;
        self.retransmissions += other.retransmissions;
        self.lost += other.lost;
        self.strays += other.strays;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
    }

    /// Of all commands.
    pub(super) fn latency(&self) -> Latency {
        let mut all = Self::new().by_step;
        let [sum, ..] = &mut all;
        self.by_step.iter().for_each(|each| *sum += each);
        latency(sum)
    }

    /// Of each command.
    pub(super) fn latencies(&self) -> BTreeMap<String, Latency> {
        let steps = Step::ALL.iter().zip(&self.by_step);
        let named = steps.map(|(step, each)| (step.command().to_owned(), latency(each)));
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_are_added() {
        let (mut one, mut other) = (Tally::new(), Tally::new());
        one.answered(Step::Offer, Duration::from_millis(1));
        one.error(Step::Offer, "no");
        other.answered(Step::Delete, Duration::from_millis(3));
        other.error(Step::Offer, "no");
        other.lost = 1;
        one.add(other);
        assert_eq!((one.latency().count, one.lost), (2, 1));
        assert_eq!(one.latency().max / 100_000, 30);
        assert_eq!(one.latencies()["offer"].count, 1);
        assert_eq!(one.errors["offer: no"], 2);
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut tally = Tally::new();
        (0..100).for_each(|number| tally.error(Step::Query, &number.to_string()));
        assert_eq!(tally.errors.len(), MOST_KINDS + 1);
        assert_eq!(tally.errors["others"], 100 - MOST_KINDS as u64);
    }
}
