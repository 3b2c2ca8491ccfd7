//! The life of one connection in time: how long it may take to come up, to be silent, to finish a message,
//! to take what is written; and its keep-alives (RFC 5626 §3.5.1). Sans-IO.

use std::time::Duration;

use contract::Timestamp;

use crate::path::Opened;
use crate::settings::ConnectionLimits;

/// A SYN and its repetitions after one and three seconds. Longer only delays the next target of a call.
const CONNECT: Duration = Duration::from_secs(4);
/// A TLS handshake: two round trips and some milliseconds of arithmetic. Longer lets who connects and says
/// nothing hold a place for longer.
const HANDSHAKE: Duration = Duration::from_secs(8);
/// From the first byte of a message to its last, and without progress of what is being written: some
/// retransmissions of TCP.
const STALL: Duration = Duration::from_secs(20);
/// Until a keep-alive is answered (RFC 5626 §4.4.1).
const PONG: Duration = Duration::from_secs(10);

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Handshaking,
    Open,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a double CRLF.
    Ping,
    /// End it: it is not coming up.
    NotUp,
    /// End it: neither side has said anything for long.
    Idle,
    /// End it: a message does not end, or what is written is not taken, or a keep-alive is not answered.
    Stalled,
}

/// One connection in time.
#[derive(Debug)]
pub(super) struct Life {
    opened: Opened,
    phase: Phase,
    idle: Duration,
    keep_alive: Option<Duration>,
    /// When the phase began.
    since: Timestamp,
    /// When a message or a keep-alive passed last, in either direction.
    active: Timestamp,
    /// Since when a message has been coming in.
    reading: Option<Timestamp>,
    /// Since when something has been waiting to be written.
    writing: Option<Timestamp>,
    pinged: Option<Timestamp>,
    /// The other side has answered a keep-alive once: it will again, while it is there.
    pongs: bool,
    /// The last frame was a line end.
    half_ping: bool,
}

impl Life {
    pub(super) fn new(
        opened: Opened,
        phase: Phase,
        limits: &ConnectionLimits,
        now: Timestamp,
    ) -> Self {
        Self {
            opened,
            phase,
            idle: limits.idle,
            keep_alive: limits.keep_alive.filter(|_| opened == Opened::ByUs),
            since: now,
            active: now,
            reading: None,
            writing: None,
            pinged: None,
            pongs: false,
            half_ping: false,
        }
    }

    pub(super) const fn opened(&self) -> Opened {
        self.opened
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Timestamp) {
        self.phase = phase;
        self.since = now;
        self.active = now;
    }

    /// A message or a keep-alive has been written.
    pub(super) fn wrote(&mut self, now: Timestamp) {
        self.active = now;
    }

    /// A message has come.
    pub(super) fn message(&mut self, now: Timestamp) {
        self.active = now;
        self.half_ping = false;
    }

    /// A line end has come; whether it completes a keep-alive, which is to be answered with one. Only
    /// who opened a connection keeps it alive: to us, it is an answer.
    pub(super) fn line_end(&mut self, now: Timestamp) -> bool {
        self.active = now;
        if self.opened == Opened::ByUs {
            self.pongs |= self.pinged.take().is_some();
            return false;
        }
        self.half_ping = !self.half_ping;
        !self.half_ping
    }

    /// Whether a part of a message has come, after a read.
    pub(super) fn set_reading(&mut self, within: bool, now: Timestamp) {
        self.reading = within.then(|| self.reading.unwrap_or(now));
    }

    /// Whether something waits to be written, after a write; `progress`: some of it was.
    pub(super) fn set_writing(&mut self, waits: bool, progress: bool, now: Timestamp) {
        let since = self.writing.filter(|_| !progress);
        self.writing = waits.then(|| since.unwrap_or(now));
    }

    /// When [`Self::check`] must be asked at the latest.
    pub(super) fn due(&self) -> Timestamp {
        match self.phase {
            Phase::Connecting => self.since + CONNECT,
            Phase::Handshaking => self.since + HANDSHAKE,
            Phase::Open => {
                let ping = self.keep_alive.map(|every| self.active + every);
                let ping = ping.filter(|_| self.pinged.is_none());
                let pong = self.pinged.map(|at| at + PONG);
                let stalls = [self.reading, self.writing].map(|since| since.map(|at| at + STALL));
                let others = [ping, pong].into_iter().chain(stalls).flatten();
                others.fold(self.active + self.idle, Timestamp::min)
            }
        }
    }

