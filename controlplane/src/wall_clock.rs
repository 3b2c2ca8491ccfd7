//! The time of day: what schedules go by and records say. Told from outside, like all time here.

use std::time::Duration;

use contract::Timestamp;
use jiff::SignedDuration;

/// The time of day at [`Timestamp::ZERO`], and with it at every other.
///
/// The machine's clock may be set while the process runs: whoever reads it tells again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallClock {
    /// Since 1970, in UTC.
    at_zero: SignedDuration,
}

impl WallClock {
    /// A clock that shows `since_1970` (UTC) at `now`.
    pub fn showing(since_1970: Duration, now: Timestamp) -> Self {
        let shown = SignedDuration::try_from(since_1970).unwrap_or(SignedDuration::MAX);
        let passed = SignedDuration::try_from(now.since(Timestamp::ZERO)).unwrap_or_default();
        Self {
            at_zero: shown.saturating_sub(passed),
        }
    }

    /// What it shows at `now`; at the ends of what can be shown, the end.
    pub fn at(self, now: Timestamp) -> jiff::Timestamp {
        let passed = SignedDuration::try_from(now.since(Timestamp::ZERO)).unwrap_or_default();
        let shown = self.at_zero.saturating_add(passed);
        jiff::Timestamp::from_duration(shown).unwrap_or(jiff::Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_where_it_was_told() {
        let now = Timestamp::from_nanos(5_000_000_000);
        let clock = WallClock::showing(Duration::from_secs(1_000_000_000), now);
        let later = now + Duration::from_secs(10);
        assert_eq!(clock.at(now).as_second(), 1_000_000_000);
        assert_eq!(clock.at(later).as_second(), 1_000_000_010);
        assert_eq!(clock.at(Timestamp::ZERO).as_second(), 999_999_995);
        let end = WallClock::showing(Duration::MAX, now);
        assert_eq!(end.at(later), jiff::Timestamp::MAX);
    }
}
