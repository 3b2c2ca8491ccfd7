//! Whether a peer is well: what is known of it, by the answers to OPTIONS and by what calls meet.
//!
//! One machine for each peer, with hysteresis: a few failures in a row take it out of service, a few
//! successes bring it back. Its rows are [`TABLE`]; docs/trunks.md shows the same, and a test compares.
//! Knows neither SIP nor who asks: evidence goes in, a change of state comes out.

use std::fmt;
use std::time::Duration;

use contract::Timestamp;

use crate::settings::Check;

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HealthState {
    /// Nothing yet.
    Unknown,
    /// It answers.
    Up,
    /// It has failed, but not often enough to be down.
    Failing,
    /// It has failed too often: no call goes there while there is another peer.
    Down,
    /// It was down and answers again, but not often enough to be up.
    Recovering,
    /// It has asked to be left alone for a while (503 with Retry-After).
    Resting,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HealthTrigger {
    /// A success, and still fewer than `up_after` in a row.
    Success,
    /// As many successes in a row as `up_after`, or more.
    Successes,
    /// A failure, and still fewer than `down_after` in a row.
    Failure,
    /// As many failures in a row as `down_after`, or more.
    Failures,
    /// 503 with Retry-After.
    RetryAfter,
    /// The time of Retry-After is over; or a peer that is down and that nobody asks has rested.
    Rested,
}

/// One row: in this state, at this trigger, go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthRow {
    /// Where it is.
    pub state: HealthState,
    /// What happens.
    pub trigger: HealthTrigger,
    /// Where it goes.
    pub next: HealthState,
}

macro_rules! rows {
    ($($state:ident, $trigger:ident => $next:ident;)+) => {
        &[$(HealthRow {
            state: HealthState::$state,
            trigger: HealthTrigger::$trigger,
            next: HealthState::$next,
        },)+]
    };
}

/// Every row. What is not here changes nothing.
pub const TABLE: &[HealthRow] = rows! {
    Unknown, Success => Up;
    Unknown, Successes => Up;
    Unknown, Failure => Failing;
    Unknown, Failures => Down;
    Unknown, RetryAfter => Resting;

    Up, Failure => Failing;
    Up, Failures => Down;
    Up, RetryAfter => Resting;

    Failing, Success => Up;
    Failing, Successes => Up;
    Failing, Failures => Down;
    Failing, RetryAfter => Resting;

    Down, Success => Recovering;
    Down, Successes => Up;
    Down, RetryAfter => Resting;
    Down, Rested => Unknown;

    Recovering, Successes => Up;
    Recovering, Failure => Down;
    Recovering, Failures => Down;
    Recovering, RetryAfter => Resting;

    Resting, Rested => Unknown;
};

impl HealthState {
    /// Every state, in order.
    pub const ALL: &'static [Self] = &[
        Self::Unknown,
        Self::Up,
        Self::Failing,
        Self::Down,
        Self::Recovering,
        Self::Resting,
    ];

    /// The state after the trigger; `None` where the table has no such row.
    pub fn after(self, trigger: HealthTrigger) -> Option<Self> {
        let row = TABLE
            .iter()
            .find(|row| row.state == self && row.trigger == trigger);
        row.map(|row| row.next)
    }

    /// Whether calls go there while others could be called, too.
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Unknown | Self::Up | Self::Failing)
    }

    /// The state's name in tables: lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Failing => "failing",
            Self::Down => "down",
            Self::Recovering => "recovering",
            Self::Resting => "resting",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is seen of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It has answered.
    Success,
    /// It has not, it cannot be reached, or it says that it does not serve.
    Failure,
    /// It wants to be left alone for so long.
    RetryAfter(Duration),
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: HealthState,
    pub(crate) to: HealthState,
}

/// One peer's machine.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    state: HealthState,
    since: Timestamp,
    /// Successes in a row, or failures: the one that is not zero.
    successes: u32,
    failures: u32,
    /// When a rest is over, if the state ends by itself.
    rests_until: Option<Timestamp>,
}

