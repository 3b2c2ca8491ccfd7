//! Sessions that come and go while others are relayed: how long until a new one carries packets.
//!
//! ```text
//!   churner (a thread)    open_sessions ─► answer ─► Fresh ──┐        … a second later: close_sessions
//!   lane 0                                                   └─► first packet of each direction ─► sink
//!                         │◄─ request to answer ─►│◄─ answer to packet ─►│
//! ```
//!
//! The relay's ports are known with the answer only, so the first packets leave when the lane has read it. They
//! have a trial number of their own: they are verified like all others, but are no part of the trial's rate and loss.
//! A packet that is not back within [`REPEAT_NS`] is sent again, and counted as repeated.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::admin_client::{AdminClient, AdminError, MOST_SESSIONS, Terms};
use crate::engine::{Clock, Wire};
use crate::install::Hosts;
use crate::packet::build::{Link, Outgoing};
use crate::packet::{FRESH_TRIAL, FlowNumber, Side};
use crate::report::Churn;
use crate::streams::Stream;
use crate::trial::latency;
use crate::verify::{Expectations, histogram};

/// How long a session lives, in seconds.
const LIFE: f64 = 1.0;
/// How long the first packet of a direction may take before it is sent again: far longer than a relay at work
/// takes, so that what is repeated was lost.
const REPEAT_NS: u64 = 20_000_000;
/// How long a session may take to relay before it is given up.
const PATIENCE_NS: u64 = 500_000_000;
/// Requests a second at the most; above, each opens several sessions.
const REQUESTS: f64 = 100.0;
/// New sessions that a lane looks at between two batches.
const AT_A_TIME: usize = 32;

/// A session that has just been opened.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    slot: u32,
    stream: Stream,
    requested: u64,
    answered: u64,
}

impl Fresh {
    /// The session of a slot: its stream, when it was asked for, and when the answer was there.
    pub fn new(slot: u32, stream: Stream, requested: u64, answered: u64) -> Self {
        Self {
            slot,
            stream,
            requested,
            answered,
        }
    }
}

/// How many sessions are open at a time, for whoever makes room for them.
pub fn slots(per_second: f64) -> usize {
    (per_second * LIFE).ceil() as usize + 2 * batch(per_second)
}

fn batch(per_second: f64) -> usize {
    ((per_second / REQUESTS).ceil() as usize).clamp(1, MOST_SESSIONS)
}

/// Opens and closes sessions.
#[derive(Debug)]
pub struct Churner {
    client: AdminClient,
    terms: Terms,
    hosts: Hosts,
    /// The number of the first session's parties.
    first: usize,
    per_second: f64,
    clock: Clock,
    free: Vec<u32>,
    open: VecDeque<(u64, u32)>,
    /// Counts of what was opened, refused and closed.
    churn: Churn,
}

impl Churner {
    /// One that opens `per_second` sessions each second; their parties are those from number `first` on.
    pub fn new(
        client: AdminClient,
        terms: Terms,
        hosts: Hosts,
        first: usize,
        per_second: f64,
        clock: Clock,
    ) -> Self {
        let slots = slots(per_second) as u32;
        Self {
            client,
            terms,
            hosts,
            first,
            per_second,
            clock,
            free: (0..slots).rev().collect(),
            open: VecDeque::with_capacity(slots as usize),
            churn: Churn {
                per_second,
                ..Churn::default()
            },
        }
    }

    /// Opens and closes until told to stop, then closes what is left.
    pub fn run(
        mut self,
        stop: &AtomicBool,
        fresh: &SyncSender<Fresh>,
    ) -> Result<Churn, AdminError> {
        let size = batch(self.per_second);
        let interval = (size as f64 / self.per_second * 1e9) as u64;
        let hold = (self.per_second * LIFE).ceil() as usize;
        let mut due = self.clock.now();
        let mut failure = None;
        while !stop.load(Ordering::Relaxed) {
            let now = self.clock.now();
            if now < due {
                thread::sleep(Duration::from_nanos((due - now).min(20_000_000)));
                continue;
            }
            due += interval;
            let turn = self.open_some(size, fresh).and_then(|()| {
                let excess = self.open.len().saturating_sub(hold);
                self.close_some(excess)
            });
            if let Err(error) = turn {
                failure = Some(error);
                break;
            }
        }
        let closed = self.close_some(self.open.len());
        match failure {
            Some(error) => Err(error),
            None => closed.map(|()| self.churn),
        }
    }

    fn open_some(&mut self, size: usize, fresh: &SyncSender<Fresh>) -> Result<(), AdminError> {
        let at = self.free.len().saturating_sub(size);
        let slots = self.free.split_off(at);
        let parties: Vec<_> = slots
            .iter()
            .map(|slot| self.hosts.parties(self.first + *slot as usize))
            .collect();
        let requested = self.clock.now();
        let answer = match self.client.open_sessions(&self.terms, &parties) {
            // A full relay says no; the churn goes on.
            Err(AdminError::Refused(_)) => None,
            answer => Some(answer?),
        };
        let answered = self.clock.now();
        let opened = answer.map_or_else(Vec::new, |answer| answer.sessions);
        self.churn.opened += opened.len() as u64;
        if opened.len() < slots.len() {
            // Which of them were refused is not told.
            self.churn.refused += (slots.len() - opened.len()) as u64;
            let ids: Vec<_> = opened.iter().map(|session| session.id).collect();
            self.churn.closed += self.client.close_sessions(&ids)?;
            self.free.extend(slots);
            return Ok(());
        }
        for ((session, slot), parties) in opened.iter().zip(slots).zip(parties) {
            self.open.push_back((session.id, slot));
            // Nobody hears it any more when the trial is over.
            let _ = fresh.try_send(Fresh::new(slot, session.rtp(parties), requested, answered));
        }
        Ok(())
    }