    /// What is due, if something is.
    pub(super) fn check(&mut self, now: Timestamp) -> Option<Due> {
        if now < self.due() {
            return None;
        }
        if self.phase != Phase::Open {
            return Some(Due::NotUp);
        }
        let past = |since: Option<Timestamp>, after| since.is_some_and(|at| at + after <= now);
        if past(self.reading, STALL) || past(self.writing, STALL) {
            return Some(Due::Stalled);
        }
        if past(self.pinged, PONG) {
            if self.pongs {
                return Some(Due::Stalled);
            }
            // It may not know keep-alives: they are no less of use to what is in between.
            self.pinged = None;
            self.active = now;
            return None;
        }
        if self.active + self.idle <= now {
            return Some(Due::Idle);
        }
        self.pinged = Some(now);
        Some(Due::Ping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Timestamp {
        Timestamp::from_nanos(1)
    }

    fn open(opened: Opened, keep_alive: Option<Duration>) -> Life {
        let limits = ConnectionLimits {
            idle: 600 * SECOND,
            keep_alive,
            ..ConnectionLimits::default()
        };
        Life::new(opened, Phase::Open, &limits, start())
    }

    #[test]
    fn what_does_not_come_up_is_given_up() {
        for (phase, after) in [
            (Phase::Connecting, CONNECT),
            (Phase::Handshaking, HANDSHAKE),
        ] {
            let mut life = open(Opened::ByUs, None);
            life.enter(phase, start());
            assert_eq!(life.due(), start() + after);
            assert_eq!(life.check(start() + after), Some(Due::NotUp));
        }
    }

    #[test]
    fn silence_ends_it_and_anything_that_passes_does_not() {
        let mut life = open(Opened::ByThem, None);
        life.message(start() + SECOND);
        assert_eq!(life.check(start() + 600 * SECOND), None);
        assert!(!life.line_end(start() + 2 * SECOND));
        assert_eq!(life.due(), start() + 602 * SECOND);
        assert_eq!(life.check(life.due()), Some(Due::Idle));
    }

    #[test]
    fn two_line_ends_in_a_row_are_answered_and_one_is_not() {
        let mut life = open(Opened::ByThem, None);
        assert!(!life.line_end(start()));
        assert!(life.line_end(start()));
        assert!(!life.line_end(start()));
        life.message(start());
        assert!(!life.line_end(start()));
        life.wrote(start());
        assert!(life.line_end(start()));
    }

    #[test]
    fn what_neither_ends_nor_moves_stalls() {
        let mut life = open(Opened::ByThem, None);
        life.set_reading(true, start());
        life.set_reading(true, start() + 5 * SECOND);
        assert_eq!(life.check(start() + STALL), Some(Due::Stalled));
        life.set_reading(false, start() + STALL);
        life.set_writing(true, false, start());
        life.set_writing(true, true, start() + 5 * SECOND);
        assert_eq!(life.check(start() + STALL), None);
        assert_eq!(life.check(start() + STALL + 5 * SECOND), Some(Due::Stalled));
    }

    #[test]
    fn keep_alives_end_only_what_has_answered_one_before() {
        let mut life = open(Opened::ByUs, Some(30 * SECOND));
        let ping = start() + 30 * SECOND;
        assert_eq!(life.check(ping), Some(Due::Ping));
        assert_eq!(life.check(ping + PONG), None, "it may not know them");
        let ping = ping + PONG + 30 * SECOND;
        assert_eq!(life.check(ping), Some(Due::Ping));
        assert!(!life.line_end(ping + SECOND), "the answer is not answered");
        let ping = ping + 31 * SECOND;
        assert_eq!(life.check(ping), Some(Due::Ping));
        assert_eq!(life.check(ping + PONG), Some(Due::Stalled));
        assert_eq!(
            open(Opened::ByThem, Some(SECOND)).due(),
            start() + 600 * SECOND
        );
    }
}
