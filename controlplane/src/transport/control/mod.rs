//! The sockets of the second door: rtpengine's control protocol over UDP, TCP, HTTP and WebSockets. They move requests
//! and replies and know nothing of what is in them, but who may ask and where a request ends.

mod connection;
mod counts;
mod datagrams;
mod frames;
mod http;
mod outbox;
mod speech;
mod streams;
#[cfg(test)]
mod tests;
mod web_socket;

use std::io;
use std::net::SocketAddr;

use contract::Timestamp;
use mio::event::Event;
use mio::{Registry, Token};

use crate::ng::{ControlId, ControlPath, Way};
use crate::settings::{self, ControlTransport};

pub use counts::{ControlConnectionCounts, ControlCounts};
pub use datagrams::ControlDatagrams;
pub use streams::ControlStreams;

/// What has arrived at a control listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlArrival {
    /// A request.
    Request(ControlPath, Vec<u8>),
    /// Nothing yet, but there is more to look at.
    Working,
    /// Nothing.
    Nothing,
}

/// A control listener's sockets.
#[derive(Debug)]
pub enum ControlListener {
    /// Of datagrams.
    Datagrams(Box<ControlDatagrams>),
    /// Of connections.
    Streams(Box<ControlStreams>),
}

impl ControlListener {
    /// Opens what the settings say.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(id: ControlId, settings: &settings::ControlListener) -> io::Result<Self> {
        Ok(match settings.transport {
            ControlTransport::Udp => {
                Self::Datagrams(Box::new(ControlDatagrams::open(id, settings)?))
            }
            ControlTransport::Tcp | ControlTransport::Http => {
                Self::Streams(Box::new(ControlStreams::open(id, settings)?))
            }
        })
    }

    /// Waits for what comes under `token`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Datagrams(datagrams) => datagrams.register(registry, token),
            Self::Streams(streams) => streams.register(registry, token),
        }
    }

    /// Takes note of an event.
    pub fn on_event(&mut self, event: &Event, now: Timestamp) {
        match self {
            Self::Datagrams(datagrams) if event.is_writable() => datagrams.flush(),
            Self::Datagrams(_) => {}
            Self::Streams(streams) => streams.on_event(event, now),
        }
    }

    /// The next request.
    pub fn receive(&mut self, buffer: &mut [u8], now: Timestamp) -> ControlArrival {
        match self {
            Self::Datagrams(datagrams) => datagrams.receive(buffer),
            Self::Streams(streams) => streams.receive(buffer, now),
        }
    }

    /// Whether there is something to take that no event tells of.
    pub fn has_arrivals(&self) -> bool {
        match self {
            Self::Datagrams(_) => false,
            Self::Streams(streams) => streams.has_arrivals(),
        }
    }

    /// Sends a reply the way that its request came.
    pub fn reply(&mut self, path: ControlPath, bytes: Vec<u8>, now: Timestamp) {
        match (self, path.way) {
            (Self::Datagrams(datagrams), Way::Datagram { local }) => {
                datagrams.reply(path.remote, local, bytes);
            }
            (Self::Streams(streams), Way::Connection { number, .. }) => {
                streams.reply(number, bytes, now);
            }
            // No request of this listener has come so.
            _ => {}
        }
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) {
        if let Self::Datagrams(datagrams) = self {
            datagrams.flush();
        }
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Datagrams(_) => None,
            Self::Streams(streams) => streams.deadline(),
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Timestamp) {
        if let Self::Streams(streams) = self {
            streams.on_time(now);
        }
    }

    /// What has been done.
    pub fn counts(&self) -> ControlCounts {
        match self {
            Self::Datagrams(datagrams) => datagrams.counts(),
            Self::Streams(streams) => streams.counts(),
        }
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Datagrams(datagrams) => datagrams.local_address(),
            Self::Streams(streams) => streams.local_address(),
        }
    }
}
