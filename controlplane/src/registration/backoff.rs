//! How long to wait after a failure (RFC 5626 §4.5).

use std::time::Duration;

/// The base time when nothing at all is registered. RFC 5626 §4.5.
const BASE: Duration = Duration::from_secs(30);

/// The longest wait. RFC 5626 §4.5.
const LONGEST: Duration = Duration::from_secs(1800);

/// The longest Retry-After that is believed: whoever says more is mistaken, and an operator would wonder.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The least between two refreshes, whatever the registrar grants: a binding of a second is gone for as long as the
/// REGISTER takes, and below, a registrar that errs would be asked all the time.
const LEAST_REFRESH: Duration = Duration::from_secs(1);

/// The wait after so many failures in a row, from 1. `luck`, from 0 to 1000, is drawn at random: those that fell together
/// do not come back together. What the registrar asks for is the least.
pub(super) fn wait(failures: u32, luck: u32, retry_after: Option<Duration>) -> Duration {
    let doubled = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    let bound = BASE.saturating_mul(doubled).min(LONGEST);
    let half = bound / 2;
    let drawn = half + half.saturating_mul(luck.min(1000)) / 1000;
    drawn.max(retry_after.unwrap_or_default().min(MOST_RETRY_AFTER))
}

/// When to refresh a binding of this length: at three quarters, or up to a tenth later, so that an hour's leaves nine
/// minutes for failures, and many bindings that began together drift apart.
pub(super) fn refresh(granted: Duration, luck: u32) -> Duration {
    let drawn = granted * 3 / 4 + granted.saturating_mul(luck.min(1000)) / 10_000;
    drawn.max(LEAST_REFRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_an_hour_and_are_drawn_from_their_upper_half() {
        let seconds = |failures, luck| wait(failures, luck, None).as_secs();
        assert_eq!((seconds(1, 0), seconds(1, 1000)), (30, 60));
        assert_eq!((seconds(2, 0), seconds(2, 1000)), (60, 120));
        assert_eq!((seconds(5, 0), seconds(5, 1000)), (480, 960));
        for failures in [6, 31, 32, u32::MAX] {
            assert_eq!(
                (seconds(failures, 0), seconds(failures, 1000)),
                (900, 1800),
                "{failures}"
            );
        }
    }

    #[test]
    fn the_registrar_may_ask_for_longer_and_not_for_ever() {
        let asked = |seconds| wait(1, 0, Some(Duration::from_secs(seconds))).as_secs();
        assert_eq!((asked(7), asked(600), asked(u64::MAX)), (30, 600, 86_400));
    }

    #[test]
    fn a_refresh_leaves_time_for_failures() {
        let hour = Duration::from_secs(3600);
        assert_eq!(refresh(hour, 0).as_secs(), 2700);
        assert_eq!(refresh(hour, 1000).as_secs(), 3060);
        let short = |seconds| refresh(Duration::from_secs(seconds), 1000).as_millis();
        assert_eq!((short(8), short(2), short(1)), (6800, 1700, 1000));
    }
}
