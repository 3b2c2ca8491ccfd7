//! What several rounds say: each round's ratio, and of these the smallest, the median and the largest.

use serde::Serialize;

/// How a list of values lies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// One for each round that has one, in order.
    pub(crate) rounds: Vec<f64>,
    /// The smallest.
    pub(crate) min: f64,
    /// The middle one, or the mean of the middle two.
    pub(crate) median: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(rounds: Vec<f64>) -> Option<Self> {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Some(Self {
            rounds,
            min,
            median,
            max,
        })
    }

    /// Of the ratios round by round, of those rounds that have both; a round of which the divisor is 0 has none.
    pub(crate) fn of_ratios(
        numerators: impl IntoIterator<Item = Option<f64>>,
        divisors: impl IntoIterator<Item = Option<f64>>,
    ) -> Option<Self> {
        let pairs = numerators.into_iter().zip(divisors);
        let ratios = pairs.filter_map(|pair| match pair {
            (Some(numerator), Some(divisor)) if divisor > 0.0 => Some(numerator / divisor),
            _ => None,
        });
        Self::of(ratios.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let odd = Spread::of(vec![3.0, 1.0, 2.0]).expect("three");
        assert_eq!((odd.min, odd.median, odd.max), (1.0, 2.0, 3.0));
        assert_eq!(odd.rounds, [3.0, 1.0, 2.0], "rounds keep their order");
        let even = Spread::of(vec![4.0, 1.0, 2.0, 8.0]).expect("four");
        assert_eq!((even.min, even.median, even.max), (1.0, 3.0, 8.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let ratios = Spread::of_ratios(
            [Some(400.0), Some(600.0), None, Some(100.0)],
            [Some(100.0), Some(100.0), Some(100.0), Some(0.0)],
        );
        // Not the ratio of the medians, which would be 4 of three.
        let ratios = ratios.expect("two rounds have both");
        assert_eq!(ratios.rounds, [4.0, 6.0]);
        assert_eq!(ratios.median, 5.0);
        assert_eq!(Spread::of_ratios([None], [Some(1.0)]), None);
    }
}
