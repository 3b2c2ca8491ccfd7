//! What tandem has set itself, and whether it was reached. A target that could not be measured is not met.

use serde::Serialize;

use crate::peers::Peer;
use crate::ratios::Spread;
use crate::report::Comparison;

/// A target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Target {
    /// What it asks for.
    pub(crate) target: String,
    /// The least ratio that meets it.
    pub(crate) at_least: f64,
    /// The ratio round by round; `None` when no round has it.
    pub(crate) measured: Option<Spread>,
    /// Whether the median meets it.
    pub(crate) met: bool,
}

impl Target {
    fn new(target: &str, at_least: f64, measured: Option<Spread>) -> Self {
        let met = measured
            .as_ref()
            .is_some_and(|spread| spread.median >= at_least);
        Self {
            target: target.to_owned(),
            at_least,
            measured,
            met,
        }
    }
}

/// All of them, in the order in which they are told.
pub(crate) fn targets(of: &Comparison) -> Vec<Target> {
    let zero_loss = |peer| of.rounds_of(peer, |measured| Some(measured.zero_loss_pps as f64));
    let overloaded = |peer| {
        of.rounds_of(peer, |measured| {
            measured.twice.as_ref().map(|twice| twice.received_pps)
        })
    };
    let peak = of.rounds_of(Peer::Tandem, |measured| Some(measured.peak_pps));
    let p99 = |peer| {
        of.rounds_of(peer, |measured| {
            let half = measured.half.as_ref();
            half.map(|half| half.latency_ns.p99 as f64)
        })
    };
    let ratio = |numerator: Vec<Option<f64>>, divisor: Vec<Option<f64>>| {
        Spread::of_ratios(numerator, divisor)
    };
    vec![
        Target::new(
            "zero-loss rate, of that of rtpengine in user space (aim: 6)",
            4.0,
            ratio(zero_loss(Peer::Tandem), zero_loss(Peer::Rtpengine)),
        ),
        Target::new(
            "zero-loss rate, of that of the plain socket relay",
            2.0,
            ratio(zero_loss(Peer::Tandem), zero_loss(Peer::Socket)),
        ),
        Target::new(
            "throughput at twice the zero-loss rate, of that of rtpengine at twice its own",
            4.0,
            ratio(overloaded(Peer::Tandem), overloaded(Peer::Rtpengine)),
        ),
        Target::new(
            "throughput at twice the zero-loss rate, of the peak: no collapse",
            0.9,
            ratio(overloaded(Peer::Tandem), peak),
        ),
        Target::new(
            "p99 latency of rtpengine at half of its zero-loss rate, of tandem's at half of its own",
            1.0,
            ratio(p99(Peer::Rtpengine), p99(Peer::Tandem)),
        ),
        Target::new(
            "zero-loss rate with many flows installed, of that without",
            0.8,
            ratio(zero_loss(Peer::TandemManyFlows), zero_loss(Peer::Tandem)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::comparison;

    fn met(rates: [[u64; 3]; 4]) -> Vec<bool> {
        let [tandem, rtpengine, socket, many] = rates;
        let comparison = comparison(&[
            (Peer::Tandem, tandem),
            (Peer::Rtpengine, rtpengine),
            (Peer::Socket, socket),
            (Peer::TandemManyFlows, many),
        ]);
        targets(&comparison)
            .iter()
            .map(|target| target.met)
            .collect()
    }

    #[test]
    fn medians_decide() {
        let good = met([[400, 500, 600], [100; 3], [200; 3], [400, 400, 10]]);
        assert_eq!(good, [true, true, true, true, true, true]);
        // One bad round of three changes no median, two do.
        let slow = met([[100, 100, 600], [100; 3], [200; 3], [100; 3]]);
        assert_eq!(slow, [false, false, false, true, true, true]);
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let alone = comparison(&[(Peer::Tandem, [500; 3])]);
        let met: Vec<_> = targets(&alone).iter().map(|target| target.met).collect();
        assert_eq!(met, [false, false, false, true, false, false]);
    }
}
