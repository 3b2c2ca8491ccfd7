//! Every row of the table, compared with the documentation and walked.

use std::time::Duration;

use contract::Timestamp;

use super::agreement::Agreement;
use super::clock::{Clock, Due};
use super::table::{Keeping, Row, TABLE, Trigger};

const INTERVAL: Duration = Duration::from_secs(90);

fn start() -> Timestamp {
    Timestamp::from_nanos(1_000)
}

fn agreement(ours: bool) -> Option<Agreement> {
    Some(Agreement {
        interval: 90,
        ours,
        alone: false,
    })
}

#[test]
fn the_documentation_has_the_same_rows() {
    let text = include_str!("../../../../docs/session-timers.md");
    let written: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let line = |row: &Row| {
        let Row {
            state,
            trigger,
            next,
            action,
        } = row;
        format!("| `{state:?}` | `{trigger:?}` | `{next:?}` | {action} |")
    };
    let meant: Vec<String> = TABLE.iter().map(line).collect();
    assert_eq!(written, meant);
}

/// A clock that has come to the state, and what time it is there.
fn at(state: Keeping) -> (Clock, Timestamp) {
    let mut clock = Clock::default();
    let mut now = start();
    match state {
        Keeping::Off => {}
        Keeping::Ours => clock.agree(now, agreement(true)),
        Keeping::Theirs => clock.agree(now, agreement(false)),
        Keeping::Asking | Keeping::Pausing => {
            clock.agree(now, agreement(true));
            now = now + INTERVAL / 2;
            assert_eq!(clock.on_time(now), Some(Due::Refresh));
            if state == Keeping::Pausing {
                clock.glare(now, Duration::from_secs(3));
                assert_eq!(clock.deadline(), Some(now + Duration::from_secs(3)));
            }
        }
        Keeping::Over => unreachable!("no row begins there"),
    }
    assert_eq!(clock.state(), state);
    (clock, now)
}

#[test]
fn every_row_is_walked() {
    for row in TABLE {
        let (mut clock, now) = at(row.state);
        let due = clock.deadline();
        match row.trigger {
            Trigger::AgreedOurs => {
                clock.agree(now, agreement(true));
                assert_eq!(clock.deadline(), Some(now + INTERVAL / 2), "{row:?}");
            }
            Trigger::AgreedTheirs => {
                clock.agree(now, agreement(false));
                assert_eq!(clock.deadline(), Some(now + INTERVAL * 2 / 3), "{row:?}");
            }
            Trigger::AgreedNone => {
                clock.agree(now, None);
                assert_eq!(clock.deadline(), None);
            }
            Trigger::Due => {
                assert_eq!(clock.on_time(now), None);
                assert_eq!(clock.on_time(due.expect("one")), Some(Due::Refresh));
                assert_eq!(clock.deadline(), Some(start() + INTERVAL));
            }
            Trigger::Glare => {
                clock.glare(now, Duration::from_secs(2));
                assert_eq!(clock.deadline(), Some(now + Duration::from_secs(2)));
            }
            Trigger::Refused => {
                clock.refused(now, None);
                assert_eq!(clock.deadline(), Some(now + INTERVAL / 4));
            }
            Trigger::Gone => clock.gone(),
            Trigger::Expired => {
                let end = start() + INTERVAL;
                assert_eq!(clock.on_time(end), Some(Due::Expired));
                assert_eq!(clock.deadline(), None);
            }
        }
        assert_eq!(clock.state(), row.next, "{row:?}");
    }
}

#[test]
fn the_margin_is_at_most_32_seconds() {
    let mut clock = Clock::default();
    clock.agree(
        start(),
        Some(Agreement {
            interval: 1800,
            ours: false,
            alone: false,
        }),
    );
    assert_eq!(clock.deadline(), Some(start() + Duration::from_secs(1768)));
}

#[test]
fn whoever_refreshes_for_itself_alone_never_expires() {
    let mut clock = Clock::default();
    let alone = Agreement {
        interval: 90,
        ours: true,
        alone: true,
    };
    clock.agree(start(), Some(alone));
    let half = start() + INTERVAL / 2;
    assert_eq!(clock.on_time(half), Some(Due::Refresh));
    assert_eq!(clock.deadline(), None);
    clock.refused(half, None);
    assert_eq!(clock.on_time(start() + 10 * INTERVAL), Some(Due::Refresh));
}
