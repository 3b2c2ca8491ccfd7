//! One SIP listener over TCP or TLS: the connections that it accepted and those that it opened, by the
//! address of their other end (RFC 3261 §18, RFC 5626 §3.5.1, RFC 5923).
//!
//! ```text
//!   accept ─┐                    ┌─ read ─► Framer ─► arrivals ─► the loop
//!   open ───┴─► Connection (Wire, Life)
//!                                └─ write ◄─ Outbox ◄─ send
//! ```
//!
//! A message for an address takes the connection with it, or opens one. There may be two with one address, one that we
//! have opened and one that they have; over TLS our requests take theirs only from whom we would have believed as a server. Every table and queue is bounded;
//! what a bound turned away is counted.

mod connection;
mod counts;
pub(super) mod socket;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::Timestamp;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::life::{Due, Life, Phase};
use super::outbox::{Kind, Parcel};
use super::tls::Tls;
use super::{Arrival, ListenerCounts, Sent};
use crate::deadlines::Deadlines;
use crate::path::Opened;
use crate::settings::{ConnectionLimits, Listener, ListenerId, Trunk, TrunkId};
use connection::{Connection, Why};
use wire::Wire;

pub use counts::ConnectionCounts;

/// Connections accepted in a turn.
const ACCEPTED_AT_A_TIME: usize = 64;
/// TLS handshakes of others at a time. Each costs some milliseconds of arithmetic and 50 kB until it is over.
const HANDSHAKES: usize = 256;
/// Until it is tried again to accept, when file descriptors have run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Where a connection's place is in its token; the listener's own token is below.
pub(super) const PLACE: u32 = 20;

/// A TCP socket that listens, and its connections.
#[derive(Debug)]
pub struct StreamListener {
    listener: TcpListener,
    address: SocketAddr,
    name: String,
    limits: ConnectionLimits,
    tls: Option<Tls>,
    /// Where sockets are registered, and under which token the listener is.
    registered: Option<(Registry, Token)>,
    connections: Slab<Connection>,
    by_remote: HashMap<(SocketAddr, Opened), usize>,
    aliases: HashMap<SocketAddr, usize>,
    with_address: HashMap<IpAddr, usize>,
    /// The trunks that use this listener, and their addresses as the settings say them.
    trunks: BTreeMap<TrunkId, Vec<IpAddr>>,
    /// Where the names of trunks lead.
    located: BTreeMap<TrunkId, Vec<SocketAddr>>,
    /// All addresses of the trunks.
    known: HashSet<IpAddr>,
    /// Connections with other addresses.
    strangers: usize,
    deadlines: Deadlines<usize>,
    /// Connections that may hold more to be read, each once.
    ready: VecDeque<usize>,
    may_accept: bool,
    accept_again: Option<Timestamp>,
    arrivals: VecDeque<Arrival>,
    counts: ListenerCounts,
    logged: Option<Timestamp>,
}

impl StreamListener {
    /// Listens where the settings say. Knows no trunks, and speaks no TLS, before it is reconfigured.
    pub fn open(settings: &Listener) -> io::Result<Self> {
        let listener = socket::listener(settings.address)?;
        Ok(Self {
            listener,
            address: settings.address,
            name: settings.name.clone(),
            limits: settings.connections,
            tls: None,
            registered: None,
            connections: Slab::new(),
            by_remote: HashMap::new(),
            aliases: HashMap::new(),
            with_address: HashMap::new(),
            trunks: BTreeMap::new(),
            located: BTreeMap::new(),
            known: HashSet::new(),
            strangers: 0,
            deadlines: Deadlines::new(),
            ready: VecDeque::new(),
            may_accept: true,
            accept_again: None,
            arrivals: VecDeque::new(),
            counts: ListenerCounts {
                connections: Some(ConnectionCounts::default()),
                ..ListenerCounts::default()
            },
            logged: None,
        })
    }

