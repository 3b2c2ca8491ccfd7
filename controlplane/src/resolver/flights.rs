//! Queries on their way: which server is asked, by UDP or TCP, how often, and what an answer to them must
//! look like.
//!
//! ```text
//!   question ─► UDP to a server ─┬─ answer ──────────────────────► done
//!                                ├─ truncated ─► TCP to the same ─► done
//!                                ├─ FORMERR ───► the same without EDNS
//!                                └─ silence, ICMP, SERVFAIL, REFUSED, a referral ─► the next server
//! ```
//!
//! Each attempt has an id of its own and, since the transport opens a socket for it, a port of its own,
//! both drawn at random: whoever wants to forge an answer has to guess some thirty bits (RFC 5452).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;
use rand::RngExt;
use rand::rngs::StdRng;

use super::record::{Answer, Question};
use super::wire::{self, NotOurs, Reading, Refusal};
use super::{Ask, AttemptId, Carrier, Counters};
use crate::deadlines::Deadlines;

/// Attempts at a time, each with a socket.
pub(super) const FLYING: usize = 64;
/// Questions that wait for their turn. Beyond that they fail at once.
pub(super) const QUEUED: usize = 1024;
/// How long a server that did not answer is asked only when no other is left.
const DOWN: Duration = Duration::from_secs(30);

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no name server.
    #[error("no name server is configured")]
    NoServer,
    /// The last one was silent.
    #[error("no answer in time")]
    Timeout,
    /// The last one could not be reached.
    #[error("the name server cannot be reached")]
    Unreachable,
    /// The last one failed.
    #[error("SERVFAIL")]
    ServerFailure,
    /// The last one does not recurse.
    #[error("the name server does not recurse")]
    Referral,
    /// The last one did not understand.
    #[error("FORMERR")]
    Format,
    /// The last one refused, with this response code.
    #[error("response code {0}")]
    Refused(u16),
    /// The last one said by TCP what cannot be used.
    #[error("an unusable answer")]
    Unusable,
    /// More came than one query may get.
    #[error("a flood of answers")]
    Flooded,
    /// Too many questions were on their way.
    #[error("too many queries")]
    Overload,
}

/// A question that is done with.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) question: Question,
    pub(super) outcome: Result<Answer, Failure>,
}

/// One question on its way.
#[derive(Debug)]
struct Flight {
    question: Question,
    /// How often each server has been asked.
    tries: Vec<u32>,
    /// The attempt that is out.
    server: usize,
    carrier: Carrier,
    edns: bool,
    id: u16,
    last: Failure,
}

#[derive(Debug)]
struct NameServer {
    address: SocketAddr,
    /// Asked last until then.
    down_until: Timestamp,
}

impl NameServer {
    const fn at(address: SocketAddr) -> Self {
        Self {
            address,
            down_until: Timestamp::ZERO,
        }
    }
}

/// The questions that are being asked.
#[derive(Debug)]
pub(super) struct Flights {
    servers: Vec<NameServer>,
    timeout: Duration,
    attempts: u32,
    rng: StdRng,
    flying: BTreeMap<AttemptId, Flight>,
    /// Each question once, flying or queued.
    asked: HashSet<Question>,
    queue: VecDeque<Question>,
    deadlines: Deadlines<AttemptId>,
    last: u64,
    asks: VecDeque<Ask>,
    landed: VecDeque<Landed>,
    pub(super) counters: Counters,
}

