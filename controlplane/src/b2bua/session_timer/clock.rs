//! The session timer of one leg: where it stands, and when something is due. Sans-IO.

use std::time::Duration;

use contract::Timestamp;

use super::agreement::Agreement;
use super::table::{Keeping, Trigger};

/// Before the end of the interval whoever does not refresh gives the session up (RFC 4028 §10), at most.
const LONGEST_MARGIN: Duration = Duration::from_secs(32);

/// A refresh that is to be made at once is made a moment later: what is due is looked at before what has just come.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// One leg's timer.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Clock {
    state: Keeping,
    agreed: Option<Agreement>,
    /// When the interval is over.
    expires: Timestamp,
    /// When the next refresh is due.
    next: Timestamp,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::b2bua) enum Due {
    /// A refresh.
    Refresh,
    /// The session is over.
    Expired,
}

impl Clock {
    /// What holds now.
    pub(in crate::b2bua) fn agreed(&self) -> Option<Agreement> {
        self.agreed
    }

    /// A 2xx has agreed to this, or to nothing: the interval begins anew.
    pub(in crate::b2bua) fn agree(&mut self, now: Timestamp, agreed: Option<Agreement>) {
        let trigger = match agreed {
            Some(Agreement { ours: true, .. }) => Trigger::AgreedOurs,
            Some(_) => Trigger::AgreedTheirs,
            None => Trigger::AgreedNone,
        };
        if !self.step(trigger) {
            return;
        }
        self.agreed = agreed;
        if let Some(Agreement { interval, .. }) = agreed {
            let interval = Duration::from_secs(u64::from(interval));
            self.expires = now + interval;
            self.next = now + interval / 2;
        }
    }

    /// When something is due.
    pub(in crate::b2bua) fn deadline(&self) -> Option<Timestamp> {
        let agreed = self.agreed?;
        let expires = (!agreed.alone).then_some(self.expires);
        match self.state {
            Keeping::Off | Keeping::Over => None,
            Keeping::Ours => Some(self.next),
            Keeping::Pausing => Some(expires.map_or(self.next, |expires| expires.min(self.next))),
            Keeping::Asking => expires,
            Keeping::Theirs => {
                let interval = Duration::from_secs(u64::from(agreed.interval));
                let margin = LONGEST_MARGIN.min(interval / 3);
                Some(Timestamp::from_nanos(
                    self.expires
                        .as_nanos()
                        .saturating_sub(u64::try_from(margin.as_nanos()).unwrap_or(u64::MAX)),
                ))
            }
        }
    }

    /// What is due now. A refresh that is due is then on its way, or [`Self::glare`] says that it is not.
    pub(in crate::b2bua) fn on_time(&mut self, now: Timestamp) -> Option<Due> {
        self.deadline().filter(|due| *due <= now)?;
        let expired = match self.state {
            Keeping::Pausing => !self.is_alone() && self.expires <= now,
            state => state != Keeping::Ours,
        };
        match expired {
            true => self.step(Trigger::Expired).then_some(Due::Expired),
            false => self.step(Trigger::Due).then_some(Due::Refresh),
        }
    }

    /// The refresh has to be made again after this pause.
    pub(in crate::b2bua) fn glare(&mut self, now: Timestamp, pause: Duration) {
        if self.step(Trigger::Glare) {
            self.next = now + pause.max(SHORTEST_PAUSE);
        }
    }

    /// The refresh is refused: after this pause, or half of what is left.
    pub(in crate::b2bua) fn refused(&mut self, now: Timestamp, pause: Option<Duration>) {
        let left = match self.is_alone() {
            true => LONGEST_MARGIN,
            false => self.expires.since(now),
        };
        if self.step(Trigger::Refused) {
            self.next = now + pause.unwrap_or(left / 2).max(SHORTEST_PAUSE);
        }
    }

    /// The session does not end before this long from now: nobody can refresh it.
    pub(in crate::b2bua) fn put_off(&mut self, now: Timestamp) {
        self.expires = self.expires.max(now + LONGEST_MARGIN + SHORTEST_PAUSE);
    }

    /// Nobody is there any more.
    pub(in crate::b2bua) fn gone(&mut self) {
        self.step(Trigger::Gone);
    }

    fn is_alone(&self) -> bool {
        self.agreed.is_some_and(|agreed| agreed.alone)
    }

    fn step(&mut self, trigger: Trigger) -> bool {
        let Some(next) = self.state.after(trigger) else {
            return false;
        };
        self.state = next;
        true
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> Keeping {
        self.state
    }
}
