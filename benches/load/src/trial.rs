//! One trial: the threads' outcomes put together, and whether it passed.

use hdrhistogram::Histogram;

use crate::engine::Outcome;
use crate::packet::Side;
use crate::report::{Latency, Trial};
use crate::verify::Tally;

/// Late sends that a trial survives, as a share of its packets: a moment in which the machine was elsewhere. More,
/// and the rate was not what was asked.
const LATE_SHARE: u64 = 100;

/// What the threads of a trial found, together. `rate` is what was asked for, 0 for flat out.
pub fn summary(rate: u64, outcomes: &[Outcome]) -> Trial {
    let mut tally = Tally::new();
    for outcome in outcomes {
        tally.add(&outcome.tally);
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let (asked, sent, late) = (sum(|o| o.asked), sum(|o| o.sent), sum(|o| o.late));
    let took = outcomes.iter().map(|outcome| outcome.took).max();
    let seconds = took.unwrap_or(0) as f64 / 1e9;
    let a_second = |packets: u64| match seconds > 0.0 {
        true => (packets as f64 / seconds * 10.0).round() / 10.0,
        false => 0.0,
    };
    let counts = tally.counts;
    let lost = sent.saturating_sub(counts.received);
    let own_drops = sum(|o| o.own_drops);
    let generator_short = sent < asked || late * LATE_SHARE > asked || own_drops > 0;
    let mut both = tally.latencies(Side::A).clone();
    let added = both.add(tally.latencies(Side::B));
    debug_assert!(added.is_ok(), "they have the same bounds");
    Trial {
        rate_pps: rate,
        seconds,
        asked,
        sent,
        received: counts.received,
        lost,
        duplicated: counts.duplicated,
        reordered: counts.reordered,
        corrupt: counts.corrupt,
        wrong_address: counts.wrong_address,
        wrong_checksum: counts.wrong_checksum,
        wrong_ttl: counts.wrong_ttl,
        wrong_dscp: counts.wrong_dscp,
        unknown: counts.unknown,
        stragglers: counts.stragglers,
        unfinished_checksums: counts.unfinished_checksums,
        late_sends: late,
        own_drops,
        generator_short,
        sent_pps: a_second(sent),
        received_pps: a_second(counts.received),
        latency_ns: latency(&both),
        latency_a_to_b_ns: latency(tally.latencies(Side::A)),
        latency_b_to_a_ns: latency(tally.latencies(Side::B)),
        attempt: 1,
        passed: sent > 0 && lost == 0 && counts.faults() == 0 && !generator_short,
    }
}

/// A histogram's landmarks.
pub fn latency(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    Latency {
        count: histogram.len(),
        min: histogram.min(),
        mean: histogram.mean().round(),
        p50: histogram.value_at_quantile(0.5),
        p90: histogram.value_at_quantile(0.9),
        p99: histogram.value_at_quantile(0.99),
        p99_9: histogram.value_at_quantile(0.999),
        max: histogram.max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(asked: u64, sent: u64, received: u64) -> Outcome {
        let mut tally = Tally::new();
        tally.counts.received = received;
        tally.latency(Side::A, 10_000);
        tally.latency(Side::B, 30_000);
        Outcome {
            tally,
            asked,
            sent,
            late: 0,
            own_drops: 0,
            took: 2_000_000_000,
            stopped: false,
        }
    }

    #[test]
    fn threads_are_put_together() {
        let trial = summary(600, &[outcome(600, 600, 500), outcome(600, 600, 700)]);
        assert_eq!((trial.sent, trial.received, trial.lost), (1200, 1200, 0));
        assert_eq!((trial.sent_pps, trial.seconds), (600.0, 2.0));
        assert_eq!(trial.latency_ns.count, 4);
        assert_eq!(trial.latency_a_to_b_ns.p99, trial.latency_a_to_b_ns.p50);
        assert!(trial.latency_ns.p90 > trial.latency_ns.p50);
        assert!(trial.passed);
    }

    #[test]
    fn what_does_not_pass() {
        let passes = |change: fn(&mut Outcome)| {
            let mut outcome = outcome(1000, 1000, 1000);
            change(&mut outcome);
            let trial = summary(1000, &[outcome]);
            (trial.passed, trial.generator_short)
        };
        assert_eq!(passes(|_| {}), (true, false));
        assert_eq!(passes(|o| o.tally.counts.received -= 1), (false, false));
        assert_eq!(passes(|o| o.tally.counts.duplicated = 1), (false, false));
        assert_eq!(passes(|o| o.tally.counts.corrupt = 1), (false, false));
        assert_eq!(passes(|o| o.tally.counts.wrong_address = 1), (false, false));
        assert_eq!(
            passes(|o| o.tally.counts.wrong_checksum = 1),
            (false, false)
        );
        assert_eq!(passes(|o| o.tally.counts.wrong_ttl = 1), (false, false));
        assert_eq!(passes(|o| o.tally.counts.wrong_dscp = 1), (false, false));
        assert_eq!(passes(|o| o.tally.counts.reordered = 5), (true, false));
        assert_eq!(passes(|o| o.tally.counts.stragglers = 5), (true, false));
        assert_eq!(passes(|o| o.late = 10), (true, false));
        assert_eq!(passes(|o| o.late = 11), (false, true));
        assert_eq!(passes(|o| o.asked += 1), (false, true));
        assert_eq!(passes(|o| o.own_drops = 1), (false, true));
    }

    #[test]
    fn nothing_sent_is_nothing_passed() {
        let trial = summary(0, &[]);
        assert!(!trial.passed);
        assert_eq!(trial.latency_ns, Latency::default());
    }
}
