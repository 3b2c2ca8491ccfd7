//! What goes in and comes out of the resolver: plain data.

use std::net::SocketAddr;
use std::time::Duration;

use super::Location;

/// What the resolver is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name servers, in the order of asking. None: no name is ever resolved.
    pub servers: Vec<SocketAddr>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often each server is asked before a question is given up.
    pub attempts: u32,
    /// How long an answer serves after its TTL while no other can be had.
    pub max_stale: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(1),
            attempts: 2,
            max_stale: Duration::from_secs(86_400),
        }
    }
}

/// One query to one server. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub u64);

/// How a query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What the sockets are to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Open a socket at a port drawn at random and send a query from it.
    Send {
        /// What the socket is known by from now on.
        attempt: AttemptId,
        /// To whom; nobody else is heard.
        server: SocketAddr,
        /// How.
        carrier: Carrier,
        /// The message, without the length that goes before it over TCP.
        bytes: Vec<u8>,
    },
    /// Close the socket.
    Close {
        /// Whose.
        attempt: AttemptId,
    },
}

/// What the sockets have to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message came.
    Answer {
        /// The query that its socket is for.
        attempt: AttemptId,
        /// From whom.
        from: SocketAddr,
        /// The message, without the length that goes before it over TCP.
        bytes: Vec<u8>,
    },
    /// More has come than one query may get: somebody forges answers. Its socket is closed.
    Flooded {
        /// The query.
        attempt: AttemptId,
    },
    /// The query cannot be sent, was not delivered, or its connection has ended.
    Failed {
        /// The query.
        attempt: AttemptId,
    },
}

/// A name that is kept resolved: its place in the order in which they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(pub usize);

/// Somebody who waits for a name. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(pub(super) u64);

/// The outcome of [`Resolver::look_up`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The places to try, in order; none when there are none, or none can be had.
    Now(Vec<Location>),
    /// [`News::Found`] will say.
    Later(LookupId),
}

/// What whoever drives the resolver hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The plan of a watched name is another one than before.
    Changed(WatchId),
    /// The places for somebody who waits. Said once.
    Found(LookupId, Vec<Location>),
}
