//! What a party's RTCP says of how it receives, over all workers and in people's units. Pure.

use std::time::Duration;

use contract::Timestamp;
use controlplane::records::Quality;
use dataplane::report::{FlowTally, Reception};

use crate::admin::views;

/// One reception of what the workers heard of it: the latest report's, with the reports of all. A round trip that only
/// one of them knows stays.
pub(crate) fn combined(tallies: &[FlowTally]) -> Option<Reception> {
    let mut heard: Vec<Reception> = tallies.iter().filter_map(|tally| tally.reception).collect();
    heard.sort_by_key(|reception| reception.last);
    let latest = *heard.last()?;
    Some(Reception {
        reports: heard.iter().map(|reception| reception.reports).sum(),
        round_trip: heard
            .iter()
            .rev()
            .find_map(|reception| reception.round_trip),
        ..latest
    })
}

/// The jitter in milliseconds, where the RTP clock (in Hz) is known.
pub(crate) fn jitter_ms(reception: &Reception, clock_rate: Option<u32>) -> Option<f64> {
    let rate = clock_rate.filter(|rate| *rate > 0)?;
    Some(f64::from(reception.jitter) * 1000.0 / f64::from(rate))
}

/// The same for a call's record. Duplicates that outnumber what was lost count as nothing lost.
pub(crate) fn quality(reception: &Reception, clock_rate: Option<u32>) -> Quality {
    Quality {
        lost: u64::try_from(reception.lost).unwrap_or(0),
        jitter: jitter_ms(reception, clock_rate).map(|ms| Duration::from_secs_f64(ms / 1000.0)),
        round_trip: reception.round_trip,
        ssrc: Some(reception.about),
        reports: reception.reports,
        fraction_lost: reception.fraction_lost,
    }
}

/// The view of what was combined.
pub(crate) fn view(
    reception: &Reception,
    clock_rate: Option<u32>,
    now: Timestamp,
) -> views::Reception {
    views::Reception {
        reports: reception.reports,
        loss: f64::from(reception.fraction_lost) / 256.0,
        lost: reception.lost,
        jitter_units: reception.jitter,
        jitter_ms: jitter_ms(reception, clock_rate),
        round_trip_ms: reception.round_trip.map(millis),
        last_report_seconds: now.since(reception.last).as_secs_f64(),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::WorkerId;

    fn tally(worker: u16, reception: Option<Reception>) -> FlowTally {
        FlowTally {
            worker: WorkerId(worker),
            packets: 1,
            bytes: 52,
            last_seen: None,
            wrong_source: 0,
            latched: None,
            reception,
        }
    }

    fn reception(last: u64, reports: u64, round_trip: Option<u64>) -> Reception {
        Reception {
            reports,
            about: 7,
            fraction_lost: 64,
            lost: last as i32,
            jitter: 80,
            round_trip: round_trip.map(Duration::from_millis),
            last: Timestamp::ZERO + Duration::from_secs(last),
        }
    }

    #[test]
    fn the_latest_report_speaks_for_all_workers() {
        assert_eq!(combined(&[]), None);
        assert_eq!(combined(&[tally(0, None)]), None);
        let workers = [
            tally(0, Some(reception(9, 2, None))),
            tally(1, None),
            tally(2, Some(reception(4, 3, Some(20)))),
        ];
        assert_eq!(combined(&workers), Some(reception(9, 5, Some(20))));
    }

    #[test]
    fn units_are_people_s_where_the_clock_is_known() {
        let reception = reception(9, 2, Some(20));
        let now = Timestamp::ZERO + Duration::from_millis(9_500);
        let shown = view(&reception, Some(8_000), now);
        assert_eq!((shown.loss, shown.lost, shown.jitter_units), (0.25, 9, 80));
        assert_eq!(
            (shown.jitter_ms, shown.round_trip_ms),
            (Some(10.0), Some(20.0))
        );
        assert_eq!(shown.last_report_seconds, 0.5);
        assert_eq!(view(&reception, None, now).jitter_ms, None);
        assert_eq!(view(&reception, Some(0), now).jitter_ms, None);
        let recorded = quality(&reception, Some(8_000));
        assert_eq!(
            (recorded.lost, recorded.round_trip),
            (9, reception.round_trip)
        );
        assert_eq!(recorded.jitter, Some(Duration::from_millis(10)));
        let doubled = Reception {
            lost: -4,
            ..reception
        };
        assert_eq!(
            quality(&doubled, None),
            Quality {
                lost: 0,
                jitter: None,
                round_trip: reception.round_trip,
                ssrc: Some(7),
                reports: reception.reports,
                fraction_lost: reception.fraction_lost,
            }
        );
    }
}
