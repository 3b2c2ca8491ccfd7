//! The run second by second, from the rows of statistics of one SIPp after the other.

use super::report::Second;
use super::statistics::Row;

/// Rows closer than this are one, in seconds: SIPp writes a last one when it ends.
const CLOSE: f64 = 0.5;
/// Seconds that are kept: a day.
const MOST: usize = 86_400;

/// Seconds of all trials.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) seconds: Vec<Second>,
    /// Seconds since 1970 of the very first row.
    origin: Option<f64>,
    /// When the SIPp at hand began.
    began: f64,
    /// The row that the next one is compared with.
    last: Option<Row>,
    /// A row that came too soon after it.
    rest: Option<Row>,
}

impl Timeline {
    /// Another SIPp begins, its counters at zero.
    pub(super) fn begin(&mut self) {
        (self.last, self.rest) = (None, None);
    }

    /// Takes its rows; it was asked for `rate` calls a second for its first `seconds`.
    pub(super) fn take(&mut self, rows: &[Row], rate: u32, seconds: u32) {
        for row in rows {
            let Some(last) = &self.last else {
                self.origin.get_or_insert(row.time);
                self.began = row.time;
                self.last = Some(row.clone());
                continue;
            };
            if row.time - last.time < CLOSE {
                self.rest = Some(row.clone());
                continue;
            }
            let span = row.time - last.time;
            self.push(row.clone(), span, rate, seconds);
        }
    }

    /// It has ended: what came in its last moments counts as a second.
    pub(super) fn end(&mut self, rate: u32, seconds: u32) {
        let (Some(rest), Some(last)) = (self.rest.take(), &self.last) else {
            return;
        };
        if (rest.created, rest.successful, rest.failed)
            != (last.created, last.successful, last.failed)
        {
            self.push(rest, 1.0, rate, seconds);
        }
    }

    /// The latest second.
    pub(super) fn last(&self) -> Second {
        self.seconds.last().copied().unwrap_or_default()
    }

    fn push(&mut self, row: Row, span: f64, rate: u32, seconds: u32) {
        let last = self.last.take().unwrap_or_default();
        self.rest = None;
        let pace = |now: u64, then: u64| now.saturating_sub(then) as f64 / span;
        // A row tells of the second before it.
        let asking = row.time - self.began < f64::from(seconds) + CLOSE;
        let second = Second {
            at: row.time - self.origin.unwrap_or(row.time),
            asked_cps: if asking { f64::from(rate) } else { 0.0 },
            started_cps: pace(row.created, last.created),
            completed_cps: pace(row.successful, last.successful),
            failed_cps: pace(row.failed, last.failed),
            up: row.up,
        };
        if self.seconds.len() < MOST {
            self.seconds.push(second);
        }
        self.last = Some(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time: f64, created: u64, successful: u64) -> Row {
        Row {
            time,
            created,
            successful,
            ..Row::default()
        }
    }

    #[test]
    fn rows_become_paces_and_a_late_rest_is_not_lost() {
        let mut timeline = Timeline::default();
        timeline.begin();
        timeline.take(&[row(1000.0, 0, 0), row(1001.0, 100, 0)], 100, 2);
        timeline.take(&[row(1003.0, 200, 150), row(1003.01, 200, 200)], 100, 2);
        timeline.end(100, 2);
        timeline.begin();
        timeline.take(
            &[row(1010.0, 0, 0), row(1011.0, 7, 0), row(1011.1, 7, 0)],
            7,
            9,
        );
        timeline.end(7, 9);
        let paces: Vec<_> = timeline
            .seconds
            .iter()
            .map(|second| (second.asked_cps, second.started_cps, second.completed_cps))
            .collect();
        let expected = [
            (100.0, 100.0, 0.0),
            (0.0, 50.0, 75.0),
            (0.0, 0.0, 50.0),
            (7.0, 7.0, 0.0),
        ];
        assert_eq!(paces, expected);
        assert_eq!(timeline.last().at, 11.0);
    }
}
