//! One connection of a control listener: its bytes, its requests and replies, and its life in time.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use contract::Timestamp;
use mio::net::TcpStream;

use super::outbox::{Full, Outbox};
use super::speech::{Heard, Nonsense, Speech};

/// From the first byte of a request to its last, and without progress of what is being written: some
/// retransmissions of TCP.
const STALL: Duration = Duration::from_secs(20);
/// Until a request over HTTP is answered with 504: what an answer waits for, workers and next hops, has its own
/// bounds, which are shorter.
const REPLY: Duration = Duration::from_secs(15);
/// How long a connection that was shut stays for what it is still owed, or to let its last words be read.
const LINGER: Duration = Duration::from_secs(2);

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// By the other side, or after what it asked for.
    Closed,
    /// The network broke it, or the other side did without a word.
    Broken,
    /// What came makes no sense.
    Nonsense,
    /// The other side does not read, or does not end what it writes.
    Stalled,
    /// Nobody had anything to say.
    Idle,
}

/// What reading, or going on after a reply, gave.
#[derive(Debug, Default)]
pub(super) struct Harvest {
    /// Each with its number.
    pub(super) requests: Vec<(u64, Vec<u8>)>,
    pub(super) malformed: u64,
    pub(super) too_large: u64,
    pub(super) web_sockets: u64,
    /// More may be there to be read.
    pub(super) more: bool,
    /// The connection is to end at once.
    pub(super) end: Option<Why>,
}

/// How much of the connection there still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// They have no more to say; what they are owed is still sent.
    TheyShut(Timestamp),
    /// We have no more to say; what they still send is thrown away.
    WeShut(Timestamp),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
    /// Never used again.
    pub(super) number: u64,
    /// It stands in the queue of those that may hold more.
    pub(super) is_ready: bool,
    speech: Speech,
    outbox: Outbox,
    phase: Phase,
    next_request: u64,
    /// Requests without a reply so far.
    owed: u64,
    idle: Duration,
    active: Timestamp,
    reading: Option<Timestamp>,
    writing: Option<Timestamp>,
    answering: Option<Timestamp>,
}

impl Connection {
    pub(super) fn new(
        (stream, remote): (TcpStream, SocketAddr),
        number: u64,
        speech: Speech,
        idle: Duration,
        now: Timestamp,
    ) -> Self {
        Self {
            stream,
            remote,
            number,
            is_ready: false,
            speech,
            outbox: Outbox::default(),
            phase: Phase::Open,
            next_request: 0,
            owed: 0,
            idle,
            active: now,
            reading: None,
            writing: None,
            answering: None,
        }
    }

    /// Reads once, and says what came of it.
    pub(super) fn read(&mut self, buffer: &mut [u8], now: Timestamp) -> Harvest {
        if matches!(self.phase, Phase::TheyShut(_)) || self.answering.is_some() {
            return Harvest::default();
        }
        match self.stream.read(buffer) {
            Ok(0) => self.they_shut(now),
            Ok(_) if self.phase != Phase::Open => Harvest {
                more: true,
                ..Harvest::default()
            },
            Ok(count) => {
                self.speech.push(buffer.get(..count).unwrap_or_default());
                Harvest {
                    more: true,
                    ..self.hear(now)
                }
            }
            Err(error) if is_for_later(&error) => Harvest::default(),
            Err(_) => ended(Why::Broken),
        }
    }

