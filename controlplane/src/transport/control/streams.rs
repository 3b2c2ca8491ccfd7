//! A control listener over TCP or HTTP: the connections that it accepted.
//!
//! ```text
//!   accept ─► Connection (Speech: messages, HTTP, WebSocket) ─► requests ─► the loop
//!                        └ Outbox ◄──────────────────────────── replies ◄──┘
//! ```
//!
//! Every table and queue is bounded; what a bound turned away is counted.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use contract::Timestamp;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::connection::{Connection, Harvest, Why};
use super::speech::Speech;
use super::{ControlArrival, ControlCounts};
use crate::deadlines::Deadlines;
use crate::ng::{ControlId, ControlPath, Way};
use crate::settings::ControlListener;
use crate::transport::stream::{PLACE, socket};

/// Connections accepted in a turn.
const ACCEPTED_AT_A_TIME: usize = 64;
/// Until it is tried again to accept, when file descriptors have run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A TCP socket that listens, and its connections.
#[derive(Debug)]
pub struct ControlStreams {
    id: ControlId,
    settings: ControlListener,
    listener: TcpListener,
    /// Where sockets are registered, and under which token the listener is.
    registered: Option<(Registry, Token)>,
    connections: Slab<Connection>,
    /// How many there have been.
    accepted: u64,
    deadlines: Deadlines<usize>,
    /// Connections that may hold more to be read, each once.
    ready: VecDeque<usize>,
    may_accept: bool,
    accept_again: Option<Timestamp>,
    /// At most what one read brought.
    arrivals: VecDeque<(ControlPath, Vec<u8>)>,
    counts: ControlCounts,
}

impl ControlStreams {
    /// Listens where the settings say.
    pub fn open(id: ControlId, settings: &ControlListener) -> io::Result<Self> {
        let mut counts = ControlCounts::default();
        counts.connections_mut();
        Ok(Self {
            id,
            settings: settings.clone(),
            listener: socket::listener(settings.address)?,
            registered: None,
            connections: Slab::new(),
            accepted: 0,
            deadlines: Deadlines::new(),
            ready: VecDeque::new(),
            may_accept: true,
            accept_again: None,
            arrivals: VecDeque::new(),
            counts,
        })
    }