impl Health {
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self {
            state: HealthState::Unknown,
            since: now,
            successes: 0,
            failures: 0,
            rests_until: None,
        }
    }

    pub(crate) const fn state(&self) -> HealthState {
        self.state
    }

    /// Since when it is in this state.
    pub(crate) const fn since(&self) -> Timestamp {
        self.since
    }

    /// When [`Self::on_time`] has something to do.
    pub(crate) const fn deadline(&self) -> Option<Timestamp> {
        self.rests_until
    }

    /// Takes evidence in.
    pub(crate) fn witness(
        &mut self,
        evidence: Evidence,
        check: &Check,
        now: Timestamp,
    ) -> Option<Change> {
        let trigger = match evidence {
            Evidence::Success => {
                (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
                match self.successes >= check.up_after {
                    true => HealthTrigger::Successes,
                    false => HealthTrigger::Success,
                }
            }
            Evidence::Failure => {
                (self.successes, self.failures) = (0, self.failures.saturating_add(1));
                match self.failures >= check.down_after {
                    true => HealthTrigger::Failures,
                    false => HealthTrigger::Failure,
                }
            }
            Evidence::RetryAfter(_) => HealthTrigger::RetryAfter,
        };
        let change = self.step(trigger, now)?;
        self.rests_until = match (change.to, evidence) {
            (HealthState::Resting, Evidence::RetryAfter(wanted)) => {
                Some(now + wanted.min(check.longest_retry_after))
            }
            (HealthState::Down, _) if check.every.is_none() => Some(now + check.rest),
            _ => None,
        };
        Some(change)
    }

    /// Ends a rest that is over.
    pub(crate) fn on_time(&mut self, now: Timestamp) -> Option<Change> {
        self.rests_until.filter(|until| *until <= now)?;
        self.rests_until = None;
        self.step(HealthTrigger::Rested, now)
    }

    fn step(&mut self, trigger: HealthTrigger, now: Timestamp) -> Option<Change> {
        let from = self.state;
        let to = from.after(trigger)?;
        if matches!(trigger, HealthTrigger::Rested | HealthTrigger::RetryAfter) {
            (self.successes, self.failures) = (0, 0);
        }
        (self.state, self.since) = (to, now);
        Some(Change { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn check(every: Option<u64>) -> Check {
        Check {
            every: every.map(Duration::from_secs),
            ..Check::default()
        }
    }

    #[test]
    fn the_documentation_has_the_same_rows() {
        let text = include_str!("../../../docs/trunks.md");
        let written: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter(|line| line.matches('`').count() == 6)
            .collect();
        let meant: Vec<String> = TABLE
            .iter()
            .map(|row| {
                format!(
                    "| `{:?}` | `{:?}` | `{:?}` |",
                    row.state, row.trigger, row.next
                )
            })
            .collect();
        assert_eq!(written, meant);
    }

    #[test]
    fn a_state_and_a_trigger_have_at_most_one_row_and_every_state_leads_up() {
        let mut seen = HashSet::new();
        let mut leads_up = HashSet::from([HealthState::Up]);
        for _ in HealthState::ALL {
            for row in TABLE {
                seen.insert((row.state, row.trigger));
                if leads_up.contains(&row.next) {
                    leads_up.insert(row.state);
                }
            }
        }
        assert_eq!(seen.len(), TABLE.len());
        assert_eq!(leads_up.len(), HealthState::ALL.len());
    }

    /// A machine that has been led to a state.
    fn led_to(state: HealthState, check: &Check) -> Health {
        let mut health = Health::new(at(0));
        let evidence: &[Evidence] = match state {
            HealthState::Unknown => &[],
            HealthState::Up => &[Evidence::Success],
            HealthState::Failing => &[Evidence::Failure],
            HealthState::Down => &[Evidence::Failure; 3],
            HealthState::Recovering => &[
                Evidence::Failure,
                Evidence::Failure,
                Evidence::Failure,
                Evidence::Success,
            ],
            HealthState::Resting => &[Evidence::RetryAfter(Duration::from_secs(7))],
        };
        for evidence in evidence {
            health.witness(*evidence, check, at(0));
        }
        assert_eq!(health.state(), state);
        health
    }

    /// Pulls a trigger by as much evidence as it takes; says whether the last of it changed the state.
    fn pull(health: &mut Health, trigger: HealthTrigger) -> Option<Change> {
        let one = check(None);
        let at_once = Check {
            down_after: 1,
            up_after: 1,
            ..one.clone()
        };
        let often = Check {
            down_after: u32::MAX,
            up_after: u32::MAX,
            ..one.clone()
        };
        match trigger {
            HealthTrigger::Success => health.witness(Evidence::Success, &often, at(1)),
            HealthTrigger::Successes => health.witness(Evidence::Success, &at_once, at(1)),
            HealthTrigger::Failure => health.witness(Evidence::Failure, &often, at(1)),
            HealthTrigger::Failures => health.witness(Evidence::Failure, &at_once, at(1)),
            HealthTrigger::RetryAfter => {
                health.witness(Evidence::RetryAfter(Duration::from_secs(1)), &one, at(1))
            }
            HealthTrigger::Rested => health.on_time(at(1_000)),
        }
    }

    #[test]
    fn every_row_is_walked_and_what_is_no_row_changes_nothing() {
        use HealthTrigger::{Failure, Failures, Rested, RetryAfter, Success, Successes};
        for &state in HealthState::ALL {
            for trigger in [Success, Successes, Failure, Failures, RetryAfter, Rested] {
                let mut health = led_to(state, &check(None));
                let change = pull(&mut health, trigger);
                let next = state.after(trigger);
                assert_eq!(change.map(|change| change.to), next, "{state} {trigger:?}");
                assert_eq!(health.state(), next.unwrap_or(state), "{state} {trigger:?}");
            }
        }
    }

    #[test]
    fn evidence_must_come_in_a_row() {
        let policy = check(Some(30));
        let mut health = led_to(HealthState::Up, &policy);
        for _ in 0..5 {
            health.witness(Evidence::Failure, &policy, at(1));
            health.witness(Evidence::Failure, &policy, at(2));
            assert_eq!(health.state(), HealthState::Failing);
            health.witness(Evidence::Success, &policy, at(3));
            assert_eq!(health.state(), HealthState::Up);
        }
        for second in 4..7 {
            health.witness(Evidence::Failure, &policy, at(second));
        }
        assert_eq!((health.state(), health.since()), (HealthState::Down, at(6)));
        assert_eq!(health.deadline(), None, "checks bring it back");
        health.witness(Evidence::Success, &policy, at(7));
        health.witness(Evidence::Failure, &policy, at(8));
        assert_eq!(health.state(), HealthState::Down);
        health.witness(Evidence::Success, &policy, at(9));
        assert_eq!(health.state(), HealthState::Recovering);
        assert!(!health.state().is_usable());
        health.witness(Evidence::Success, &policy, at(10));
        assert_eq!(health.state(), HealthState::Up);
    }

    #[test]
    fn who_is_down_and_not_asked_is_tried_again_after_a_rest() {
        let policy = check(None);
        let mut health = led_to(HealthState::Down, &policy);
        assert_eq!(health.deadline(), Some(at(30)));
        assert_eq!(health.on_time(at(29)), None);
        assert!(health.on_time(at(30)).is_some());
        assert_eq!(health.state(), HealthState::Unknown);
        assert_eq!(health.deadline(), None);
    }

    #[test]
    fn retry_after_is_kept_to_within_reason() {
        let policy = check(Some(30));
        let mut health = led_to(HealthState::Up, &policy);
        let hour = Evidence::RetryAfter(Duration::from_secs(3_600));
        health.witness(hour, &policy, at(10));
        assert_eq!(health.deadline(), Some(at(310)));
        health.witness(Evidence::Success, &policy, at(20));
        health.witness(hour, &policy, at(200));
        assert_eq!(health.state(), HealthState::Resting);
        assert_eq!(health.deadline(), Some(at(310)), "not for ever longer");
        assert!(health.on_time(at(310)).is_some());
        assert_eq!(health.state(), HealthState::Unknown);
    }
}