    /// Takes what has come to its end.
    pub(super) fn hear(&mut self, now: Timestamp) -> Harvest {
        let mut harvest = Harvest::default();
        while self.phase == Phase::Open {
            match self.speech.next(&mut self.outbox) {
                Ok(Heard::Nothing) => break,
                Ok(Heard::Request(bytes)) => {
                    self.active = now;
                    self.owed += 1;
                    self.next_request += 1;
                    harvest.requests.push((self.next_request, bytes));
                }
                Ok(Heard::Answered) => self.active = now,
                Ok(Heard::Refused) => {
                    self.active = now;
                    harvest.malformed += 1;
                }
                Ok(Heard::RefusedForGood(too_large)) => {
                    harvest.malformed += u64::from(!too_large);
                    harvest.too_large += u64::from(too_large);
                    self.we_shut(now);
                }
                Ok(Heard::Upgrade) => {
                    self.active = now;
                    harvest.web_sockets += 1;
                }
                Ok(Heard::Close) => self.we_shut(now),
                Err(nonsense) => {
                    harvest.malformed += u64::from(nonsense == Nonsense::Malformed);
                    harvest.too_large += u64::from(nonsense == Nonsense::TooLarge);
                    harvest.end = Some(match nonsense {
                        Nonsense::Unread => Why::Stalled,
                        Nonsense::Malformed | Nonsense::TooLarge => Why::Nonsense,
                    });
                    break;
                }
            }
        }
        self.answering = match self.speech.is_answering() {
            true => self.answering.or(Some(now)),
            false => None,
        };
        self.reading = match self.speech.is_within() && self.phase == Phase::Open {
            true => self
                .reading
                .filter(|_| harvest.requests.is_empty())
                .or(Some(now)),
            false => None,
        };
        harvest
    }

    /// Lets a reply wait to be written.
    pub(super) fn reply(&mut self, bytes: Vec<u8>, now: Timestamp) -> Result<(), Full> {
        self.active = now;
        self.owed = self.owed.saturating_sub(1);
        let goes_on = self.speech.reply(bytes, &mut self.outbox)?;
        if !goes_on {
            self.we_shut(now);
        }
        Ok(())
    }

    /// Writes what waits, as far as there is room; why the connection ends now, if it does.
    pub(super) fn write(&mut self, now: Timestamp) -> Option<Why> {
        let Ok(progress) = self.outbox.write_to(&mut self.stream) else {
            return Some(Why::Broken);
        };
        let since = self.writing.filter(|_| !progress);
        let waits = !self.outbox.is_empty();
        self.writing = waits.then(|| since.unwrap_or(now));
        match self.phase {
            Phase::TheyShut(_) if self.owed == 0 && !waits => Some(Why::Closed),
            Phase::WeShut(_) if !waits => {
                // What they read last must not be lost to a reset because they had sent more.
                let _ = self.stream.shutdown(Shutdown::Write);
                None
            }
            _ => None,
        }
    }

    /// When [`Self::check`] must be asked at the latest.
    pub(super) fn due(&self) -> Timestamp {
        if let Phase::TheyShut(at) | Phase::WeShut(at) = self.phase {
            return at + LINGER;
        }
        let stalls = [self.reading, self.writing].map(|since| since.map(|at| at + STALL));
        let reply = self.answering.map(|at| at + REPLY);
        let others = stalls.into_iter().chain([reply]).flatten();
        others.fold(self.active + self.idle, Timestamp::min)
    }

    /// Why it ends now, if it does.
    pub(super) fn check(&mut self, now: Timestamp) -> Option<Why> {
        if now < self.due() {
            return None;
        }
        if self.phase != Phase::Open {
            return Some(Why::Closed);
        }
        if self.answering.is_some_and(|at| at + REPLY <= now) {
            self.answering = None;
            self.speech.give_up(&mut self.outbox);
            self.we_shut(now);
            return self.write(now);
        }
        let past = |since: Option<Timestamp>| since.is_some_and(|at| at + STALL <= now);
        Some(match past(self.reading) || past(self.writing) {
            true => Why::Stalled,
            false => Why::Idle,
        })
    }

    fn they_shut(&mut self, now: Timestamp) -> Harvest {
        if self.phase != Phase::Open || (self.owed == 0 && self.outbox.is_empty()) {
            return ended(Why::Closed);
        }
        self.phase = Phase::TheyShut(now);
        Harvest::default()
    }

    fn we_shut(&mut self, now: Timestamp) {
        if self.phase == Phase::Open {
            self.phase = Phase::WeShut(now);
        }
    }
}

fn ended(why: Why) -> Harvest {
    Harvest {
        end: Some(why),
        ..Harvest::default()
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
