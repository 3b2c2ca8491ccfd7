//! Who has been wrong too often: one user from one address is not listened to for a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use contract::Timestamp;

/// How many wrong answers in one [`PERIOD`]: a phone with an old password repeats itself a few times before somebody
/// looks; a guess needs thousands.
const MAX_FAILURES: u32 = 10;

/// How long they are counted together, and how long nobody listens then.
const PERIOD: Duration = Duration::from_secs(60);

/// Addresses and users at a time. Only trunks' addresses come here, with users that there are, or none.
const MAX_KNOWN: usize = 4096;

/// From where, and as which of the users; `None`: as none that there is.
type Who = (IpAddr, Option<usize>);

/// Counts wrong answers.
#[derive(Debug, Default)]
pub(super) struct Failures {
    known: HashMap<Who, (Timestamp, u32)>,
}

impl Failures {
    /// Whether nobody listens to them now.
    pub(super) fn is_shut_out(&self, now: Timestamp, who: Who) -> bool {
        self.known
            .get(&who)
            .is_some_and(|(since, count)| now.since(*since) < PERIOD && *count >= MAX_FAILURES)
    }

    pub(super) fn note(&mut self, now: Timestamp, who: Who) {
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&who) {
            self.known
                .retain(|_, (since, _)| now.since(*since) < PERIOD);
            // Full of recent ones: the new one goes uncounted rather than letting another off.
            if self.known.len() >= MAX_KNOWN {
                return;
            }
        }
        let entry = self.known.entry(who).or_insert((now, 0));
        if now.since(entry.0) >= PERIOD {
            *entry = (now, 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_wrong_too_often_is_shut_out_for_a_while() {
        let mut failures = Failures::default();
        let who = ("10.0.0.1".parse().expect("an address"), Some(1));
        let at = |seconds| Timestamp::ZERO + Duration::from_secs(seconds);
        for _ in 0..MAX_FAILURES {
            assert!(!failures.is_shut_out(at(1), who));
            failures.note(at(1), who);
        }
        assert!(failures.is_shut_out(at(2), who));
        assert!(!failures.is_shut_out(at(2), (who.0, None)));
        assert!(!failures.is_shut_out(at(61), who));
        failures.note(at(61), who);
        assert!(!failures.is_shut_out(at(61), who));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..u32::try_from(MAX_KNOWN).expect("small") + 10 {
            failures.note(Timestamp::ZERO, (IpAddr::V4(number.into()), None));
        }
        assert_eq!(failures.known.len(), MAX_KNOWN);
    }
}