impl Flights {
    pub(super) fn new(
        servers: &[SocketAddr],
        timeout: Duration,
        attempts: u32,
        rng: StdRng,
    ) -> Self {
        Self {
            servers: servers
                .iter()
                .map(|&address| NameServer::at(address))
                .collect(),
            timeout,
            attempts: attempts.max(1),
            rng,
            flying: BTreeMap::new(),
            asked: HashSet::new(),
            queue: VecDeque::new(),
            deadlines: Deadlines::new(),
            last: 0,
            asks: VecDeque::new(),
            landed: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Asks other servers from now on. What is on its way is asked anew, once somebody gives the time.
    pub(super) fn reconfigure(&mut self, servers: &[SocketAddr], timeout: Duration, attempts: u32) {
        let flying: Vec<AttemptId> = self.flying.keys().copied().collect();
        for attempt in flying {
            if let Some(flight) = self.end(attempt) {
                self.queue.push_back(flight.question);
            }
        }
        self.servers = servers
            .iter()
            .map(|&address| NameServer::at(address))
            .collect();
        self.timeout = timeout;
        self.attempts = attempts.max(1);
    }

    /// Asks a question, unless it is being asked already.
    pub(super) fn begin(&mut self, question: Question, now: Timestamp) {
        if self.asked.contains(&question) {
            return;
        }
        if self.servers.is_empty() || self.queue.len() >= QUEUED {
            let why = match self.servers.is_empty() {
                true => Failure::NoServer,
                false => Failure::Overload,
            };
            let outcome = Err(why);
            return self.landed.push_back(Landed { question, outcome });
        }
        self.asked.insert(question.clone());
        self.queue.push_back(question);
        self.take_off(now);
    }

    /// Whether the question is being asked.
    pub(super) fn is_asking(&self, question: &Question) -> bool {
        self.asked.contains(question)
    }

    /// An attempt's server answered, or somebody else did.
    pub(super) fn on_answer(
        &mut self,
        attempt: AttemptId,
        from: SocketAddr,
        bytes: &[u8],
        now: Timestamp,
    ) {
        let Some(flight) = self.flying.get(&attempt) else {
            self.counters.ignored_late += 1;
            return;
        };
        let asked = self.servers.get(flight.server).map(|server| server.address);
        if asked != Some(from) {
            self.counters.ignored_source += 1;
            return;
        }
        match wire::read(bytes, flight.id, &flight.question) {
            Ok(reading) => self.on_reading(attempt, reading, now),
            Err(why) => {
                self.counters.count_ignored(why);
                // Nobody else can have said it over the connection: there is nothing to wait for.
                if flight.carrier == Carrier::Tcp {
                    self.try_next(attempt, Failure::Unusable, now);
                }
            }
        }
    }

    /// An attempt's query did not get there, or its connection broke.
    pub(super) fn on_failed(&mut self, attempt: AttemptId, now: Timestamp) {
        if let Some(flight) = self.flying.get(&attempt) {
            self.counters.unreachable += 1;
            self.mark_down(flight.server, now);
            self.try_next(attempt, Failure::Unreachable, now);
        }
    }

    /// Somebody forges answers to an attempt. That is not its server's fault: the next one, which has another port
    /// and another id, may go to the same.
    pub(super) fn on_flood(&mut self, attempt: AttemptId, now: Timestamp) {
        if self.flying.contains_key(&attempt) {
            self.counters.flooded += 1;
            self.try_next(attempt, Failure::Flooded, now);
        }
    }

    /// Gives up the attempts whose time has passed.
    pub(super) fn on_time(&mut self, now: Timestamp) {
        self.take_off(now);
        while let Some(attempt) = self.deadlines.expire(now) {
            if let Some(flight) = self.flying.get(&attempt) {
                self.counters.timeouts += 1;
                self.mark_down(flight.server, now);
                self.try_next(attempt, Failure::Timeout, now);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    pub(super) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    pub(super) fn poll_landed(&mut self) -> Option<Landed> {
        self.landed.pop_front()
    }

    /// Questions on their way or waiting.
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    fn on_reading(&mut self, attempt: AttemptId, reading: Reading, now: Timestamp) {
        let Some(flight) = self.flying.get(&attempt) else {
            return;
        };
        let (server, carrier, edns) = (flight.server, flight.carrier, flight.edns);
        if let Some(server) = self.servers.get_mut(server) {
            server.down_until = Timestamp::ZERO;
        }
        match reading {
            Reading::Answer(answer) => {
                self.counters.answers += 1;
                if let Some(flight) = self.end(attempt) {
                    self.land(flight.question, Ok(answer));
                    self.take_off(now);
                }
            }
            Reading::Truncated if carrier == Carrier::Udp => {
                self.counters.truncated += 1;
                if let Some(flight) = self.end(attempt) {
                    self.send(flight, server, Carrier::Tcp, edns, now);
                }
            }
            Reading::Truncated => self.try_next(attempt, Failure::Unusable, now),
            Reading::Refused(Refusal::Format) if edns => {
                self.counters.refused += 1;
                if let Some(flight) = self.end(attempt) {
                    self.send(flight, server, carrier, false, now);
                }
            }
            Reading::Refused(why) => {
                self.counters.refused += 1;
                let why = match why {
                    Refusal::ServerFailure => Failure::ServerFailure,
                    Refusal::Format => Failure::Format,
                    Refusal::Referral => Failure::Referral,
                    Refusal::Other(code) => Failure::Refused(code),
                };
                self.try_next(attempt, why, now);
            }
        }
    }

    fn mark_down(&mut self, server: usize, now: Timestamp) {
        if let Some(server) = self.servers.get_mut(server) {
            server.down_until = now + DOWN;
        }
    }

    /// Lets questions go as long as there are sockets for them.
    fn take_off(&mut self, now: Timestamp) {
        while self.flying.len() < FLYING {
            let Some(question) = self.queue.pop_front() else {
                return;
            };
            let flight = Flight {
                question,
                tries: vec![0; self.servers.len()],
                server: 0,
                carrier: Carrier::Udp,
                edns: true,
                id: 0,
                last: Failure::NoServer,
            };
            self.dispatch(flight, now);
        }
    }

    /// This attempt came to nothing: another server, or another time.
    fn try_next(&mut self, attempt: AttemptId, why: Failure, now: Timestamp) {
        if let Some(mut flight) = self.end(attempt) {
            flight.last = why;
            self.dispatch(flight, now);
            self.take_off(now);
        }
    }

    /// Sends to the server that was asked least often, of these to one that is not known to be down, of
    /// these to the first.
    fn dispatch(&mut self, mut flight: Flight, now: Timestamp) {
        let order = |&(index, tries): &(usize, u32)| {
            let server = self.servers.get(index);
            (
                tries,
                server.is_some_and(|server| now < server.down_until),
                index,
            )
        };
        let tries = flight.tries.iter().copied().enumerate();
        match tries.min_by_key(order) {
            Some((server, tries)) if tries < self.attempts => {
                if let Some(tries) = flight.tries.get_mut(server) {
                    *tries += 1;
                }
                self.send(flight, server, Carrier::Udp, true, now);
            }
            _ => self.land(flight.question, Err(flight.last)),
        }
    }

    fn send(
        &mut self,
        flight: Flight,
        server: usize,
        carrier: Carrier,
        edns: bool,
        now: Timestamp,
    ) {
        let id = self.rng.random();
        let address = self.servers.get(server).map(|server| server.address);
        let bytes = wire::query(&flight.question, id, edns);
        let (Some(address), Some(bytes)) = (address, bytes) else {
            return self.land(flight.question, Err(Failure::Format));
        };
        match carrier {
            Carrier::Udp => self.counters.queries_udp += 1,
            Carrier::Tcp => self.counters.queries_tcp += 1,
        }
        self.last += 1;
        let attempt = AttemptId(self.last);
        self.deadlines.set(attempt, now + self.timeout);
        self.asks.push_back(Ask::Send {
            attempt,
            server: address,
            carrier,
            bytes,
        });
        let flight = Flight {
            server,
            carrier,
            edns,
            id,
            ..flight
        };
        self.flying.insert(attempt, flight);
    }

    /// Takes an attempt back: its socket is closed.
    fn end(&mut self, attempt: AttemptId) -> Option<Flight> {
        let flight = self.flying.remove(&attempt)?;
        self.deadlines.clear(attempt);
        self.asks.push_back(Ask::Close { attempt });
        Some(flight)
    }

    fn land(&mut self, question: Question, outcome: Result<Answer, Failure>) {
        self.counters.failures += u64::from(outcome.is_err());
        self.asked.remove(&question);
        self.landed.push_back(Landed { question, outcome });
    }
}

impl Counters {
    fn count_ignored(&mut self, why: NotOurs) {
        match why {
            NotOurs::Malformed => self.ignored_malformed += 1,
            NotOurs::NotAResponse | NotOurs::WrongId => self.ignored_id += 1,
            NotOurs::WrongQuestion => self.ignored_question += 1,
        }
    }
}

#[cfg(test)]
mod tests;
