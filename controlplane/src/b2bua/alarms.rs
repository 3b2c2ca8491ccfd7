//! What calls have to do at a time: at most one deadline of each sort for each call.
//!
//! Timer C is older and has deadlines of its own (`Context::timers`).

use contract::Timestamp;

use crate::deadlines::Deadlines;
use crate::session::Side;

use super::CallId;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A reliable provisional response is to be sent again, or given up.
    Reliable,
    /// The session on this leg is to be refreshed, or has expired.
    Session(Side),
    /// A transfer's target has had its time, or the party that remains is asked again.
    Transfer,
}

impl Alarm {
    const ALL: [Self; 4] = [
        Self::Reliable,
        Self::Session(Side::A),
        Self::Session(Side::B),
        Self::Transfer,
    ];
}

/// The deadlines of all calls.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    deadlines: Deadlines<(CallId, Alarm)>,
}

impl Alarms {
    /// Sets the call's deadline of this sort, or takes it away.
    pub(super) fn set(&mut self, call: CallId, alarm: Alarm, at: Option<Timestamp>) {
        match at {
            Some(at) => self.deadlines.set((call, alarm), at),
            None => {
                self.deadlines.clear((call, alarm));
            }
        }
    }

    /// Takes all of a call's away.
    pub(super) fn clear(&mut self, call: CallId) {
        for alarm in Alarm::ALL {
            self.deadlines.clear((call, alarm));
        }
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    /// Takes out the earliest that is due at `now`.
    pub(super) fn expire(&mut self, now: Timestamp) -> Option<(CallId, Alarm)> {
        self.deadlines.expire(now)
    }
}
