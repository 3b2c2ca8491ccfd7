//! SIP over UDP, TCP and TLS (RFC 3261 §18): a listener is one or many sockets, which move messages and
//! know nothing of what is in them; the sockets of the second door ([`control`]); and the socket that makes the
//! kernel resolve next hops.
//!
//! A message travels between a listener and an address. Over UDP that is all there is to it; over TCP and
//! TLS the two name a connection, which is opened where there is none. Where a message ends
//! ([`framing`]), how long a connection may take for what, and what waits to be written are state machines
//! without IO.

pub mod control;
mod error_queue;
pub mod framing;
mod life;
mod listener;
mod name_servers;
mod outbox;
mod solicitor;
mod stream;
pub mod tls;
mod udp;

use std::net::SocketAddr;

use crate::identity::Identity;
use crate::path::Opened;

pub use listener::{Listener, OpenError};
pub use name_servers::NameServers;
pub use solicitor::solicit;
pub use stream::{ConnectionCounts, StreamListener};
pub use udp::{Received, UdpListener};

/// What has arrived at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A message from this address.
    Message((SocketAddr, Opened), Vec<u8>),
    /// The other end of a connection has shown who it is. Before anything that it sends.
    Identified((SocketAddr, Opened), Identity),
    /// The connection with this address has ended. After everything that it sent.
    Lost((SocketAddr, Opened)),
    /// Something that was sent to this address did not get there.
    Unsent((SocketAddr, Opened)),
    /// Nothing yet, but there is more to look at.
    Working,
    /// Nothing.
    Nothing,
}

/// The outcome of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Sent, or waiting to be.
    Accepted,
    /// Dropped: the network is congested, the message is longer than a datagram can be, or its connection
    /// is gone and it may go nowhere else. As if the network had lost it: what else goes to this address is
    /// not concerned.
    Lost,
    /// It cannot be sent to this address.
    Failed,
}

/// What one listener has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// Datagrams that had to wait because the socket's send buffer was full.
    pub queued: u64,
    /// Messages dropped because too many were waiting already.
    pub overflowed: u64,
    /// Messages that no UDP datagram can hold.
    pub oversize: u64,
    /// Sends that the kernel refused.
    pub send_errors: u64,
    /// ICMP errors that said that a datagram did not arrive.
    pub unreachable: u64,
    /// Errors while receiving, or accepting.
    pub receive_errors: u64,
    /// Its connections; `None`: it has none, being one of UDP.
    pub connections: Option<ConnectionCounts>,
}