    fn close_some(&mut self, count: usize) -> Result<(), AdminError> {
        let closing: Vec<_> = self.open.drain(..count).collect();
        let ids: Vec<_> = closing.iter().map(|(id, _)| *id).collect();
        self.churn.closed += self.client.close_sessions(&ids)?;
        // The one that was closed last is taken last: its packets are long gone then.
        self.free
            .splice(0..0, closing.iter().rev().map(|(_, slot)| *slot));
        Ok(())
    }
}

/// Makes the first packets of new sessions, and notes when they arrive.
#[derive(Debug)]
pub struct Feed {
    fresh: Receiver<Fresh>,
    links: [Link; 2],
    payload_len: usize,
    /// The number of the first slot's stream.
    base: u32,
    generation: u64,
    pending: VecDeque<Pending>,
    relayed: u64,
    not_relayed: u64,
    repeated: u64,
    request_to_answer: Histogram<u64>,
    request_to_packet: Histogram<u64>,
    answer_to_packet: Histogram<u64>,
}

#[derive(Debug)]
struct Pending {
    fresh: Fresh,
    flows: [Outgoing; 2],
    has_arrived: [bool; 2],
    sent: u64,
}

impl Feed {
    /// For slots that begin with stream number `base`.
    pub fn new(fresh: Receiver<Fresh>, links: [Link; 2], payload_len: usize, base: u32) -> Self {
        Self {
            fresh,
            links,
            payload_len,
            base,
            generation: 0,
            pending: VecDeque::new(),
            relayed: 0,
            not_relayed: 0,
            repeated: 0,
            request_to_answer: histogram(),
            request_to_packet: histogram(),
            answer_to_packet: histogram(),
        }
    }

    /// Whether first packets are still under way.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends what is new, and looks what has arrived.
    pub fn poll<W: Wire>(
        &mut self,
        wire: &mut W,
        expectations: &Expectations,
    ) -> Result<(), W::Error> {
        for _ in 0..AT_A_TIME {
            let Ok(fresh) = self.fresh.try_recv() else {
                break;
            };
            let pending = self.begin(fresh, expectations);
            self.pending.push_back(pending);
        }
        // Those at the end were sent least recently, or are new.
        for _ in 0..self.pending.len().min(AT_A_TIME) {
            let Some(mut pending) = self.pending.pop_front() else {
                break;
            };
            self.look(&mut pending, expectations);
            let now = wire.now();
            if pending.has_arrived == [true; 2] {
                self.relayed += 1;
            } else if now > pending.fresh.answered + PATIENCE_NS {
                self.not_relayed += 1;
            } else {
                self.send(&mut pending, wire, expectations.run(), now)?;
                self.pending.push_back(pending);
            }
        }
        Ok(())
    }

    fn begin(&mut self, fresh: Fresh, expectations: &Expectations) -> Pending {
        let number = self.base + fresh.slot;
        expectations.replace(number, &fresh.stream);
        self.generation += 1;
        self.request_to_answer
            .saturating_record(fresh.answered - fresh.requested);
        let stream = fresh.stream;
        let flows = Side::BOTH.map(|side| {
            let addresses = match side {
                Side::A => (stream.a, stream.relay_a),
                Side::B => (stream.b, stream.relay_b),
            };
            let flow = FlowNumber::of(number, side);
            let link = &self.links[side.index()];
            let flow = Outgoing::new(flow, stream.content, addresses, link, self.payload_len);
            // Above all of the slot's sessions before it.
            flow.beginning_at(self.generation << 20)
        });
        Pending {
            fresh,
            flows,
            has_arrived: [false; 2],
            sent: 0,
        }
    }

    fn look(&mut self, pending: &mut Pending, expectations: &Expectations) {
        for side in Side::BOTH {
            let has_arrived = &mut pending.has_arrived[side.index()];
            let flow = pending.flows[side.index()].flow();
            let Some(at) = expectations.first_arrival(flow).filter(|_| !*has_arrived) else {
                continue;
            };
            *has_arrived = true;
            let Fresh {
                requested,
                answered,
                ..
            } = pending.fresh;
            self.request_to_packet
                .saturating_record(at.saturating_sub(requested));
            self.answer_to_packet
                .saturating_record(at.saturating_sub(answered));
        }
    }

    fn send<W: Wire>(
        &mut self,
        pending: &mut Pending,
        wire: &mut W,
        run: u32,
        now: u64,
    ) -> Result<(), W::Error> {
        let is_first = pending.sent == 0;
        if !is_first && now < pending.sent + REPEAT_NS {
            return Ok(());
        }
        pending.sent = now;
        for side in Side::BOTH {
            if pending.has_arrived[side.index()] {
                continue;
            }
            let flow = &mut pending.flows[side.index()];
            let sent = wire.send(side, 1, |frame| {
                flow.write_next(frame, run, FRESH_TRIAL, now)
            })?;
            self.repeated += sent as u64 * u64::from(!is_first);
        }
        Ok(())
    }

    /// Adds what was seen to what the churner counted.
    pub fn add_to(&self, churn: &mut Churn) {
        churn.relayed = self.relayed;
        churn.not_relayed = self.not_relayed + self.pending.len() as u64;
        churn.repeated = self.repeated;
        churn.request_to_answer_ns = latency(&self.request_to_answer);
        churn.request_to_packet_ns = latency(&self.request_to_packet);
        churn.answer_to_packet_ns = latency(&self.answer_to_packet);
    }
}
