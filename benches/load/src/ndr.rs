//! The no-drop rate: the highest rate at which a relay loses nothing, by binary search over trials.
//!
//! RFC 2544 §26.1 (whose "throughput" it is): send at a rate for a given time; if every packet comes back, try a
//! higher one, else a lower one. The search is over when the lowest rate that failed is within the resolution of the
//! highest that passed. It knows neither packets nor time: a trial is a function.

use crate::report::{Limit, Trial};

/// What to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Believed to pass: tried only if nothing above it does.
    pub low: u64,
    /// The highest to try.
    pub high: u64,
    /// How close the search ends, as a share of the rate that passed.
    pub resolution: f64,
    /// How often a rate that failed is tried again.
    pub retries: u32,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The highest rate that passed; 0 when none did.
    pub rate: u64,
    /// What kept it from being higher; `None` when the search was ended early.
    pub limit: Option<Limit>,
}

impl Search {
    /// Searches. `trial` gets a rate and the attempt's number from 1, and gives `None` when the run is to end.
    pub fn run<E>(
        &self,
        mut trial: impl FnMut(u64, u32) -> Result<Option<Trial>, E>,
    ) -> Result<Found, E> {
        let mut passed = 0;
        let (mut low, mut high) = (self.low.min(self.high), self.high);
        let mut limit = Limit::High;
        let mut rate = high;
        loop {
            match self.verdict(rate, &mut trial)? {
                Verdict::Ended => {
                    return Ok(Found {
                        rate: passed,
                        limit: None,
                    });
                }
                Verdict::Passed => {
                    passed = rate;
                    low = rate;
                }
                Verdict::Failed(why) => {
                    high = rate;
                    limit = why;
                }
            }
            let is_close = high as f64 - low as f64 <= low as f64 * self.resolution;
            if passed == high || is_close && (passed > 0 || high == low) {
                return Ok(Found {
                    rate: passed,
                    limit: Some(limit),
                });
            }
            // The lowest is only believed in until nothing but it is left.
            rate = if is_close {
                low
            } else {
                low + (high - low) / 2
            };
            if rate == low && passed == low {
                return Ok(Found {
                    rate: passed,
                    limit: Some(limit),
                });
            }
        }
    }

    fn verdict<E>(
        &self,
        rate: u64,
        trial: &mut impl FnMut(u64, u32) -> Result<Option<Trial>, E>,
    ) -> Result<Verdict, E> {
        let mut why = Limit::Relay;
        for attempt in 1..=self.retries + 1 {
            match trial(rate, attempt)? {
                None => return Ok(Verdict::Ended),
                Some(trial) if trial.passed => return Ok(Verdict::Passed),
                Some(trial) if trial.generator_short => why = Limit::Generator,
                Some(_) => why = Limit::Relay,
            }
        }
        Ok(Verdict::Failed(why))
    }
}

enum Verdict {
    Passed,
    Failed(Limit),
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn search(low: u64, high: u64) -> Search {
        Search {
            low,
            high,
            resolution: 0.01,
            retries: 0,
        }
    }

    /// A relay that carries up to `capacity`, and a generator that sends up to `speed`.
    fn found(search: &Search, capacity: u64, speed: u64) -> (Found, Vec<u64>) {
        let mut rates = Vec::new();
        let found = search.run(|rate, _| {
            rates.push(rate);
            Ok::<_, Infallible>(Some(Trial {
                passed: rate <= capacity.min(speed),
                generator_short: rate > speed,
                ..Trial::default()
            }))
        });
        (found.expect("infallible"), rates)
    }

    #[test]
    fn the_highest_rate_comes_first_and_may_be_all() {
        let (found, rates) = found(&search(1_000, 100_000), 200_000, u64::MAX);
        assert_eq!((found.rate, found.limit), (100_000, Some(Limit::High)));
        assert_eq!(rates, [100_000]);
    }

    #[test]
    fn a_relay_that_carries_nothing_has_no_rate() {
        let (found, rates) = found(&search(1_000, 2_000), 0, u64::MAX);
        assert_eq!((found.rate, found.limit), (0, Some(Limit::Relay)));
        assert_eq!(
            rates.last(),
            Some(&1_000),
            "the lowest was tried in the end"
        );
    }

    #[test]
    fn who_was_short_is_said() {
        let (found, _) = found(&search(1, 1_000_000), u64::MAX, 300_000);
        assert_eq!(found.limit, Some(Limit::Generator));
        assert!((297_000..=300_000).contains(&found.rate), "{found:?}");
    }

    #[test]
    fn retries_are_made_only_when_asked_for() {
        for (retries, expected) in [(0, 0), (1, 100)] {
            let search = Search {
                retries,
                ..search(100, 100)
            };
            let mut attempts = Vec::new();
            let found = search.run(|_, attempt| {
                attempts.push(attempt);
                Ok::<_, Infallible>(Some(Trial {
                    passed: attempt == 2,
                    ..Trial::default()
                }))
            });
            assert_eq!(found.expect("infallible").rate, expected);
            assert_eq!(attempts.len() as u32, retries + 1);
        }
    }

    #[test]
    fn an_ended_search_keeps_what_it_found() {
        let mut rates = 0;
        let found = search(1, 1_000).run(|rate, _| {
            rates += 1;
            Ok::<_, Infallible>((rates < 3).then(|| Trial {
                passed: rate < 600,
                ..Trial::default()
            }))
        });
        let found = found.expect("infallible");
        assert_eq!((found.rate, found.limit), (500, None));
    }

    proptest! {
        #[test]
        fn it_ends_near_the_capacity(low in 1_u64..5_000, span in 0_u64..3_000_000, share in 0.0..1.2_f64) {
            let high = low + span;
            let capacity = low + (span as f64 * share) as u64;
            let (found, rates) = found(&search(low, high), capacity, u64::MAX);
            let exact = capacity.min(high);
            prop_assert!(found.rate <= exact);
            prop_assert!(found.rate as f64 >= exact as f64 / 1.01 - 1.0, "{} of {}", found.rate, exact);
            prop_assert!(rates.len() <= 26, "{}", rates.len());
        }
    }
}
