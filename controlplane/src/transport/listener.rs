//! A SIP listener of any transport, as the loop drives it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;
use mio::event::Event;
use mio::{Registry, Token};

use super::tls::{PemError, Tls};
use super::{Arrival, ListenerCounts, Received, Sent, StreamListener, UdpListener};
use crate::path::Opened;
use crate::settings::{self, ListenerId, Trunk, TrunkId};

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel refused it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file of certificates cannot be used.
    #[error(transparent)]
    Pem(#[from] PemError),
}

/// A listener's sockets.
#[derive(Debug)]
pub enum Listener {
    /// Of datagrams.
    Udp(Box<UdpListener>),
    /// Of connections.
    Stream(Box<StreamListener>),
}

impl Listener {
    /// The token of the listener that an event's token belongs to: its lower bits.
    pub const fn token_of(token: Token) -> Token {
        Token(token.0 & ((1 << super::stream::PLACE) - 1))
    }

    /// Opens what the settings say, with the files that they name.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        id: ListenerId,
        settings: &settings::Listener,
        trunks: &[Trunk],
    ) -> Result<Self, OpenError> {
        if settings.transport.is_reliable() {
            let tls = Tls::load(id, settings, trunks)?;
            let mut stream = StreamListener::open(settings)?;
            stream.reconfigure(id, trunks, tls);
            return Ok(Self::Stream(Box::new(stream)));
        }
        let udp = UdpListener::open(settings.address)?;
        Ok(Self::Udp(Box::new(udp)))
    }

    /// Waits for what comes under `token`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Udp(udp) => udp.register(registry, token),
            Self::Stream(stream) => stream.register(registry, token),
        }
    }

    /// Takes note of an event.
    pub fn on_event(&mut self, event: &Event, now: Timestamp) {
        match self {
            Self::Udp(udp) => {
                if event.is_error() {
                    udp.read_errors();
                }
                if event.is_writable() {
                    udp.flush();
                }
            }
            Self::Stream(stream) => stream.on_event(event, now),
        }
    }

    /// The next thing that has arrived.
    pub fn receive(&mut self, buffer: &mut [u8], now: Timestamp) -> Arrival {
        match self {
            Self::Udp(udp) => match udp.next_unreachable() {
                Some(remote) => Arrival::Unsent((remote, Opened::ByUs)),
                None => {
                    let received = udp.receive(buffer);
                    arrival(received, udp, buffer)
                }
            },
            Self::Stream(stream) => stream.receive(buffer, now),
        }
    }

    /// The same, with the time at which the kernel had it, by its wall clock since 1970; a stream has no
    /// such times.
    pub fn receive_stamped(
        &mut self,
        buffer: &mut [u8],
        now: Timestamp,
    ) -> (Arrival, Option<Duration>) {
        match self {
            Self::Udp(udp) if !udp.has_unreachable() => {
                let (received, arrived) = udp.receive_stamped(buffer);
                (arrival(received, udp, buffer), arrived)
            }
            _ => (self.receive(buffer, now), None),
        }
    }

    /// Whether there is something to take that no event tells of.
    pub fn has_arrivals(&self) -> bool {
        match self {
            Self::Udp(udp) => udp.has_unreachable(),
            Self::Stream(stream) => stream.has_arrivals() || stream.is_ready(),
        }
    }

    /// Sends a message; see [`StreamListener::send`] for `otherwise`.
    pub fn send(
        &mut self,
        to: (SocketAddr, Opened),
        otherwise: Option<SocketAddr>,
        bytes: Vec<u8>,
        now: Timestamp,
    ) -> Sent {
        match self {
            Self::Udp(udp) => udp.send(to.0, bytes),
            Self::Stream(stream) => stream.send(to, otherwise, bytes, now),
        }
    }

    /// Lets a connection also serve for another address.
    pub fn alias(&mut self, remote: SocketAddr, alias: SocketAddr) {
        if let Self::Stream(stream) = self {
            stream.alias(remote, alias);
        }
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) {
        if let Self::Udp(udp) = self {
            udp.flush();
        }
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Udp(_) => None,
            Self::Stream(stream) => stream.deadline(),
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Timestamp) {
        if let Self::Stream(stream) = self {
            stream.on_time(now);
        }
    }

    /// Goes by new settings from now on: the trunks' addresses, and certificates, keys and roots for
    /// connections to come.
    pub fn reconfigure(&mut self, id: ListenerId, trunks: &[Trunk], tls: Option<Tls>) {
        if let Self::Stream(stream) = self {
            stream.reconfigure(id, trunks, tls);
        }
    }

    /// The names of a trunk's peers lead to these addresses now.
    pub fn locate(&mut self, trunk: TrunkId, addresses: &[SocketAddr]) {
        if let Self::Stream(stream) = self {
            stream.locate(trunk, addresses.to_vec());
        }
    }

    /// What has been done.
    pub fn counts(&self) -> ListenerCounts {
        match self {
            Self::Udp(udp) => udp.counts(),
            Self::Stream(stream) => stream.counts(),
        }
    }
}

fn arrival(received: Received, udp: &UdpListener, buffer: &[u8]) -> Arrival {
    match received {
        Received::Datagram(remote, length) => {
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            Arrival::Message((remote, Opened::ByUs), bytes)
        }
        // What it has just found in the error queue is an arrival, too.
        Received::Nothing if udp.has_unreachable() => Arrival::Working,
        Received::Nothing => Arrival::Nothing,
    }
}