    /// Waits for connections under `token`, and for what they bring under tokens that hold it in their lower
    /// bits.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)?;
        self.registered = Some((registry.try_clone()?, token));
        Ok(())
    }

    /// Takes note of an event under one of our tokens.
    pub fn on_event(&mut self, event: &Event, now: Timestamp) {
        match (event.token().0 >> PLACE).checked_sub(1) {
            None => self.may_accept = true,
            Some(place) => {
                self.write(place, now);
                self.make_ready(place);
            }
        }
    }

    /// Does a bounded amount of work and gives the next request.
    pub fn receive(&mut self, buffer: &mut [u8], now: Timestamp) -> ControlArrival {
        if let Some((path, bytes)) = self.arrivals.pop_front() {
            return ControlArrival::Request(path, bytes);
        }
        if std::mem::take(&mut self.may_accept) {
            self.may_accept = self.accept(now);
        } else if let Some(place) = self.ready.pop_front() {
            self.read(place, buffer, now);
        } else {
            return ControlArrival::Nothing;
        }
        match self.arrivals.pop_front() {
            Some((path, bytes)) => ControlArrival::Request(path, bytes),
            None => ControlArrival::Working,
        }
    }

    /// Whether there is something to take that no event tells of.
    pub fn has_arrivals(&self) -> bool {
        self.may_accept || !self.ready.is_empty() || !self.arrivals.is_empty()
    }

    /// Sends a reply over the connection that its request came by, if there still is one.
    pub fn reply(&mut self, number: u64, bytes: Vec<u8>, now: Timestamp) {
        let place = place_of(number);
        let connection = self.connections.get_mut(place);
        let Some(connection) = connection.filter(|connection| connection.number == number) else {
            self.counts.undeliverable += 1;
            return;
        };
        if connection.reply(bytes, now).is_err() {
            self.counts.overflowed += 1;
            return self.end(place, Why::Stalled);
        }
        self.counts.replies += 1;
        // The next request over HTTP may have come already.
        let harvest = connection.hear(now);
        self.take(place, harvest, now);
        self.make_ready(place);
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        let next = [self.deadlines.next(), self.accept_again];
        next.into_iter().flatten().min()
    }

    /// Ends what has had its time.
    pub fn on_time(&mut self, now: Timestamp) {
        if self.accept_again.take_if(|at| *at <= now).is_some() {
            self.may_accept = true;
        }
        while let Some(place) = self.deadlines.expire(now) {
            let Some(connection) = self.connections.get_mut(place) else {
                continue;
            };
            match connection.check(now) {
                Some(why) => self.end(place, why),
                None => self.watch(place),
            }
        }
    }

    /// What has been done.
    pub fn counts(&self) -> ControlCounts {
        let mut counts = self.counts;
        counts.connections_mut().open = self.connections.len();
        counts
    }

    /// Where it is bound.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts a batch; whether more may wait.
    fn accept(&mut self, now: Timestamp) -> bool {
        for _ in 0..ACCEPTED_AT_A_TIME {
            match self.listener.accept() {
                Ok((stream, remote)) => self.take_in(stream, remote, now),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return false,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        self.counts.receive_errors += 1;
                        self.accept_again = Some(now + ACCEPT_AGAIN);
                        return false;
                    }
                },
            }
        }
        true
    }

    fn take_in(&mut self, mut stream: TcpStream, remote: SocketAddr, now: Timestamp) {
        // Dropped, and so closed.
        if !self.settings.admits(remote.ip()) {
            self.counts.refused += 1;
            return;
        }
        if self.connections.len() >= self.settings.connections {
            self.counts.connections_mut().turned_away += 1;
            return;
        }
        let entry = self.connections.vacant_entry();
        let place = entry.key();
        let registered = self
            .registered
            .as_ref()
            .map_or(Ok(()), |(registry, token)| {
                let token = Token(token.0 | (place + 1) << PLACE);
                registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
            });
        let tuned = registered.and_then(|()| socket::tune(&SocketOf(&stream)));
        if tuned.is_err() {
            self.counts.receive_errors += 1;
            return;
        }
        self.accepted += 1;
        let number = self.accepted << PLACE | place as u64;
        let speech = Speech::of(&self.settings);
        let connection = Connection::new((stream, remote), number, speech, self.settings.idle, now);
        entry.insert(connection);
        self.counts.connections_mut().accepted += 1;
        self.watch(place);
        // What has come already has no edge any more.
        self.make_ready(place);
    }

    fn make_ready(&mut self, place: usize) {
        if let Some(connection) = self.connections.get_mut(place)
            && !std::mem::replace(&mut connection.is_ready, true)
        {
            self.ready.push_back(place);
        }
    }

    fn read(&mut self, place: usize, buffer: &mut [u8], now: Timestamp) {
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        connection.is_ready = false;
        let harvest = connection.read(buffer, now);
        self.take(place, harvest, now);
    }

    /// Takes what a connection gave, and writes what it has to say.
    fn take(&mut self, place: usize, harvest: Harvest, now: Timestamp) {
        let Some(connection) = self.connections.get(place) else {
            return;
        };
        self.counts.malformed += harvest.malformed;
        self.counts.too_large += harvest.too_large;
        self.counts.requests += harvest.requests.len() as u64;
        let (number, remote) = (connection.number, connection.remote);
        for (request, bytes) in harvest.requests {
            let path = ControlPath {
                listener: self.id,
                remote,
                way: Way::Connection { number, request },
            };
            self.arrivals.push_back((path, bytes));
        }
        self.counts.connections_mut().web_sockets += harvest.web_sockets;
        match harvest.end {
            Some(why) => self.end(place, why),
            None => {
                if harvest.more {
                    self.make_ready(place);
                }
                self.write(place, now);
            }
        }
    }

    fn write(&mut self, place: usize, now: Timestamp) {
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        match connection.write(now) {
            Some(why) => self.end(place, why),
            None => self.watch(place),
        }
    }

    /// Sees to it that the connection is looked at when something is due.
    fn watch(&mut self, place: usize) {
        if let Some(connection) = self.connections.get(place) {
            let due = connection.due();
            // One that is too early is looked at in vain and set anew: that is rarer than messages are.
            if self.deadlines.of(place).is_none_or(|set| set > due) {
                self.deadlines.set(place, due);
            }
        }
    }

    fn end(&mut self, place: usize, why: Why) {
        if self.connections.try_remove(place).is_none() {
            return;
        }
        self.deadlines.clear(place);
        self.ready.retain(|ready| *ready != place);
        let counts = self.counts.connections_mut();
        *match why {
            Why::Closed => &mut counts.closed,
            Why::Broken => &mut counts.broken,
            Why::Nonsense => &mut counts.framing_errors,
            Why::Stalled => &mut counts.stalled,
            Why::Idle => &mut counts.idle,
        } += 1;
    }
}

/// The place that is part of a connection's number.
fn place_of(number: u64) -> usize {
    // It fits: it was one.
    usize::try_from(number & ((1 << PLACE) - 1)).unwrap_or(usize::MAX)
}

/// mio's sockets are borrowed as descriptors through their raw ones; this does it without owning them.
struct SocketOf<'a>(&'a TcpStream);

impl AsFd for SocketOf<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