    /// Waits for connections under `token`, and for what they bring under tokens that hold it in their
    /// lower bits.
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
                // A handshake is arithmetic, and is done in shares.
                if !self.is_shaking(place) {
                    self.drive(place, now);
                }
                self.make_ready(place);
            }
        }
    }

    /// Does a bounded amount of work and gives the next thing that has arrived.
    pub fn receive(&mut self, buffer: &mut [u8], now: Timestamp) -> Arrival {
        if let Some(arrival) = self.arrivals.pop_front() {
            return arrival;
        }
        if std::mem::take(&mut self.may_accept) {
            self.may_accept = self.accept(now);
        } else if let Some(place) = self.ready.pop_front() {
            self.read(place, buffer, now);
        } else {
            return Arrival::Nothing;
        }
        self.arrivals.pop_front().unwrap_or(Arrival::Working)
    }

    /// Whether something has arrived that was not taken yet.
    pub fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Sends a message over the connection with `remote`: a response over the very one that `opened` says, a request over
    /// any that may take it. Without one, a request opens one; a response, which says where else it may go, takes or
    /// opens the one with there.
    pub fn send(
        &mut self,
        (remote, opened): (SocketAddr, Opened),
        otherwise: Option<SocketAddr>,
        bytes: Vec<u8>,
        now: Timestamp,
    ) -> Sent {
        let parcel = Parcel {
            asked: (remote, opened),
            kind: match otherwise {
                None => Kind::Request,
                // Nowhere else: the connection itself, or nothing.
                Some(other) => Kind::Response((other != remote).then_some(other)),
            },
            bytes,
        };
        if let Some(place) = self.by_remote.get(&(remote, opened)).copied()
            && (opened == Opened::ByThem || parcel.kind != Kind::Request)
        {
            return self.put(place, parcel, now);
        }
        match parcel.kind {
            Kind::Request => self.send_to(remote, parcel, now),
            Kind::Response(Some(other)) => {
                let kind = Kind::Response(None);
                self.send_to(other, Parcel { kind, ..parcel }, now)
            }
            Kind::Response(None) => Sent::Lost,
        }
    }

    /// Lets the connection that they have opened from `remote` also serve for another address of the same host (RFC 5923 §6.2),
    /// in the place of the alias that it had.
    pub fn alias(&mut self, remote: SocketAddr, alias: SocketAddr) {
        let theirs = (remote, Opened::ByThem);
        let Some(place) = self.by_remote.get(&theirs).copied() else {
            return;
        };
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        // What it had may be a newer connection's by now.
        if let Some(old) = connection.alias.replace(alias)
            && self.aliases.get(&old) == Some(&place)
        {
            self.aliases.remove(&old);
        }
        self.aliases.insert(alias, place);
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        let next = [self.deadlines.next(), self.accept_again];
        next.into_iter().flatten().min()
    }

    /// Ends what has had its time, and keeps alive what is to be.
    pub fn on_time(&mut self, now: Timestamp) {
        if self.accept_again.take_if(|at| *at <= now).is_some() {
            self.may_accept = true;
        }
        while let Some(place) = self.deadlines.expire(now) {
            self.look_at(place, now);
        }
    }

    /// Knows these trunks from now on, and shows and believes this in connections to come. A listener of TLS
    /// stays one.
    pub fn reconfigure(&mut self, id: ListenerId, trunks: &[Trunk], tls: Option<Tls>) {
        let here = (0..).map(TrunkId).zip(trunks);
        let here = here.filter(|(_, trunk)| trunk.listeners.contains(&id));
        let peers = here.map(|(id, trunk)| {
            let peers = trunk.called();
            (id, peers.map(|peer| peer.address.ip()).collect())
        });
        self.trunks = peers.collect();
        if tls.is_some() {
            self.tls = tls;
        }
        for (trunk, addresses) in &self.located {
            if let Some(tls) = &mut self.tls {
                tls.locate(*trunk, addresses);
            }
        }
        self.know();
    }

    /// The names of a trunk's peers lead to these addresses now.
    pub fn locate(&mut self, trunk: TrunkId, addresses: Vec<SocketAddr>) {
        if let Some(tls) = &mut self.tls {
            tls.locate(trunk, &addresses);
        }
        self.located.insert(trunk, addresses);
        self.know();
    }

    fn know(&mut self) {
        let located = self.located.iter();
        let located = located.filter(|(trunk, _)| self.trunks.contains_key(trunk));
        let located = located
            .flat_map(|(_, addresses)| addresses)
            .map(SocketAddr::ip);
        let configured = self.trunks.values().flatten().copied();
        self.known = configured.chain(located).collect();
    }

    /// What has been done.
    pub fn counts(&self) -> ListenerCounts {
        let mut counts = self.counts;
        if let Some(connections) = &mut counts.connections {
            connections.open = self.connections.len();
        }
        counts
    }

    /// Where it is bound.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whether a connection waits to be read.
    pub fn is_ready(&self) -> bool {
        self.may_accept || !self.ready.is_empty()
    }

    /// The connection that a request to this address may take.
    fn place_of(&self, remote: SocketAddr) -> Option<usize> {
        let ours = self.by_remote.get(&(remote, Opened::ByUs));
        let known = ours.or_else(|| self.aliases.get(&remote)).copied();
        known.or_else(|| {
            let theirs = *self.by_remote.get(&(remote, Opened::ByThem))?;
            self.is_believed(theirs).then_some(theirs)
        })
    }

    /// Whether who is at the other end of a connection that they have opened is whom we would have believed there, had we
    /// connected: nobody else gets our requests.
    fn is_believed(&self, place: usize) -> bool {
        let Some(tls) = &self.tls else {
            return true;
        };
        let connection = self.connections.get(place);
        connection.is_some_and(|connection| {
            let identity = connection.identity.as_ref();
            identity.is_some_and(|identity| tls.believes(connection.remote, identity))
        })
    }

    /// Sends over the connection with `remote`, which may have to be opened.
    fn send_to(&mut self, remote: SocketAddr, parcel: Parcel, now: Timestamp) -> Sent {
        let place = match self.place_of(remote) {
            Some(place) => Some(place),
            None => self.connect(remote, now),
        };
        match place {
            Some(place) => self.put(place, parcel, now),
            None => Sent::Failed,
        }
    }

    fn put(&mut self, place: usize, parcel: Parcel, now: Timestamp) -> Sent {
        let Some(connection) = self.connections.get_mut(place) else {
            return Sent::Failed;
        };
        if connection.put(parcel).is_err() {
            self.counts.overflowed += 1;
            self.end(place, Why::Stalled, now);
            return Sent::Failed;
        }
        self.drive(place, now);
        Sent::Accepted
    }

    /// Opens a connection; `None` when there is no room, no socket, or no TLS for it.
    fn connect(&mut self, remote: SocketAddr, now: Timestamp) -> Option<usize> {
        if !self.has_room_for(remote) {
            return None;
        }
        let tls = self.tls.as_ref().map(|tls| tls.connect(remote));
        let tls = match tls.transpose() {
            Ok(tls) => tls,
            Err(error) => {
                self.counts.connections_mut().failed += 1;
                self.log(now, remote, &error);
                return None;
            }
        };
        let opened = socket::connecting(self.address.ip(), remote);
        let wire = opened.map(|socket| Wire::new(socket, tls));
        let life = Life::new(Opened::ByUs, Phase::Connecting, &self.limits, now);
        let place = wire.and_then(|wire| self.insert(Connection::new(remote, wire, life)));
        match place {
            Ok(place) => {
                self.counts.connections_mut().opened += 1;
                Some(place)
            }
            Err(error) => {
                self.counts.connections_mut().failed += 1;
                self.log(now, remote, &error);
                None
            }
        }
    }

    /// Accepts a batch; whether more may wait.
    fn accept(&mut self, now: Timestamp) -> bool {
        for _ in 0..ACCEPTED_AT_A_TIME {
            match self.listener.accept() {
                Ok((socket, remote)) => self.take_in(socket, remote, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.counts.receive_errors += 1;
                    self.accept_again = Some(now + ACCEPT_AGAIN);
                    return false;
                }
            }
        }
        true
    }

    fn take_in(&mut self, socket: TcpStream, remote: SocketAddr, now: Timestamp) {
        let shaking = self.counts.connections().handshaking;
        let busy = self.tls.is_some() && shaking >= HANDSHAKES;
        if busy || !self.has_room_for(remote) {
            // Dropped, and so closed.
            self.counts.connections_mut().turned_away += 1;
            return;
        }
        let tls = self.tls.as_ref().map(Tls::accept).transpose();
        let tuned = socket::tune(&SocketOf(&socket));
        let (Ok(tls), Ok(())) = (tls, tuned) else {
            self.counts.receive_errors += 1;
            return;
        };
        let phase = match tls.is_some() {
            true => Phase::Handshaking,
            false => Phase::Open,
        };
        let life = Life::new(Opened::ByThem, phase, &self.limits, now);
        let wire = Wire::new(socket, tls);
        let Ok(place) = self.insert(Connection::new(remote, wire, life)) else {
            self.counts.receive_errors += 1;
            return;
        };
        let counts = self.counts.connections_mut();
        counts.accepted += 1;
        counts.handshaking += usize::from(phase == Phase::Handshaking);
        // What has come already has no edge any more.
        self.make_ready(place);
    }

    /// Addresses of no trunk may take half of the places: the trunks find the others free, whatever
    /// connects from the rest of the world.
    fn has_room_for(&self, remote: SocketAddr) -> bool {
        let same = self.with_address.get(&remote.ip()).copied().unwrap_or(0);
        let half = self.limits.connections.div_ceil(2);
        let is_known = self.known.contains(&remote.ip());
        self.connections.len() < self.limits.connections
            && same < self.limits.from_one_address
            && (is_known || self.strangers < half)
    }

    fn insert(&mut self, mut connection: Connection) -> io::Result<usize> {
        let entry = self.connections.vacant_entry();
        let place = entry.key();
        if let Some((registry, token)) = &self.registered {
            let token = Token(token.0 | (place + 1) << PLACE);
            connection.wire_mut().register(registry, token)?;
        }
        let (remote, opened) = (connection.remote, connection.opened());
        let is_stranger = !self.known.contains(&remote.ip());
        connection.is_stranger = is_stranger;
        self.deadlines.set(place, connection.life.due());
        entry.insert(connection);
        self.by_remote.insert((remote, opened), place);
        *self.with_address.entry(remote.ip()).or_default() += 1;
        self.strangers += usize::from(is_stranger);
        Ok(place)
    }

    fn make_ready(&mut self, place: usize) {
        if let Some(connection) = self.connections.get_mut(place)
            && !std::mem::replace(&mut connection.is_ready, true)
        {
            self.ready.push_back(place);
        }
    }

    fn is_shaking(&self, place: usize) -> bool {
        let connection = self.connections.get(place);
        connection.is_some_and(|connection| connection.life.phase() == Phase::Handshaking)
    }

    /// Goes on with coming up and writing.
    fn drive(&mut self, place: usize, now: Timestamp) {
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        let shaken = connection.life.phase() == Phase::Handshaking;
        match connection.come_up(now) {
            Ok(true) => self.welcome(place, shaken),
            Ok(false) => {}
            Err(why) => return self.end(place, why, now),
        }
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        if connection.life.phase() == Phase::Open {
            match connection.write(now) {
                Ok(messages) => self.counts.sent += messages,
                Err(why) => return self.end(place, why, now),
            }
        }
        self.watch(place);
    }

    /// A connection has come to be open: who is at its other end?
    fn welcome(&mut self, place: usize, shaken: bool) {
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        let from = (connection.remote, connection.opened());
        if shaken && connection.opened() == Opened::ByThem {
            let counts = self.counts.connections_mut();
            counts.handshaking = counts.handshaking.saturating_sub(1);
        }
        let shown = connection.wire().shown();
        let identity = self.tls.as_ref().and_then(|tls| tls.identify(shown));
        if let Some(identity) = identity {
            connection.identity = Some(identity.clone());
            let arrival = Arrival::Identified(from, identity);
            self.arrivals.push_back(arrival);
        }
        // What came along with the end of the handshake has no edge of its own.
        self.make_ready(place);
    }

    fn read(&mut self, place: usize, buffer: &mut [u8], now: Timestamp) {
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        connection.is_ready = false;
        if connection.life.phase() != Phase::Open {
            return self.drive(place, now);
        }
        let from = (connection.remote, connection.opened());
        match connection.read(buffer, now) {
            Ok((messages, more)) => {
                let nonsense = connection.nonsense();
                self.counts.received += messages.len() as u64;
                let arrived = messages
                    .into_iter()
                    .map(|bytes| Arrival::Message(from, bytes));
                self.arrivals.extend(arrived);
                if let Some(error) = nonsense {
                    return self.end(place, Why::Framing(error), now);
                }
                if more {
                    self.make_ready(place);
                }
                self.drive(place, now);
            }
            Err(why) => self.end(place, why, now),
        }
    }

    /// Sees to it that the connection is looked at when something is due.
    fn watch(&mut self, place: usize) {
        if let Some(connection) = self.connections.get(place) {
            let due = connection.life.due();
            // One that is too early is looked at in vain and set anew: that is rarer than messages are.
            if self.deadlines.of(place).is_none_or(|set| set > due) {
                self.deadlines.set(place, due);
            }
        }
    }

    fn look_at(&mut self, place: usize, now: Timestamp) {
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
        let why = match connection.life.check(now) {
            None => return self.watch(place),
            Some(Due::Ping) => {
                let ping = Parcel::line_ends(connection.remote, 2);
                if connection.put(ping).is_ok() {
                    return self.drive(place, now);
                }
                Why::Stalled
            }
            Some(Due::NotUp) => match connection.life.phase() {
                Phase::Handshaking => Why::Tls(timed_out()),
                Phase::Connecting | Phase::Open => Why::NotUp(timed_out()),
            },
            Some(Due::Idle) => Why::Idle,
            Some(Due::Stalled) => Why::Stalled,
        };
        self.end(place, why, now);
    }

    /// Takes a connection out. Responses that it still held go another way; whoever sent requests over
    /// it is told.
    fn end(&mut self, place: usize, why: Why, now: Timestamp) {
        let Some(connection) = self.connections.try_remove(place) else {
            return;
        };
        self.deadlines.clear(place);
        self.ready.retain(|ready| *ready != place);
        let remote = connection.remote;
        let opened = connection.opened();
        // A newer connection may have the name.
        if self.by_remote.get(&(remote, opened)) == Some(&place) {
            self.by_remote.remove(&(remote, opened));
        }
        if let Some(alias) = connection.alias
            && self.aliases.get(&alias) == Some(&place)
        {
            self.aliases.remove(&alias);
        }
        if let Some(count) = self.with_address.get_mut(&remote.ip()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.with_address.remove(&remote.ip());
            }
        }
        let is_stranger = usize::from(connection.is_stranger);
        self.strangers = self.strangers.saturating_sub(is_stranger);
        let shaking = connection.life.phase() == Phase::Handshaking;
        let counts = self.counts.connections_mut();
        if shaking && connection.opened() == Opened::ByThem {
            counts.handshaking = counts.handshaking.saturating_sub(1);
        }
        counts.count(&why);
        match &why {
            Why::NotUp(error) | Why::Tls(error) => self.log(now, remote, error),
            Why::Framing(error) => self.log(now, remote, error),
            Why::Closed | Why::Broken | Why::Stalled | Why::Idle => {}
        }
        let unsent: Vec<_> = connection.close().collect();
        self.arrivals.push_back(Arrival::Lost((remote, opened)));
        let ours = (remote, Opened::ByUs);
        if opened == Opened::ByThem && !self.by_remote.contains_key(&ours) {
            // What we have asked there, if anything, went over theirs.
            self.arrivals.push_back(Arrival::Lost(ours));
        }
        for parcel in unsent {
            self.send_again(parcel, now);
        }
    }

    fn send_again(&mut self, parcel: Parcel, now: Timestamp) {
        let asked = parcel.asked;
        let sent = match parcel.kind {
            Kind::Request => return,
            Kind::Response(None) => Sent::Failed,
            Kind::Response(Some(other)) => {
                let kind = Kind::Response(None);
                self.send_to(other, Parcel { kind, ..parcel }, now)
            }
        };
        if sent == Sent::Failed {
            self.arrivals.push_back(Arrival::Unsent(asked));
        }
    }

    /// Says what is wrong with a connection, once a second at the most: whoever connects decides how often
    /// something is.
    fn log(&mut self, now: Timestamp, remote: SocketAddr, error: &dyn std::fmt::Display) {
        let recently = |at: Timestamp| now.since(at) < Duration::from_secs(1);
        if self.logged.is_some_and(recently) {
            return;
        }
        self.logged = Some(now);
        tracing::warn!(listener = self.name, %remote, %error, "connection");
    }
}

/// mio's sockets are borrowed as descriptors through their raw ones; this does it without owning them.
struct SocketOf<'a>(&'a TcpStream);

impl std::os::fd::AsFd for SocketOf<'_> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
